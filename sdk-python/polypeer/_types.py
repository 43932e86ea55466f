"""Public types of nodes, peers, grants and events: the gateway's messages with ids as text."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Union

from . import _messages as m
from ._errors import PolypeerError, cut, from_code
from ._ids import node_text


@dataclass(frozen=True)
class Origin:
    """The other end of a stream or call: a peer, or a plugin of this node. One of the two is set."""

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
    """Protocols the peer claims to serve."""


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
    """The session with netcore was lost; the SDK reconnects. Streams and requests in flight failed."""

    reason: PolypeerError


@dataclass(frozen=True)
class SessionRestored:
    """Netcore is back, and listeners are registered again."""


@dataclass(frozen=True)
class Dropped:
    """Events were dropped, by netcore or here, since the plugin did not read them in time."""

    count: int


class Reach(Enum):
    """How a node is reached from the internet."""

    UNKNOWN = "unknown"
    """Not found out yet."""
    PUBLIC = "public"
    """Peers have dialed an address of it back."""
    PRIVATE = "private"
    """Peers tried to, and could not."""


@dataclass(frozen=True)
class PathChanged:
    """The path to a peer this plugin may see changed: direct or relayed, or another address."""

    node: str
    relayed: bool


@dataclass(frozen=True)
class ReachChanged:
    """This node's reachability from the internet changed."""

    reach: Reach


@dataclass(frozen=True)
class AddressesChanged:
    """This node has other addresses."""

    ticket: str


@dataclass(frozen=True)
class Published:
    """A published message."""

    id: str
    """64 hexadecimal digits that name it on every node."""
    peers: int
    """Peers it was sent to at once. 0: no other subscriber is known yet; it is kept a while for later ones."""


@dataclass(frozen=True)
class TopicInfo:
    """Counters of a subscribed topic since the node subscribed."""

    neighbours: int
    """Subscribed peers with which the node exchanges the topic's messages."""
    delivered: int
    """Messages delivered, each once."""
    duplicates: int
    """Further copies received of messages that were known already."""
    dropped: int
    """Messages dropped: a wrong signature, rejected, too old, no room."""
    pulled: int
    """Messages that the node had missed and then asked a neighbour for."""


@dataclass(frozen=True)
class Stored:
    """A record is in the DHT."""

    key: str
    """64 hexadecimal digits: the hash of an immutable value, otherwise the record's place in the DHT."""
    sequence: int
    """Of a signed record; otherwise 0."""
    copies: int
    """Nodes that took it."""


NetworkEvent = Union[PathChanged, ReachChanged, AddressesChanged]
Event = Union[
    PeerUp,
    PeerDown,
    GrantsChanged,
    SessionLost,
    SessionRestored,
    Dropped,
    PathChanged,
    ReachChanged,
    AddressesChanged,
]
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


def network_event(value: m.NetworkChange) -> NetworkEvent:
    """From the wire."""
    if isinstance(value, m.NetworkChangePath):
        return PathChanged(node_text(value.node), isinstance(value.path, m.PathRelayed))
    if isinstance(value, m.NetworkChangeAddresses):
        return AddressesChanged(value.value)
    reach = {m.ReachPublic: Reach.PUBLIC, m.ReachPrivate: Reach.PRIVATE}
    return ReachChanged(reach.get(type(value.value), Reach.UNKNOWN))


def stored(value: m.ResponseStored) -> Stored:
    """From the wire."""
    return Stored(value.key.hex(), value.sequence, value.copies)


def topic_info(value: m.TopicInfo) -> TopicInfo:
    """From the wire."""
    return TopicInfo(value.neighbours, value.delivered, value.duplicates, value.dropped, value.pulled)
