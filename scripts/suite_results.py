"""Readers of test suites' results: how many tests passed, and which failed and why. run_tests.py calls the reader of
the suite's runner with the path of its log.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Failure:
    """A test that failed."""

    test: str
    # Its message, the most telling line first; may be empty.
    reason: list[str]


@dataclass
class Results:
    """Results of one suite's tests. `failures` may name fewer tests than `failed` counts."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[Failure] = field(default_factory=list)

    def __add__(self, other: Results) -> Results:
        return Results(
            self.passed + other.passed,
            self.failed + other.failed,
            self.skipped + other.skipped,
            self.failures + other.failures,
        )

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def cargo_results(log: Path) -> Results:
    """Reads the output of `cargo test`: one part for each test binary."""
    total = Results()
    # "Running tests/lan.rs (target/debug/deps/lan-0f3a)" or "Doc-tests polypeer_netcore" begins a part.
    begins = r"^ +(?:Running \S.* \(.*/(\S+)-\w+\)|(Doc-tests \S+))$"
    parts = re.split(begins, log.read_text(errors="replace"), flags=re.M)
    for at in range(1, len(parts), 3):
        binary, text = parts[at] or parts[at + 1], parts[at + 2]
        counts = r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored"
        for passed, failed, ignored in re.findall(counts, text, re.M):
            total += Results(int(passed), int(failed), int(ignored))
        # The first of two lists headed "failures:" holds the tests' output, the second one their names.
        for names in re.findall(r"^failures:\n((?:    .+\n)+)", text, re.M):
            for test in names.split("\n")[:-1]:
                total.failures.append(Failure(f"{binary} {test.strip()}", panic(text, test.strip())))
        # Without a result the binary crashed or was stopped; a test that cargo reported as slow may be the cause.
        if "\nrunning " in text and "\ntest result: " not in text:
            slow = re.findall(r"^test (.+) has been running for over", text, re.M)
            running = [test for test in slow if not re.search(rf"^test {re.escape(test)} \.\.\. ", text, re.M)]
            total.failed += 1
            total.failures.append(Failure(f"{binary} (no result)", [f"still running: {test}" for test in running]))
    return total


def panic(text: str, test: str) -> list[str]:
    """Returns a failed Rust test's message and its place, without the backtrace."""
    written = re.search(rf"^---- {re.escape(test)} stdout ----\n(.*?)(?=^---- |^failures:$)", text, re.M | re.S)
    if written is None:
        return []
    block = re.split(r"^(?:stack backtrace:|note: run with)", written[1], flags=re.M)[0]
    where, at, message = block.partition("panicked at ")
    return lines(at + message if at else where)


def go_results(log: Path) -> Results:
    """Counts top-level tests in the output of `go test -json`, and replaces the log by its readable text."""
    total, text = Results(), []
    written: defaultdict[str, list[str]] = defaultdict(list)
    for line in log.read_text(errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            text.append(line + "\n")
            continue
        output = event.get("Output", "")
        text.append(output)
        if "Test" not in event:
            continue
        test = event["Test"].split("/")[0]
        if not output.lstrip().startswith(("===", "---")):
            written[test].append(output)
        if test != event["Test"]:
            continue
        action = event["Action"]
        total += Results(action == "pass", action == "fail", action == "skip")
        if action == "fail":
            total.failures.append(Failure(test, lines("".join(written[test]))))
    log.write_text("".join(text))
    return total


def pytest_results(log: Path) -> Results:
    """Reads the JUnit file beside the log."""
    total = Results()
    report = log.with_suffix(".xml")
    if not report.exists():
        return total
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        failed = [child for child in case if child.tag in ("failure", "error")]
        skipped = case.find("skipped") is not None
        total += Results(not failed and not skipped, len(failed), skipped)
        for child in failed:
            test = f"{case.get('classname')}::{case.get('name')}"
            total.failures.append(Failure(test, lines(child.get("message", ""))))
    return total


def lines(text: str) -> list[str]:
    """Returns the non-empty lines, stripped."""
    return [line.strip() for line in text.splitlines() if line.strip()]
