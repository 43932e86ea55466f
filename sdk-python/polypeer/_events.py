"""Event iterators, each with a bounded queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import Callable, Generic, TypeVar

from ._errors import ErrorCode, PolypeerError
from ._limits import EVENT_QUEUE
from ._types import Dropped

E = TypeVar("E")


class Events(Generic[E]):
    """An asynchronous iterator of events, made by :meth:`Node.events` or :meth:`Node.watch_peers`. Ends when the node
    is closed; raises the reason when the node ended otherwise. Queues 1024 events for a slow reader, then drops the
    oldest and reports them with a :class:`Dropped`. A cancel loses no event."""

    def __init__(self, start: Callable[[Events[E]], Awaitable[None]]) -> None:
        self._start: Callable[[Events[E]], Awaitable[None]] | None = start
        self._queue: deque[E | Dropped] = deque()
        self._dropped = 0
        self._ended: PolypeerError | None = None
        self._waiter: asyncio.Future[None] | None = None

    def put(self, event: E | Dropped) -> None:
        """For the node: queues an event."""
        if len(self._queue) >= EVENT_QUEUE:
            self._queue.popleft()
            self._dropped += 1
        self._queue.append(event)
        self._wake()

    def end(self, reason: PolypeerError) -> None:
        """For the node: ends the iteration."""
        self._ended = self._ended or reason
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> Events[E]:
        return self

    async def __anext__(self) -> E | Dropped:
        if self._start is not None:
            await self._start(self)
            self._start = None
        if self._waiter is not None:
            raise RuntimeError("another task is reading these events")
        while not self._queue:
            if self._ended is not None:
                if self._ended.code == ErrorCode.SHUTTING_DOWN:
                    raise StopAsyncIteration
                raise self._ended
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._dropped:
            dropped, self._dropped = Dropped(self._dropped), 0
            return dropped
        return self._queue.popleft()

    async def __aenter__(self) -> Events[E]:
        if self._start is not None:
            await self._start(self)
            self._start = None
        return self

    async def __aexit__(self, *_: object) -> None:
        self._queue.clear()
