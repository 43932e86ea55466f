"""Runs the test suites one after another and sums them up: one line per suite, the tail of whatever failed, a table,
and last the counts. `make test` calls it in the virtual environment, after the build.

    run_tests.py [SUITE…]     all suites, or only the named ones

What a suite printed is kept in target/test-logs/SUITE.log. The status is 1 if any test failed or a suite did not run.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "target" / "test-logs"
# Lines of a failed suite's output that are shown; the rest is in its log.
TAIL = 80
# A suite that has said its last word by then hangs.
SUITE_TIMEOUT_S = 20 * 60


@dataclass
class Counts:
    """How the tests of one suite ended."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


@dataclass
class Suite:
    """One command that runs tests, and how to read its counts off what it left behind."""

    name: str
    command: list[str]
    folder: Path
    count: Callable[[Path], Counts]


def cargo_counts(log: Path) -> Counts:
    """Sums the `test result:` lines, one for each test binary."""
    total = Counts()
    pattern = r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored"
    for passed, failed, ignored in re.findall(pattern, log.read_text(errors="replace"), re.MULTILINE):
        total += Counts(int(passed), int(failed), int(ignored))
    return total


def go_counts(log: Path) -> Counts:
    """Counts top-level tests in the output of `go test -json`, and turns the log into the text a person reads."""
    total, text = Counts(), []
    for line in log.read_text(errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            text.append(line + "\n")
            continue
        text.append(event.get("Output", ""))
        test = event.get("Test")
        if test is None or "/" in test:
            continue
        action = event["Action"]
        total += Counts(action == "pass", action == "fail", action == "skip")
    log.write_text("".join(text))
    return total


def pytest_counts(log: Path) -> Counts:
    """Reads the JUnit file that lies beside the log."""
    total = Counts()
    report = log.with_suffix(".xml")
    if not report.exists():
        return total
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        number = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
        failed = number["failures"] + number["errors"]
        total += Counts(number["tests"] - failed - number["skipped"], failed, number["skipped"])
    return total


def suites() -> list[Suite]:
    """All suites, quickest to blame first: parts before the whole."""
    found = [Suite("rust", ["cargo", "test", "--workspace", "--locked", "--no-fail-fast"], ROOT, cargo_counts)]
    for name, folder in [("python-sdk", "sdk-python"), ("chat", "contrib/apps/chat")]:
        found.append(pytest_suite(name, ROOT / folder))
    go = [("go-sdk", "sdk-go"), ("go-conformance", "sdk-go/internal/conformance"), ("files", "contrib/apps/files")]
    for name, folder in go:
        found.append(Suite(name, ["go", "test", "-json", "./..."], ROOT / folder, go_counts))
    found.append(pytest_suite("end-to-end", ROOT / "tests"))
    return [suite for suite in found if any(has_tests(suite.folder))]


def has_tests(folder: Path) -> Iterator[Path]:
    """Files a runner would take for tests."""
    for pattern in ("Cargo.toml", "**/test_*.py", "**/*_test.go"):
        yield from folder.glob(pattern)


def pytest_suite(name: str, folder: Path) -> Suite:
    """The pytest suite in a folder."""
    report = LOGS / f"{name}.xml"
    command = [sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider", f"--junitxml={report}"]
    return Suite(name, command, folder, pytest_counts)


def run(suite: Suite) -> Counts:
    """Runs one suite. A suite that did not run to its end counts as one failure at least."""
    log = LOGS / f"{suite.name}.log"
    log.with_suffix(".xml").unlink(missing_ok=True)
    with log.open("wb") as out:
        # A group of its own: what hangs is often not the runner but what it started.
        process = subprocess.Popen(
            suite.command,
            cwd=suite.folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            status = process.wait(SUITE_TIMEOUT_S)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            status = -1
            out.write(f"\nstopped after {SUITE_TIMEOUT_S} s\n".encode())
    counts = suite.count(log)
    if (status != 0 or counts.passed == 0) and counts.failed == 0:
        counts.failed = 1
    if counts.failed:
        print("".join(log.read_text(errors="replace").splitlines(keepends=True)[-TAIL:]))
        print(f"  all of it: {log.relative_to(ROOT)}")
    return counts


def main() -> int:
    """Runs the suites named on the command line, or all."""
    wanted = sys.argv[1:]
    chosen = [suite for suite in suites() if not wanted or suite.name in wanted]
    unknown = set(wanted) - {suite.name for suite in chosen}
    if unknown:
        names = ", ".join(suite.name for suite in suites())
        print(f"no suite is called {', '.join(sorted(unknown))}; there are: {names}", file=sys.stderr)
        return 2
    LOGS.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("POLYPEER_BIN", str(ROOT / "target" / "release"))

    results: list[tuple[str, Counts, float]] = []
    for suite in chosen:
        started = time.monotonic()
        counts = run(suite)
        results.append((suite.name, counts, time.monotonic() - started))
        print(f"{suite.name}: {counts}", flush=True)

    total = sum((counts for _, counts, _ in results), Counts())
    print(f"\n{'suite':<12} {'passed':>7} {'failed':>7} {'skipped':>8} {'seconds':>8}")
    for name, counts, seconds in results:
        print(f"{name:<12} {counts.passed:>7} {counts.failed:>7} {counts.skipped:>8} {seconds:>8.1f}")
    print(f"{'all':<12} {total.passed:>7} {total.failed:>7} {total.skipped:>8} {sum(r[2] for r in results):>8.1f}\n")
    print(total)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
