"""The gateway's messages as Python values, and their bytes.

The wire form: integers fixed-width little-endian, lengths ``u64``, enum tags ``u32``, fields in order and nothing
between them. An enum ``E`` with a variant ``V`` is the class ``EV``; ``E`` itself is the union of them.
``encode_<enum>`` and ``decode_<enum>`` exist for what travels as one frame's body.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Callable, List, Tuple, TypeVar, Union

_T = TypeVar("_T")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class DecodeError(ValueError):
    """The bytes are not the message they should be."""


class UnknownTag(DecodeError):
    """An enum tag that this version does not know; a later one may."""


class _Reader:
    """Takes values off the front of ``data``; never allocates by a length it was told."""

    __slots__ = ("_data", "_at")

    def __init__(self, data: Union[bytes, bytearray, memoryview]) -> None:
        self._data = bytes(data)
        self._at = 0

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise DecodeError(f"message cut short: {count} bytes expected, {len(self._data) - self._at} left")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def u8(self) -> int:
        return self.take(1)[0]

    def u32(self) -> int:
        return int(_U32.unpack(self.take(4))[0])

    def u64(self) -> int:
        return int(_U64.unpack(self.take(8))[0])

    def bool(self) -> bool:
        value = self.u8()
        if value > 1:
            raise DecodeError(f"boolean of value {value}")
        return value == 1

    def bytes(self) -> bytes:
        return self.take(self.u64())

    def string(self) -> str:
        try:
            return self.bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise DecodeError("text is not UTF-8") from error

    def list(self, read: Callable[[_Reader], _T]) -> Tuple[_T, ...]:
        count = self.u64()
        if count > len(self._data) - self._at:
            raise DecodeError(f"list of {count} entries in {len(self._data) - self._at} bytes")
        items: List[_T] = []
        for _ in range(count):
            items.append(read(self))
        return tuple(items)

    def end(self) -> None:
        left = len(self._data) - self._at
        if left:
            raise DecodeError(f"{left} bytes are left after the message")


class _Writer:
    __slots__ = ("out",)

    def __init__(self) -> None:
        self.out = bytearray()

    def raw(self, value: bytes) -> None:
        self.out += value

    def u32(self, value: int) -> None:
        self.out += _U32.pack(value)

    def u64(self, value: int) -> None:
        self.out += _U64.pack(value)

    def bool(self, value: bool) -> None:
        self.out.append(1 if value else 0)

    def bytes(self, value: bytes) -> None:
        self.u64(len(value))
        self.out += value

    def string(self, value: str) -> None:
        self.bytes(value.encode("utf-8"))


def _bytes32(value: bytes) -> bytes:
    if len(value) != 32:
        raise ValueError(f"expected 32 bytes, not {len(value)}")
    return value


@dataclass(frozen=True)
class Failure:
    """An error as it crosses a process: a stable code and a text for people."""

    code: int
    message: str


def _read_failure(r: _Reader) -> Failure:
    return Failure(r.u32(), r.string())


def _write_failure(w: _Writer, v: Failure) -> None:
    w.u32(v.code)
    w.string(v.message)


@dataclass(frozen=True)
class TargetNode:
    value: bytes


@dataclass(frozen=True)
class TargetTicket:
    value: str


@dataclass(frozen=True)
class TargetLocal:
    pass


Target = Union[TargetNode, TargetTicket, TargetLocal]


def _write_target(w: _Writer, v: Target) -> None:
    if isinstance(v, TargetNode):
        w.u32(0)
        w.raw(_bytes32(v.value))
    elif isinstance(v, TargetTicket):
        w.u32(1)
        w.string(v.value)
    else:
        w.u32(2)


def _read_target(r: _Reader) -> Target:
    tag = r.u32()
    if tag == 0:
        return TargetNode(r.take(32))
    if tag == 1:
        return TargetTicket(r.string())
    if tag == 2:
        return TargetLocal()
    raise UnknownTag(f"unknown Target {tag}")


@dataclass(frozen=True)
class OpeningHello:
    versions: Tuple[int, ...]
    token: bytes


@dataclass(frozen=True)
class OpeningOpen:
    secret: bytes
    target: Target
    protocol: str
    timeout_ms: int


@dataclass(frozen=True)
class OpeningAccept:
    secret: bytes
    stream: int


Opening = Union[OpeningHello, OpeningOpen, OpeningAccept]


def encode_opening(v: Opening) -> bytes:
    w = _Writer()
    if isinstance(v, OpeningHello):
        w.u32(0)
        w.u64(len(v.versions))
        for version in v.versions:
            w.u32(version)
        w.raw(_bytes32(v.token))
    elif isinstance(v, OpeningOpen):
        w.u32(1)
        w.raw(_bytes32(v.secret))
        _write_target(w, v.target)
        w.string(v.protocol)
        w.u32(v.timeout_ms)
    else:
        w.u32(2)
        w.raw(_bytes32(v.secret))
        w.u64(v.stream)
    return bytes(w.out)


def decode_opening(data: bytes) -> Opening:
    r = _Reader(data)
    tag = r.u32()
    v: Opening
    if tag == 0:
        v = OpeningHello(r.list(_Reader.u32), r.take(32))
    elif tag == 1:
        v = OpeningOpen(r.take(32), _read_target(r), r.string(), r.u32())
    elif tag == 2:
        v = OpeningAccept(r.take(32), r.u64())
    else:
        raise UnknownTag(f"unknown Opening {tag}")
    r.end()
    return v


@dataclass(frozen=True)
class PeerScopeList:
    value: Tuple[bytes, ...]


@dataclass(frozen=True)
class PeerScopeAny:
    pass


PeerScope = Union[PeerScopeList, PeerScopeAny]


@dataclass(frozen=True)
class Grants:
    serve: Tuple[str, ...]
    dial: Tuple[str, ...]
    serve_local: Tuple[str, ...]
    peers: PeerScope
    topics: Tuple[str, ...]
    dht: Tuple[str, ...]
    routes: Tuple[str, ...]


def _read_peer_scope(r: _Reader) -> PeerScope:
    tag = r.u32()
    if tag == 0:
        return PeerScopeList(r.list(lambda each: each.take(32)))
    if tag == 1:
        return PeerScopeAny()
    raise UnknownTag(f"unknown PeerScope {tag}")


def _read_grants(r: _Reader) -> Grants:
    def names() -> Tuple[str, ...]:
        return r.list(_Reader.string)

    return Grants(names(), names(), names(), _read_peer_scope(r), names(), names(), names())


def _write_grants(w: _Writer, v: Grants) -> None:
    def names(values: Tuple[str, ...]) -> None:
        w.u64(len(values))
        for value in values:
            w.string(value)

    names(v.serve)
    names(v.dial)
    names(v.serve_local)
    if isinstance(v.peers, PeerScopeList):
        w.u32(0)
        w.u64(len(v.peers.value))
        for node in v.peers.value:
            w.raw(_bytes32(node))
    else:
        w.u32(1)
    names(v.topics)
    names(v.dht)
    names(v.routes)


@dataclass(frozen=True)
class Welcome:
    version: int
    node: bytes
    plugin: str
    grants: Grants
    secret: bytes


@dataclass(frozen=True)
class OriginPeer:
    value: bytes


@dataclass(frozen=True)
class OriginLocal:
    value: str


Origin = Union[OriginPeer, OriginLocal]


def _read_origin(r: _Reader) -> Origin:
    tag = r.u32()
    if tag == 0:
        return OriginPeer(r.take(32))
    if tag == 1:
        return OriginLocal(r.string())
    raise UnknownTag(f"unknown Origin {tag}")


def _write_origin(w: _Writer, v: Origin) -> None:
    if isinstance(v, OriginPeer):
        w.u32(0)
        w.raw(_bytes32(v.value))
    else:
        w.u32(1)
        w.string(v.value)


@dataclass(frozen=True)
class OpeningReplyRefused:
    value: Failure


@dataclass(frozen=True)
class OpeningReplyWelcome:
    value: Welcome


@dataclass(frozen=True)
class OpeningReplyOpened:
    origin: Origin
    protocol: str


OpeningReply = Union[OpeningReplyRefused, OpeningReplyWelcome, OpeningReplyOpened]


def decode_opening_reply(data: bytes) -> OpeningReply:
    r = _Reader(data)
    tag = r.u32()
    v: OpeningReply
    if tag == 0:
        v = OpeningReplyRefused(_read_failure(r))
    elif tag == 1:
        v = OpeningReplyWelcome(Welcome(r.u32(), r.take(32), r.string(), _read_grants(r), r.take(32)))
    elif tag == 2:
        v = OpeningReplyOpened(_read_origin(r), r.string())
    else:
        raise UnknownTag(f"unknown OpeningReply {tag}")
    r.end()
    return v


def encode_opening_reply(v: OpeningReply) -> bytes:
    w = _Writer()
    if isinstance(v, OpeningReplyRefused):
        w.u32(0)
        _write_failure(w, v.value)
    elif isinstance(v, OpeningReplyWelcome):
        w.u32(1)
        w.u32(v.value.version)
        w.raw(_bytes32(v.value.node))
        w.string(v.value.plugin)
        _write_grants(w, v.value.grants)
        w.raw(_bytes32(v.value.secret))
    else:
        w.u32(2)
        _write_origin(w, v.origin)
        w.string(v.protocol)
    return bytes(w.out)


@dataclass(frozen=True)
class ScopePeers:
    pass


@dataclass(frozen=True)
class ScopeLocal:
    pass


Scope = Union[ScopePeers, ScopeLocal]


@dataclass(frozen=True)
class CallModeStreams:
    pass


@dataclass(frozen=True)
class CallModeEvents:
    pass


CallMode = Union[CallModeStreams, CallModeEvents]


def _read_scope(r: _Reader) -> Scope:
    tag = r.u32()
    if tag > 1:
        raise UnknownTag(f"unknown Scope {tag}")
    return ScopeLocal() if tag else ScopePeers()


def _read_call_mode(r: _Reader) -> CallMode:
    tag = r.u32()
    if tag > 1:
        raise UnknownTag(f"unknown CallMode {tag}")
    return CallModeEvents() if tag else CallModeStreams()


@dataclass(frozen=True)
class RequestListen:
    protocol: str
    scope: Scope
    calls: CallMode


@dataclass(frozen=True)
class RequestUnlisten:
    protocol: str
    scope: Scope


@dataclass(frozen=True)
class RequestCall:
    target: Target
    protocol: str
    payload: bytes
    timeout_ms: int


@dataclass(frozen=True)
class RequestRefuseStream:
    stream: int
    failure: Failure


@dataclass(frozen=True)
class RequestPeers:
    pass


@dataclass(frozen=True)
class RequestNode:
    pass


@dataclass(frozen=True)
class RequestWatchPeers:
    on: bool


@dataclass(frozen=True)
class RequestReady:
    pass


@dataclass(frozen=True)
class RequestPing:
    pass


Request = Union[
    RequestListen,
    RequestUnlisten,
    RequestCall,
    RequestRefuseStream,
    RequestPeers,
    RequestNode,
    RequestWatchPeers,
    RequestReady,
    RequestPing,
]


@dataclass(frozen=True)
class ClientFrameRequest:
    id: int
    request: Request


@dataclass(frozen=True)
class ClientFrameCancel:
    id: int


@dataclass(frozen=True)
class ClientFrameAnswer:
    call: int
    payload: bytes


@dataclass(frozen=True)
class ClientFrameDecline:
    call: int
    failure: Failure


ClientFrame = Union[ClientFrameRequest, ClientFrameCancel, ClientFrameAnswer, ClientFrameDecline]


def encode_client_frame(v: ClientFrame) -> bytes:
    w = _Writer()
    if isinstance(v, ClientFrameRequest):
        w.u32(0)
        w.u64(v.id)
        _write_request(w, v.request)
    elif isinstance(v, ClientFrameCancel):
        w.u32(1)
        w.u64(v.id)
    elif isinstance(v, ClientFrameAnswer):
        w.u32(2)
        w.u64(v.call)
        w.bytes(v.payload)
    else:
        w.u32(3)
        w.u64(v.call)
        _write_failure(w, v.failure)
    return bytes(w.out)


def _write_request(w: _Writer, v: Request) -> None:
    if isinstance(v, RequestListen):
        w.u32(0)
        w.string(v.protocol)
        w.u32(1 if isinstance(v.scope, ScopeLocal) else 0)
        w.u32(1 if isinstance(v.calls, CallModeEvents) else 0)
    elif isinstance(v, RequestUnlisten):
        w.u32(1)
        w.string(v.protocol)
        w.u32(1 if isinstance(v.scope, ScopeLocal) else 0)
    elif isinstance(v, RequestCall):
        w.u32(2)
        _write_target(w, v.target)
        w.string(v.protocol)
        w.bytes(v.payload)
        w.u32(v.timeout_ms)
    elif isinstance(v, RequestRefuseStream):
        w.u32(3)
        w.u64(v.stream)
        _write_failure(w, v.failure)
    elif isinstance(v, RequestPeers):
        w.u32(4)
    elif isinstance(v, RequestNode):
        w.u32(5)
    elif isinstance(v, RequestWatchPeers):
        w.u32(6)
        w.bool(v.on)
    elif isinstance(v, RequestReady):
        w.u32(7)
    else:
        w.u32(8)


def decode_client_frame(data: bytes) -> ClientFrame:
    r = _Reader(data)
    tag = r.u32()
    v: ClientFrame
    if tag == 0:
        v = ClientFrameRequest(r.u64(), _read_request(r))
    elif tag == 1:
        v = ClientFrameCancel(r.u64())
    elif tag == 2:
        v = ClientFrameAnswer(r.u64(), r.bytes())
    elif tag == 3:
        v = ClientFrameDecline(r.u64(), _read_failure(r))
    else:
        raise UnknownTag(f"unknown ClientFrame {tag}")
    r.end()
    return v


def _read_request(r: _Reader) -> Request:
    tag = r.u32()
    if tag == 0:
        return RequestListen(r.string(), _read_scope(r), _read_call_mode(r))
    if tag == 1:
        return RequestUnlisten(r.string(), _read_scope(r))
    if tag == 2:
        return RequestCall(_read_target(r), r.string(), r.bytes(), r.u32())
    if tag == 3:
        return RequestRefuseStream(r.u64(), _read_failure(r))
    if tag == 4:
        return RequestPeers()
    if tag == 5:
        return RequestNode()
    if tag == 6:
        return RequestWatchPeers(r.bool())
    if tag == 7:
        return RequestReady()
    if tag == 8:
        return RequestPing()
    raise UnknownTag(f"unknown Request {tag}")


@dataclass(frozen=True)
class PathDirect:
    pass


@dataclass(frozen=True)
class PathRelayed:
    pass


Path = Union[PathDirect, PathRelayed]


@dataclass(frozen=True)
class PeerInfo:
    node: bytes
    path: Path
    rtt_us: int
    connected_ms: int
    protocols: Tuple[str, ...]


@dataclass(frozen=True)
class NodeInfo:
    node: bytes
    ticket: str
    version: str
    uptime_ms: int


def _read_path(r: _Reader) -> Path:
    tag = r.u32()
    if tag > 1:
        raise UnknownTag(f"unknown Path {tag}")
    return PathRelayed() if tag else PathDirect()


def _read_peer_info(r: _Reader) -> PeerInfo:
    return PeerInfo(r.take(32), _read_path(r), r.u64(), r.u64(), r.list(_Reader.string))


def _write_peer_info(w: _Writer, v: PeerInfo) -> None:
    w.raw(_bytes32(v.node))
    w.u32(1 if isinstance(v.path, PathRelayed) else 0)
    w.u64(v.rtt_us)
    w.u64(v.connected_ms)
    w.u64(len(v.protocols))
    for protocol in v.protocols:
        w.string(protocol)


@dataclass(frozen=True)
class ResponseFailed:
    value: Failure


@dataclass(frozen=True)
class ResponseDone:
    pass


@dataclass(frozen=True)
class ResponseReply:
    payload: bytes


@dataclass(frozen=True)
class ResponsePeers:
    value: Tuple[PeerInfo, ...]


@dataclass(frozen=True)
class ResponseNode:
    value: NodeInfo


Response = Union[ResponseFailed, ResponseDone, ResponseReply, ResponsePeers, ResponseNode]


@dataclass(frozen=True)
class EventStream:
    stream: int
    origin: Origin
    protocol: str


@dataclass(frozen=True)
class EventStreamGone:
    stream: int
    failure: Failure


@dataclass(frozen=True)
class EventCall:
    call: int
    origin: Origin
    protocol: str
    payload: bytes


@dataclass(frozen=True)
class EventCallGone:
    call: int


@dataclass(frozen=True)
class EventPeerUp:
    value: PeerInfo


@dataclass(frozen=True)
class EventPeerDown:
    node: bytes
    failure: Failure


@dataclass(frozen=True)
class EventGrantsChanged:
    value: Grants


@dataclass(frozen=True)
class EventDropped:
    count: int


@dataclass(frozen=True)
class EventClosing:
    value: Failure


Event = Union[
    EventStream,
    EventStreamGone,
    EventCall,
    EventCallGone,
    EventPeerUp,
    EventPeerDown,
    EventGrantsChanged,
    EventDropped,
    EventClosing,
]


@dataclass(frozen=True)
class ServerFrameResponse:
    id: int
    response: Response


@dataclass(frozen=True)
class ServerFrameEvent:
    value: Event


ServerFrame = Union[ServerFrameResponse, ServerFrameEvent]


def _read_response(r: _Reader) -> Response:
    tag = r.u32()
    if tag == 0:
        return ResponseFailed(_read_failure(r))
    if tag == 1:
        return ResponseDone()
    if tag == 2:
        return ResponseReply(r.bytes())
    if tag == 3:
        return ResponsePeers(r.list(_read_peer_info))
    if tag == 4:
        return ResponseNode(NodeInfo(r.take(32), r.string(), r.string(), r.u64()))
    raise UnknownTag(f"unknown Response {tag}")


def _read_event(r: _Reader) -> Event:
    tag = r.u32()
    if tag == 0:
        return EventStream(r.u64(), _read_origin(r), r.string())
    if tag == 1:
        return EventStreamGone(r.u64(), _read_failure(r))
    if tag == 2:
        return EventCall(r.u64(), _read_origin(r), r.string(), r.bytes())
    if tag == 3:
        return EventCallGone(r.u64())
    if tag == 4:
        return EventPeerUp(_read_peer_info(r))
    if tag == 5:
        return EventPeerDown(r.take(32), _read_failure(r))
    if tag == 6:
        return EventGrantsChanged(_read_grants(r))
    if tag == 7:
        return EventDropped(r.u64())
    if tag == 8:
        return EventClosing(_read_failure(r))
    raise UnknownTag(f"unknown Event {tag}")


def decode_server_frame(data: bytes) -> ServerFrame:
    r = _Reader(data)
    tag = r.u32()
    v: ServerFrame
    if tag == 0:
        v = ServerFrameResponse(r.u64(), _read_response(r))
    elif tag == 1:
        v = ServerFrameEvent(_read_event(r))
    else:
        raise UnknownTag(f"unknown ServerFrame {tag}")
    r.end()
    return v


def encode_server_frame(v: ServerFrame) -> bytes:
    w = _Writer()
    if isinstance(v, ServerFrameResponse):
        w.u32(0)
        w.u64(v.id)
        response = v.response
        if isinstance(response, ResponseFailed):
            w.u32(0)
            _write_failure(w, response.value)
        elif isinstance(response, ResponseDone):
            w.u32(1)
        elif isinstance(response, ResponseReply):
            w.u32(2)
            w.bytes(response.payload)
        elif isinstance(response, ResponsePeers):
            w.u32(3)
            w.u64(len(response.value))
            for info in response.value:
                _write_peer_info(w, info)
        else:
            w.u32(4)
            w.raw(_bytes32(response.value.node))
            w.string(response.value.ticket)
            w.string(response.value.version)
            w.u64(response.value.uptime_ms)
        return bytes(w.out)
    w.u32(1)
    event = v.value
    if isinstance(event, EventStream):
        w.u32(0)
        w.u64(event.stream)
        _write_origin(w, event.origin)
        w.string(event.protocol)
    elif isinstance(event, EventStreamGone):
        w.u32(1)
        w.u64(event.stream)
        _write_failure(w, event.failure)
    elif isinstance(event, EventCall):
        w.u32(2)
        w.u64(event.call)
        _write_origin(w, event.origin)
        w.string(event.protocol)
        w.bytes(event.payload)
    elif isinstance(event, EventCallGone):
        w.u32(3)
        w.u64(event.call)
    elif isinstance(event, EventPeerUp):
        w.u32(4)
        _write_peer_info(w, event.value)
    elif isinstance(event, EventPeerDown):
        w.u32(5)
        w.raw(_bytes32(event.node))
        _write_failure(w, event.failure)
    elif isinstance(event, EventGrantsChanged):
        w.u32(6)
        _write_grants(w, event.value)
    elif isinstance(event, EventDropped):
        w.u32(7)
        w.u64(event.count)
    else:
        w.u32(8)
        _write_failure(w, event.value)
    return bytes(w.out)
