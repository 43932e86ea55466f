"""The syntax of ids, names and tickets: section 4 of ``ipc-protocol/SPEC.md``. These functions only check; ``_ids.py``
raises with an explanation."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Optional

from ._limits import MAX_NAME, MAX_PROTOCOL, MAX_TICKET, MAX_TICKET_ADDRESSES

TICKET_PREFIX = "polypeer:"

_ALPHABET = "ybndrfg8ejkmcpqxot1uwisza345h769"
"""z-base-32 (Zooko, 2002): 52 characters hold the 256 bits of a key and 4 zero bits."""
_VALUES = {symbol: value for value, symbol in enumerate(_ALPHABET)}
_TEXT = 52
_NODES = 1024
"""Node ids remembered each way: a plugin sees the same few in each request."""
_PLUGIN_ID = re.compile(r"[a-z0-9-]{2,40}\Z")
_PROTOCOL = re.compile(r"[a-z0-9._-]+/[a-z0-9._-]+\Z")
_PATTERN = re.compile(r"(?=.)[a-z0-9._/-]*\*?\Z")
_NAME = re.compile(r"[a-z0-9._/-]+\Z")
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})\Z")


@lru_cache(_NODES)
def node_text(node: bytes) -> str:
    """The 52 characters of z-base-32 that name a node. ``node`` has 32 bytes."""
    number = int.from_bytes(node, "big") << 4
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(255, -1, -5))


@lru_cache(_NODES)
def node_bytes(text: str) -> Optional[bytes]:
    """The 32 bytes of a node id; ``None`` for invalid text."""
    number = 0
    for symbol in text:
        if symbol not in _VALUES:
            return None
        number = number << 5 | _VALUES[symbol]
    if len(text) != _TEXT or number & 15:
        return None
    return (number >> 4).to_bytes(32, "big")


def is_plugin_id(text: str) -> bool:
    """Whether ``text`` is a valid plugin id."""
    return _PLUGIN_ID.match(text) is not None


def is_protocol(text: str) -> bool:
    """Whether ``text`` is a valid protocol, ``name/version``."""
    return len(text) <= MAX_PROTOCOL and _PROTOCOL.match(text) is not None


def is_pattern(text: str) -> bool:
    """Whether ``text`` is a valid pattern: a name, a prefix and ``*``, or ``*``."""
    return len(text) <= MAX_PROTOCOL and _PATTERN.match(text) is not None


def is_name(text: str) -> bool:
    """Whether ``text`` is a valid name of a topic, a record or a provider."""
    return len(text) <= MAX_NAME and _NAME.match(text) is not None


def is_ticket(text: str) -> bool:
    """Whether ``text`` is ``polypeer:ID`` or ``polypeer:ID@IP:PORT,IP:PORT…``; later versions may add parts after
    ``;``."""
    text = text.strip()
    if not text.startswith(TICKET_PREFIX) or len(text.encode("utf-8", "replace")) > MAX_TICKET:
        return False
    node, at, rest = text[len(TICKET_PREFIX) :].partition(";")[0].partition("@")
    addresses = rest.split(",") if at else []
    return node_bytes(node) is not None and len(addresses) <= MAX_TICKET_ADDRESSES and all(map(_is_address, addresses))


def _is_address(text: str) -> bool:
    found = _ADDRESS.match(text)
    if found is None or int(found[3]) > 65535:
        return False
    try:
        return ipaddress.ip_address(found[1] or found[2]).version == (6 if found[1] else 4)
    except ValueError:
        return False


def allows(pattern: str, name: str) -> bool:
    """Whether a grant's pattern covers a name."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def allows_any(patterns: Iterable[str], name: str) -> bool:
    """Whether one of a grant's patterns covers a name."""
    return any(allows(pattern, name) for pattern in patterns)
