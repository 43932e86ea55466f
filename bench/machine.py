"""What the kernel tells of the machine and of processes: how busy it is, processor time, memory. Linux only."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

# A round is noisy when, just before it, others kept this share of all processors busy, or when the host took this share
# of them away during it.
NOISY_BUSY = 0.08
NOISY_STEAL = 0.02
# How long to look at the machine before a round, in which nothing that is measured works.
LOOK_S = 0.4


@dataclass(frozen=True)
class Ticks:
    """Processor time of the whole machine since its start, in clock ticks."""

    busy: int
    stolen: int
    all: int

    def busy_since(self, earlier: Ticks) -> float:
        """Share of the processors that worked since then, 0 to 1."""
        return (self.busy - earlier.busy) / max(1, self.all - earlier.all)

    def stolen_since(self, earlier: Ticks) -> float:
        """Share of the processors that the host took away since then, 0 to 1."""
        return (self.stolen - earlier.stolen) / max(1, self.all - earlier.all)


def parse_ticks(stat: str) -> Ticks:
    """Reads the first line of `/proc/stat`: user nice system idle iowait irq softirq steal."""
    numbers = [int(word) for word in stat.split("\n", 1)[0].split()[1:9]]
    idle, stolen = numbers[3] + numbers[4], numbers[7]
    return Ticks(sum(numbers) - idle - stolen, stolen, sum(numbers))


def ticks() -> Ticks:
    """Processor time of the machine until now."""
    return parse_ticks(Path("/proc/stat").read_text())


class Round:
    """How busy the machine was around one round."""

    def __init__(self) -> None:
        """Looks at the machine just before the round; takes LOOK_S."""
        before = ticks()
        time.sleep(LOOK_S)
        self._start = ticks()
        self._busy = self._start.busy_since(before)

    def end(self) -> dict[str, object]:
        """Returns what results.json keeps of the round."""
        stolen = ticks().stolen_since(self._start)
        noisy = self._busy > NOISY_BUSY or stolen > NOISY_STEAL
        return {
            "busy_before": round(self._busy, 3),
            "stolen": round(stolen, 3),
            "load_average": round(os.getloadavg()[0], 2),
            "noisy": noisy,
        }


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time that the present threads of these processes have used."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                continue
    return total / 1e9


def rss_bytes(pid: int) -> int:
    """Resident memory of a process, bytes."""
    return _kilobytes(Path(f"/proc/{pid}/status").read_text(), "VmRSS:") * 1024


def pss_bytes(pids: Iterable[int]) -> int:
    """Proportional memory of processes, bytes: a page that several share counts as a part for each."""
    return sum(_kilobytes(Path(f"/proc/{pid}/smaps_rollup").read_text(), "Pss:") for pid in pids) * 1024


def _kilobytes(text: str, key: str) -> int:
    line = next(line for line in text.splitlines() if line.startswith(key))
    return int(line.split()[1])


def children(pid: int) -> list[int]:
    """Every live descendant of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += [int(child), *children(int(child))]
    return found


def adopt_orphans() -> None:
    """Makes this process the parent of its descendants' orphans, so that it can wait for them."""
    set_child_subreaper = 36  # prctl(2)
    ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


def command_of(pid: int) -> str:
    """Name of the program that a process runs, without its folder."""
    try:
        return Path(os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0])).name
    except OSError:
        return ""
