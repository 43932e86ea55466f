"""Benchmark of the SDKs alone: the Rust client, the Go SDK and the Python SDK do the same work against a gateway
without a network core behind it (``src/bin/gateway.rs``), in turn, for a few rounds. Prints JSON: for each work and
language the medians of the rate and of the processor time, and the rounds themselves.

    sdks.py [--rounds N] [WORK…]

========  =======================================================  =============================
work      what is done                                             rate; processor time
========  =======================================================  =============================
send      one stream is written, 256 KiB at a time                 bytes per second; s per byte
receive   one stream is read to its end                            as send
single    requests of 1 KiB and as much back, one after another    per second; seconds each
request   the same, 16 in flight                                   as single
many      the same, 64 in flight                                   as single
serve     as many are answered, 16 in flight                       as single
stream    streams are opened, 1 KiB is written and answered, 16 at once   as single
========  =======================================================  =============================
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
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


def run(language: str, socket: str, work: str, amount: int, flight: int) -> dict[str, float]:
    """One round of one client: its rate, and the processor time for each byte, request or stream."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "sdk-python"),
        "POLYPEER_GATEWAY": socket,
        "POLYPEER_TOKEN": TOKEN,
    }
    command = [*CLIENTS[language], work, str(amount), str(flight)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=300, check=True)
    took: dict[str, float] = json.loads(done.stdout)
    return {"rate": amount / took["seconds"], "cpu": took["cpu"] / amount}


def measure(works: list[str], languages: list[str], rounds: int) -> dict[str, Any]:
    """The results by work and language. The languages take turns, so that a busy moment hits all."""
    with tempfile.TemporaryDirectory(prefix="pp-") as folder:
        socket = str(Path(folder) / "gateway")
        gateway = subprocess.Popen([BUILT / "release" / "gateway", socket], stdout=subprocess.PIPE, text=True)
        try:
            assert gateway.stdout is not None
            gateway.stdout.readline()
            return {work: _measure(work, languages, rounds, socket) for work in works}
        finally:
            gateway.kill()
            gateway.wait()


def _measure(name: str, languages: list[str], rounds: int, socket: str) -> dict[str, Any]:
    work, amount, flight, less = WORKS[name]
    samples: dict[str, list[dict[str, float]]] = {language: [] for language in languages}
    for _ in range(rounds):
        for language in languages:
            share = amount // (less if language == "python" else 1)
            samples[language].append(run(language, socket, work, share, flight))
    return {
        language: {key: statistics.median(each[key] for each in found) for key in ("rate", "cpu")} | {"samples": found}
        for language, found in samples.items()
    }


def main() -> int:
    """Measures what the command line names; everything by default."""
    parser = argparse.ArgumentParser()
    parser.add_argument("works", nargs="*", default=list(WORKS), metavar="WORK", help=f"of {', '.join(WORKS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--languages", default=",".join(CLIENTS), help="separated by commas")
    arguments = parser.parse_args()
    build()
    print(json.dumps(measure(arguments.works, arguments.languages.split(","), arguments.rounds), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
