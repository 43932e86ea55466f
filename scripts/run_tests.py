"""Runs the test suites one after another. Prints one line per suite, the tail of each failed suite's output, a table,
the failed tests with reasons, and last the counts. `make test` runs it in the virtual environment after the build.

    run_tests.py [SUITE…]     all suites, or only the named ones

A suite's output is kept in target/test-logs/SUITE.log. The status is 1 if a test failed or a suite did not run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from suite_results import Failure, Results, cargo_results, go_results, pytest_results

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "target" / "test-logs"
# Lines shown of a failed suite's output; the rest is in its log.
TAIL = 80
# Lines about failed tests at the very end: they fit a console that keeps only the last screen.
FAILURE_LINES = 20
# Most lines shown of one failed test, and most columns of a line.
REASON_LINES = 4
REASON_COLUMNS = 300
# Timeout of a suite. The longest one builds its test binaries first, and takes 8 min on two cores.
SUITE_TIMEOUT_S = 40 * 60


@dataclass
class Suite:
    """A command that runs tests, and the reader of its results."""

    name: str
    command: list[str]
    folder: Path
    read: Callable[[Path], Results]


def suites() -> list[Suite]:
    """Returns all suites, parts before the whole: a failure in a part is easier to locate."""
    found = [Suite("rust", ["cargo", "test", "--workspace", "--locked", "--no-fail-fast"], ROOT, cargo_results)]
    for name, folder in [("python-sdk", "sdk-python"), ("chat", "contrib/apps/chat"), ("bench", "bench/tests")]:
        found.append(pytest_suite(name, ROOT / folder))
    go = [("go-sdk", "sdk-go"), ("go-conformance", "sdk-go/internal/conformance"), ("files", "contrib/apps/files")]
    for name, folder in go:
        found.append(Suite(name, ["go", "test", "-json", "./..."], ROOT / folder, go_results))
    found.append(pytest_suite("end-to-end", ROOT / "tests"))
    return [suite for suite in found if any(has_tests(suite.folder))]


def has_tests(folder: Path) -> Iterator[Path]:
    """Yields files that a runner takes for tests."""
    for pattern in ("Cargo.toml", "**/test_*.py", "**/*_test.go"):
        yield from folder.glob(pattern)


def pytest_suite(name: str, folder: Path) -> Suite:
    """Makes the pytest suite of a folder."""
    report = LOGS / f"{name}.xml"
    command = [sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider", f"--junitxml={report}"]
    # Those take longer than 10 s each: `make test-faults`.
    command += ["-m", "not slow"]
    return Suite(name, command, folder, pytest_results)


def run(suite: Suite) -> Results:
    """Runs a suite. One that did not run to its end counts as at least one failure."""
    log = LOGS / f"{suite.name}.log"
    log.with_suffix(".xml").unlink(missing_ok=True)
    with log.open("wb") as out:
        # In its own process group: often not the runner hangs but a process that it started.
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
    results = suite.read(log)
    tail = log.read_text(errors="replace").splitlines()[-TAIL:]
    if (status != 0 or results.passed == 0) and results.failed == 0:
        results.failed = 1
        results.failures.append(Failure("(did not run to its end)", [line for line in tail if line][-REASON_LINES:]))
    if results.failed:
        print("\n".join(tail))
        print(f"  full log: {log.relative_to(ROOT)}")
    return results


def failure_report(failures: list[tuple[str, Failure]]) -> list[str]:
    """Names the failed tests, and shares the rest of FAILURE_LINES among their reasons."""
    shown = failures[:FAILURE_LINES]
    each = min(REASON_LINES, FAILURE_LINES // len(shown) - 1) if shown else 0
    report = []
    for suite, failure in shown:
        report.append(f"failed: {suite}: {failure.test}")
        report += [f"    {line[:REASON_COLUMNS]}" for line in failure.reason[:each]]
    if len(failures) > len(shown):
        report.append(f"and {len(failures) - len(shown)} more; see {LOGS.relative_to(ROOT)}")
    return report


def main() -> int:
    """Runs the suites named on the command line, or all."""
    wanted = sys.argv[1:]
    chosen = [suite for suite in suites() if not wanted or suite.name in wanted]
    unknown = set(wanted) - {suite.name for suite in chosen}
    if unknown:
        names = ", ".join(suite.name for suite in suites())
        print(f"unknown suite: {', '.join(sorted(unknown))}; suites: {names}", file=sys.stderr)
        return 2
    LOGS.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("POLYPEER_BIN", str(ROOT / "target" / "release"))

    ended: list[tuple[str, Results, float]] = []
    for suite in chosen:
        started = time.monotonic()
        results = run(suite)
        ended.append((suite.name, results, time.monotonic() - started))
        print(f"{suite.name}: {results}", flush=True)

    total = sum((results for _, results, _ in ended), Results())
    print(f"\n{'suite':<12} {'passed':>7} {'failed':>7} {'skipped':>8} {'seconds':>8}")
    for name, results, seconds in ended:
        print(f"{name:<12} {results.passed:>7} {results.failed:>7} {results.skipped:>8} {seconds:>8.1f}")
    print(f"{'all':<12} {total.passed:>7} {total.failed:>7} {total.skipped:>8} {sum(e[2] for e in ended):>8.1f}\n")
    for line in failure_report([(name, failure) for name, results, _ in ended for failure in results.failures]):
        print(line)
    print(total)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
