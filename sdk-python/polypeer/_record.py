"""Signed records of the DHT."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from . import _ids
from . import _messages as m
from ._errors import BadArgument, TooLarge, expect_bytes
from ._limits import MAX_VALUE

_DOMAIN = b"polypeer/1 record\0"
"""Prefix of the signed bytes: domain separation."""
_SIGNATURE = 64


@dataclass(frozen=True)
class SignedRecord:
    """A value that the owner of a key stores under a name. Of two records of one key and name the higher ``sequence``
    replaces the other.

    To sign with the plugin's own key, by any Ed25519 library::

        record = SignedRecord(key, "chat/motd", sequence, int(time.time()) + 3600, b"hello")
        record = record.with_signature(secret_key.sign(record.signed_bytes()))
        await node.put_signed(record)
    """

    key: str
    """The owner: an Ed25519 public key in the text form of node ids, 52 characters; see :func:`polypeer.key_id`."""
    name: str
    sequence: int
    """Must grow with every change."""
    expires: int
    """Expiry, Unix seconds; at most 24 hours ahead when it is put."""
    value: bytes
    """At most 3,072 bytes."""
    signature: bytes = b""
    """64 bytes, by ``key``, of :meth:`signed_bytes`."""

    def signed_bytes(self) -> bytes:
        """The bytes the signature covers. Raises :class:`BadArgument` for an invalid key, name or number."""
        name = _ids.record_name(self.name).encode()
        try:
            numbers = struct.pack("<QQQ", self.sequence, self.expires, len(self.value))
        except struct.error as error:
            raise BadArgument(f"a record's numbers have 64 bits: {error}") from error
        return b"".join(
            (_DOMAIN, _ids.node_bytes(self.key), struct.pack("<Q", len(name)), name, numbers, bytes(self.value))
        )

    def with_signature(self, signature: bytes) -> SignedRecord:
        """A copy with the signature. Raises :class:`BadArgument` unless it has 64 bytes."""
        if len(signature) != _SIGNATURE:
            raise BadArgument(f"a signature has {_SIGNATURE} bytes, not {len(signature)}")
        return replace(self, signature=bytes(signature))


def to_wire(record: SignedRecord) -> m.SignedRecord:
    """The message. Raises :class:`BadArgument` (also for a record without its signature), :class:`TooLarge`."""
    check_value(record.value)
    signed = record.with_signature(record.signature)
    signed.signed_bytes()
    key = _ids.node_bytes(record.key)
    return m.SignedRecord(key, record.name, record.sequence, record.expires, bytes(record.value), signed.signature)


def from_wire(record: m.SignedRecord) -> SignedRecord:
    """From the message."""
    key = _ids.node_text(record.key)
    return SignedRecord(key, record.name, record.sequence, record.expires, record.value, record.signature)


def check_value(value: bytes) -> None:
    """Raises :class:`TooLarge` for a value over 3,072 bytes."""
    expect_bytes(value, "a value")
    if len(value) > MAX_VALUE:
        raise TooLarge(f"value of {len(value)} bytes; the limit is {MAX_VALUE}. Put its hash and serve the rest")
