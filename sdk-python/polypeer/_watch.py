"""Watchers of peers, the network and everything else. Owned by the node; fills `Events`."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Callable, cast

from . import _messages as m
from . import _types
from ._deadline import Deadline
from ._errors import ConnectionLost, PolypeerError, expect
from ._events import Events
from ._limits import DEFAULT_TIMEOUT
from ._types import Event, NetworkEvent, PathChanged, PeerEvent, PeerInfo

if TYPE_CHECKING:
    from ._session import Session

CurrentSession = Callable[[], Awaitable["Session"]]


class Watch:
    """Sends events to iterators, and tracks the connected peers once a watcher exists. Dropped iterators are
    forgotten."""

    def __init__(self, session: CurrentSession) -> None:
        self._session = session
        self._watchers: weakref.WeakSet[Events[PeerEvent]] = weakref.WeakSet()
        self._hearers: weakref.WeakSet[Events[Event]] = weakref.WeakSet()
        self._network: weakref.WeakSet[Events[NetworkEvent]] = weakref.WeakSet()
        self._up: dict[str, PeerInfo] = {}
        self._round = 0
        self._named: dict[str, int] = {}
        """For each peer that is up, the round of :meth:`sync` in which netcore last named it."""
        self.on = False
        """Whether the watch of peers is on."""
        self._network_on = False
        self._network_now: dict[type[object], NetworkEvent] = {}
        """The last reach and addresses: a new iterator begins with them."""

    def peers(self) -> Events[PeerEvent]:
        """A new iterator over peer events."""
        return Events(self._begin_peers)

    def everything(self) -> Events[Event]:
        """A new iterator over all events."""
        return Events(self._begin_everything)

    def network(self) -> Events[NetworkEvent]:
        """A new iterator over network events, beginning with the current state."""
        return Events(self._begin_network)

    async def _begin_peers(self, events: Events[PeerEvent]) -> None:
        await self._begin(events)
        self._watchers.add(events)

    async def _begin_everything(self, events: Events[Event]) -> None:
        await self._turn_network_on()
        await self._begin(cast("Events[PeerEvent]", events))  # last: nothing may happen between this and the next lines
        for event in self._network_now.values():
            events.put(event)
        self._hearers.add(events)

    async def _begin_network(self, events: Events[NetworkEvent]) -> None:
        await self._turn_network_on()
        for event in self._network_now.values():  # later events go to iterators added below
            events.put(event)
        self._network.add(events)

    async def _turn_network_on(self) -> None:
        async with Deadline(DEFAULT_TIMEOUT, "watching the network"):
            session = await self._session()
            if self._network_on:
                return
            self._network_on = True
            try:
                await session.ask(m.RequestWatchNetwork(True))
            except ConnectionLost:
                pass  # restored in the next session
            except BaseException:
                self._network_on = False
                raise

    async def _begin(self, events: Events[PeerEvent]) -> None:
        """Turns the watch on and queues the connected peers for `events`."""
        async with Deadline(DEFAULT_TIMEOUT, "watching peers"):
            session = await self._session()
            if not self.on:
                self.on = True
                try:
                    await self.sync(session)
                except ConnectionLost:
                    pass  # restored in the next session
                except BaseException:
                    self.on = False
                    raise
        for info in self._up.values():
            events.put(_types.PeerUp(info))

    async def restore(self, session: Session) -> None:
        """Turns the watches on in a new session."""
        if self.on:
            await self.sync(session)
        if self._network_on:
            await session.ask(m.RequestWatchNetwork(True))

    async def sync(self, session: Session) -> None:
        """Turns the watch on in a session. Netcore names the connected peers before it answers; those known before that
        it does not name are gone."""
        self._round += 1
        begun = self._round
        expect(await session.ask(m.RequestWatchPeers(True)), m.ResponseDone)
        for node in [node for node, named in self._named.items() if named < begun]:
            self.peer_down(node, ConnectionLost("the peer was gone when the network core was back"))

    def peer_up(self, info: PeerInfo) -> None:
        """Records a connected peer, and sends the event if that is new."""
        new = info.node not in self._up
        self._up[info.node] = info
        self._named[info.node] = self._round
        if new:
            self._tell_peers(_types.PeerUp(info))

    def peer_down(self, node: str, reason: PolypeerError) -> None:
        """Records a disconnected peer, and sends the event if that is new."""
        self._named.pop(node, None)
        if self._up.pop(node, None) is not None:
            self._tell_peers(_types.PeerDown(node, reason))

    def dropped(self, count: int) -> None:
        """Reports events that netcore dropped."""
        for events in list(self._network):
            events.put(_types.Dropped(count))
        self._tell_peers(_types.Dropped(count))

    def network_changed(self, event: NetworkEvent) -> None:
        """Handles a network event. Each session begins with the current state, which is no change."""
        if not isinstance(event, PathChanged):
            if self._network_now.get(type(event)) == event:
                return
            self._network_now[type(event)] = event
        for events in list(self._network):
            events.put(event)
        self.tell(event)

    def _tell_peers(self, event: PeerEvent) -> None:
        for watcher in list(self._watchers):
            watcher.put(event)
        self.tell(event)

    def tell(self, event: Event) -> None:
        """Sends an event to the iterators over everything."""
        for hearer in list(self._hearers):
            hearer.put(event)

    def end(self, reason: PolypeerError) -> None:
        """Ends all iterators."""
        for watcher in list(self._watchers):
            watcher.end(reason)
        for hearer in list(self._hearers):
            hearer.end(reason)
        for events in list(self._network):
            events.end(reason)
