"""The code blocks of the project's documents, for the tests that run them.

A comment right before a block says what it is for, such as `<!-- file: guestbook/main.py -->`; readers do not see it.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness import ROOT

BLOCK = re.compile(r"(?:<!-- (?P<note>[^\n]*) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.S | re.M)


@dataclass
class Block:
    """A code block, with the comment before it."""

    language: str
    note: str
    text: str
    line: int

    def argument(self, word: str) -> str:
        """What follows `word: ` in the comment; empty when the comment is another one."""
        return self.note.removeprefix(f"{word}: ") if self.note.startswith(f"{word}: ") else ""


def blocks(document: str) -> list[Block]:
    """Returns all code blocks of a document, a path from the project's folder."""
    text = (ROOT / document).read_text()
    found = [
        Block(match["language"], match["note"] or "", match["text"], text.count("\n", 0, match.start("text")))
        for match in BLOCK.finditer(text)
    ]
    assert found, f"{document} has no code blocks"
    return found


def run_shell(text: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Runs a block as a script that ends at the first failing command. Returns what it printed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{text}\nended with {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def transcript(text: str) -> tuple[str, re.Pattern[str]]:
    """Splits a block into the command after `$ ` and a pattern of what it prints, where `…` stands for anything."""
    command, _, output = text.partition("\n")
    assert command.startswith("$ "), command
    shown = ".*".join(re.escape(part) for part in output.strip().split("…"))
    return command.removeprefix("$ "), re.compile(shown)


def words(text: str) -> list[str]:
    """The arguments of a block of one command."""
    return shlex.split(text)
