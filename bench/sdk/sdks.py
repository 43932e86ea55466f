"""The Rust client, the Go SDK and the Python SDK at the same work, in turn, for a few rounds: alone against
a gateway without a network core behind it (``src/bin/gateway.rs``), or with ``--nodes`` from a plugin to its
twin on another node. Prints JSON: for each work and language the medians of the rate and of the processor time, and
the rounds themselves.

    sdks.py [--nodes] [--rounds N] [--languages L,L] [WORK…]

========  =======================================================  =============================
work      what is done                                             rate; processor time
========  =======================================================  =============================
send      one stream is written, 256 KiB at a time                 bytes per second; s per byte
receive   one stream is read to its end                            as send
single    requests of 1 KiB and as much back, one after another    per second; seconds each
request   the same, 16 in flight                                   as single
many      the same, 64 in flight                                   as single
serve     as many are answered, 16 in flight; not with --nodes     as single
stream    streams are opened, 1 KiB is written and answered, 16 at once   as single
========  =======================================================  =============================
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "sdk-python" / "tests"))

from real_netcore import RealWorld, find_binary  # type: ignore[import-not-found,unused-ignore]  # noqa: E402

BUILT = ROOT / "bench" / "target" / "sdk"
CLIENTS = {
    "rust": [str(BUILT / "release" / "client")],
    "go": [str(BUILT / "client-go")],
    "python": [sys.executable, str(HERE / "client.py")],
}
WORKS: dict[str, tuple[str, int, int, int]] = {
    "send": ("send", 1 << 30, 1, 1),
    "receive": ("receive", 1 << 30, 1, 1),
    "single": ("request", 20_000, 1, 5),
    "request": ("request", 40_000, 16, 5),
    "many": ("request", 80_000, 64, 10),
    "serve": ("serve", 40_000, 16, 5),
    "stream": ("stream", 8_000, 16, 5),
}
"""By name: what the client is told, the amount, how many at once; and by how much less of it Python does."""
TOKEN = "09" * 32


def build() -> None:
    """Builds the gateway and the clients."""
    environment = {**os.environ, "CARGO_TARGET_DIR": str(BUILT)}
    subprocess.run(["cargo", "build", "--release", "--quiet", "--locked"], cwd=HERE, env=environment, check=True)
    go = ["go", "build", "-trimpath", "-o", str(BUILT / "client-go"), "."]
    subprocess.run(go, cwd=HERE / "go", env={**environment, "CGO_ENABLED": "0"}, check=True)


@dataclass
class Place:
    """Where a client works: its gateway, and the arguments that name the other end."""

    socket: str
    token: str
    peer: list[str]

    @property
    def environment(self) -> dict[str, str]:
        """What a plugin started there has."""
        variables = {
            "PYTHONPATH": str(ROOT / "sdk-python"),
            "POLYPEER_GATEWAY": self.socket,
            "POLYPEER_TOKEN": self.token,
        }
        return {**os.environ, **variables}

    def run(self, language: str, work: str, amount: int, flight: int) -> dict[str, float]:
        """One round of one client: its rate, and its processor time for each byte, request or stream."""
        command = [*CLIENTS[language], work, str(amount), str(flight), *self.peer]
        done = subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, text=True, timeout=300, check=True)
        took: dict[str, float] = json.loads(done.stdout)
        return {"rate": amount / took["seconds"], "cpu": took["cpu"] / amount}


@contextlib.contextmanager
def started(command: list[str], environment: dict[str, str]) -> Iterator[str]:
    """A program that runs meanwhile, and the first line it printed."""
    program = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert program.stdout is not None
        yield program.stdout.readline().strip()
    finally:
        program.kill()
        program.wait()


@contextlib.contextmanager
def alone(folder: Path, languages: list[str]) -> Iterator[dict[str, Place]]:
    """The gateway without a network core, for all languages."""
    place = Place(str(folder / "gateway"), TOKEN, [])
    with started([str(BUILT / "release" / "gateway"), place.socket], dict(os.environ)):
        yield dict.fromkeys(languages, place)


def stop(world: RealWorld) -> None:
    """Ends the nodes of a language."""
    asyncio.run(world.stop())


@contextlib.contextmanager
def nodes(folder: Path, languages: list[str]) -> Iterator[dict[str, Place]]:
    """Two nodes for each language; on the second its client attends to the first."""
    binary = find_binary("polypeer-netcore")
    assert binary is not None, "polypeer-netcore is not built"
    with contextlib.ExitStack() as stack:
        places = {}
        for language in languages:
            home = folder / language
            home.mkdir()
            world = RealWorld(binary, home)
            asyncio.run(world.start())
            stack.callback(stop, world)
            here, there = (Place(each.path, each.token_text, []) for each in world.launches[:2])
            here.peer = stack.enter_context(started([*CLIENTS[language], "attend"], there.environment)).split()
            places[language] = here
        yield places


def measure(place: dict[str, Place], name: str, rounds: int) -> dict[str, Any]:
    """The results of a work by language. The languages take turns, so that a busy moment hits all."""
    work, amount, flight, less = WORKS[name]
    samples: dict[str, list[dict[str, float]]] = {language: [] for language in place}
    for _ in range(rounds):
        for language in place:
            share = amount // (less if language == "python" else 1)
            samples[language].append(place[language].run(language, work, share, flight))
    return {
        language: {key: statistics.median(each[key] for each in found) for key in ("rate", "cpu")} | {"samples": found}
        for language, found in samples.items()
    }


def main() -> int:
    """Measures what the command line names; everything by default."""
    parser = argparse.ArgumentParser()
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"of {', '.join(WORKS)}")
    parser.add_argument("--nodes", action="store_true", help="from node to node, with the binaries in POLYPEER_BIN")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--languages", default=",".join(CLIENTS), help="separated by commas")
    arguments = parser.parse_args()
    works = arguments.works or [work for work in WORKS if work != "serve" or not arguments.nodes]
    build()
    with tempfile.TemporaryDirectory(prefix="pp-") as folder:
        with (nodes if arguments.nodes else alone)(Path(folder), arguments.languages.split(",")) as places:
            print(json.dumps({work: measure(places, work, arguments.rounds) for work in works}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
