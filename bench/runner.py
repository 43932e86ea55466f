"""Measures a figure: its sides take turns, round by round, so that a busy moment hits all of them. A side that fails is
left out, with the reason, and the others go on. So does the next figure when one fails as a whole.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

import results
from machine import Round
from results import OURS, Entry

ROOT = Path(__file__).resolve().parent.parent

# Takes one sample, in the figure's unit.
Sample = Callable[[], float]
# Starts what is measured, to be stopped when the stack is left, and returns what takes samples of it.
Side = Callable[[contextlib.ExitStack], Sample]


class Missing(Exception):
    """A side cannot be measured here; the text says what it lacks."""


@dataclass(frozen=True)
class Figure:
    """Something that is measured, ours and on peers."""

    title: str
    unit: str
    better: str  # "more" or "less"
    sides: Mapping[str, Side] = field(default_factory=dict)
    rounds: int = 5
    # Whether a round samples all sides at once: for what takes a minute in which nothing happens.
    at_once: bool = False
    # Starts what must run beside all sides.
    before: Optional[Callable[[contextlib.ExitStack], None]] = None


def missing(why: str) -> Side:
    """A side that cannot be measured anywhere yet."""

    def side(_: contextlib.ExitStack) -> Sample:
        raise Missing(why)

    return side


def say(text: str) -> None:
    """Tells the person at the terminal."""
    print(text, file=sys.stderr, flush=True)


class Run:
    """One measurement of a figure."""

    def __init__(self, name: str, figure: Figure, rounds: int) -> None:
        """Prepares it; starts nothing."""
        self.name = name
        self.figure = figure
        self.rounds = rounds
        self.samples: dict[str, list[float]] = {side: [] for side in figure.sides}
        self.missing: dict[str, str] = {}
        # What is started for a side.
        self.started: dict[str, contextlib.ExitStack] = {}
        self.load: list[dict[str, object]] = []

    def give_up(self, side: str, error: BaseException) -> None:
        """Leaves a side out from now on and stops it. What it has given so far would be compared with other rounds."""
        self.missing[side] = reason(error)
        self.samples[side] = []
        say(f"  {side}: left out: {self.missing[side]}")
        if side in self.started:
            stop(side, self.started[side])

    def measure(self) -> Entry:
        """Runs all rounds and returns the entry for results.json."""
        say(f"{self.name}: {self.figure.title}, {self.rounds} rounds")
        with contextlib.ExitStack() as stack:
            ready = self.start(stack)
            for number in range(self.rounds if ready else 0):
                around = Round()
                self.round(ready, number)
                self.load.append(around.end())
        noisy = sum(bool(each["noisy"]) for each in self.load)
        about = {key: getattr(self.figure, key) for key in ("title", "unit", "better")}
        load = {"noisy_rounds": noisy, "rounds": self.load}
        measured = results.entry(about, self.samples, self.missing, load, commit())
        say(f"  {summary(measured)}{f'; {noisy} noisy rounds' if noisy else ''}")
        return measured

    def start(self, stack: contextlib.ExitStack) -> dict[str, Sample]:
        """Starts all sides that can be started; none if what runs beside them cannot be."""
        ready: dict[str, Sample] = {}
        try:
            if self.figure.before:
                self.figure.before(held(stack, "what runs beside"))
        except Exception as error:  # the next figures are measured
            for name in self.figure.sides:
                self.give_up(name, error)
            return ready
        for name, side in self.figure.sides.items():
            self.started[name] = held(stack, name)
            try:
                ready[name] = side(self.started[name])
            except Exception as error:  # whatever a contender does, the others are measured
                self.give_up(name, error)
        return ready

    def round(self, ready: Mapping[str, Sample], number: int) -> None:
        """Takes one sample of each side. Another side begins each round, so that ours is not always the first."""
        sides = [side for side in ready if side not in self.missing]
        first = number % max(1, len(sides))
        sides = sides[first:] + sides[:first]
        with ThreadPoolExecutor(len(sides) or 1 if self.figure.at_once else 1) as pool:
            taken = {side: pool.submit(ready[side]) for side in sides}
            for side, sample in taken.items():
                try:
                    self.samples[side].append(sample.result())
                except Exception as error:  # as above
                    self.give_up(side, error)


def held(stack: contextlib.ExitStack, name: str) -> contextlib.ExitStack:
    """A stack of its own that is stopped with `stack` at the latest."""
    own = contextlib.ExitStack()
    stack.callback(stop, name, own)
    return own


def stop(name: str, own: contextlib.ExitStack) -> None:
    """Stops what a stack holds. What fails then is told, and takes nothing from what was measured."""
    try:
        own.close()
    except Exception as error:
        say(f"  {name}: not stopped in order: {reason(error)}")


def reason(error: BaseException) -> str:
    """One line that says why something failed."""
    text = str(error).strip() or type(error).__name__
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("hint:")] or [text]
    return (lines[0] if isinstance(error, Missing) else f"failed: {lines[-1]}")[:300]


def summary(measured: Entry) -> str:
    """One line for the terminal."""
    parts = [f"ours {measured[OURS]} {measured['unit']}"]
    parts += [f"{peer} {value} ({measured['ratio'][peer]})" for peer, value in measured["against"].items()]
    return ", ".join(parts)


def commit() -> str:
    """The commit that is measured, with `+` when files differ from it."""
    git = ["git", "-C", str(ROOT)]
    try:
        name = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], check=True, capture_output=True, text=True)
        changed = subprocess.run([*git, "status", "--porcelain"], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    written = ("bench/results.json", "docs/performance.md", "docs/performance.svg")
    others = [line for line in changed.stdout.splitlines() if not line.endswith(written)]
    return name.stdout.strip() + ("+" if others else "")


def measure(name: str, figure: Figure, rounds: int) -> None:
    """Measures a figure and stores it. A figure that fails as a whole is stored with the reason."""
    started = time.monotonic()
    run = Run(name, figure, rounds)
    results.store(name, run.measure())
    say(f"  {time.monotonic() - started:.0f} s")
