"""Measures this project and its peers on this machine, one figure after another:

    bench.py [FIGURE…]      all figures, or the named ones, which replace those in results.json; then the pages
    bench.py --check        recomputes every value in results.json from its samples; fails when one differs
    bench.py --write        writes the pages from results.json
    bench.py --list         what can be measured

`--rounds N` takes N rounds of each figure instead of its own number. `make bench` builds everything first.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time

import machine
import plots
import results
import tables
from catalog import FIGURES
from runner import measure, say


def check() -> int:
    """Checks results.json against its samples."""
    figures = results.read()
    found = results.problems(figures)
    for line in found:
        print(line)
    print(f"{len(figures)} figures, {len(found)} values that their samples do not give")
    return 1 if found or not figures else 0


def write() -> None:
    """Writes the table and the picture, figures in their order."""
    kept = results.read()
    figures = {name: kept[name] for name in FIGURES if name in kept}
    tables.write(figures)
    plots.write(figures)


def main() -> int:
    """Runs what the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("figures", nargs="*", metavar="FIGURE")
    parser.add_argument("--rounds", type=int, help="rounds of each figure")
    for option in ("check", "write", "list"):
        parser.add_argument(f"--{option}", action="store_true")
    options = parser.parse_args()
    unknown = [name for name in options.figures if name not in FIGURES]
    if unknown:
        parser.error(f"no figure is called {', '.join(unknown)}; figures: {', '.join(FIGURES)}")
    if options.check:
        return check()
    if options.list:
        for name, figure in FIGURES.items():
            print(f"{name:<22} {figure.title} ({figure.unit}); {', '.join(figure.sides)}")
        return 0
    if not options.write:
        machine.adopt_orphans()
        # What was started is stopped, as after Ctrl-C.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        started = time.monotonic()
        for name in options.figures or FIGURES:
            measure(name, FIGURES[name], options.rounds or FIGURES[name].rounds)
        say(f"all in {(time.monotonic() - started) / 60:.1f} min")
    write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
