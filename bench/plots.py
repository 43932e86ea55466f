"""Draws the ratios of all figures as one SVG: a bar from 1 (as good as the peer) to what was measured, on a logarithmic
axis, green where ours is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from pathlib import Path

from results import Entry
from runner import ROOT

PICTURE = ROOT / "docs" / "performance.svg"
ROW = 18
LEFT, WIDTH, RIGHT = 250, 480, 90
# The axis ends at a ratio of 32, and of 1 ÷ 32; what is beyond is drawn to the end and has its number beside it.
OCTAVES = 5
GOOD, BAD, GREY = "#2a8a4a", "#b5472f", "#888888"


def place(ratio: float) -> float:
    """The place of a ratio on the axis, pixels."""
    octaves = max(-OCTAVES, min(OCTAVES, math.log2(ratio)))
    return LEFT + WIDTH * (octaves + OCTAVES) / (2 * OCTAVES)


def bars(figures: Mapping[str, Entry]) -> list[tuple[str, float, bool]]:
    """What is drawn: a label, the ratio, and whether ours is at least as good."""
    found = []
    for name, measured in figures.items():
        for peer, ratio in measured["ratio"].items():
            if ratio:
                better = ratio >= 1 if measured["better"] == "more" else ratio <= 1
                found.append((f"{name} / {peer}", ratio, better))
    return found


def svg(figures: Mapping[str, Entry]) -> str:
    """The picture as text."""
    drawn = bars(figures)
    height = ROW * (len(drawn) + 2)
    whole = LEFT + WIDTH + RIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {height}" font-family="sans-serif"',
        ' font-size="12">',
        f'<rect width="{whole}" height="{height}" fill="white"/>',
    ]
    for octave in range(-OCTAVES, OCTAVES + 1):
        x = place(2.0**octave)
        label = f"{2**octave}" if octave >= 0 else f"1/{2**-octave}"
        stroke = "#444444" if octave == 0 else "#dddddd"
        lines.append(f'<line x1="{x:.1f}" y1="{ROW}" x2="{x:.1f}" y2="{height - ROW}" stroke="{stroke}"/>')
        lines.append(f'<text x="{x:.1f}" y="{ROW - 5}" text-anchor="middle" fill="{GREY}">{label}</text>')
    for at, (label, ratio, better) in enumerate(drawn):
        y = ROW * (at + 1)
        start, stop = sorted((place(1), place(ratio)))
        fill = GOOD if better else BAD
        lines.append(f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>')
        lines.append(
            f'<rect x="{start:.1f}" y="{y + 3}" width="{max(1.0, stop - start):.1f}" height="{ROW - 6}" fill="{fill}"/>'
        )
        lines.append(f'<text x="{LEFT + WIDTH + 8}" y="{y + 13}">{ratio:.3g}</text>')
    lines.append(f'<text x="{LEFT}" y="{height - 5}" fill="{GREY}">ours ÷ peer; green: ours is better</text>')
    return "\n".join([*lines, "</svg>", ""])


def write(figures: Mapping[str, Entry], picture: Path = PICTURE) -> None:
    """Draws the picture."""
    picture.write_text(svg(figures))
