"""The node as its plugins see it: serving, events, shutdown.

Node ──► Reconnector ──► Session ──► ControlMachine     one control session, renewed when netcore restarts
  │ └──► Serving ──► Listener                           streams and calls that arrive, by protocol
  │ └──► Watch ──► Events                               peers and the network
  ├────► Dialing ──► DataConnection ──► Stream or StreamTransport
  ├────► Messaging ──► Feeds ──► Subscription, Datagrams
  └────► Dht ──► Provided
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from . import _ids, _types
from . import _messages as m
from ._datagram import Datagrams
from ._deadline import Deadline
from ._dht import Dht
from ._dial import Dialing
from ._errors import ConnectionLost, ErrorCode, NodeClosed, PolypeerError, expect
from ._events import Events
from ._gossip import Subscription
from ._limits import CLOSE_GRACE, DEFAULT_TIMEOUT, STREAM_LIMIT
from ._listener import CallHandler, Listener
from ._messaging import Messaging
from ._reconnect import Reconnector
from ._restore import keep_asking, restore
from ._server import ConnectionHandler, StreamServer
from ._serving import Serving, listen_request, unlisten_request
from ._types import Event, Grants, NetworkEvent, NodeInfo, PeerEvent, PeerInfo
from ._watch import Watch

if TYPE_CHECKING:
    from ._session import Session


class Node(Dialing, Messaging, Dht):
    """This plugin's connection to its node, made by :func:`polypeer.connect`. Use it as ``async with``.

    While netcore restarts, every operation waits within its own timeout; operations in flight at the restart fail with
    :class:`ConnectionLost`. The SDK restores listeners, subscriptions and watches. When another session of the same
    launch takes over, everything raises :class:`Superseded`, permanently.
    """

    def __init__(self, path: str, token: bytes) -> None:
        super().__init__(path, Reconnector(path, token, self._on_event, self._restore, self._on_lost))
        self._grants: Grants | None = None
        self._serving = Serving()
        self._watch = Watch(self._reconnector.session)
        self._background: set[asyncio.Task[None]] = set()
        self._is_ready = False
        self._events_dropped = 0

    async def _start(self, timeout: float) -> None:
        async with Deadline(timeout, f"reaching the network core at {self._path}"):
            await self._reconnector.start()

    # About this node.

    @property
    def id(self) -> str:
        """This node's id, 52 characters."""
        return _ids.node_text(self._welcomed().node)

    @property
    def plugin(self) -> str:
        """The name under which this plugin is installed."""
        return self._welcomed().plugin

    @property
    def grants(self) -> Grants:
        """What the operator currently allows this plugin."""
        assert self._grants is not None, "connect() waits for the welcome"
        return self._grants

    @property
    def connected(self) -> bool:
        """Whether there is a session with netcore."""
        return self._reconnector.current is not None

    @property
    def events_skipped(self) -> int:
        """Events of a later version of netcore, which this SDK skipped."""
        return self._reconnector.skipped

    @property
    def events_dropped(self) -> int:
        """Events that netcore dropped because this process did not read them in time, messages and datagrams included.
        Each feed counts its own drops in ``dropped``."""
        return self._events_dropped

    async def info(self, *, timeout: float = DEFAULT_TIMEOUT) -> NodeInfo:
        """The node's ticket and version. Raises :class:`ConnectionLost`, :class:`TimedOut`. A cancel leaves nothing."""
        response = await self._ask(m.RequestNode(), timeout, again=True)
        return _types.node_info(expect(response, m.ResponseNode).value)

    async def peers(self, *, timeout: float = DEFAULT_TIMEOUT) -> list[PeerInfo]:
        """The connected peers this plugin may see. Raises as :meth:`info`."""
        response = await self._ask(m.RequestPeers(), timeout, again=True)
        return [_types.peer_info(each) for each in expect(response, m.ResponsePeers).value]

    async def ping(self, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Checks that netcore answers. Raises as :meth:`info`."""
        await self._ask(m.RequestPing(), timeout, again=True)

    async def ready(self, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Reports that this plugin is ready, for ``health.ready = "notify"``. Raises as :meth:`info`."""
        self._is_ready = True
        await self._ask(m.RequestReady(), timeout, again=True)

    # Serving.

    async def listen(self, protocol: str, *, local: bool = False, timeout: float = DEFAULT_TIMEOUT) -> Listener:
        """Serves ``protocol`` to peers, or with ``local`` to plugins of this node and the operator.

        Raises :class:`NotAllowed` without the grant, :class:`AlreadyServed` when another listener of this node has the
        protocol, :class:`BadArgument` for an invalid name, :class:`TimedOut`. After a cancel nothing is registered.
        """
        return await self._listen(Listener(self, _ids.protocol(protocol), local), timeout)

    async def _listen(self, listener: Listener, timeout: float) -> Listener:
        self._raise_if_ended()
        self._serving.add(listener)
        try:
            await self.register(listener, timeout)
        except BaseException:
            listener.end(NodeClosed("listening failed"))
            self.unregister_soon(listener)
            raise
        return listener

    async def handle(self, protocol: str, handler: CallHandler, *, local: bool = False) -> None:
        """Answers requests, and only requests, until cancelled or the node is closed; see
        :meth:`Listener.serve_requests`. Streams that others open are refused. Raises as :meth:`listen`."""
        listener = Listener(self, _ids.protocol(protocol), local, requests_only=True)
        async with await self._listen(listener, DEFAULT_TIMEOUT):
            await listener.serve_requests(handler)

    async def start_server(
        self, connected: ConnectionHandler, protocol: str, *, local: bool = False, limit: int = STREAM_LIMIT
    ) -> StreamServer:
        """As ``asyncio.start_server``: ``connected(reader, writer)`` runs for each stream. Raises as :meth:`listen`."""
        return StreamServer(await self.listen(protocol, local=local), self.claim_transport, connected, limit)

    async def register(self, listener: Listener, timeout: float = DEFAULT_TIMEOUT) -> None:
        """For listeners: registers one with netcore, with its current call mode."""
        await self._ask(listen_request(listener), timeout, again=True)

    def register_again(self, listener: Listener) -> None:
        """For listeners: as :meth:`register`, without waiting; a later session restores it."""
        if self._reconnector.current is not None:
            self._reconnector.current.tell(listen_request(listener))

    async def unregister(self, listener: Listener) -> None:
        """For listeners: removes one, tells netcore and waits for the answer."""
        if self._serving.remove(listener):
            await self._ask_for_the_end(unlisten_request(listener))

    def unregister_soon(self, listener: Listener) -> None:
        """As :meth:`unregister`, without waiting."""
        if self._serving.remove(listener) and self._reconnector.current is not None:
            self._reconnector.current.tell(unlisten_request(listener))

    # Events.

    def watch_peers(self) -> Events[PeerEvent]:
        """:class:`PeerUp` and :class:`PeerDown` as they happen, beginning with the connected peers. After a restart of
        netcore it yields the differences."""
        return self._watch.peers()

    def events(self) -> Events[Event]:
        """All events of this node: those of :meth:`watch_peers` and :meth:`network_events`, and :class:`GrantsChanged`,
        :class:`SessionLost`, :class:`SessionRestored`."""
        return self._watch.everything()

    def network_events(self) -> Events[NetworkEvent]:
        """:class:`ReachChanged`, :class:`AddressesChanged` and, for peers this plugin may see, :class:`PathChanged`, as
        they happen, beginning with the current reach and addresses. After a restart of netcore it yields the
        differences."""
        return self._watch.network()

    # Callbacks of the session.

    def _on_event(self, session: Session, event: m.Event) -> None:
        if isinstance(event, (m.EventStream, m.EventCall)):
            self._serving.arrived(session, event)
        elif isinstance(event, m.EventStreamGone):
            self._serving.stream_gone(event.stream)
        elif isinstance(event, m.EventCallGone):
            self._serving.call_gone(event.call)
        elif isinstance(event, m.EventMessage):
            subscription = self._feeds.find(Subscription, event.topic)
            if subscription is not None:
                subscription.on_message(session, event)
        elif isinstance(event, m.EventDatagram):
            datagrams = self._feeds.find(Datagrams, event.protocol)
            if datagrams is not None:
                datagrams.on_datagram(event)
        elif isinstance(event, m.EventNetwork):
            self._watch.network_changed(_types.network_event(event.value))
        elif isinstance(event, m.EventPeerUp):
            self._watch.peer_up(_types.peer_info(event.value))
        elif isinstance(event, m.EventPeerDown):
            self._watch.peer_down(_ids.node_text(event.node), _types.failure(event.failure))
        elif isinstance(event, m.EventGrantsChanged):
            self._grants = _types.grants(event.value)
            self._serving.grants_changed(self._grants)
            self._feeds.grants_changed(self._grants)
            self._provided.grants_changed(self._grants)
            self._watch.tell(_types.GrantsChanged(self._grants))
        elif isinstance(event, m.EventDropped):
            self._events_dropped += event.count
            self._watch.dropped(event.count)
            if self._watch.on:
                self._in_background(self._watch.sync(session))

    async def _restore(self, session: Session) -> None:
        """Restores in a new session what the previous one had."""
        first = self._welcome is None
        self._welcome = session.welcomed.result()
        self._grants = _types.grants(self._welcome.grants)
        for late in await restore(session, [*self._serving.wanted(), *self._feeds.wanted()]):
            self._in_background(keep_asking(session, late))
        if self._is_ready:
            await session.ask(m.RequestReady())
        await self._watch.restore(session)
        if not first:
            self._watch.tell(_types.SessionRestored())

    def _on_lost(self, reason: PolypeerError) -> None:
        if self._reconnector.ended.done():
            self._end(self._reconnector.ended.result())
            return
        self._serving.session_lost()
        self._watch.tell(_types.SessionLost(reason))

    def _in_background(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            try:
                await work
            except PolypeerError:
                return  # the session has ended; the next one restores everything

        task = asyncio.ensure_future(run())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # Shutdown.

    async def wait_closed(self) -> None:
        """Waits until the node is closed. Raises the reason (:class:`Superseded`, :class:`Unauthorised`) unless that
        was :meth:`close`. A cancel has no effect on the node."""
        reason = await asyncio.shield(self._reconnector.ended)
        if reason.code != ErrorCode.SHUTTING_DOWN:
            raise reason

    async def close(self) -> None:
        """Closes listeners, aborts open streams, waits up to 2 s for closed ones to be confirmed, and ends the session.
        Idempotent. Raises nothing; a cancel closes at once."""
        self._reconnector.end(NodeClosed("the node was closed"))
        self._end(self._reconnector.ended.result())
        try:
            for connection in list(self._connections):
                connection.give_up(ErrorCode.SHUTTING_DOWN)
            if self._connections:
                await asyncio.wait([connection.gone for connection in self._connections], timeout=CLOSE_GRACE)
        finally:
            for connection in list(self._connections):
                connection.abort(ConnectionLost("the node was closed"))
            for task in list(self._background):
                task.cancel()
            await self._provided.close()
            await self._reconnector.close()

    def _end(self, reason: PolypeerError) -> None:
        self._serving.end(reason)
        self._feeds.end(reason)
        self._watch.end(reason)

    async def __aenter__(self) -> Node:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
