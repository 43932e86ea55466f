"""An asyncio transport over one data connection, so that `StreamReader`, `StreamWriter` and any `asyncio.Protocol` work
over the overlay unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Union, cast

from . import _messages as m
from . import _types
from ._data import Side
from ._errors import ErrorCode, PolypeerError, StreamLost

if TYPE_CHECKING:
    from ._connection import Buffer, DataConnection

AnyProtocol = Union[asyncio.Protocol, asyncio.BufferedProtocol]


class StreamTransport(asyncio.Transport):
    """An ``asyncio.Transport`` whose other end is a peer, or a plugin of this node.

    ``get_extra_info`` knows ``peername`` (the node id, or ``local:PLUGIN``), ``origin`` (:class:`polypeer.Origin`) and
    ``protocol``. A stream that was cut or reset is ``connection_lost(exc)``, never ``eof_received()``. As with TCP,
    ``connection_lost(None)`` after ``close()`` means that everything was sent, not that it arrived.
    """

    def __init__(self, connection: DataConnection, opened: m.OpeningReplyOpened, protocol: AnyProtocol) -> None:
        super().__init__()
        origin = _types.origin(opened.origin)
        self._extra: dict[str, Any] = {"peername": str(origin), "origin": origin, "protocol": opened.protocol}
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._protocol: AnyProtocol = protocol
        self._closing = False
        self._lost = False
        self._error: BaseException | None = None  # why this end aborted, once it has
        self._reading = True
        self._full = False
        self._stopped: PolypeerError | None = None

    def __repr__(self) -> str:
        return f"<polypeer.StreamTransport {self._extra['protocol']} with {self._extra['peername']}>"

    # asyncio.BaseTransport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._extra.get(name, default)

    def is_closing(self) -> bool:
        return self._closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast(AnyProtocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def close(self) -> None:
        """Sends what is buffered, then the end; stops reading."""
        if self._closing:
            return
        self._closing = True
        self._connection.fin()
        self._connection.stop(0)
        self._connection.resume()
        self._connection.linger()
        if not self._full:
            self._loop.call_soon(self._finish, None)

    def abort(self) -> None:
        """Aborts both directions at once."""
        self._give_up(None)

    def fail(self) -> None:
        """As :meth:`abort`, because what handles the stream failed: the other end hears ``handler failed``."""
        self._give_up(None, ErrorCode.HANDLER_FAILED)

    # asyncio.ReadTransport

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        if self._reading and not self._closing:
            self._reading = False
            self._connection.pause()

    def resume_reading(self) -> None:
        if not self._reading and not self._closing:
            self._reading = True
            self._connection.resume()

    # asyncio.WriteTransport

    def write(self, data: Buffer) -> None:
        if self._closing or self._connection.is_gone:
            return
        if self._connection.send_side is not Side.OPEN:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._stopped is not None:
            self._give_up(self._stopped)
            return
        self._connection.write(data)

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._closing:
            self._connection.fin()

    def get_write_buffer_size(self) -> int:
        return self._connection.pending()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._connection.set_limits(high, low)

    # Callbacks of the connection.

    def on_open(self) -> None:
        try:
            self._protocol.connection_made(self)
        except Exception as error:
            self._broken_protocol(error)

    def on_data(self, view: memoryview) -> None:
        if self._closing:
            return
        try:
            if isinstance(self._protocol, asyncio.BufferedProtocol):
                _hand_over(self._protocol, view)
            else:
                self._protocol.data_received(bytes(view))
        except Exception as error:
            self._broken_protocol(error)

    def on_fin(self) -> None:
        if self._closing:
            return
        try:
            keep_open = self._protocol.eof_received()
        except Exception as error:
            self._broken_protocol(error)
            return
        if not keep_open:
            self.close()

    def on_reset(self, error: StreamLost) -> None:
        if not self._closing:
            self._give_up(error)

    def on_stop(self, error: PolypeerError) -> None:
        self._stopped = error
        if self._full and not self._closing:
            self._give_up(error)

    def on_writable(self, writable: bool) -> None:
        self._full = not writable
        if self._lost:
            return
        try:
            if writable:
                self._protocol.resume_writing()
            else:
                self._protocol.pause_writing()
        except Exception as error:
            self._broken_protocol(error)
        if writable and self._closing:
            self._finish(None)

    def on_closed(self, error: PolypeerError | None) -> None:
        if not self._closing and self._connection.send_side is Side.OPEN:
            error = error or self._stopped  # what was written since then is discarded
        self._closing = True
        self._finish(error)

    def _give_up(self, error: BaseException | None, code: int = ErrorCode.REFUSED) -> None:
        self._error = self._error or error
        self._closing = True
        self._connection.reset(code)
        self._connection.stop(code)
        self._connection.resume()
        self._connection.linger()
        self._loop.call_soon(self._finish, None)

    def _finish(self, error: BaseException | None) -> None:
        if self._lost:
            return
        self._lost = True
        self._protocol.connection_lost(cast("Exception | None", self._error or error))

    def _broken_protocol(self, error: Exception) -> None:
        self._loop.call_exception_handler(
            {
                "message": "the protocol of a stream failed",
                "exception": error,
                "transport": self,
                "protocol": self._protocol,
            }
        )
        self._give_up(error, ErrorCode.HANDLER_FAILED)


def _hand_over(protocol: asyncio.BufferedProtocol, view: memoryview) -> None:
    """Copies ``view`` into the buffers the protocol offers."""
    while view:
        buffer = memoryview(cast("bytearray", protocol.get_buffer(len(view))))
        size = min(len(buffer), len(view))
        if not size:
            raise RuntimeError("get_buffer() returned an empty buffer")
        buffer[:size] = view[:size]
        protocol.buffer_updated(size)
        view = view[size:]
