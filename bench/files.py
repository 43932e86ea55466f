"""A file of 1 GiB from one node to the other, and by what else copies files; each time another content."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Callable, Optional

import packages
import ssh
from runner import Figure, Sample, Side
from sides import BUILT, OURS, Node, built, scratch, serve

SIZE = 1 << 30
PIECE = 16 << 20
# Disk limit of the app that keeps files.
LIMIT = "8GiB"
COPY_S = 300.0

# Copies the source to the destination, and returns the seconds that this took.
Copy = Callable[[Path, Path], float]


def random_file(path: Path) -> Path:
    """Writes SIZE random bytes."""
    with path.open("wb") as out:
        for _ in range(SIZE // PIECE):
            out.write(os.urandom(PIECE))
    return path


def run(command: Sequence[object], env: Optional[dict[str, str]] = None) -> None:
    """Runs a command to its end. Raises RuntimeError with its last line of complaint."""
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        timeout=COPY_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {(done.stderr.strip() or 'failed').splitlines()[-1]}")


def timed(command: Sequence[object], env: Optional[dict[str, str]] = None) -> float:
    """Runs a command and returns the seconds that it took."""
    started = time.monotonic()
    run(command, env=env)
    return time.monotonic() - started


def gigabits(make: Callable[[ExitStack, Path], Copy]) -> Side:
    """Gbit/s of a copy, for which `make` starts what is needed in a folder of its own."""

    def side(stack: ExitStack) -> Sample:
        folder = scratch(stack)
        source = random_file(folder / "source")
        copy = make(stack, folder)
        numbers = itertools.count()

        def sample() -> float:
            # Another content each time, so that nothing is known from the last one.
            with source.open("r+b") as file:
                file.write(os.urandom(PIECE))
            target = folder / f"copy-{next(numbers)}"
            seconds = copy(source, target)
            found = target.stat().st_size
            if found != SIZE:
                raise RuntimeError(f"{found} bytes arrived")
            target.unlink()
            return SIZE * 8 / 1e9 / seconds

        return sample

    return side


def nodes(stack: ExitStack, folder: Path) -> Copy:
    """`polypeer send` on one node and `polypeer get` on the other."""
    pair = [Node(folder / name, program=OURS.program, bundled_apps=True) for name in ("a", "b")]
    for node in pair:
        stack.callback(node.stop)
        node.start()
        node.wait_plugin("files")
        node.cli("plugin", "limit", "files", f"disk={LIMIT}").ok()
    pair[0].meet(pair[1])

    def copy(source: Path, target: Path) -> float:
        started = time.monotonic()
        (sent,) = pair[0].cli("send", str(source), "--json", timeout_s=COPY_S).ok().json
        pair[1].cli("get", sent["link"], "--output", str(target), timeout_s=COPY_S).ok()
        took = time.monotonic() - started
        for node in pair:
            node.cli("files", "remove", sent["hash"]).ok()
        return took

    return copy


def blobs(stack: ExitStack, folder: Path) -> Copy:
    """iroh-blobs: import and offer in one process, fetch and export in another."""
    program = built(BUILT / "contender-iroh")

    def copy(source: Path, target: Path) -> float:
        stores = [source.with_suffix(".store"), folder / "fetched"]
        with ExitStack() as own:
            started = time.monotonic()
            _, offered = serve(own, program, "offer", source)
            run([program, "fetch", offered, stores[1], target])
            took = time.monotonic() - started
        for store in stores:
            shutil.rmtree(store, ignore_errors=True)
        return took

    return copy


def scp(stack: ExitStack, folder: Path) -> Copy:
    """scp through an SSH server."""
    server = ssh.Server(stack, folder)
    command = [packages.tool("scp"), "-q", *server.options, "-P", server.port]
    return lambda source, target: timed([*command, source, f"{server.user}:{target}"])


def rsync(stack: ExitStack, folder: Path) -> Copy:
    """rsync through an SSH server, without looking for differences."""
    server = ssh.Server(stack, folder)
    command = [packages.tool("rsync"), "--whole-file", "-e", server.shell()]
    return lambda source, target: timed([*command, source, f"{server.user}:{target}"])


def aria2(stack: ExitStack, folder: Path) -> Copy:
    """aria2 and an HTTP server: nothing is encrypted or verified."""
    program = packages.tool("aria2c")
    handler = partial(Quiet, directory=str(folder))
    server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
    Thread(target=server.serve_forever, daemon=True).start()
    stack.callback(server.shutdown)
    place = f"http://127.0.0.1:{server.server_port}"
    environment = packages.environment()

    def copy(source: Path, target: Path) -> float:
        where = ["-d", target.parent, "-o", target.name, "--file-allocation=none"]
        return timed([program, "-q", *where, f"{place}/{source.name}"], environment)

    return copy


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and does not talk about it."""

    def log_message(self, format: str, *args: object) -> None:
        """Drops the line."""


FIGURES = {
    "file": Figure(
        "file of 1 GiB, copied to another place of the same disk",
        "Gbit/s",
        "more",
        {
            "ours": gigabits(nodes),
            "scp": gigabits(scp),
            "rsync": gigabits(rsync),
            "aria2": gigabits(aria2),
            "iroh-blobs": gigabits(blobs),
        },
        rounds=3,
    )
}
