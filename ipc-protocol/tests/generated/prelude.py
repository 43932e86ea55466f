# Generated from ipc-protocol/src by `POLYPEER_BLESS=1 cargo test -p polypeer-ipc-protocol --test generated`.
# Do not edit: a test fails when this file is not what that command makes.
"""The gateway's messages as Python values, and their bytes; ``ipc-protocol/SPEC.md`` says what they mean.

An enum ``E`` with a variant ``V`` is the class ``EV``; ``E`` itself is the union of them. A variant's one unnamed value
is its field ``value``. ``encode_<enum>`` and ``decode_<enum>`` exist for what travels as one frame's body. Node ids,
secrets, hashes, signatures and payloads are ``bytes``; names and tickets are ``str``, checked when read and when written.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from dataclasses import dataclass
from typing import Any, Callable, List, Optional, Tuple, TypeVar, Union

_T = TypeVar("_T")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_MAX_FRAME = 1 << 20
_ALPHABET = "ybndrfg8ejkmcpqxot1uwisza345h769"
_VALUES = {symbol: value for value, symbol in enumerate(_ALPHABET)}
_PLUGIN_ID = re.compile(r"[a-z0-9-]{2,40}\Z")
_PROTOCOL = re.compile(r"(?=.{3,80}\Z)[a-z0-9._-]+/[a-z0-9._-]+\Z")
_PATTERN = re.compile(r"(?=.{1,80}\Z)[a-z0-9._/-]*\*?\Z")
_NAME = re.compile(r"[a-z0-9._/-]{1,128}\Z")
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})\Z")

Data = Union[bytes, bytearray, memoryview]


class DecodeError(ValueError):
    """The bytes are not the message they should be."""


class UnknownTag(DecodeError):
    """A request, response or event that this version does not know; a later one may. Not an error of the session."""


def _node_text(node: bytes) -> str:
    number = int.from_bytes(node, "big") << 4
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(255, -1, -5))


def _is_node(text: str) -> bool:
    return len(text) == 52 and all(symbol in _VALUES for symbol in text) and _VALUES[text[51]] & 15 == 0


def _is_address(text: str) -> bool:
    found = _ADDRESS.match(text)
    if found is None or int(found[3]) > 65535:
        return False
    try:
        return ipaddress.ip_address(found[1] or found[2]).version == (6 if found[1] else 4)
    except ValueError:
        return False


def _is_ticket(text: str) -> bool:
    text = text.strip()
    if not text.startswith("polypeer:") or len(text.encode("utf-8", "replace")) > 1024:
        return False
    node, at, rest = text[len("polypeer:") :].partition(";")[0].partition("@")
    addresses = rest.split(",") if at else []
    return _is_node(node) and len(addresses) <= 16 and all(map(_is_address, addresses))


class _Reader:
    """Takes values off the front of ``data``; never allocates by a length it was told."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: Data) -> None:
        if len(data) > _MAX_FRAME:
            raise DecodeError(f"message of {len(data)} bytes; the limit is {_MAX_FRAME}")
        self._data = bytes(data)
        self._at = 0

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise DecodeError(f"message cut short: {count} bytes expected, {len(self._data) - self._at} left")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def u32(self) -> int:
        return int(_U32.unpack(self.take(4))[0])

    def u64(self) -> int:
        return int(_U64.unpack(self.take(8))[0])

    def bool(self) -> bool:
        value = self.take(1)[0]
        if value > 1:
            raise DecodeError(f"boolean of value {value}")
        return value == 1

    def bytes32(self) -> bytes:
        return self.take(32)

    def bytes64(self) -> bytes:
        return self.take(64)

    def bytes(self) -> bytes:
        return self.take(self.u64())

    def string(self) -> str:
        try:
            return self.bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise DecodeError("text is not UTF-8") from error

    def plugin_id(self) -> str:
        return self._checked(_PLUGIN_ID.match, "plugin id")

    def protocol(self) -> str:
        return self._checked(_PROTOCOL.match, "protocol")

    def pattern(self) -> str:
        return self._checked(_PATTERN.match, "pattern")

    def name(self) -> str:
        return self._checked(_NAME.match, "name")

    def ticket(self) -> str:
        return self._checked(_is_ticket, "ticket")

    def _checked(self, check: Callable[[str], Any], what: str) -> str:
        text = self.string()
        if not check(text):
            raise DecodeError(f"{text[:80]!r} is not a {what}")
        return text

    def list(self, read: Callable[[_Reader], _T], limit: Optional[int] = None) -> Tuple[_T, ...]:
        count = self.u64()
        if count > len(self._data) - self._at or (limit is not None and count > limit):
            raise DecodeError(f"list of {count} entries in {len(self._data) - self._at} bytes")
        items: List[_T] = []
        for _ in range(count):
            items.append(read(self))
        return tuple(items)

    def option(self, read: Callable[[_Reader], _T]) -> Optional[_T]:
        return read(self) if self.bool() else None

    def end(self) -> None:
        left = len(self._data) - self._at
        if left:
            raise DecodeError(f"{left} bytes are left after the message")


class _Writer:
    __slots__ = ("_out",)

    def __init__(self) -> None:
        self._out = bytearray()

    def finish(self) -> bytes:
        if len(self._out) > _MAX_FRAME:
            raise ValueError(f"message of {len(self._out)} bytes; the limit is {_MAX_FRAME}")
        return bytes(self._out)

    def u32(self, value: int) -> None:
        self._out += self._packed(_U32, value)

    def u64(self, value: int) -> None:
        self._out += self._packed(_U64, value)

    def _packed(self, form: struct.Struct, value: int) -> bytes:
        try:
            return form.pack(value)
        except struct.error as error:
            raise ValueError(f"{value!r} is not an unsigned integer of {form.size} bytes") from error

    def bool(self, value: bool) -> None:
        self._out.append(1 if value else 0)

    def bytes32(self, value: bytes) -> None:
        self._exactly(32, value)

    def bytes64(self, value: bytes) -> None:
        self._exactly(64, value)

    def _exactly(self, size: int, value: bytes) -> None:
        if len(value) != size:
            raise ValueError(f"expected {size} bytes, not {len(value)}")
        self._out += value

    def bytes(self, value: Data) -> None:
        self.u64(len(value))
        self._out += value

    def string(self, value: str) -> None:
        self.bytes(value.encode("utf-8"))

    def plugin_id(self, value: str) -> None:
        self._checked(value, _PLUGIN_ID.match, "plugin id")

    def protocol(self, value: str) -> None:
        self._checked(value, _PROTOCOL.match, "protocol")

    def pattern(self, value: str) -> None:
        self._checked(value, _PATTERN.match, "pattern")

    def name(self, value: str) -> None:
        self._checked(value, _NAME.match, "name")

    def ticket(self, value: str) -> None:
        self._checked(value, _is_ticket, "ticket")

    def _checked(self, value: str, check: Callable[[str], Any], what: str) -> None:
        if not check(value):
            raise ValueError(f"{value[:80]!r} is not a {what}")
        self.string(value)
