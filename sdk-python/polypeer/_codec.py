"""How values travel: integers fixed-width and little-endian, lengths as 8 bytes, tags of enums as 4, fields in order
with nothing between them. Section 3 of ``ipc-protocol/SPEC.md``. What the messages consist of is in ``_messages.py``,
which is generated and made of these."""

from __future__ import annotations

import struct
from typing import Callable, List, Optional, Tuple, TypeVar, Union

from . import _names
from ._limits import MAX_FRAME

_T = TypeVar("_T")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")

Data = Union[bytes, bytearray, memoryview]


class DecodeError(ValueError):
    """The bytes are not the message they should be."""


class UnknownTag(DecodeError):
    """A request, response or event that this version does not know; a later one may. Not an error of the session."""


class Reader:
    """Takes values off the front of ``data``, the body of a frame. Every method raises :class:`DecodeError` when the
    bytes are not such a value; none allocates by a length it was told."""

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
        return int(_U32.unpack(self.take(4))[0])

    def u64(self) -> int:
        """An integer of 8 bytes."""
        return int(_U64.unpack(self.take(8))[0])

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
        try:
            return self.bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise DecodeError("text is not UTF-8") from error

    def plugin_id(self) -> str:
        """The name of a plugin."""
        return self._checked(_names.is_plugin_id, "plugin id")

    def protocol(self) -> str:
        """A protocol."""
        return self._checked(_names.is_protocol, "protocol")

    def pattern(self) -> str:
        """A pattern of names."""
        return self._checked(_names.is_pattern, "pattern")

    def name(self) -> str:
        """The name of a topic or record."""
        return self._checked(_names.is_name, "name")

    def ticket(self) -> str:
        """A ticket."""
        return self._checked(_names.is_ticket, "ticket")

    def _checked(self, check: Callable[[str], object], what: str) -> str:
        text = self.string()
        if not check(text):
            raise DecodeError(f"{text[:80]!r} is not a {what}")
        return text

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


class Writer:
    """Appends values to the body of a frame. Every method raises :class:`ValueError` for a value that cannot travel."""

    __slots__ = ("_out",)

    def __init__(self) -> None:
        self._out = bytearray()

    def finish(self) -> bytes:
        """The body; at most 1 MiB."""
        if len(self._out) > MAX_FRAME:
            raise ValueError(f"message of {len(self._out)} bytes; the limit is {MAX_FRAME}")
        return bytes(self._out)

    def u32(self, value: int) -> None:
        """An integer of 4 bytes."""
        self._out += self._packed(_U32, value)

    def u64(self, value: int) -> None:
        """An integer of 8 bytes."""
        self._out += self._packed(_U64, value)

    def _packed(self, form: struct.Struct, value: int) -> bytes:
        try:
            return form.pack(value)
        except struct.error as error:
            raise ValueError(f"{value!r} is not an unsigned integer of {form.size} bytes") from error

    def bool(self, value: bool) -> None:
        """A byte, 0 or 1."""
        self._out.append(1 if value else 0)

    def bytes32(self, value: bytes) -> None:
        """A node id, a hash or a secret."""
        self._exactly(32, value)

    def bytes64(self, value: bytes) -> None:
        """A signature."""
        self._exactly(64, value)

    def _exactly(self, size: int, value: bytes) -> None:
        if len(value) != size:
            raise ValueError(f"expected {size} bytes, not {len(value)}")
        self._out += value

    def bytes(self, value: Data) -> None:
        """A payload."""
        self.u64(len(value))
        self._out += value

    def string(self, value: str) -> None:
        """A text."""
        self.bytes(value.encode("utf-8"))

    def plugin_id(self, value: str) -> None:
        """The name of a plugin."""
        self._checked(value, _names.is_plugin_id, "plugin id")

    def protocol(self, value: str) -> None:
        """A protocol."""
        self._checked(value, _names.is_protocol, "protocol")

    def pattern(self, value: str) -> None:
        """A pattern of names."""
        self._checked(value, _names.is_pattern, "pattern")

    def name(self, value: str) -> None:
        """The name of a topic or record."""
        self._checked(value, _names.is_name, "name")

    def ticket(self, value: str) -> None:
        """A ticket."""
        self._checked(value, _names.is_ticket, "ticket")

    def _checked(self, value: str, check: Callable[[str], object], what: str) -> None:
        if not check(value):
            raise ValueError(f"{value[:80]!r} is not a {what}")
        self.string(value)
