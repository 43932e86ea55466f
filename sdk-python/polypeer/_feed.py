"""What a plugin receives until it stops: a topic's messages, a protocol's datagrams. Each is a bounded queue that
outlives sessions: after a restart of netcore it is asked for again.

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
    """Use it as ``async with``, and iterate. Keeps as many items for a slow reader as its queue holds, then drops the
    oldest and counts it in :attr:`dropped`. Survives restarts of netcore; what came meanwhile is missed."""

    def __init__(self, node: Messaging, name: str, limit: int) -> None:
        self._node = node
        self._name = name
        self._items: Inbox[T] = Inbox(limit)
        self._dropped = 0
        self._entered = False
        self._ended = False

    @property
    def dropped(self) -> int:
        """Items dropped here, since they were not read in time. Netcore's own drops, while this process reads nothing,
        are in :attr:`Node.events_dropped`, and :class:`Dropped` events."""
        return self._dropped

    # What a kind of feed is.

    @property
    def what(self) -> str:
        """For the node: what this is, for people."""
        raise NotImplementedError

    @property
    def key(self) -> tuple[str, str]:
        """For the node: what there is one of at most."""
        return (type(self).__name__, self._name)

    def begin_request(self) -> m.Request:
        """For the node: what asks for it."""
        raise NotImplementedError

    def end_request(self) -> m.Request:
        """For the node: what ends it."""
        raise NotImplementedError

    def patterns(self, grants: Grants) -> tuple[str, ...]:
        """For the node: the grant that must cover it."""
        raise NotImplementedError

    # Reading.

    async def receive(self) -> T:
        """The next item. Raises :class:`NodeClosed` after :meth:`close` or when the node is closed, and the reason when
        netcore no longer lets this plugin receive. A cancel takes nothing."""
        if not self._entered:
            raise RuntimeError(f"enter it first: async with node.… as feed ({self.what})")
        return await self._items.get()

    def __aiter__(self: F) -> F:
        return self

    async def __anext__(self) -> T:
        """As :meth:`receive`; the iteration ends when this or the node is closed in order."""
        try:
            return await self.receive()
        except NodeClosed as closed:
            if closed.code == ErrorCode.SHUTTING_DOWN:
                raise StopAsyncIteration from None
            raise

    def _keep(self, item: T) -> T | None:
        """Queues an item; what had to go for it comes back."""
        lost = self._items.put_dropping(item)
        if lost is not None:
            self._dropped += 1
        return lost

    # Its beginning and end.

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
        """Receives no more; what is queued can still be read. Closing again changes nothing. Raises nothing."""
        if not self._ended:
            self.end(NodeClosed(f"{self.what} is closed"))
            await self._node.end_feed(self)

    def end(self, reason: PolypeerError) -> None:
        """For the node: nothing more will come, for this reason."""
        self._ended = True
        self._items.close(reason)


class Feeds:
    """The feeds of a node: one at most of each kind and name."""

    def __init__(self) -> None:
        self._feeds: dict[tuple[str, str], Feed[Any]] = {}

    def add(self, feed: Feed[Any]) -> None:
        """Raises :class:`AlreadyServed`."""
        if feed.key in self._feeds:
            raise AlreadyServed(f"this plugin has {feed.what} already; close it first")
        self._feeds[feed.key] = feed

    def remove(self, feed: Feed[Any]) -> bool:
        """Whether it was there."""
        if self._feeds.get(feed.key) is not feed:
            return False
        del self._feeds[feed.key]
        return True

    def find(self, kind: type[F], name: str) -> F | None:
        """The feed that takes what came."""
        found = self._feeds.get((kind.__name__, name))
        return found if isinstance(found, kind) else None

    def wanted(self) -> list[Wanted]:
        """What a new session is to be asked for; a feed that is refused for good then ends with the reason."""

        def each(feed: Feed[Any]) -> Wanted:
            def give_up(reason: PolypeerError) -> None:
                self.remove(feed)
                feed.end(reason)

            return Wanted(feed.what, feed.begin_request, lambda: self._feeds.get(feed.key) is feed, give_up)

        return [each(feed) for feed in self._feeds.values()]

    def grants_changed(self, grants: Grants) -> None:
        """Ends the feeds that are not covered any more."""
        for feed in list(self._feeds.values()):
            if not allows_any(feed.patterns(grants), feed.key[1]):
                self.remove(feed)
                feed.end(NotAllowed(f"the operator withdrew the grant for {feed.what}"))

    def end(self, reason: PolypeerError) -> None:
        """Ends all."""
        for feed in self._feeds.values():
            feed.end(reason)
        self._feeds.clear()
