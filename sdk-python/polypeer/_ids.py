"""Node ids, tickets and protocol names: text for people, bytes for the wire. They are checked here, so that a typing
error raises :class:`~polypeer.BadArgument` with a reason before anything is sent."""

from __future__ import annotations

import re

from . import _messages as m
from . import _names
from ._errors import BadArgument
from ._limits import MAX_NAME, MAX_TICKET, MAX_TICKET_ADDRESSES
from ._names import TICKET_PREFIX
from ._names import node_text as node_text  # its opposite is below

_HEX_32 = re.compile(r"[0-9a-f]{64}\Z")


def node_bytes(text: str) -> bytes:
    """The public key of a node id. Raises :class:`BadArgument` for anything but 52 characters of z-base-32 whose last
    four bits are zero."""
    node = _names.node_bytes(text)
    if node is None:
        raise BadArgument(f"{text[:80]!r} is not a node id: expected 52 characters of z-base-32")
    return node


def key_id(key: bytes) -> str:
    """An Ed25519 public key of 32 bytes in the text form of node ids. Raises :class:`BadArgument`."""
    if len(key) != 32:
        raise BadArgument(f"a public key has 32 bytes, not {len(key)}")
    return node_text(bytes(key))


def secret_bytes(text: str) -> bytes:
    """The 32 bytes of a token. Raises :class:`BadArgument` for anything but 64 lower-case hexadecimal digits."""
    if not _HEX_32.match(text):
        raise BadArgument("expected 64 hexadecimal digits")
    return bytes.fromhex(text)


def hash_bytes(text: str) -> bytes:
    """The 32 bytes of a hash. Raises :class:`BadArgument` for anything but 64 lower-case hexadecimal digits."""
    if not _HEX_32.match(text):
        raise BadArgument(f"{text[:80]!r} is not a hash: expected 64 hexadecimal digits, lower case")
    return bytes.fromhex(text)


def target(peer: str) -> m.Target:
    """The target of a node id or a ticket. Raises :class:`BadArgument`."""
    text = peer.strip()
    if not text.startswith(TICKET_PREFIX):
        return m.TargetNode(node_bytes(text))
    peer_id(text)
    if not _names.is_ticket(text):
        raise BadArgument(
            f"{text[:80]!r} is not a ticket: expected {TICKET_PREFIX}ID@IP:PORT,IP:PORT…, "
            f"at most {MAX_TICKET} bytes and {MAX_TICKET_ADDRESSES} addresses"
        )
    return m.TargetTicket(text)


def peer_id(peer: str) -> str:
    """The node id that a node id or a ticket names, 52 characters. Raises :class:`BadArgument`."""
    text = peer.strip()
    if text.startswith(TICKET_PREFIX):
        text = text[len(TICKET_PREFIX) :].split(";", 1)[0].partition("@")[0]
    node_bytes(text)
    return text


def protocol(name: str) -> str:
    """``name`` if it is a protocol, ``name/version``. Raises :class:`BadArgument`."""
    if not _names.is_protocol(name):
        raise BadArgument(
            f"{name[:80]!r} is not a protocol: expected name/version, such as chat/1, of a-z, 0-9, '.', '_' and '-'"
        )
    return name


def record_name(name: str) -> str:
    """``name`` if it can name a topic, a record or something provided. Raises :class:`BadArgument`."""
    if not _names.is_name(name):
        raise BadArgument(f"{name[:80]!r} is not a name: expected 1 to {MAX_NAME} of a-z, 0-9, '.', '_', '-' and '/'")
    return name
