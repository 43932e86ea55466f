"""Data connections as a sans-IO state machine: the four-byte headers and the order of frames. The caller reads, writes
and owns every buffer; ``_connection.py`` drives it over a local socket."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from typing import Union

from ._errors import ErrorCode, ProtocolError
from ._limits import MAX_DATA

HEADER = 4
_WORD = struct.Struct("<I")
_DATA, _FIN, _RESET, _STOP = range(4)
_MAX_CODE = 1 << 24


@dataclass(frozen=True)
class Data:
    """Bytes of the stream: a view into the argument of :meth:`DataReceiver.feed`, valid until that is reused."""

    view: memoryview


@dataclass(frozen=True)
class Fin:
    """The other end has finished sending."""


@dataclass(frozen=True)
class Reset:
    """The other end aborted sending; the data may be incomplete."""

    code: int


@dataclass(frozen=True)
class Stop:
    """The other end has stopped reading."""

    code: int


DataEvent = Union[Data, Fin, Reset, Stop]


class Side(Enum):
    """State of one direction of a stream."""

    OPEN = "open"
    FINISHED = "finished"
    BROKEN = "broken"


class DataReceiver:
    """Decodes received bytes. Buffers at most three bytes of a header."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._left = 0
        self.side = Side.OPEN
        """The receiving direction."""
        self.stopped: int | None = None
        """The code of the other end's stop, if it has stopped reading."""

    def feed(self, view: memoryview) -> list[DataEvent]:
        """The events in the received bytes, in order; payload is passed on before its frame is complete. Raises
        :class:`ProtocolError` for a frame that breaks the specification; the stream is broken after that."""
        events: list[DataEvent] = []
        at, end = 0, len(view)
        while at < end:
            if self._left:
                size = min(self._left, end - at)
                events.append(Data(view[at : at + size]))
                self._left -= size
                at += size
            elif self._header or end - at < HEADER:
                size = min(HEADER - len(self._header), end - at)
                self._header += view[at : at + size]
                at += size
                if len(self._header) == HEADER:
                    word = int(_WORD.unpack(self._header)[0])
                    self._header.clear()
                    self._begin(word, events)
            else:
                self._begin(int(_WORD.unpack_from(view, at)[0]), events)
                at += HEADER
        return events

    def _begin(self, word: int, events: list[DataEvent]) -> None:
        kind, value = word >> 24, word & 0xFF_FFFF
        if kind == _STOP:
            if self.stopped is not None:
                raise self._broken("a second stop")
            self.stopped = value
            events.append(Stop(value))
        elif kind > _STOP:
            raise self._broken(f"data frame of unknown kind {kind}")
        elif kind == _DATA and not 1 <= value <= MAX_DATA:
            raise self._broken(f"data frame of {value} bytes; expected 1 to {MAX_DATA}")
        elif kind == _FIN and value != 0:
            raise self._broken("end-of-stream frame with a value")
        elif self.side is not Side.OPEN:
            raise self._broken(f"data frame of kind {kind} after the stream was {self.side.value}")
        elif kind == _DATA:
            self._left = value
        elif kind == _FIN:
            self.side = Side.FINISHED
            events.append(Fin())
        else:
            self.side = Side.BROKEN
            events.append(Reset(value))

    def _broken(self, reason: str) -> ProtocolError:
        self.side = Side.BROKEN
        return ProtocolError(reason)

    @property
    def inside_frame(self) -> bool:
        """Whether a frame has been received in part."""
        return bool(self._left or self._header)


class DataSender:
    """Encodes headers and tracks which frames may still be sent."""

    def __init__(self) -> None:
        self.side = Side.OPEN
        """The sending direction."""
        self.stopped = False
        """Whether a stop was sent."""

    def data(self, size: int) -> bytes:
        """The header before ``size`` bytes of payload, 1 to 262,144."""
        assert self.side is Side.OPEN
        assert 1 <= size <= MAX_DATA
        return _WORD.pack(size)

    def fin(self) -> bytes:
        """The end of the stream; empty if the direction has ended."""
        if self.side is not Side.OPEN:
            return b""
        self.side = Side.FINISHED
        return _WORD.pack(_FIN << 24)

    def reset(self, code: int) -> bytes:
        """Aborts the direction; empty if it has ended."""
        if self.side is not Side.OPEN:
            return b""
        self.side = Side.BROKEN
        return _WORD.pack(_RESET << 24 | _code(code))

    def stop(self, code: int) -> bytes:
        """Stops reading; empty if a stop was sent before."""
        if self.stopped:
            return b""
        self.stopped = True
        return _WORD.pack(_STOP << 24 | _code(code))


def _code(code: int) -> int:
    return code if 0 <= code < _MAX_CODE else int(ErrorCode.INTERNAL)
