"""A time limit on a block of code: `asyncio.timeout` for Python 3.9, raising :class:`TimedOut`."""

from __future__ import annotations

import asyncio
import heapq
import threading
from typing import Any

from ._errors import BadArgument, TimedOut

_LONGEST = 0xFFFF_FFFF
"""Milliseconds: seven weeks, the longest timeout a request can hold. ``math.inf`` becomes this."""
_KEPT = 64
"""Times of ended blocks that a clock keeps beyond its live ones; removing them takes a pass over all."""


def milliseconds(timeout: float) -> int:
    """A timeout in seconds as the milliseconds of a request: at least 1, since 0 means the default. Raises
    :class:`BadArgument` for an invalid timeout."""
    if not isinstance(timeout, (int, float)) or timeout != timeout:
        raise BadArgument(f"a timeout is a number of seconds, not {timeout!r}")
    return int(max(1, min(timeout * 1000, _LONGEST)))


class _Clock:
    """The deadlines of one event loop. One timer serves all of them: a timer of the loop for each block would cost more
    than the rest of a request."""

    _of_thread = threading.local()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._entered = 0
        self._live: dict[int, Deadline] = {}
        self._due: list[tuple[float, int]] = []  # a heap of times and numbers; of those not in `_live` at most as many
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def running(cls) -> _Clock:
        """That of the running event loop."""
        loop = asyncio.get_running_loop()
        clock: _Clock | None = getattr(cls._of_thread, "clock", None)
        if clock is None or clock.loop is not loop:
            clock = cls._of_thread.clock = cls(loop)
        return clock

    def add(self, deadline: Deadline, seconds: float) -> int:
        """Calls the deadline's `expire` after so many seconds; returns its number."""
        self._entered += 1
        number = self._entered
        at = self.loop.time() + seconds
        self._live[number] = deadline
        heapq.heappush(self._due, (at, number))
        if self._timer is None or self._due[0][1] == number:
            self._arm()
        return number

    def remove(self, number: int) -> None:
        """Forgets a deadline."""
        self._live.pop(number, None)
        if len(self._due) > 2 * len(self._live) + _KEPT:
            self._due = [each for each in self._due if each[1] in self._live]
            heapq.heapify(self._due)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(self._due[0][0], self._fire) if self._due else None

    def _fire(self) -> None:
        assert self._timer is not None, "it fired"
        now = max(self.loop.time(), self._timer.when())  # a loop may be early by its clock's resolution
        while self._due and (self._due[0][0] <= now or self._due[0][1] not in self._live):
            deadline = self._live.pop(heapq.heappop(self._due)[1], None)
            if deadline is not None:
                deadline.expire()
        self._arm()


class Deadline:
    """``async with Deadline(seconds, "what")``: cancels the block after ``seconds`` and raises :class:`TimedOut`. A
    cancel from outside stays a cancel."""

    __slots__ = ("_clock", "_expired", "_number", "_seconds", "_task", "_what")

    def __init__(self, seconds: float, what: str) -> None:
        self._seconds = max(0.0, min(seconds, milliseconds(seconds) / 1000))
        self._what = what
        self._expired = False

    async def __aenter__(self) -> None:
        self._clock = _Clock.running()
        self._task: asyncio.Task[Any] | None = asyncio.current_task(self._clock.loop)
        self._number = self._clock.add(self, self._seconds)

    def expire(self) -> None:
        """For the clock: cancels the block."""
        assert self._task is not None, "the block was entered"
        self._expired = True
        self._task.cancel()

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self._clock.remove(self._number)
        if not self._expired:
            return
        uncancel = getattr(self._task, "uncancel", None)  # Python 3.11: counts cancels from outside
        others = uncancel() if uncancel is not None else 0
        if kind is asyncio.CancelledError and not others:
            raise TimedOut(f"{self._what} took more than {self._seconds:g} s") from None
