"""Writes what was measured into docs/performance.md, between two marks; nothing else of the page is touched."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Optional

from results import OURS, Entry
from runner import ROOT

PAGE = ROOT / "docs" / "performance.md"
BEGIN = "<!-- written by `make bench` -->"
END = "<!-- end of what `make bench` writes -->"


def number(value: Optional[float]) -> str:
    """A value for people: three significant digits, thousands separated."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def cell(measured: Entry, peer: str) -> str:
    """A peer's value and the ratio ours ÷ peer."""
    ratio = measured["ratio"].get(peer)
    return f"{peer} {number(measured['against'][peer])} (**{number(ratio)}**)"


def row(name: str, measured: Entry) -> str:
    """The table's row of a figure."""
    peers = "; ".join(cell(measured, peer) for peer in measured["against"]) or "-"
    widest = max((value for value in measured["spread"].values() if value is not None), default=0)
    noisy = measured["load"].get("noisy_rounds", 0)
    runs = f"{measured['runs']}, ± {widest * 50:.0f} %" + (f", {noisy} noisy" if noisy else "")
    title = f"`{name}`: {measured['title']}, {measured['unit']}"
    return f"| {title} | {number(measured[OURS])} | {peers} | {runs} |"


def notes(figures: Mapping[str, Entry]) -> list[str]:
    """Why sides have no value, one line for each reason."""
    found: dict[str, list[str]] = {}
    for name, measured in figures.items():
        for side, why in measured["missing"].items():
            found.setdefault(f"{side}: {why}", []).append(f"`{name}`")
    return [f"- {what} ({', '.join(names)})" for what, names in found.items()]


def table(figures: Mapping[str, Entry]) -> str:
    """What stands between the marks."""
    commits = sorted({measured["commit"] for measured in figures.values()})
    rounds = [each for measured in figures.values() for each in measured["load"].get("rounds", [])]
    noisy = sum(bool(each["noisy"]) for each in rounds)
    lines = [
        "Medians of interleaved rounds; in brackets ours ÷ the peer's. The last column: rounds, how far the samples",
        f"of the widest side lie apart, and rounds in which the machine was noisy. Measured at {', '.join(commits)}.",
        *([f"**{noisy} of {len(rounds)} rounds were noisy**: the machine had other work."] if noisy else []),
        "",
        "| figure | ours | peers (ratio) | rounds |",
        "| --- | --- | --- | --- |",
        *(row(name, measured) for name, measured in figures.items()),
    ]
    left_out = notes(figures)
    if left_out:
        lines += ["", "Not measured:", "", *left_out]
    lines += ["", "![Ratios of all figures](performance.svg)"]
    return "\n".join(lines)


def insert(page: str, text: str) -> str:
    """Returns the page with the text between its marks. Raises ValueError if they are not there."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks the marks {BEGIN} and {END}")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"


def write(figures: Mapping[str, Entry], page: Path = PAGE) -> None:
    """Writes the table into the page."""
    page.write_text(insert(page.read_text(), table(figures)))
