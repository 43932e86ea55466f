"""A network core in this process, for tests of the SDK alone: speaks the gateway's side of the contract over real local
sockets, and carries streams and calls between the plugins that use it. Each launch sits on a node of its own choice.

It obeys the same contract suite as the real one (`test_contract.py`). Faults are made by hand: `kill`, `cut`, `say`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fake_services import FakeServices
from polypeer import ErrorCode
from polypeer import _messages as m
from polypeer._ids import node_text
from polypeer._protocol import FrameBuffer, frame

READ = 64 << 10


def failure(code: int, message: str = "") -> m.Failure:
    return m.Failure(int(code), message)


def everything() -> m.Grants:
    return m.Grants(("*",), ("*",), ("*",), m.PeerScopeAny(), ("*",), ("*",), ())


@dataclass
class Launch:
    """One plugin launch: where it connects, what it may do, and its session."""

    node: bytes
    plugin: str
    path: str
    listening: socket.socket
    token: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    secret: bytes = b""
    grants: m.Grants = field(default_factory=everything)
    session: Connection | None = None
    listeners: dict[tuple[str, bool], m.CallMode] = field(default_factory=dict)
    watching: bool = False
    network: bool = False
    topics: dict[str, m.Validation] = field(default_factory=dict)
    datagrams: set[str] = field(default_factory=set)
    verdicts: list[m.RequestJudge] = field(default_factory=list)
    readies: int = 0
    hellos: int = 0

    @property
    def id(self) -> str:
        return node_text(self.node)

    @property
    def token_text(self) -> str:
        return self.token.hex()


class Connection:
    """One accepted connection."""

    def __init__(self, launch: Launch, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.launch = launch
        self.reader = reader
        self.writer = writer
        self.frames = FrameBuffer()

    async def frame(self) -> bytes | None:
        """The next control frame's body."""
        while True:
            body = self.frames.take()
            if body is not None:
                return body
            data = await self.reader.read(READ)
            if not data:
                return None
            self.frames.feed(data)

    def say(self, message: m.ServerFrame) -> None:
        self.writer.write(frame(m.encode_server_frame(message)))

    def event(self, event: m.Event) -> None:
        self.say(m.ServerFrameEvent(event))

    def reply(self, reply: m.OpeningReply) -> None:
        self.writer.write(frame(m.encode_opening_reply(reply)))

    def abort(self) -> None:
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()


@dataclass
class Pending:
    """A stream that waits to be claimed."""

    origin: m.Origin
    protocol: str
    acceptor: Launch
    claimed: asyncio.Future[Connection]


class FakeNetcore:
    """The world of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.launches: list[Launch] = []
        self.connections: set[Connection] = set()
        self.pending: dict[int, Pending] = {}
        self.calls: dict[int, tuple[Connection, int]] = {}
        self.numbers = itertools.count(1)
        self.servers: list[tuple[Launch, asyncio.AbstractServer]] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.refuse_hello: m.Failure | None = None
        self.services = FakeServices(self)
        self.busy = 0
        """So many requests to listen, subscribe or receive fail as busy."""

    # Scenery.

    def launch(self, node: int = 1, plugin: str = "alpha") -> Launch:
        """Adds a plugin launch on node number `node`; before or after `start`."""
        path = str(self.folder / f"gateway-{len(self.launches)}.sock")
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(path)
        listening.listen(64)
        launch = Launch(bytes([node]) * 32, plugin, path, listening)
        self.launches.append(launch)
        return launch

    async def start(self) -> None:
        """Starts every node."""
        for node in {launch.node for launch in self.launches}:
            await self.start_node(node)

    async def start_node(self, node: bytes) -> None:
        """Accepts connections; sessions and streams begin from nothing."""
        for launch in self.launches:
            if launch.node == node:
                await self._listen(launch)

    async def _listen(self, launch: Launch) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(launch, Connection(launch, reader, writer))

        keep: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        server = await asyncio.start_unix_server(serve, sock=launch.listening.dup(), **keep)
        self.servers.append((launch, server))

    async def kill_node(self, node: bytes) -> None:
        """As `kill -9`: connections break at once. The listening sockets stay, as the supervisor keeps them."""
        for launch, server in self.servers:
            if launch.node == node:
                server.close()
        self.servers = [(launch, server) for launch, server in self.servers if launch.node != node]
        for connection in list(self.connections):
            if connection.launch.node == node:
                connection.abort()
        for launch in self.launches:
            if launch.node == node:
                launch.session = None
                launch.listeners.clear()
                launch.watching = launch.network = False
                launch.topics.clear()
                launch.datagrams.clear()

    async def stop(self) -> None:
        """The end of the test."""
        for launch in self.launches:
            await self.kill_node(launch.node)
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for launch in self.launches:
            launch.listening.close()

    def end_session(self, launch: Launch, reason: m.Failure) -> None:
        """Says `Closing` and closes."""
        assert launch.session is not None
        launch.session.event(m.EventClosing(reason))
        launch.session.close()
        launch.session = None

    # Connections.

    async def _serve(self, launch: Launch, connection: Connection) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.connections.add(connection)
        try:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await self._first(launch, connection)
        finally:
            self.connections.discard(connection)
            self.tasks.discard(task)
            connection.close()

    async def _first(self, launch: Launch, connection: Connection) -> None:
        body = await connection.frame()
        if body is None:
            return
        opening = m.decode_opening(body)
        if isinstance(opening, m.OpeningHello):
            await self._control(launch, connection, opening)
        elif opening.secret != launch.secret:
            connection.reply(m.OpeningReplyRefused(failure(ErrorCode.UNAUTHORISED, "not this session's secret")))
        elif isinstance(opening, m.OpeningOpen):
            await self._open(launch, connection, opening)
        else:
            pending = self.pending.pop(opening.stream, None)
            if pending is None or pending.acceptor is not launch or pending.claimed.done():
                connection.reply(m.OpeningReplyRefused(failure(ErrorCode.NO_SUCH_STREAM, "nothing waits")))
                return
            connection.reply(m.OpeningReplyOpened(pending.origin, pending.protocol))
            pending.claimed.set_result(connection)
            await asyncio.Event().wait()  # the opener's task carries the bytes, and ends this connection

    async def _control(self, launch: Launch, connection: Connection, hello: m.OpeningHello) -> None:
        launch.hellos += 1
        if self.refuse_hello is not None or hello.token != launch.token or 1 not in hello.versions:
            refusal = self.refuse_hello or failure(ErrorCode.UNAUTHORISED, "wrong token")
            connection.reply(m.OpeningReplyRefused(refusal))
            return
        if launch.session is not None:
            self.end_session(launch, failure(ErrorCode.SUPERSEDED, "a newer session of this launch"))
        launch.session = connection
        launch.secret = secrets.token_bytes(32)
        launch.listeners.clear()
        launch.topics.clear()
        launch.datagrams.clear()
        welcome = m.Welcome(1, launch.node, launch.plugin, launch.grants, launch.secret)
        connection.reply(m.OpeningReplyWelcome(welcome))
        while True:
            body = await connection.frame()
            if body is None:
                break
            self._client_frame(launch, connection, m.decode_client_frame(body))
            await connection.writer.drain()
        if launch.session is connection:
            launch.session = None
            launch.listeners.clear()

    def _client_frame(self, launch: Launch, connection: Connection, message: m.ClientFrame) -> None:
        if isinstance(message, m.ClientFrameRequest):
            response = self._request(launch, connection, message.id, message.request)
            if response is not None:
                connection.say(m.ServerFrameResponse(message.id, response))
        elif isinstance(message, m.ClientFrameCancel):
            for call, (caller, id) in list(self.calls.items()):
                if caller is connection and id == message.id:
                    del self.calls[call]
                    cancelled = m.ResponseFailed(failure(ErrorCode.CANCELLED))
                    connection.say(m.ServerFrameResponse(id, cancelled))
                    for other in self.launches:
                        if other.session is not None:
                            other.session.event(m.EventCallGone(call))
        else:
            waiting = self.calls.pop(message.call, None)
            if waiting is not None:
                caller, id = waiting
                done: m.Response
                if isinstance(message, m.ClientFrameAnswer):
                    done = m.ResponseReply(message.payload)
                else:
                    done = m.ResponseFailed(heard(message.failure))
                caller.say(m.ServerFrameResponse(id, done))

    def _request(self, launch: Launch, connection: Connection, id: int, request: m.Request) -> m.Response | None:
        if self.busy and isinstance(request, (m.RequestListen, m.RequestSubscribe, m.RequestReceiveDatagrams)):
            self.busy -= 1
            return m.ResponseFailed(failure(ErrorCode.BUSY))
        if isinstance(request, m.RequestListen):
            local = isinstance(request.scope, m.ScopeLocal)
            allowed = launch.grants.serve_local if local else launch.grants.serve
            if not any(p == "*" or p == request.protocol for p in allowed):
                return m.ResponseFailed(failure(ErrorCode.NOT_GRANTED, f"serve {request.protocol}"))
            for other in self.launches:
                if other is not launch and other.node == launch.node and (request.protocol, local) in other.listeners:
                    return m.ResponseFailed(failure(ErrorCode.ALREADY_SERVED))
            launch.listeners[request.protocol, local] = request.calls
        elif isinstance(request, m.RequestUnlisten):
            launch.listeners.pop((request.protocol, isinstance(request.scope, m.ScopeLocal)), None)
        elif isinstance(request, m.RequestCall):
            return self._call(launch, connection, id, request)
        elif isinstance(request, m.RequestRefuseStream):
            pending = self.pending.pop(request.stream, None)
            if pending is None:
                return m.ResponseFailed(failure(ErrorCode.NO_SUCH_STREAM))
            if not pending.claimed.done():
                pending.claimed.set_exception(Declined(heard(request.failure)))
        elif isinstance(request, m.RequestPeers):
            return m.ResponsePeers(tuple(self._info(other) for other in self.peers(launch)))
        elif isinstance(request, m.RequestNode):
            return m.ResponseNode(m.NodeInfo(launch.node, f"polypeer:{launch.id}@127.0.0.1:1", "0.1.0", 5))
        elif isinstance(request, m.RequestWatchPeers):
            launch.watching = request.on
        elif isinstance(request, m.RequestReady):
            launch.readies += 1
        elif not isinstance(request, m.RequestPing):
            return self.services.answer(launch, request)
        return m.ResponseDone()

    def peers(self, launch: Launch) -> list[bytes]:
        return sorted({other.node for other in self.launches if other.node != launch.node})

    def _info(self, node: bytes) -> m.PeerInfo:
        return m.PeerInfo(node, m.PathDirect(), 1500, 20, ())

    def _find(self, launch: Launch, target: m.Target, protocol: str) -> tuple[Launch, m.Origin]:
        if isinstance(target, m.TargetLocal):
            found = [other for other in self.launches if other.node == launch.node]
            origin: m.Origin = m.OriginLocal(launch.plugin)
        else:
            text = target.value if isinstance(target, m.TargetTicket) else node_text(target.value)
            found = [other for other in self.launches if other.id in text and other.node != launch.node]
            origin = m.OriginPeer(launch.node)
            if not found:
                raise Declined(failure(ErrorCode.UNKNOWN_PEER, "no address is known"))
        local = isinstance(target, m.TargetLocal)
        for other in found:
            if (protocol, local) in other.listeners and other.session is not None:
                return other, origin
        raise Declined(failure(ErrorCode.NOT_SERVED, f"nothing serves {protocol}"))

    # Streams and calls.

    async def _open(self, launch: Launch, connection: Connection, opening: m.OpeningOpen) -> None:
        number = next(self.numbers)
        try:
            acceptor, origin = self._find(launch, opening.target, opening.protocol)
            claimed: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
            self.pending[number] = Pending(origin, opening.protocol, acceptor, claimed)
            assert acceptor.session is not None
            acceptor.session.event(m.EventStream(number, origin, opening.protocol))
            gone = asyncio.ensure_future(connection.reader.read(1))
            waited: list[asyncio.Future[Any]] = [claimed, gone]
            done, _ = await asyncio.wait(waited, timeout=opening.timeout_ms / 1000, return_when=asyncio.FIRST_COMPLETED)
            if claimed not in done:
                self.pending.pop(number, None)
                gone.cancel()
                reason = failure(ErrorCode.CANCELLED if gone in done else ErrorCode.TIMED_OUT, "not claimed")
                if acceptor.session is not None:
                    acceptor.session.event(m.EventStreamGone(number, reason))
                raise Declined(reason)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            other = claimed.result()
        except Declined as declined:
            connection.reply(m.OpeningReplyRefused(declined.failure))
            return
        far: m.Origin = m.OriginPeer(acceptor.node)
        if isinstance(origin, m.OriginLocal):
            far = m.OriginLocal(acceptor.plugin)
        connection.reply(m.OpeningReplyOpened(far, opening.protocol))
        await join(connection, other)

    def _call(self, launch: Launch, connection: Connection, id: int, request: m.RequestCall) -> m.Response | None:
        try:
            acceptor, origin = self._find(launch, request.target, request.protocol)
        except Declined as declined:
            return m.ResponseFailed(declined.failure)
        number = next(self.numbers)
        local = isinstance(origin, m.OriginLocal)
        assert acceptor.session is not None
        if isinstance(acceptor.listeners[request.protocol, local], m.CallModeEvents):
            self.calls[number] = (connection, id)
            acceptor.session.event(m.EventCall(number, origin, request.protocol, request.payload))
            return None
        claimed: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        self.pending[number] = Pending(origin, request.protocol, acceptor, claimed)
        acceptor.session.event(m.EventStream(number, origin, request.protocol))
        task = asyncio.ensure_future(self._call_as_stream(connection, id, request.payload, claimed))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return None

    async def _call_as_stream(
        self, caller: Connection, id: int, payload: bytes, claimed: asyncio.Future[Connection]
    ) -> None:
        response: m.Response
        try:
            connection = await claimed
            end = End(connection)
            if payload:
                connection.writer.write(len(payload).to_bytes(4, "little") + payload)
            connection.writer.write(b"\0\0\0\1")
            reply = b""
            while True:
                word, data = await end.next()
                if word >> 24 == 0:
                    reply += data
                elif word >> 24 == 1:
                    break
                elif word >> 24 == 2:
                    raise Declined(heard(failure(word & 0xFFFFFF)))
            response = m.ResponseReply(reply)
            connection.close()
        except Declined as declined:
            response = m.ResponseFailed(declined.failure)
        except (ConnectionError, asyncio.IncompleteReadError):
            response = m.ResponseFailed(failure(ErrorCode.CONNECTION_LOST))
        caller.say(m.ServerFrameResponse(id, response))


class Declined(Exception):
    def __init__(self, reason: m.Failure) -> None:
        super().__init__(reason)
        self.failure = reason


def heard(reason: m.Failure) -> m.Failure:
    """What the other side hears when a plugin says `reason`."""
    return reason if reason.code < 0x1_0000 else failure(ErrorCode.REFUSED, reason.message)


class End:
    """One end of a stream."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.rest = connection.frames.rest()

    async def _exactly(self, n: int) -> bytes:
        taken, self.rest = self.rest[:n], self.rest[n:]
        if len(taken) < n:
            taken += await self.connection.reader.readexactly(n - len(taken))
        return taken

    async def next(self) -> tuple[int, bytes]:
        """A header and its payload. Raises when the connection ends."""
        word = int.from_bytes(await self._exactly(4), "little")
        return word, await self._exactly(word & 0xFFFFFF) if word >> 24 == 0 else b""


async def join(first: Connection, second: Connection) -> None:
    """Carries a stream between two plugins until both directions ended."""
    ends = (End(first), End(second))
    over = [asyncio.Event(), asyncio.Event()]

    async def carry(number: int) -> None:
        source, sink = ends[number], ends[1 - number].connection
        stopped = False
        while True:
            word, data = await source.next()
            kind, code = word >> 24, word & 0xFFFFFF
            if kind in (2, 3) and code >= 0x1_0000:
                word = kind << 24 | int(ErrorCode.REFUSED)
            if kind == 3:
                over[1 - number].set()
            if not (stopped and kind == 0):
                sink.writer.write(word.to_bytes(4, "little") + data)
                await sink.writer.drain()
            if kind == 1:
                ends[number].connection.writer.write((3 << 24 | int(ErrorCode.COMPLETE)).to_bytes(4, "little"))
            if kind in (1, 2):
                over[number].set()

    async def finish() -> None:
        for each in over:
            await each.wait()

    finished = asyncio.ensure_future(finish())
    tasks: list[asyncio.Future[None]] = [asyncio.ensure_future(carry(0)), asyncio.ensure_future(carry(1)), finished]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    in_order = finished.done()
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for number, end in enumerate(ends):
        if not in_order:
            lost = int(ErrorCode.CONNECTION_LOST)
            with contextlib.suppress(OSError):
                if not over[1 - number].is_set():
                    end.connection.writer.write((2 << 24 | lost).to_bytes(4, "little"))
                end.connection.writer.write((3 << 24 | lost).to_bytes(4, "little"))
        end.connection.close()
