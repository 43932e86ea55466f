"""Benchmark: Polypeer against plain QUIC (quinn) on this machine. Both do the same work in turn, for a few rounds; the
table shows the median of each and their ratio.

bulk       one stream from a plugin to its twin on another node, through both gateways and both network cores
requests   requests of 32 bytes with replies of 32 bytes, one after another
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from harness import Node  # noqa: E402
from toolbox import Toolbox  # noqa: E402

BUILT = HERE / "target" / "release"
ROUNDS = 5
BULK_BYTES = 1 << 30
REQUESTS = 2000

Run = Callable[[str, int], "list[float]"]


def plain(address: str) -> Run:
    """Returns what runs the work on plain quinn."""

    def run(work: str, amount: int) -> list[float]:
        done = subprocess.run([BUILT / "plain", work, address, str(amount)], check=True, capture_output=True, text=True)
        seconds: list[float] = json.loads(done.stdout)
        return seconds

    return run


def polypeer(box: Toolbox, peer: str) -> Run:
    """Returns what runs the work between two plugins."""

    def run(work: str, amount: int) -> list[float]:
        seconds: list[float] = box.do(work, timeout_s=120, peer=peer, amount=amount)
        return seconds

    return run


def compare(work: str, amount: int, runs: dict[str, Run]) -> dict[str, list[float]]:
    """Returns the seconds of all rounds, by name. The two take turns, so that a busy moment hits both."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            seconds[name] += run(work, amount)
    return seconds


def print_line(name: str, values: dict[str, float], unit: str, ratio: float) -> None:
    """Prints one line of the table."""
    print(f"{name:<34} {values['plain']:>10.1f} {values['polypeer']:>10.1f} {unit:<6} {ratio:>6.2f}")


def measure(runs: dict[str, Run]) -> None:
    """Measures both kinds of work and prints the table. The ratio is Polypeer's figure divided by plain QUIC's."""
    print(f"{'':<34} {'plain QUIC':>10} {'polypeer':>10} {'':<6} {'ratio':>6}")
    bulk = compare("bulk", BULK_BYTES, runs)
    speed = {name: BULK_BYTES / 1e6 / statistics.median(seconds) for name, seconds in bulk.items()}
    print_line(f"bulk, 1 GiB, median of {ROUNDS}", speed, "MB/s", speed["polypeer"] / speed["plain"])
    trips = compare("requests", REQUESTS, runs)
    for share, name in ((50, "median"), (99, "99th percentile")):
        found = {who: statistics.quantiles(seconds, n=100)[share - 1] * 1e6 for who, seconds in trips.items()}
        print_line(f"request of 32 bytes, {name}", found, "µs", found["polypeer"] / found["plain"])


def main() -> int:
    """Starts two nodes and a plain server, measures, and stops them."""
    server = subprocess.Popen([BUILT / "plain", "serve"], stdout=subprocess.PIPE, text=True)
    with tempfile.TemporaryDirectory(prefix="pp-") as folder:
        nodes = [Node(Path(folder) / name) for name in ("a", "b")]
        try:
            assert server.stdout is not None
            address = server.stdout.readline().strip()
            plugin = Path(shutil.copytree(HERE / "plugin", Path(folder) / "bench"))
            shutil.copy(BUILT / "plugin", plugin)
            for node in nodes:
                node.start().install(plugin)
            nodes[0].meet(nodes[1])
            box = Toolbox(nodes[0], "bench").ready()
            measure({"plain": plain(address), "polypeer": polypeer(box, nodes[1].id)})
        finally:
            server.kill()
            server.wait()
            for node in nodes:
                node.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
