"""The control session as a pure state machine: bytes in, events out; requests in, bytes out. It does no input or output
and knows no clock; ``_session.py`` drives it over a local socket.

The machine starts with :meth:`ControlMachine.hello`. Until netcore answered, nothing else may be sent.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from typing import Union

from . import _messages as m
from ._codec import DecodeError, UnknownTag
from ._errors import Busy, ErrorCode, ProtocolError, TooLarge, Unsupported, expect_bytes
from ._limits import MAX_FRAME, MAX_PAYLOAD, MAX_REQUESTS, VERSION

_LENGTH = struct.Struct("<I")


def frame(body: bytes) -> bytes:
    """``body`` as one control frame. Raises :class:`TooLarge` over 1 MiB."""
    if len(body) > MAX_FRAME:
        raise TooLarge(f"message of {len(body)} bytes; the limit is {MAX_FRAME}")
    return _LENGTH.pack(len(body)) + body


class FrameBuffer:
    """Splits received bytes into frames. Buffers at most one incomplete frame beside what one call to :meth:`feed`
    brought."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._at = 0  # bytes taken

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Adds received bytes."""
        if self._at:
            del self._bytes[: self._at]
            self._at = 0
        self._bytes += data

    def take(self) -> bytes | None:
        """The body of the next whole frame, or ``None``. Raises :class:`ProtocolError` for a length over the limit,
        after which where the next frame starts is not known."""
        begin = self._at + 4
        if len(self._bytes) < begin:
            return None
        length: int = _LENGTH.unpack_from(self._bytes, self._at)[0]
        if length > MAX_FRAME:
            raise ProtocolError(f"frame of {length} bytes from netcore; the limit is {MAX_FRAME}")
        if len(self._bytes) < begin + length:
            return None
        self._at = begin + length
        return bytes(self._bytes[begin : self._at])

    def rest(self) -> bytes:
        """Takes out the bytes after the last whole frame."""
        rest = bytes(self._bytes[self._at :])
        self._bytes.clear()
        self._at = 0
        return rest


@dataclass(frozen=True)
class Welcomed:
    """The session is open."""

    welcome: m.Welcome


@dataclass(frozen=True)
class HelloRefused:
    """Netcore refused the session and closes the connection."""

    failure: m.Failure


@dataclass
class Answered:
    """A response to a request of this session."""

    id: int
    response: m.Response


@dataclass
class Happened:
    """An event."""

    event: m.Event


MachineEvent = Union[Welcomed, HelloRefused, Answered, Happened]


class _State(Enum):
    NEW = "new"
    WAITING = "waiting for the welcome"
    OPEN = "open"
    OVER = "over"


class ControlMachine:
    """One control session, from ``Hello`` to its end. A new connection needs a new machine."""

    def __init__(self, token: bytes) -> None:
        self._token = token
        self._state = _State.NEW
        self._frames = FrameBuffer()
        self._next = 1
        self._unanswered: set[int] = set()
        self.skipped = 0
        """Events of a later version of netcore that were skipped."""

    @property
    def unanswered(self) -> int:
        """Pending requests, cancelled ones included; at most 256."""
        return len(self._unanswered)

    def hello(self) -> bytes:
        """The first bytes of the connection."""
        assert self._state is _State.NEW, "hello is sent once"
        self._state = _State.WAITING
        return frame(m.encode_opening(m.OpeningHello((VERSION,), self._token)))

    def request(self, request: m.Request) -> tuple[int, bytes]:
        """A request's id and the bytes that ask for it. Raises :class:`Busy` while 256 are unanswered, and
        :class:`TooLarge` for a payload over 64 KiB; neither changes anything."""
        assert self._state is _State.OPEN, "requests follow the welcome"
        if len(self._unanswered) >= MAX_REQUESTS:
            raise Busy(f"{MAX_REQUESTS} requests are unanswered; wait for one of them")
        if isinstance(request, m.RequestCall):
            check_payload(request.payload)
        id = self._next
        body = frame(m.encode_client_frame(m.ClientFrameRequest(id, request)))
        self._next += 1
        self._unanswered.add(id)
        return id, body

    def cancel(self, id: int) -> bytes:
        """The bytes that cancel a request, which is still answered; empty when it was answered."""
        if id not in self._unanswered or self._state is not _State.OPEN:
            return b""
        return frame(m.encode_client_frame(m.ClientFrameCancel(id)))

    def answer(self, call: int, payload: bytes) -> bytes:
        """The bytes that answer a call. Of an answer over 64 KiB they hold a byte too many: netcore tells the caller
        ``too large``."""
        expect_bytes(payload, "a payload")
        return frame(m.encode_client_frame(m.ClientFrameAnswer(call, payload[: MAX_PAYLOAD + 1])))

    def decline(self, call: int, failure: m.Failure) -> bytes:
        """The bytes that decline a call."""
        return frame(m.encode_client_frame(m.ClientFrameDecline(call, failure)))

    def alive(self) -> bytes:
        """The bytes that answer a heartbeat."""
        return frame(m.encode_client_frame(m.ClientFrameAlive()))

    def receive(self, data: bytes | bytearray | memoryview) -> list[MachineEvent]:
        """The messages in the received bytes, in order. Raises :class:`ProtocolError` when netcore breaks the protocol;
        the session must then be closed."""
        self._frames.feed(data)
        events: list[MachineEvent] = []
        while True:
            body = self._frames.take()
            if body is None:
                return events
            event = self._body(body)
            if event is not None:
                events.append(event)

    def _body(self, body: bytes) -> MachineEvent | None:
        if self._state is _State.WAITING:
            return self._opened(body)
        if self._state is not _State.OPEN:
            raise ProtocolError("netcore sent a frame where none is allowed")
        try:
            message = m.decode_server_frame(body)
        except UnknownTag as error:
            return self._later(body, error)
        except DecodeError as error:
            raise ProtocolError(f"bytes from netcore are not a message: {error}") from error
        if isinstance(message, m.ServerFrameEvent):
            return Happened(message.value)
        return self._answered(message.id, message.response)

    def _opened(self, body: bytes) -> MachineEvent:
        try:
            reply = m.decode_opening_reply(body)
        except DecodeError as error:
            raise ProtocolError(f"netcore's answer to hello is not a message: {error}") from error
        if isinstance(reply, m.OpeningReplyWelcome):
            if reply.value.version != VERSION:
                text = f"netcore chose version {reply.value.version}, which was not offered"
                raise Unsupported(text, ErrorCode.UNSUPPORTED_VERSION)
            self._state = _State.OPEN
            return Welcomed(reply.value)
        self._state = _State.OVER
        if isinstance(reply, m.OpeningReplyRefused):
            return HelloRefused(reply.value)
        raise ProtocolError("netcore answered hello with a stream")

    def _answered(self, id: int, response: m.Response) -> Answered:
        if id not in self._unanswered:
            raise ProtocolError(f"netcore answered request {id}, which is not pending")
        self._unanswered.remove(id)
        return Answered(id, response)

    def _later(self, body: bytes, error: UnknownTag) -> MachineEvent | None:
        """A message of a later version: an answer (frame tag 0) fails its request, an event is skipped."""
        if body[:4] == bytes(4):
            failed = m.ResponseFailed(m.Failure(ErrorCode.UNSUPPORTED, f"netcore's answer: {error}"))
            return self._answered(int.from_bytes(body[4:12], "little"), failed)
        self.skipped += 1
        return None


def check_payload(payload: bytes) -> None:
    """Raises :class:`TooLarge` for a request or reply over 64 KiB."""
    expect_bytes(payload, "a payload")
    if len(payload) > MAX_PAYLOAD:
        raise TooLarge(f"payload of {len(payload)} bytes; the limit is {MAX_PAYLOAD}. Use a stream for more")
