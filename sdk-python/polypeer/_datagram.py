"""Datagrams: small messages to connected peers that arrive once or never."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import _messages as m
from ._errors import TooLarge, expect_bytes
from ._feed import Feed
from ._ids import node_text
from ._limits import DATAGRAM_QUEUE, MAX_DATAGRAM
from ._types import Grants

if TYPE_CHECKING:
    from ._messaging import Messaging


@dataclass(frozen=True)
class Datagram:
    """A received datagram."""

    peer: str
    """Node id of the sender, proven by its key."""
    protocol: str
    payload: bytes
    """At most 1,024 bytes."""


class Datagrams(Feed[Datagram]):
    """A protocol's datagrams, made by :meth:`Node.datagrams`. Queues 1024 for a slow reader."""

    def __init__(self, node: Messaging, protocol: str) -> None:
        super().__init__(node, protocol, DATAGRAM_QUEUE)
        self.protocol = protocol

    def __repr__(self) -> str:
        return f"<polypeer.Datagrams {self.protocol}>"

    @property
    def what(self) -> str:
        return f"the datagrams of {self.protocol}"

    def begin_request(self) -> m.Request:
        return m.RequestReceiveDatagrams(self.protocol, True)

    def end_request(self) -> m.Request:
        return m.RequestReceiveDatagrams(self.protocol, False)

    def patterns(self, grants: Grants) -> tuple[str, ...]:
        return grants.serve

    def on_datagram(self, event: m.EventDatagram) -> None:
        """For the node: queues a datagram."""
        self._keep(Datagram(node_text(event.node), event.protocol, event.payload))


def check_datagram(data: bytes) -> None:
    """Raises :class:`TooLarge` for a datagram over 1,024 bytes."""
    expect_bytes(data, "a datagram")
    if len(data) > MAX_DATAGRAM:
        raise TooLarge(f"datagram of {len(data)} bytes; the limit is {MAX_DATAGRAM}. Use a request for more")
