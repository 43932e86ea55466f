"""A side that fails is left out with its reason; the others are measured."""

from __future__ import annotations

import contextlib

import machine
import pytest
import runner
from runner import Figure, Missing, Run, Sample, Side


@pytest.fixture(autouse=True)
def no_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LOOK_S", 0.0)


def gives(*values: float) -> Side:
    def side(_: contextlib.ExitStack) -> Sample:
        left = iter(values)
        return lambda: next(left)

    return side


def notes(events: list[str], event: str) -> Side:
    def sample() -> float:
        events.append(event)
        return 1.0

    return lambda _: sample


def broken(_: contextlib.ExitStack) -> Sample:
    raise OSError("no such program")


def measure(rounds: int = 2, at_once: bool = False, **sides: Side) -> dict[str, object]:
    return Run("test", Figure("title", "s", "less", sides, at_once=at_once), rounds).measure()


@pytest.mark.parametrize("at_once", [False, True])
def test_each_round_samples_each_side(at_once: bool) -> None:
    assert measure(at_once=at_once, ours=gives(1, 2), quinn=gives(3, 4))["samples"] == {"ours": [1, 2], "quinn": [3, 4]}


def test_side_that_does_not_start_is_left_out() -> None:
    entry = measure(ours=gives(1, 2), quinn=broken)
    assert entry["missing"] == {"quinn": "failed: no such program"} and entry["samples"] == {"ours": [1, 2]}


def test_side_that_fails_in_a_later_round_gives_nothing() -> None:
    entry = measure(ours=gives(1, 2), quinn=gives(3))
    assert entry["missing"] == {"quinn": "failed: StopIteration"} and entry["samples"] == {"ours": [1, 2]}


def test_what_is_missing_says_what_it_lacks() -> None:
    assert measure(ours=runner.missing("not built: x"))["missing"] == {"ours": "not built: x"}
    assert runner.reason(Missing("no runit here")) == "no runit here"


def test_reason_is_the_last_line_that_is_no_hint() -> None:
    assert runner.reason(OSError("send ended with 3\nerror: no daemon runs\nhint: start one")) == (
        "failed: error: no daemon runs"
    )


def test_what_was_started_is_stopped_also_when_starting_fails() -> None:
    stopped: list[str] = []

    def half(stack: contextlib.ExitStack) -> Sample:
        stack.callback(stopped.append, "server")
        raise OSError("the driver does not start")

    measure(ours=half)
    assert stopped == ["server"]


def test_another_side_begins_each_round() -> None:
    order: list[str] = []

    measure(3, ours=notes(order, "ours"), quinn=notes(order, "quinn"), iroh=notes(order, "iroh"))
    assert order == ["ours", "quinn", "iroh", "quinn", "iroh", "ours", "iroh", "ours", "quinn"]


def test_side_that_is_left_out_is_stopped_before_the_others_go_on() -> None:
    events: list[str] = []

    def fails(stack: contextlib.ExitStack) -> Sample:
        stack.callback(events.append, "stopped")
        return gives()(stack)

    measure(ours=notes(events, "round"), quinn=fails)
    assert events == ["round", "stopped", "round"]


def test_failure_at_the_end_of_a_side_is_told_and_keeps_its_samples(capsys: pytest.CaptureFixture[str]) -> None:
    def stuck(stack: contextlib.ExitStack) -> Sample:
        stack.callback(broken, stack)
        return gives(1, 2)(stack)

    entry = measure(ours=stuck)
    assert entry["samples"] == {"ours": [1, 2]} and entry["missing"] == {}
    assert "ours: not stopped in order: failed: no such program" in capsys.readouterr().err


def test_figure_whose_surroundings_do_not_start_leaves_all_sides_out() -> None:
    def before(stack: contextlib.ExitStack) -> None:
        broken(stack)

    sides = {"ours": gives(1), "quinn": gives(2)}
    entry = Run("test", Figure("title", "s", "less", sides, before=before), 1).measure()
    assert entry["missing"] == dict.fromkeys(sides, "failed: no such program") and entry["runs"] == 0


def test_share_of_busy_processors() -> None:
    before = machine.parse_ticks("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 …")
    after = machine.parse_ticks("cpu  150 0 120 900 10 0 10 10 0 0\n")
    assert after.busy_since(before) == pytest.approx(80 / 200)
    assert after.stolen_since(before) == pytest.approx(10 / 200)
