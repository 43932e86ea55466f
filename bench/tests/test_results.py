"""What results.json says follows from its samples, and one figure measured again leaves the others alone."""

from __future__ import annotations

from pathlib import Path

import results

ABOUT = {"title": "bulk", "unit": "Gbit/s", "better": "more"}


def measured(**samples: list[float]) -> results.Entry:
    return results.entry(ABOUT, samples, {}, {"noisy_rounds": 0}, "c0ffee")


def test_entry_has_medians_and_ratios() -> None:
    entry = measured(ours=[2.0, 9.0, 3.0], quinn=[6.0, 4.0, 5.0])
    assert (entry["ours"], entry["against"], entry["ratio"], entry["runs"]) == (3.0, {"quinn": 5.0}, {"quinn": 0.6}, 3)
    assert entry["spread"] == {"ours": 2.333, "quinn": 0.4}


def test_side_without_samples_has_no_value() -> None:
    entry = results.entry(ABOUT, {"ours": [1.0], "iroh": []}, {"iroh": "not built"}, {}, "c0ffee")
    assert entry["against"] == {} and entry["ratio"] == {} and entry["missing"] == {"iroh": "not built"}


def test_ours_missing_leaves_the_ratio_open() -> None:
    entry = measured(ours=[], quinn=[5.0])
    assert entry["ours"] is None and entry["ratio"] == {"quinn": None}


def test_peer_of_zero_has_no_ratio() -> None:
    assert measured(ours=[1.0], quinn=[0.0])["ratio"] == {"quinn": None}


def test_untouched_entry_has_no_problem() -> None:
    assert results.problems({"bulk": measured(ours=[1 / 3, 2 / 3, 0.77777], quinn=[1 / 7, 1 / 9])}) == []


def test_ratio_that_its_samples_do_not_give_is_found() -> None:
    entry = measured(ours=[2.0], quinn=[4.0])
    entry["ratio"]["quinn"] = 1.1
    (line,) = results.problems({"bulk": entry})
    assert line.startswith("bulk: ratio")


def test_sample_changed_afterwards_is_found() -> None:
    entry = measured(ours=[2.0, 3.0, 4.0], quinn=[4.0])
    entry["samples"]["ours"] = [5.0, 6.0, 7.0]
    assert {line.split()[1] for line in results.problems({"bulk": entry})} == {"ours", "ratio", "spread"}


def test_figure_measured_again_replaces_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    first, second, again = measured(ours=[1.0]), measured(ours=[2.0]), measured(ours=[3.0])
    results.store("bulk", first, path)
    results.store("local", second, path)
    results.store("bulk", again, path)
    assert results.read(path) == {"bulk": again, "local": second}
