"""Streams: the SDK's own reading and writing interface over one data connection."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from . import _messages as m
from . import _types
from ._data import Side
from ._errors import ErrorCode, PolypeerError, StreamLost, StreamStopped, TooLarge
from ._limits import MAX_DATA, RECEIVE_HIGH, RECEIVE_LOW
from ._types import Origin

if TYPE_CHECKING:
    from ._connection import Buffer, DataConnection

_READ_ALL_LIMIT = 64 << 20
"""Default limit of `read()` up to the end, bytes: the peer must not decide how much memory it takes."""
_SMALL = 512
"""Smaller unread chunks are joined, bytes: the other end must not decide how many objects they become."""
_LINE_LIMIT = 64 << 10
"""Longest line, as in asyncio's own streams."""


class Stream:
    """A reliable ordered byte pipe to a peer, or to a plugin of this node. Either half closes on its own.

    The end of the data is ``b""`` (and the end of iteration); it means that everything arrived. A stream that was cut
    or aborted never looks like its end: after the bytes received before, reading raises :class:`StreamReset` with the
    other end's code, or :class:`StreamLost`.

    One task may read and others write at the same time; a second reader is a ``RuntimeError``. ``async with`` ends the
    stream: on success everything written is confirmed when the block is left, on an exception the stream is reset.
    """

    def __init__(self, connection: DataConnection, opened: m.OpeningReplyOpened) -> None:
        self.origin: Origin = _types.origin(opened.origin)
        """The peer or local plugin at the other end."""
        self.protocol: str = opened.protocol
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._chunks: deque[bytes] = deque()
        self._first = 0  # bytes of the first chunk that are read already
        self._size = 0  # bytes unread
        self._at_end = False
        self._read_error: PolypeerError | None = None
        self._write_error: PolypeerError | None = None
        self._close_error: PolypeerError | None = None
        self._paused = False
        self._discard = False
        self._reader: asyncio.Future[None] | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._writing = asyncio.Lock()

    @property
    def peer(self) -> str | None:
        """The peer's node id; ``None`` on a stream from a plugin of this node."""
        return self.origin.peer

    def __repr__(self) -> str:
        return f"<polypeer.Stream {self.protocol} with {self.origin}>"

    # Reading.

    async def read(self, n: int = -1, *, limit: int = _READ_ALL_LIMIT) -> bytes:
        """At most ``n`` bytes, as soon as there are any; ``b""`` at the end. Without ``n``: everything up to the end,
        at most ``limit`` bytes.

        Raises :class:`StreamLost` (:class:`StreamReset`) when the stream was cut, :class:`TooLarge` when more than
        ``limit`` bytes come. A cancel loses no data; what ``read()`` has collected stays readable.
        """
        if n == 0:
            return b""
        if n > 0:
            await self._some()
            return self._take(n)
        while not self._at_end:
            if self._size > limit:
                raise TooLarge(f"more than {limit} bytes before the end; read in parts")
            await self._more()
        if self._size > limit:
            raise TooLarge(f"more than {limit} bytes before the end; read in parts")
        return self._take_all()

    async def readexactly(self, n: int) -> bytes:
        """Exactly ``n`` bytes. Raises ``asyncio.IncompleteReadError`` when the end comes first, :class:`StreamLost` if
        the stream was cut. After either, or a cancel, the bytes received stay readable."""
        while self._size < n:
            if self._at_end:
                raise asyncio.IncompleteReadError(self._take_all(), n)
            await self._more()
        parts = []
        left = n
        while left:
            part = self._take(left)
            parts.append(part)
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def readline(self, *, limit: int = _LINE_LIMIT) -> bytes:
        """One line with its ``\\n``; at the end the rest, possibly ``b""``. Raises :class:`TooLarge` for a line of more
        than ``limit`` bytes and :class:`StreamLost` when the stream was cut. A cancel loses nothing."""
        scanned = 0
        before = 0
        while True:
            while scanned < len(self._chunks):
                start = 0 if scanned else self._first
                found = self._chunks[scanned].find(b"\n", start)
                if found >= 0 and before + found + 1 - start <= limit:
                    return await self.readexactly(before + found + 1 - start)
                before += len(self._chunks[scanned]) - start
                scanned += 1
            if before > limit:
                raise TooLarge(f"a line of more than {limit} bytes")
            if self._at_end:
                return self._take_all()
            await self._more()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> bytes:
        """The next chunk, at most 256 KiB. Raises as :meth:`read`."""
        await self._some()
        if not self._chunks:
            raise StopAsyncIteration
        return self._take(MAX_DATA)

    @property
    def at_end(self) -> bool:
        """Whether everything was read."""
        return self._at_end and not self._chunks

    async def _some(self) -> None:
        """Waits for the first byte, or the end."""
        while not self._chunks and not self._at_end:
            await self._more()

    async def _more(self) -> None:
        """Waits for more bytes, or the end. Raises when neither can arrive."""
        if self._read_error is not None:
            raise self._read_error
        if self._discard:
            raise RuntimeError("the stream is closed")
        if self._reader is not None:
            raise RuntimeError("another task is reading this stream")
        if self._paused:  # one read may ask for more than the high watermark
            self._paused = False
            self._connection.resume()
        self._reader = self._loop.create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def _take(self, n: int) -> bytes:
        if not self._chunks:
            return b""
        chunk = self._chunks[0]
        end = self._first + n
        if len(chunk) <= end:
            self._chunks.popleft()
            taken = chunk[self._first :] if self._first else chunk
            self._first = 0
        else:
            taken = chunk[self._first : end]
            self._first = end
        self._took(len(taken))
        return taken

    def _take_all(self) -> bytes:
        first = self._take(self._size)
        data = first if not self._chunks else b"".join((first, *self._chunks))
        self._drop_all()
        return data

    def _drop_all(self) -> None:
        self._chunks.clear()
        self._first = 0
        self._took(self._size)

    def _took(self, size: int) -> None:
        self._size -= size
        if self._paused and self._size <= RECEIVE_LOW:
            self._paused = False
            self._connection.resume()

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # Writing.

    async def write(self, data: Buffer) -> None:
        """Sends bytes; waits while the other end does not keep up (backpressure). Returning means sent, not arrived;
        leaving ``async with``, or :meth:`wait_closed`, waits for that.

        Raises :class:`StreamStopped` when the other end has stopped reading, :class:`StreamLost` when the stream was
        cut, ``RuntimeError`` after :meth:`finish`. After a cancel an unknown part of ``data`` was sent; usually
        :meth:`reset` follows. Writes of several tasks do not mix.
        """
        async with self._writing:
            if len(data) <= MAX_DATA:
                self._check_writable()
                self._connection.write(data)
                await self._drained()
                return
            view = memoryview(data).cast("B")
            for at in range(0, len(view), MAX_DATA):
                self._check_writable()
                self._connection.write(view[at : at + MAX_DATA])
                await self._drained()

    async def finish(self) -> None:
        """Ends the sending direction: the other end reads ``b""`` after what was written. Reading continues.
        Idempotent. Raises as :meth:`write`, but not when the other end has closed the stream (stopped with code 0): it
        needs no more. After a cancel the direction is finished as well."""
        async with self._writing:
            if self._connection.send_side is Side.FINISHED:
                return
            try:
                if not _needs_no_more(self._write_error):
                    self._check_writable()
                self._connection.fin()
                await self._drained()
            except StreamStopped as stopped:
                if not _needs_no_more(stopped):
                    raise

    def write_eof(self) -> None:
        """As :meth:`finish`, at once and without waiting."""
        self._connection.fin()

    def _check_writable(self) -> None:
        if self._connection.send_side is Side.FINISHED:
            raise RuntimeError("the stream's sending direction is finished")
        if self._write_error is not None:
            raise self._write_error

    async def _drained(self) -> None:
        if not self._room.is_set():
            await self._room.wait()
            if self._write_error is not None:
                raise self._write_error

    # Ending.

    def reset(self, code: int = 0) -> None:
        """Aborts sending; the other end's reader gets :class:`StreamReset` with ``code``, below 65,536."""
        self._connection.reset(code)
        self._write_error = self._write_error or StreamLost("this end reset the stream", code)
        self._room.set()

    def stop(self, code: int = 0) -> None:
        """Stops reading; the other end's writer gets :class:`StreamStopped` with ``code``, below 65,536. Unread bytes
        are dropped."""
        self._connection.stop(code)
        self._discard = True
        self._drop_all()
        self._wake_reader()

    def close(self) -> None:
        """Ends both directions: finishes sending and stops reading. The connection stays in the background until the
        other end has confirmed what was written, for a minute at most. Idempotent."""
        self._connection.fin()
        if not self._discard:
            self.stop(0)
        self._connection.linger()

    def abort(self, code: int = ErrorCode.REFUSED) -> None:
        """Aborts both directions at once."""
        self.reset(code)
        self.stop(code)
        self._connection.linger()

    async def wait_closed(self) -> None:
        """Waits until both directions have ended and everything written is confirmed by the other end. Call it after
        :meth:`close`, or after finishing and reading up to the end.

        Raises :class:`StreamLost` when the stream was cut before, :class:`StreamStopped` when the other end stopped
        reading with a code other than 0 before it had everything, :class:`TimedOut` when there was no confirmation
        within a minute of closing. A cancel has no effect on the stream.
        """
        await asyncio.shield(self._connection.gone)
        if self._close_error is not None:
            raise self._close_error

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self.abort(ErrorCode.HANDLER_FAILED if isinstance(error, Exception) else ErrorCode.REFUSED)
            return
        self.close()
        try:
            await self.wait_closed()
        except asyncio.CancelledError:
            self.abort()
            raise

    # Callbacks of the connection.

    def on_open(self) -> None:
        pass

    def on_data(self, view: memoryview) -> None:
        if self._discard:
            return
        if self._reader is None and len(view) < _SMALL and self._chunks and len(self._chunks[-1]) < _SMALL:
            self._chunks[-1] += view
        else:
            self._chunks.append(bytes(view))
        self._size += len(view)
        if self._size >= RECEIVE_HIGH and not self._paused and self._reader is None:
            self._paused = True
            self._connection.pause()
        self._wake_reader()

    def on_fin(self) -> None:
        self._at_end = True
        self._wake_reader()

    def on_reset(self, error: StreamLost) -> None:
        if not self._at_end:
            self._read_error = error
        if not self._discard:
            self._close_error = self._close_error or error
        self._wake_reader()

    def on_stop(self, error: PolypeerError) -> None:
        self._write_error = self._write_error or error
        self._room.set()

    def on_writable(self, writable: bool) -> None:
        if writable or self._write_error is not None:
            self._room.set()
        else:
            self._room.clear()

    def on_closed(self, error: PolypeerError | None) -> None:
        lost = error if error is not None else StreamLost("the stream is closed")
        if not self._at_end:
            self._read_error = self._read_error or lost
        self._write_error = self._write_error or lost
        self._close_error = self._close_error if error is None else (self._close_error or error)
        self._room.set()
        self._wake_reader()


def _needs_no_more(error: PolypeerError | None) -> bool:
    """Whether the other end stopped reading because it needs no more, and not because anything failed."""
    return isinstance(error, StreamStopped) and error.code == 0
