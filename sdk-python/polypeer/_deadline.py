"""A time limit on a block of code: `asyncio.timeout` for Python 3.9, raising :class:`TimedOut`."""

from __future__ import annotations

import asyncio
from typing import Any

from ._errors import BadArgument, TimedOut

_LONGEST = 0xFFFF_FFFF
"""Milliseconds: seven weeks, the longest timeout a request can hold. ``math.inf`` becomes this."""


def milliseconds(timeout: float) -> int:
    """A timeout in seconds as the milliseconds of a request: at least 1, since 0 means the default. Raises
    :class:`BadArgument` for an invalid timeout."""
    if not isinstance(timeout, (int, float)) or timeout != timeout:
        raise BadArgument(f"a timeout is a number of seconds, not {timeout!r}")
    return int(max(1, min(timeout * 1000, _LONGEST)))


class Deadline:
    """``async with Deadline(seconds, "what")``: cancels the block after ``seconds`` and raises :class:`TimedOut`. A
    cancel from outside stays a cancel."""

    def __init__(self, seconds: float, what: str) -> None:
        self._seconds = min(seconds, milliseconds(seconds) / 1000)
        self._what = what
        self._expired = False
        self._task: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> None:
        self._task = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(max(0.0, self._seconds), self._expire)

    def _expire(self) -> None:
        assert self._task is not None, "the block was entered"
        self._expired = True
        self._task.cancel()

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        assert self._timer is not None, "the block was entered"
        self._timer.cancel()
        if not self._expired:
            return
        uncancel = getattr(self._task, "uncancel", None)  # Python 3.11: counts cancels from outside
        others = uncancel() if uncancel is not None else 0
        if kind is asyncio.CancelledError and not others:
            raise TimedOut(f"{self._what} took more than {self._seconds:g} s") from None
