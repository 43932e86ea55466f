"""Feeds: the messages of a topic, the datagrams of a protocol. Each is a bounded queue that outlives sessions: after a
restart of netcore the SDK subscribes again.

Node ──► Feeds ──► Feed (Subscription in `_gossip.py`, Datagrams in `_datagram.py`)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from . import _messages as m
from ._errors import AlreadyServed, ErrorCode, NodeClosed, NotAllowed, PolypeerError
from ._inbox import Inbox
from ._names import allows_any
from ._restore import Wanted
from ._types import Grants

if TYPE_CHECKING:
    from ._messaging import Messaging

T = TypeVar("T")
F = TypeVar("F", bound="Feed[Any]")


class Feed(Generic[T]):
    """Use it as ``async with``, and iterate. When the queue is full the oldest item is dropped and counted in
    :attr:`dropped`. Survives restarts of netcore; items of the time between are missed."""

    def __init__(self, node: Messaging, name: str, limit: int) -> None:
        self._node = node
        self._name = name
        self._items: Inbox[T] = Inbox(limit)
        self._dropped = 0
        self._entered = False
        self._ended = False

    @property
    def dropped(self) -> int:
        """Items dropped here because they were not read in time. What netcore dropped, while this process did not read,
        is in :attr:`Node.events_dropped`, and :class:`Dropped` events."""
        return self._dropped

    # What each kind of feed defines.

    @property
    def what(self) -> str:
        """For the node: a description, for errors and logs."""
        raise NotImplementedError

    @property
    def key(self) -> tuple[str, str]:
        """For the node: kind and name; a node has at most one feed per key."""
        return (type(self).__name__, self._name)

    def begin_request(self) -> m.Request:
        """For the node: the request that starts it."""
        raise NotImplementedError

    def end_request(self) -> m.Request:
        """For the node: the request that ends it."""
        raise NotImplementedError

    def patterns(self, grants: Grants) -> tuple[str, ...]:
        """For the node: the patterns of the grant that must cover it."""
        raise NotImplementedError

    # Reading.

    async def receive(self) -> T:
        """The next item. Raises :class:`NodeClosed` after :meth:`close` or when the node is closed, and the reason when
        this plugin may no longer receive. A cancel loses no item."""
        if not self._entered:
            raise RuntimeError(f"enter it first: async with node.… as feed ({self.what})")
        return await self._items.get()

    def __aiter__(self: F) -> F:
        return self

    async def __anext__(self) -> T:
        """As :meth:`receive`; the iteration ends when the feed or the node is closed."""
        try:
            return await self.receive()
        except NodeClosed as closed:
            if closed.code == ErrorCode.SHUTTING_DOWN:
                raise StopAsyncIteration from None
            raise

    def _keep(self, item: T) -> T | None:
        """Queues an item and returns the one dropped for it, if any."""
        lost = self._items.put_dropping(item)
        if lost is not None:
            self._dropped += 1
        return lost

    # Start and end.

    async def __aenter__(self: F) -> F:
        """Raises :class:`NotAllowed` without the grant, :class:`AlreadyServed`, :class:`Busy`, :class:`TimedOut`."""
        if self._entered:
            raise RuntimeError("it was entered before; make a new one")
        self._entered = True
        await self._node.begin_feed(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stops receiving; queued items can still be read. Idempotent. Raises nothing."""
        if not self._ended:
            self.end(NodeClosed(f"{self.what} is closed"))
            await self._node.end_feed(self)

    def end(self, reason: PolypeerError) -> None:
        """For the node: ends the feed, for this reason."""
        self._ended = True
        self._items.close(reason)


class Feeds:
    """The feeds of a node, at most one of each kind and name."""

    def __init__(self) -> None:
        self._feeds: dict[tuple[str, str], Feed[Any]] = {}

    def add(self, feed: Feed[Any]) -> None:
        """Raises :class:`AlreadyServed`."""
        if feed.key in self._feeds:
            raise AlreadyServed(f"this plugin has {feed.what} already; close it first")
        self._feeds[feed.key] = feed

    def remove(self, feed: Feed[Any]) -> bool:
        """Removes a feed; ``False`` when it was not registered."""
        if self._feeds.get(feed.key) is not feed:
            return False
        del self._feeds[feed.key]
        return True

    def find(self, kind: type[F], name: str) -> F | None:
        """The feed of a kind and name."""
        found = self._feeds.get((kind.__name__, name))
        return found if isinstance(found, kind) else None

    def wanted(self) -> list[Wanted]:
        """What to request in a new session; a feed that is refused for good ends with the reason."""

        def each(feed: Feed[Any]) -> Wanted:
            def give_up(reason: PolypeerError) -> None:
                self.remove(feed)
                feed.end(reason)

            return Wanted(feed.what, feed.begin_request, lambda: self._feeds.get(feed.key) is feed, give_up)

        return [each(feed) for feed in self._feeds.values()]

    def grants_changed(self, grants: Grants) -> None:
        """Ends the feeds that the grants no longer cover."""
        for feed in list(self._feeds.values()):
            if not allows_any(feed.patterns(grants), feed.key[1]):
                self.remove(feed)
                feed.end(NotAllowed(f"the operator withdrew the grant for {feed.what}"))

    def end(self, reason: PolypeerError) -> None:
        """Ends all feeds."""
        for feed in self._feeds.values():
            feed.end(reason)
        self._feeds.clear()
