"""Servers of asyncio's own streams over the overlay: the counterpart of ``asyncio.start_server``."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Callable

from . import _messages as m
from ._errors import ErrorCode, PolypeerError
from ._transport import AnyProtocol, StreamTransport

if TYPE_CHECKING:
    from ._listener import Listener
    from ._session import Session

log = logging.getLogger("polypeer")

ConnectionHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]
Claim = Callable[["Session", m.EventStream, AnyProtocol], Awaitable[None]]


class StreamServer:
    """Made by :meth:`Node.start_server`; the counterpart of ``asyncio.Server``. It serves from the start. Netcore
    limits the open streams to 128 per peer and 1024 in all."""

    def __init__(self, listener: Listener, claim: Claim, connected: ConnectionHandler, limit: int) -> None:
        self._listener = listener
        self._claim = claim
        self._connected = connected
        self._limit = limit
        self._task = asyncio.ensure_future(listener.each_announced(self._accept))

    async def _accept(self, session: Session, event: m.EventStream) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=self._limit, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, self._handle, loop=loop)
        try:
            await self._claim(session, event, protocol)
        except (PolypeerError, OSError) as error:
            log.debug("stream for %s was withdrawn before it was accepted: %s", self._listener.protocol, error)

    def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        """Calls the handler. An exception must not look like a clean end to the other side, which asyncio makes of
        it."""
        handling = self._connected(reader, writer)
        return _told_when_it_fails(handling, writer) if inspect.isawaitable(handling) else handling

    def is_serving(self) -> bool:
        """Whether streams are accepted."""
        return not self._task.done()

    def close(self) -> None:
        """Stops accepting; accepted streams continue."""
        self._listener.end_serving()
        self._task.cancel()

    async def wait_closed(self) -> None:
        """Waits until the server has stopped accepting. Raises nothing; a cancel has no effect on the server."""
        await asyncio.gather(self._task, return_exceptions=True)

    async def serve_forever(self) -> None:
        """Waits until the server or the node is closed. Raises the reason when the node ended otherwise
        (:class:`Superseded`, …). A cancel closes the server."""
        try:
            await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if self._task.cancelled():
                return
            self.close()
            raise
        except PolypeerError as error:
            if error.code != ErrorCode.SHUTTING_DOWN:
                raise

    async def __aenter__(self) -> StreamServer:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        await self.wait_closed()


async def _told_when_it_fails(handling: Awaitable[Any], writer: asyncio.StreamWriter) -> Any:
    try:
        return await handling
    except Exception:
        if isinstance(writer.transport, StreamTransport):
            writer.transport.fail()
        raise
