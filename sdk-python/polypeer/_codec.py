"""How values travel: integers fixed-width and little-endian, lengths as 8 bytes, tags of enums as 4, fields in order
with nothing between them. Section 3 of ``ipc-protocol/SPEC.md``. What the messages consist of is in ``_messages.py``,
which is generated and made of these."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Callable, List, Optional, Tuple, TypeVar, Union

from . import _names
from ._limits import MAX_FRAME

_T = TypeVar("_T")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_NAMES = 1024
"""Names remembered each way, of at most 128 characters: checking one costs more than the rest of a small message."""

Data = Union[bytes, bytearray, memoryview]


class DecodeError(ValueError):
    """The bytes are not the message they should be."""


class UnknownTag(DecodeError):
    """A request, response or event that this version does not know; a later one may. Not an error of the session."""


class Reader:
    """Takes values off the front of ``data``, the body of a frame, for :func:`decode`. Every method raises
    :class:`DecodeError`, or ``struct.error`` at the end of the data, when the bytes are not such a value; none
    allocates by a length it was told."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: Data) -> None:
        if len(data) > MAX_FRAME:
            raise DecodeError(f"message of {len(data)} bytes; the limit is {MAX_FRAME}")
        self._data = bytes(data)
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        end = self._at + count
        if end > len(self._data):
            raise DecodeError(f"message cut short: {count} bytes expected, {len(self._data) - self._at} left")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def u32(self) -> int:
        """An integer of 4 bytes."""
        at = self._at
        self._at = at + 4
        value: int = _U32.unpack_from(self._data, at)[0]
        return value

    def u64(self) -> int:
        """An integer of 8 bytes."""
        at = self._at
        self._at = at + 8
        value: int = _U64.unpack_from(self._data, at)[0]
        return value

    def bool(self) -> bool:
        """A byte, 0 or 1."""
        value = self.take(1)[0]
        if value > 1:
            raise DecodeError(f"boolean of value {value}")
        return value == 1

    def bytes32(self) -> bytes:
        """A node id, a hash or a secret."""
        return self.take(32)

    def bytes64(self) -> bytes:
        """A signature."""
        return self.take(64)

    def bytes(self) -> bytes:
        """A payload: its length and its bytes."""
        return self.take(self.u64())

    def string(self) -> str:
        """A text: its length and its bytes, UTF-8."""
        return _text_of(self.bytes())

    def plugin_id(self) -> str:
        """The name of a plugin."""
        return self._checked(_names.is_plugin_id, "plugin id")

    def protocol(self) -> str:
        """A protocol."""
        return _protocol_of(self.bytes())

    def pattern(self) -> str:
        """A pattern of names."""
        return self._checked(_names.is_pattern, "pattern")

    def name(self) -> str:
        """The name of a topic or record."""
        return _name_of(self.bytes())

    def ticket(self) -> str:
        """A ticket."""
        return self._checked(_names.is_ticket, "ticket")

    def _checked(self, check: Callable[[str], object], what: str) -> str:
        return _checked_of(self.bytes(), check, what)

    def list(self, read: Callable[[Reader], _T], limit: Optional[int] = None) -> Tuple[_T, ...]:
        """A list of at most ``limit`` entries, each of a byte at least."""
        count = self.u64()
        if count > len(self._data) - self._at or (limit is not None and count > limit):
            raise DecodeError(f"list of {count} entries in {len(self._data) - self._at} bytes")
        items: List[_T] = []
        for _ in range(count):
            items.append(read(self))
        return tuple(items)

    def option(self, read: Callable[[Reader], _T]) -> Optional[_T]:
        """A value that may be missing."""
        return read(self) if self.bool() else None

    def end(self) -> None:
        """Checks that nothing is left."""
        left = len(self._data) - self._at
        if left:
            raise DecodeError(f"{left} bytes are left after the message")


def decode(read: Callable[[Reader], _T], data: Data) -> _T:
    """What ``read`` makes of the body of a frame, to its last byte. Raises :class:`DecodeError`."""
    reader = Reader(data)
    try:
        value = read(reader)
    except struct.error as error:
        raise DecodeError("message cut short inside an integer") from error
    reader.end()
    return value


def _text_of(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DecodeError("text is not UTF-8") from error


def _checked_of(data: bytes, check: Callable[[str], object], what: str) -> str:
    text = _text_of(data)
    if not check(text):
        raise DecodeError(f"{text[:80]!r} is not a {what}")
    return text


@lru_cache(_NAMES)
def _protocol_of(data: bytes) -> str:
    return _checked_of(data, _names.is_protocol, "protocol")


@lru_cache(_NAMES)
def _name_of(data: bytes) -> str:
    return _checked_of(data, _names.is_name, "name")


class Writer:
    """Appends values to the body of a frame, for :func:`encode`. Every method raises :class:`ValueError` or
    ``struct.error`` for a value that cannot travel."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: List[Data] = []

    def finish(self) -> bytes:
        """The body; at most 1 MiB."""
        body = b"".join(self._parts)
        if len(body) > MAX_FRAME:
            raise ValueError(f"message of {len(body)} bytes; the limit is {MAX_FRAME}")
        return body

    def u32(self, value: int) -> None:
        """An integer of 4 bytes."""
        self._parts.append(_U32.pack(value))

    def u64(self, value: int) -> None:
        """An integer of 8 bytes."""
        self._parts.append(_U64.pack(value))

    def bool(self, value: bool) -> None:
        """A byte, 0 or 1."""
        self._parts.append(b"\1" if value else b"\0")

    def bytes32(self, value: bytes) -> None:
        """A node id, a hash or a secret."""
        self._exactly(32, value)

    def bytes64(self, value: bytes) -> None:
        """A signature."""
        self._exactly(64, value)

    def _exactly(self, size: int, value: bytes) -> None:
        if len(value) != size:
            raise ValueError(f"expected {size} bytes, not {len(value)}")
        self._parts.append(value)

    def bytes(self, value: Data) -> None:
        """A payload."""
        self._parts += (_U64.pack(len(value)), value)

    def string(self, value: str) -> None:
        """A text."""
        self.bytes(value.encode("utf-8"))

    def plugin_id(self, value: str) -> None:
        """The name of a plugin."""
        self._checked(value, _names.is_plugin_id, "plugin id")

    def protocol(self, value: str) -> None:
        """A protocol."""
        self._parts.append(_protocol_bytes(value))

    def pattern(self, value: str) -> None:
        """A pattern of names."""
        self._checked(value, _names.is_pattern, "pattern")

    def name(self, value: str) -> None:
        """The name of a topic or record."""
        self._parts.append(_name_bytes(value))

    def ticket(self, value: str) -> None:
        """A ticket."""
        self._checked(value, _names.is_ticket, "ticket")

    def _checked(self, value: str, check: Callable[[str], object], what: str) -> None:
        self._parts.append(_checked_bytes(value, check, what))


def encode(write: Callable[[Writer, _T], None], value: _T) -> bytes:
    """The body of a frame that ``write`` makes of a message. Raises :class:`ValueError` for a value that cannot
    travel."""
    writer = Writer()
    try:
        write(writer, value)
    except struct.error as error:
        raise ValueError(f"{value!r:.200} has a number that is no unsigned integer of its size") from error
    return writer.finish()


def _checked_bytes(value: str, check: Callable[[str], object], what: str) -> bytes:
    if not check(value):
        raise ValueError(f"{value[:80]!r} is not a {what}")
    encoded = value.encode("utf-8")
    return _U64.pack(len(encoded)) + encoded


@lru_cache(_NAMES)
def _protocol_bytes(value: str) -> bytes:
    return _checked_bytes(value, _names.is_protocol, "protocol")


@lru_cache(_NAMES)
def _name_bytes(value: str) -> bytes:
    return _checked_bytes(value, _names.is_name, "name")
