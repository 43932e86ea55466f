"""Debian's packages of what is measured against, installed or, by `scripts/bench`, unpacked into a folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from runner import Missing
from sides import HERE

UNPACKED = HERE / "target" / "debian"
PROGRAMS = ("usr/bin", "bin", "usr/sbin")
LIBRARIES = ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")
# Lays the unpacked programs over the installed ones, for this process and its children alone: some name each other by
# their whole path.
OVERLAY = 'mount -t overlay overlay -o "lowerdir=$0:/usr/bin" /usr/bin && exec "$@"'


def tool(name: str) -> Path:
    """A program. Raises Missing if it is neither installed nor unpacked."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    places = [Path(found)] if found else [UNPACKED / place / name for place in PROGRAMS]
    for path in places:
        if path.exists():
            return path
    raise Missing(f"not installed: {name}")


def command(name: str, *arguments: object, before: Sequence[str] = ()) -> list[str]:
    """A command, with words before it, that finds its unpacked companions. Raises Missing, as for a program, also for
    whom may not mount.
    """
    path = tool(name)
    words = [*before, str(path), *(str(word) for word in arguments)]
    if UNPACKED not in path.parents:
        return words
    if os.geteuid() != 0:
        raise Missing(f"not installed: {name}; root could use an unpacked one")
    return ["unshare", "--mount", "sh", "-c", OVERLAY, str(UNPACKED / "usr" / "bin"), *words]


def environment() -> dict[str, str]:
    """The environment in which unpacked programs find their libraries."""
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(str(UNPACKED / place) for place in LIBRARIES)}
