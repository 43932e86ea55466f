"""Streams and requests to other plugins."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from . import _ids
from . import _messages as m
from ._asking import Asking
from ._connection import DataConnection, MakeSink, Sink
from ._deadline import Deadline, milliseconds
from ._errors import ConnectionLost, ErrorCode, Unauthorised, expect
from ._gateway import connect
from ._limits import CALLS_IN_FLIGHT, DEFAULT_TIMEOUT, STREAM_LIMIT, TIMEOUT_GRACE
from ._protocol import check_payload
from ._reconnect import Reconnector
from ._stream import Stream
from ._transport import AnyProtocol, StreamTransport

if TYPE_CHECKING:
    from ._session import Session


class Dialing(Asking):
    """Owns the data connections and limits the requests in flight."""

    def __init__(self, path: str, reconnector: Reconnector) -> None:
        super().__init__(path, reconnector)
        self._connections: set[DataConnection] = set()
        self._calls = asyncio.Semaphore(CALLS_IN_FLIGHT)

    async def open_stream(
        self, peer: str, protocol: str, *, first: bytes = b"", timeout: float = DEFAULT_TIMEOUT
    ) -> Stream:
        """Opens a stream to a peer, given by its node id or by a ticket. Returns once the plugin there accepted it.

        ``first`` is sent with the opening, as the stream's first bytes: it travels before the stream is accepted. It is
        discarded when the stream is refused; do not rely on that, since the refusal may be that a connection was lost
        after the other plugin had read it.

        Raises :class:`Unreachable` (with the causes), :class:`NotAllowed`, :class:`Refused` (also when nothing there
        serves the protocol), :class:`Busy`, :class:`TimedOut` after ``timeout`` seconds, :class:`ConnectionLost`,
        :class:`BadArgument`. A cancel aborts the stream; the other end may have seen it.
        """
        return cast(Stream, await self._open(_ids.target(peer), protocol, Stream, timeout, first))

    async def open_local(self, protocol: str, *, first: bytes = b"", timeout: float = DEFAULT_TIMEOUT) -> Stream:
        """As :meth:`open_stream`, to the plugin of this node that serves ``protocol`` locally."""
        return cast(Stream, await self._open(m.TargetLocal(), protocol, Stream, timeout, first))

    async def open_connection(
        self,
        peer: str | None,
        protocol: str,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        limit: int = STREAM_LIMIT,
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """As ``asyncio.open_connection``, over the overlay; ``peer`` ``None`` is this node. Raises as
        :meth:`open_stream`. A stream that is cut is an exception at the reader, never its end."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=limit, loop=loop)
        streams = asyncio.StreamReaderProtocol(reader, loop=loop)
        target = m.TargetLocal() if peer is None else _ids.target(peer)
        sink = await self._open(
            target, protocol, lambda connection, opened: StreamTransport(connection, opened, streams), timeout
        )
        return reader, asyncio.StreamWriter(cast(StreamTransport, sink), streams, reader, loop)

    async def _open(
        self, target: m.Target, protocol: str, make_sink: MakeSink, timeout: float, first: bytes = b""
    ) -> Sink:
        _ids.protocol(protocol)
        wait = milliseconds(timeout)
        async with Deadline(timeout + TIMEOUT_GRACE, f"opening {protocol}"):
            while True:
                session = await self._reconnector.session()
                try:
                    opening = m.OpeningOpen(session.secret, target, protocol, wait)
                    return await self._connect_stream(opening, make_sink, bytes(first))
                except Unauthorised:
                    if self._reconnector.current is session:
                        raise  # the secret is this session's, not an earlier one's

    async def _connect_stream(self, opening: m.Opening, make_sink: MakeSink, first: bytes = b"") -> Sink:
        try:
            connection = await connect(self._path, lambda: DataConnection(opening, make_sink, first))
        except OSError as error:
            raise ConnectionLost(f"the network core at {self._path} is not available: {error}") from error
        self._connections.add(connection)
        connection.gone.add_done_callback(lambda _: self._connections.discard(connection))
        try:
            return await asyncio.shield(connection.opened)
        except asyncio.CancelledError:
            connection.give_up(ErrorCode.CANCELLED)
            raise

    # Requests.

    async def request(self, peer: str, protocol: str, payload: bytes, *, timeout: float = DEFAULT_TIMEOUT) -> bytes:
        """Sends one message of at most 64 KiB to a peer and returns its answer of at most as much.

        Raises as :meth:`open_stream`, and :class:`TooLarge`. The other end may have seen a cancelled request. At most
        96 are in flight; further ones wait for their turn, within their ``timeout``.
        """
        return await self._call(_ids.target(peer), protocol, payload, timeout)

    async def request_local(self, protocol: str, payload: bytes, *, timeout: float = DEFAULT_TIMEOUT) -> bytes:
        """As :meth:`request`, to the plugin of this node that serves ``protocol`` locally."""
        return await self._call(m.TargetLocal(), protocol, payload, timeout)

    async def _call(self, target: m.Target, protocol: str, payload: bytes, timeout: float) -> bytes:
        check_payload(payload)
        request = m.RequestCall(target, _ids.protocol(protocol), bytes(payload), milliseconds(timeout))
        async with Deadline(timeout + TIMEOUT_GRACE, f"asking {protocol}"), self._calls:
            session = self._reconnector.current or await self._reconnector.session()
            return expect(await session.ask(request), m.ResponseReply).payload

    # Streams that others opened.

    async def claim(self, session: Session, event: m.EventStream) -> Stream:
        """For listeners: accepts an announced stream."""
        return cast(Stream, await self._claim(session, event, Stream))

    async def claim_transport(self, session: Session, event: m.EventStream, protocol: AnyProtocol) -> None:
        """For servers: accepts an announced stream as a transport for ``protocol``."""
        await self._claim(session, event, lambda connection, opened: StreamTransport(connection, opened, protocol))

    async def _claim(self, session: Session, event: m.EventStream, make_sink: MakeSink) -> Sink:
        async with Deadline(DEFAULT_TIMEOUT + TIMEOUT_GRACE, "accepting a stream"):
            return await self._connect_stream(m.OpeningAccept(session.secret, event.stream), make_sink)
