"""What the SDK tells its users about nodes, peers and grants: the gateway's messages with ids as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

from . import _messages as m
from ._errors import PolypeerError, cut, from_code
from ._ids import node_text


@dataclass(frozen=True)
class Origin:
    """Who is at the other end of a stream or call: a peer, or a plugin of this node. One of the two is set."""

    peer: str | None = None
    """The peer's node id, proven by its key."""
    plugin: str | None = None
    """The id of a plugin of this node; the operator's own commands are ``operator``."""

    def __str__(self) -> str:
        return self.peer if self.peer is not None else f"local:{self.plugin}"


@dataclass(frozen=True)
class Grants:
    """What the operator allowed this plugin. Entries are names (``chat/1``), prefixes (``chat/*``) or ``*``."""

    serve: tuple[str, ...]
    dial: tuple[str, ...]
    serve_local: tuple[str, ...]
    peers: tuple[str, ...] | None
    """Node ids, or ``None`` for every peer."""
    topics: tuple[str, ...]
    dht: tuple[str, ...]
    routes: tuple[str, ...]


@dataclass(frozen=True)
class PeerInfo:
    """A connected peer."""

    node: str
    relayed: bool
    """Whether packets travel through another peer."""
    rtt: float
    """Smoothed round trip, seconds."""
    connected: float
    """How long the connection has stood, seconds."""
    protocols: tuple[str, ...]
    """What the peer says it serves."""


@dataclass(frozen=True)
class NodeInfo:
    """This node."""

    node: str
    ticket: str
    """Lets a stranger dial this node."""
    version: str
    """Of the network core."""
    uptime: float
    """Seconds."""


@dataclass(frozen=True)
class PeerUp:
    """A peer this plugin may see is connected."""

    peer: PeerInfo


@dataclass(frozen=True)
class PeerDown:
    """A peer this plugin may see is not connected any more."""

    node: str
    reason: PolypeerError


@dataclass(frozen=True)
class GrantsChanged:
    """The operator changed the grants. Streams and listeners they no longer cover are ended."""

    grants: Grants


@dataclass(frozen=True)
class SessionLost:
    """Netcore is away; the SDK reconnects by itself. Streams and requests under way failed."""

    reason: PolypeerError


@dataclass(frozen=True)
class SessionRestored:
    """Netcore is back, and listeners are registered again."""


@dataclass(frozen=True)
class Dropped:
    """Events were dropped, by netcore or here, since the plugin did not read them in time."""

    count: int


Event = Union[PeerUp, PeerDown, GrantsChanged, SessionLost, SessionRestored, Dropped]
PeerEvent = Union[PeerUp, PeerDown, Dropped]


def origin(value: m.Origin) -> Origin:
    """From the wire."""
    if isinstance(value, m.OriginPeer):
        return Origin(peer=node_text(value.value))
    return Origin(plugin=value.value)


def grants(value: m.Grants) -> Grants:
    """From the wire."""
    peers = tuple(map(node_text, value.peers.value)) if isinstance(value.peers, m.PeerScopeList) else None
    return Grants(value.serve, value.dial, value.serve_local, peers, value.topics, value.dht, value.routes)


def peer_info(value: m.PeerInfo) -> PeerInfo:
    """From the wire."""
    relayed = isinstance(value.path, m.PathRelayed)
    return PeerInfo(node_text(value.node), relayed, value.rtt_us / 1e6, value.connected_ms / 1e3, value.protocols)


def node_info(value: m.NodeInfo) -> NodeInfo:
    """From the wire."""
    return NodeInfo(node_text(value.node), value.ticket, value.version, value.uptime_ms / 1e3)


def failure(value: m.Failure) -> PolypeerError:
    """From the wire."""
    return from_code(value.code, cut(value.message))
