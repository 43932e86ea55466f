"""The table and the picture that are written from results.json."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import plots
import pytest
import results
import tables

LOAD = {"noisy_rounds": 1, "rounds": []}
ABOUT = {"title": "bulk, one stream", "unit": "Gbit/s", "better": "more"}
ENTRY = results.entry(ABOUT, {"ours": [4.0, 6.0], "quinn": [10.0, 10.0]}, {"iroh": "not built"}, LOAD, "c0ffee")


def test_row_has_ratio_rounds_and_noise() -> None:
    assert tables.row("bulk", ENTRY) == (
        "| `bulk`: bulk, one stream, Gbit/s | 5 | quinn 10 (**0.5**) | 2, ± 20 %, 1 noisy |"
    )


def test_what_was_left_out_is_named_with_its_figures() -> None:
    assert tables.notes({"bulk": ENTRY, "local": ENTRY}) == ["- iroh: not built (`bulk`, `local`)"]


def test_page_warns_of_noisy_rounds_only() -> None:
    rounds = {"noisy_rounds": 1, "rounds": [{"noisy": True}, {"noisy": False}]}
    assert "**1 of 2 rounds were noisy**" in tables.table({"bulk": {**ENTRY, "load": rounds}})
    assert "were noisy" not in tables.table(
        {"bulk": {**ENTRY, "load": {"noisy_rounds": 0, "rounds": [{"noisy": False}]}}}
    )


def test_page_changes_between_its_marks_only() -> None:
    page = f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n"
    assert tables.insert(page, "new") == f"before\n{tables.BEGIN}\n\nnew\n\n{tables.END}\nafter\n"


def test_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="marks"):
        tables.insert("text", "new")


@pytest.mark.parametrize(("better", "good"), [("more", False), ("less", True)])
def test_bar_knows_what_is_better(better: str, good: bool) -> None:
    assert plots.bars({"bulk": {**ENTRY, "better": better}}) == [("bulk / quinn", 0.5, good)]


def test_picture_is_xml_even_for_ratios_beyond_the_axis() -> None:
    entry = results.entry(ABOUT, {"ours": [1.0], "<quinn>": [1e9]}, {}, LOAD, "c0ffee")
    ElementTree.fromstring(plots.svg({"bulk": entry}))
