"""One data connection on the event loop: sends the opening, then moves data frames between the socket and a *sink*.

Created by ``_node.py``, driven by the sink it makes: a :class:`~polypeer.Stream` (``_stream.py``) or an asyncio
transport (``_transport.py``). ``_data.py`` encodes and decodes the frames.
"""

from __future__ import annotations

import asyncio
import os
from typing import Callable, Protocol, Union, cast

from . import _messages as m
from ._codec import DecodeError
from ._data import Data, DataReceiver, DataSender, Fin, Reset, Side
from ._errors import (
    ConnectionLost,
    ErrorCode,
    PolypeerError,
    ProtocolError,
    StreamLost,
    StreamStopped,
    TimedOut,
    from_code,
    reset_from_code,
)
from ._limits import LINGER, MAX_DATA, RECEIVE_FIRST, RECEIVE_LARGEST, SEND_HIGH, SEND_LOW
from ._protocol import FrameBuffer, frame

Buffer = Union[bytes, bytearray, memoryview]


class Sink(Protocol):
    """Callbacks of a connection. None of these may raise."""

    def on_open(self) -> None:
        """The stream is open; the first callback."""

    def on_data(self, view: memoryview) -> None:
        """Received bytes; the view is valid during the call only."""

    def on_fin(self) -> None:
        """The other end has written everything."""

    def on_reset(self, error: StreamLost) -> None:
        """The other end aborted sending; the data received is incomplete."""

    def on_stop(self, error: PolypeerError) -> None:
        """The other end has stopped reading."""

    def on_writable(self, writable: bool) -> None:
        """The send buffer is below its low watermark (``True``) or above its high one (``False``)."""

    def on_closed(self, error: PolypeerError | None) -> None:
        """The connection is closed. ``None``: both directions arrived in full, or this end aborted."""


MakeSink = Callable[["DataConnection", m.OpeningReplyOpened], Sink]


class DataConnection(asyncio.BufferedProtocol):
    """A data connection, from its opening to its end."""

    def __init__(self, opening: m.Opening, make_sink: MakeSink, first: bytes = b"") -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[Sink] = loop.create_future()
        """The sink once the stream is open, or the reason why it failed to open."""
        self.gone: asyncio.Future[None] = loop.create_future()
        """Done when the connection is closed."""
        self._loop = loop
        self._opening = opening
        self._make_sink = make_sink
        self._first = first
        self._frames = FrameBuffer()
        self._receiver = DataReceiver()
        self._sender = DataSender()
        self._sink: Sink | None = None
        self._full = False  # whether the send buffer is above its high watermark, also before there is a sink
        self._transport: asyncio.Transport | None = None
        self._view = memoryview(bytearray(RECEIVE_FIRST))
        self._grow = False
        self._failure: PolypeerError | None = None
        self._timer: asyncio.TimerHandle | None = None

    # Methods for the sink.

    @property
    def send_side(self) -> Side:
        """State of the sending direction."""
        return self._sender.side

    @property
    def is_gone(self) -> bool:
        """Whether the connection is closed."""
        return self.gone.done()

    def write(self, data: Buffer) -> None:
        """Sends bytes, buffered without limit. Ignored after the end of the sending direction."""
        transport = self._transport
        if transport is None or self._sender.side is not Side.OPEN or self._receiver.stopped is not None:
            return
        size = len(data)
        if size <= MAX_DATA:
            if size:
                transport.write(b"".join((self._sender.data(size), data)))
            return
        view = memoryview(data)
        for at in range(0, size, MAX_DATA):
            part = view[at : at + MAX_DATA]
            transport.write(b"".join((self._sender.data(len(part)), part)))

    def fin(self) -> None:
        """Ends the sending direction."""
        self._send(self._sender.fin())

    def reset(self, code: int) -> None:
        """Aborts the sending direction."""
        self._send(self._sender.reset(code))

    def stop(self, code: int) -> None:
        """Tells the other end that this end has stopped reading. The sink ignores what still arrives."""
        if self._receiver.side is Side.OPEN:
            self._send(self._sender.stop(code))

    def pause(self) -> None:
        """Pauses reading from the connection."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Resumes reading."""
        if self._transport is not None and not self.is_gone:
            self._transport.resume_reading()

    def linger(self) -> None:
        """Waits in the background until netcore has confirmed what was sent, with a time limit, then closes."""
        if self._timer is None and not self.is_gone:
            self._timer = self._loop.call_later(LINGER, self._linger_over)

    def give_up(self, code: int) -> None:
        """Aborts both directions, unless the user has closed the stream, and lingers."""
        if self._sink is None:
            self.abort(ConnectionLost("the stream was aborted before it was open", code))
        elif self._timer is None:
            self.reset(code)
            self.stop(code)
            self.resume()
            self.linger()

    def abort(self, error: PolypeerError) -> None:
        """Closes the connection at once, for this reason."""
        if self._failure is None:
            self._failure = error
        if self._transport is not None:
            self._transport.abort()

    def pending(self) -> int:
        """Bytes in the send buffer, not yet passed to the kernel."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def set_limits(self, high: int | None, low: int | None) -> None:
        """As ``asyncio.WriteTransport.set_write_buffer_limits``."""
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high, low)

    def _linger_over(self) -> None:
        self.abort(TimedOut(f"the other end did not confirm everything within {LINGER:.0f} s of closing"))

    def _send(self, data: bytes) -> None:
        if data and self._transport is not None:
            self._transport.write(data)

    # Callbacks of asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=SEND_HIGH, low=SEND_LOW)
        opening, first, self._first = frame(m.encode_opening(self._opening)), self._first, b""
        head = first[:MAX_DATA]
        self._transport.write(b"".join((opening, self._sender.data(len(head)), head)) if head else opening)
        self.write(first[MAX_DATA:])

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._grow:
            self._grow = False
            self._view = memoryview(bytearray(len(self._view) * 2))
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        self._grow = nbytes == len(self._view) < RECEIVE_LARGEST
        try:
            self._received(self._view[:nbytes])
        except PolypeerError as error:
            self.abort(error)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._full = True
        if self._sink is not None:
            self._sink.on_writable(False)

    def resume_writing(self) -> None:
        self._full = False
        if self._sink is not None:
            self._sink.on_writable(True)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and self._failure is None:
            self._last_words()
        if self._timer is not None:
            self._timer.cancel()
        error = self._ending(exc)
        if not self.opened.done():
            self.opened.set_exception(error or ConnectionLost("the connection ended before the stream was open"))
            self.opened.exception()  # the waiter may have been cancelled
        if not self.gone.done():
            self.gone.set_result(None)
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.on_closed(error)
        self._transport = None

    def _last_words(self) -> None:
        """Sending failed since netcore closed the connection. What it sent before, such as the code of a reset, is
        still in the socket, which asyncio closes after this call."""
        handle = self._transport.get_extra_info("socket") if self._transport is not None else None
        try:
            left = 2 * RECEIVE_LARGEST  # more than the kernel queues by default
            while handle is not None and left > 0:
                data = os.read(handle.fileno(), RECEIVE_LARGEST)
                if not data:
                    return
                left -= len(data)
                self._received(memoryview(data))
        except (OSError, PolypeerError):
            return

    def _ending(self, exc: Exception | None) -> PolypeerError | None:
        if self._failure is not None:
            return self._failure
        if self._sink is None:
            return ConnectionLost("the network core disconnected before the stream was open")
        received = self._receiver.side is Side.FINISHED or self._sender.stopped
        stopped = self._receiver.stopped
        # 0: the other end needs no more, whether or not it has everything.
        sent = stopped == 0 or (stopped == ErrorCode.COMPLETE and self._sender.side is Side.FINISHED)
        if (received and sent) or self._sender.side is Side.BROKEN:
            return None
        if stopped is not None and stopped not in (0, ErrorCode.COMPLETE):
            return stopped_from_code(stopped)
        if self._receiver.side is Side.BROKEN:
            return StreamLost("the other end aborted the stream")
        return StreamLost("the stream was cut" + (f" ({exc})" if exc is not None else ""))

    # Received bytes.

    def _received(self, view: memoryview) -> None:
        if self._sink is None:
            if self.opened.done():
                return
            self._frames.feed(view)
            body = self._frames.take()
            if body is None:
                return
            self._reply(body)
            view = memoryview(self._frames.rest())
        for event in self._receiver.feed(view):
            sink = self._sink
            if sink is None:
                return
            if isinstance(event, Data):
                sink.on_data(event.view)
            elif isinstance(event, Fin):
                sink.on_fin()
            elif isinstance(event, Reset):
                sink.on_reset(reset_from_code(event.code))
            elif event.code != ErrorCode.COMPLETE:
                sink.on_stop(stopped_from_code(event.code))

    def _reply(self, body: bytes) -> None:
        try:
            reply = m.decode_opening_reply(body)
        except DecodeError as error:
            raise ProtocolError(f"netcore's answer to the opening is not a message: {error}") from error
        if isinstance(reply, m.OpeningReplyRefused):
            raise from_code(reply.value.code, reply.value.message)
        if not isinstance(reply, m.OpeningReplyOpened):
            raise ProtocolError("netcore answered the opening of a stream with a session")
        if self.opened.done():
            raise ConnectionLost("opening the stream was cancelled")
        self._sink = self._make_sink(self, reply)
        self._sink.on_open()
        if self._full:
            self._sink.on_writable(False)
        self.opened.set_result(self._sink)


def stopped_from_code(code: int) -> PolypeerError:
    """The exception a writer gets when the other end, or netcore, stopped reading with ``code``."""
    if code == ErrorCode.CONNECTION_LOST:
        return StreamLost("the stream was cut", code)
    return StreamStopped("the other end has stopped reading", code)
