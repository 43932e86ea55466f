"""A bounded queue with one writer and many readers, that can be closed with a reason."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Callable, Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """Holds at most ``limit`` items. Create it inside the running event loop that uses it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[T] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closed: BaseException | None = None

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> bool:
        """Adds an item; ``False`` when the inbox is full or closed."""
        if self._closed is not None or len(self._items) >= self._limit:
            return False
        self._items.append(item)
        self._wake(1)
        return True

    def put_dropping(self, item: T) -> T | None:
        """Adds an item. When full, drops the oldest and returns it; a closed inbox returns the item itself."""
        if self._closed is not None:
            return item
        dropped = self._items.popleft() if len(self._items) >= self._limit else None
        self._items.append(item)
        self._wake(1)
        return dropped

    async def get(self) -> T:
        """The oldest item; waits for one. After :meth:`close` it raises the reason once the queue is empty. A cancel
        loses no item."""
        while not self._items:
            if self._closed is not None:
                raise self._closed
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except BaseException:
                if waiter.done() and not waiter.cancelled():
                    self._wake(1)  # this waiter was woken for an item and does not take it
                raise
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        return self._items.popleft()

    def take_oldest(self) -> T | None:
        """The oldest item, or ``None``, without waiting."""
        return self._items.popleft() if self._items else None

    def remove(self, unwanted: Callable[[T], bool]) -> list[T]:
        """Removes the items for which ``unwanted`` is true and returns them."""
        taken = [item for item in self._items if unwanted(item)]
        self._items = deque(item for item in self._items if not unwanted(item))
        return taken

    def close(self, reason: BaseException) -> None:
        """Accepts no more items. Idempotent; the first reason stays."""
        if self._closed is None:
            self._closed = reason
            self._wake(len(self._waiters))

    def _wake(self, count: int) -> None:
        while count and self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1
