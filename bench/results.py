"""`results.json`: what was measured. An entry of a figure holds

title, unit       what it is; `better` says whether more or less is
ours, against     medians of all rounds, ours and by peer
ratio             ours ÷ peer, by peer
samples           what each round gave, by side; `ours` is a side
spread            (largest - smallest) ÷ median of the samples, by side
runs              number of rounds
missing           why a side has no value, by side
commit, load      what was measured, and how busy the machine was around each round
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

RESULTS = Path(__file__).resolve().parent / "results.json"
OURS = "ours"
# Values are kept to so many significant digits.
DIGITS = 4

Samples = Mapping[str, Sequence[float]]
Entry = dict[str, Any]


def rounded(value: float) -> float:
    """Rounds to DIGITS significant digits."""
    return value if value == 0 or not math.isfinite(value) else float(f"{value:.{DIGITS}g}")


def median(samples: Sequence[float]) -> Optional[float]:
    """The median, or None without samples."""
    return rounded(statistics.median(samples)) if samples else None


def spread(samples: Sequence[float]) -> Optional[float]:
    """How far samples lie apart: (largest - smallest) ÷ median; None without a median to compare with."""
    middle = statistics.median(samples) if samples else 0
    return rounded((max(samples) - min(samples)) / abs(middle)) if middle else None


def ratios(samples: Samples) -> dict[str, Optional[float]]:
    """Ours ÷ peer for each peer, of medians; None where one of the two is missing or the peer's is zero."""
    ours = samples.get(OURS, [])
    found: dict[str, Optional[float]] = {}
    for peer, theirs in samples.items():
        if peer != OURS:
            whole = statistics.median(theirs) if theirs else 0
            found[peer] = rounded(statistics.median(ours) / whole) if ours and whole else None
    return found


def entry(about: Mapping[str, str], samples: Samples, missing: Mapping[str, str], load: Entry, commit: str) -> Entry:
    """Makes a figure's entry from what was measured. Sides without a sample are in `missing` alone."""
    kept = {side: [rounded(value) for value in values] for side, values in samples.items() if values}
    return {
        **about,
        OURS: median(kept.get(OURS, [])),
        "against": {peer: median(values) for peer, values in kept.items() if peer != OURS},
        "ratio": ratios(kept),
        "runs": max((len(values) for values in kept.values()), default=0),
        "spread": {side: spread(values) for side, values in kept.items()},
        "samples": kept,
        "missing": dict(missing),
        "commit": commit,
        "load": load,
    }


def read(path: Path = RESULTS) -> dict[str, Entry]:
    """Reads all figures; none when the file does not exist."""
    if not path.exists():
        return {}
    found: dict[str, Entry] = json.loads(path.read_text())
    return found


def store(figure: str, measured: Entry, path: Path = RESULTS) -> None:
    """Replaces one figure and keeps the others."""
    everything = {**read(path), figure: measured}
    whole = path.with_suffix(".new")
    whole.write_text(json.dumps(everything, indent=1, ensure_ascii=False) + "\n")
    whole.replace(path)


def problems(figures: Mapping[str, Entry]) -> list[str]:
    """Returns one line for each value that its samples do not give."""
    found = []
    for name, kept in figures.items():
        samples = kept["samples"]
        wanted = {
            OURS: median(samples.get(OURS, [])),
            "against": {peer: median(values) for peer, values in samples.items() if peer != OURS},
            "ratio": ratios(samples),
            "spread": {side: spread(values) for side, values in samples.items()},
        }
        for key, value in wanted.items():
            if kept[key] != value:
                found.append(f"{name}: {key} is {kept[key]}, its samples give {value}")
    return found
