# Generated from ipc-protocol/src by `make generate`. Do not edit: a test fails when this file is not what that makes.
"""The gateway's messages as Python values, and their bytes; ``ipc-protocol/SPEC.md`` says what they mean.

An enum ``E`` with a variant ``V`` is the class ``EV``; ``E`` itself is the union of them. A variant's one unnamed value
is its field ``value``. ``encode_<enum>`` and ``decode_<enum>`` exist for what travels as one frame's body. Node ids,
secrets, hashes, signatures and payloads are ``bytes``; names and tickets are ``str``, checked when read and when
written. Nothing changes a message once it is made; ``frozen=True`` would make each four times as slow to make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Tuple, Union

from ._codec import Data, DecodeError, Reader, UnknownTag, Writer, decode, encode
from ._names import node_text


@dataclass(unsafe_hash=True)
class TargetNode:
    value: bytes


@dataclass(unsafe_hash=True)
class TargetTicket:
    value: str


@dataclass(unsafe_hash=True)
class TargetLocal:
    pass


Target = Union[
    TargetNode,
    TargetTicket,
    TargetLocal,
]


def _read_target(r: Reader) -> Target:
    tag = r.u32()
    if tag == 0:
        return TargetNode(r.bytes32())
    if tag == 1:
        return TargetTicket(r.ticket())
    if tag == 2:
        return TargetLocal()
    raise DecodeError(f"unknown Target {tag}")


def _write_target(w: Writer, v: Target) -> None:
    if isinstance(v, TargetNode):
        w.u32(0)
        w.bytes32(v.value)
    elif isinstance(v, TargetTicket):
        w.u32(1)
        w.ticket(v.value)
    elif isinstance(v, TargetLocal):
        w.u32(2)
    else:
        raise TypeError(f"not a Target: {v!r}")


def _json_target(v: Target) -> Any:
    if isinstance(v, TargetNode):
        return {"Node": node_text(v.value)}
    if isinstance(v, TargetTicket):
        return {"Ticket": v.value}
    if isinstance(v, TargetLocal):
        return "Local"
    raise TypeError(f"not a Target: {v!r}")


@dataclass(unsafe_hash=True)
class ScopePeers:
    pass


@dataclass(unsafe_hash=True)
class ScopeLocal:
    pass


Scope = Union[
    ScopePeers,
    ScopeLocal,
]


def _read_scope(r: Reader) -> Scope:
    tag = r.u32()
    if tag == 0:
        return ScopePeers()
    if tag == 1:
        return ScopeLocal()
    raise DecodeError(f"unknown Scope {tag}")


def _write_scope(w: Writer, v: Scope) -> None:
    if isinstance(v, ScopePeers):
        w.u32(0)
    elif isinstance(v, ScopeLocal):
        w.u32(1)
    else:
        raise TypeError(f"not a Scope: {v!r}")


def _json_scope(v: Scope) -> Any:
    if isinstance(v, ScopePeers):
        return "Peers"
    if isinstance(v, ScopeLocal):
        return "Local"
    raise TypeError(f"not a Scope: {v!r}")


@dataclass(unsafe_hash=True)
class OpeningHello:
    versions: Tuple[int, ...]
    token: bytes


@dataclass(unsafe_hash=True)
class OpeningOpen:
    secret: bytes
    target: Target
    protocol: str
    timeout_ms: int


@dataclass(unsafe_hash=True)
class OpeningAccept:
    secret: bytes
    stream: int


@dataclass(unsafe_hash=True)
class OpeningAcceptNext:
    secret: bytes
    protocol: str
    scope: Scope


Opening = Union[
    OpeningHello,
    OpeningOpen,
    OpeningAccept,
    OpeningAcceptNext,
]


def _read_opening(r: Reader) -> Opening:
    tag = r.u32()
    if tag == 0:
        return OpeningHello(r.list(Reader.u32, 32), r.bytes32())
    if tag == 1:
        return OpeningOpen(r.bytes32(), _read_target(r), r.protocol(), r.u32())
    if tag == 2:
        return OpeningAccept(r.bytes32(), r.u64())
    if tag == 3:
        return OpeningAcceptNext(r.bytes32(), r.protocol(), _read_scope(r))
    raise DecodeError(f"unknown Opening {tag}")


def _write_opening(w: Writer, v: Opening) -> None:
    if isinstance(v, OpeningHello):
        w.u32(0)
        w.u64(len(v.versions))
        for item in v.versions:
            w.u32(item)
        w.bytes32(v.token)
    elif isinstance(v, OpeningOpen):
        w.u32(1)
        w.bytes32(v.secret)
        _write_target(w, v.target)
        w.protocol(v.protocol)
        w.u32(v.timeout_ms)
    elif isinstance(v, OpeningAccept):
        w.u32(2)
        w.bytes32(v.secret)
        w.u64(v.stream)
    elif isinstance(v, OpeningAcceptNext):
        w.u32(3)
        w.bytes32(v.secret)
        w.protocol(v.protocol)
        _write_scope(w, v.scope)
    else:
        raise TypeError(f"not a Opening: {v!r}")


def _json_opening(v: Opening) -> Any:
    if isinstance(v, OpeningHello):
        return {"Hello": {"versions": list(v.versions), "token": v.token.hex()}}
    if isinstance(v, OpeningOpen):
        return {"Open": {"secret": v.secret.hex(), "target": _json_target(v.target), "protocol": v.protocol, "timeout_ms": v.timeout_ms}}
    if isinstance(v, OpeningAccept):
        return {"Accept": {"secret": v.secret.hex(), "stream": v.stream}}
    if isinstance(v, OpeningAcceptNext):
        return {"AcceptNext": {"secret": v.secret.hex(), "protocol": v.protocol, "scope": _json_scope(v.scope)}}
    raise TypeError(f"not a Opening: {v!r}")


def encode_opening(v: Opening) -> bytes:
    """The body of a frame. Raises :class:`ValueError` when it is over the limit, or a name breaks its rule."""
    return encode(_write_opening, v)


def decode_opening(data: Data) -> Opening:
    """Reads the body of a frame, to its last byte. Raises :class:`DecodeError`."""
    return decode(_read_opening, data)


def opening_to_json(v: Opening) -> Any:
    """The form that the vectors have."""
    return _json_opening(v)


@dataclass(unsafe_hash=True)
class Failure:
    code: int
    message: str


def _read_failure(r: Reader) -> Failure:
    return Failure(r.u32(), r.string())


def _write_failure(w: Writer, v: Failure) -> None:
    w.u32(v.code)
    w.string(v.message)


def _json_failure(v: Failure) -> Any:
    return {"code": v.code, "message": v.message}


@dataclass(unsafe_hash=True)
class PeerScopeList:
    value: Tuple[bytes, ...]


@dataclass(unsafe_hash=True)
class PeerScopeAny:
    pass


PeerScope = Union[
    PeerScopeList,
    PeerScopeAny,
]


def _read_peer_scope(r: Reader) -> PeerScope:
    tag = r.u32()
    if tag == 0:
        return PeerScopeList(r.list(Reader.bytes32))
    if tag == 1:
        return PeerScopeAny()
    raise DecodeError(f"unknown PeerScope {tag}")


def _write_peer_scope(w: Writer, v: PeerScope) -> None:
    if isinstance(v, PeerScopeList):
        w.u32(0)
        w.u64(len(v.value))
        for node_id in v.value:
            w.bytes32(node_id)
    elif isinstance(v, PeerScopeAny):
        w.u32(1)
    else:
        raise TypeError(f"not a PeerScope: {v!r}")


def _json_peer_scope(v: PeerScope) -> Any:
    if isinstance(v, PeerScopeList):
        return {"List": [node_text(item) for item in v.value]}
    if isinstance(v, PeerScopeAny):
        return "Any"
    raise TypeError(f"not a PeerScope: {v!r}")


@dataclass(unsafe_hash=True)
class Grants:
    serve: Tuple[str, ...]
    dial: Tuple[str, ...]
    serve_local: Tuple[str, ...]
    peers: PeerScope
    topics: Tuple[str, ...]
    dht: Tuple[str, ...]
    routes: Tuple[str, ...]


def _read_grants(r: Reader) -> Grants:
    return Grants(r.list(Reader.pattern), r.list(Reader.pattern), r.list(Reader.pattern), _read_peer_scope(r), r.list(Reader.pattern), r.list(Reader.pattern), r.list(Reader.pattern))


def _write_grants(w: Writer, v: Grants) -> None:
    w.u64(len(v.serve))
    for pattern in v.serve:
        w.pattern(pattern)
    w.u64(len(v.dial))
    for pattern in v.dial:
        w.pattern(pattern)
    w.u64(len(v.serve_local))
    for pattern in v.serve_local:
        w.pattern(pattern)
    _write_peer_scope(w, v.peers)
    w.u64(len(v.topics))
    for pattern in v.topics:
        w.pattern(pattern)
    w.u64(len(v.dht))
    for pattern in v.dht:
        w.pattern(pattern)
    w.u64(len(v.routes))
    for pattern in v.routes:
        w.pattern(pattern)


def _json_grants(v: Grants) -> Any:
    return {"serve": list(v.serve), "dial": list(v.dial), "serve_local": list(v.serve_local), "peers": _json_peer_scope(v.peers), "topics": list(v.topics), "dht": list(v.dht), "routes": list(v.routes)}


@dataclass(unsafe_hash=True)
class Welcome:
    version: int
    node: bytes
    plugin: str
    grants: Grants
    secret: bytes


def _read_welcome(r: Reader) -> Welcome:
    return Welcome(r.u32(), r.bytes32(), r.plugin_id(), _read_grants(r), r.bytes32())


def _write_welcome(w: Writer, v: Welcome) -> None:
    w.u32(v.version)
    w.bytes32(v.node)
    w.plugin_id(v.plugin)
    _write_grants(w, v.grants)
    w.bytes32(v.secret)


def _json_welcome(v: Welcome) -> Any:
    return {"version": v.version, "node": node_text(v.node), "plugin": v.plugin, "grants": _json_grants(v.grants), "secret": v.secret.hex()}


@dataclass(unsafe_hash=True)
class OriginPeer:
    value: bytes


@dataclass(unsafe_hash=True)
class OriginLocal:
    value: str


Origin = Union[
    OriginPeer,
    OriginLocal,
]


def _read_origin(r: Reader) -> Origin:
    tag = r.u32()
    if tag == 0:
        return OriginPeer(r.bytes32())
    if tag == 1:
        return OriginLocal(r.plugin_id())
    raise DecodeError(f"unknown Origin {tag}")


def _write_origin(w: Writer, v: Origin) -> None:
    if isinstance(v, OriginPeer):
        w.u32(0)
        w.bytes32(v.value)
    elif isinstance(v, OriginLocal):
        w.u32(1)
        w.plugin_id(v.value)
    else:
        raise TypeError(f"not a Origin: {v!r}")


def _json_origin(v: Origin) -> Any:
    if isinstance(v, OriginPeer):
        return {"Peer": node_text(v.value)}
    if isinstance(v, OriginLocal):
        return {"Local": v.value}
    raise TypeError(f"not a Origin: {v!r}")


@dataclass(unsafe_hash=True)
class OpeningReplyRefused:
    value: Failure


@dataclass(unsafe_hash=True)
class OpeningReplyWelcome:
    value: Welcome


@dataclass(unsafe_hash=True)
class OpeningReplyOpened:
    origin: Origin
    protocol: str


OpeningReply = Union[
    OpeningReplyRefused,
    OpeningReplyWelcome,
    OpeningReplyOpened,
]


def _read_opening_reply(r: Reader) -> OpeningReply:
    tag = r.u32()
    if tag == 0:
        return OpeningReplyRefused(_read_failure(r))
    if tag == 1:
        return OpeningReplyWelcome(_read_welcome(r))
    if tag == 2:
        return OpeningReplyOpened(_read_origin(r), r.protocol())
    raise DecodeError(f"unknown OpeningReply {tag}")


def _write_opening_reply(w: Writer, v: OpeningReply) -> None:
    if isinstance(v, OpeningReplyRefused):
        w.u32(0)
        _write_failure(w, v.value)
    elif isinstance(v, OpeningReplyWelcome):
        w.u32(1)
        _write_welcome(w, v.value)
    elif isinstance(v, OpeningReplyOpened):
        w.u32(2)
        _write_origin(w, v.origin)
        w.protocol(v.protocol)
    else:
        raise TypeError(f"not a OpeningReply: {v!r}")


def _json_opening_reply(v: OpeningReply) -> Any:
    if isinstance(v, OpeningReplyRefused):
        return {"Refused": _json_failure(v.value)}
    if isinstance(v, OpeningReplyWelcome):
        return {"Welcome": _json_welcome(v.value)}
    if isinstance(v, OpeningReplyOpened):
        return {"Opened": {"origin": _json_origin(v.origin), "protocol": v.protocol}}
    raise TypeError(f"not a OpeningReply: {v!r}")


def encode_opening_reply(v: OpeningReply) -> bytes:
    """The body of a frame. Raises :class:`ValueError` when it is over the limit, or a name breaks its rule."""
    return encode(_write_opening_reply, v)


def decode_opening_reply(data: Data) -> OpeningReply:
    """Reads the body of a frame, to its last byte. Raises :class:`DecodeError`."""
    return decode(_read_opening_reply, data)


def opening_reply_to_json(v: OpeningReply) -> Any:
    """The form that the vectors have."""
    return _json_opening_reply(v)


@dataclass(unsafe_hash=True)
class CallModeStreams:
    pass


@dataclass(unsafe_hash=True)
class CallModeEvents:
    pass


CallMode = Union[
    CallModeStreams,
    CallModeEvents,
]


def _read_call_mode(r: Reader) -> CallMode:
    tag = r.u32()
    if tag == 0:
        return CallModeStreams()
    if tag == 1:
        return CallModeEvents()
    raise DecodeError(f"unknown CallMode {tag}")


def _write_call_mode(w: Writer, v: CallMode) -> None:
    if isinstance(v, CallModeStreams):
        w.u32(0)
    elif isinstance(v, CallModeEvents):
        w.u32(1)
    else:
        raise TypeError(f"not a CallMode: {v!r}")


def _json_call_mode(v: CallMode) -> Any:
    if isinstance(v, CallModeStreams):
        return "Streams"
    if isinstance(v, CallModeEvents):
        return "Events"
    raise TypeError(f"not a CallMode: {v!r}")


@dataclass(unsafe_hash=True)
class ValidationSignature:
    pass


@dataclass(unsafe_hash=True)
class ValidationPlugin:
    pass


Validation = Union[
    ValidationSignature,
    ValidationPlugin,
]


def _read_validation(r: Reader) -> Validation:
    tag = r.u32()
    if tag == 0:
        return ValidationSignature()
    if tag == 1:
        return ValidationPlugin()
    raise DecodeError(f"unknown Validation {tag}")


def _write_validation(w: Writer, v: Validation) -> None:
    if isinstance(v, ValidationSignature):
        w.u32(0)
    elif isinstance(v, ValidationPlugin):
        w.u32(1)
    else:
        raise TypeError(f"not a Validation: {v!r}")


def _json_validation(v: Validation) -> Any:
    if isinstance(v, ValidationSignature):
        return "Signature"
    if isinstance(v, ValidationPlugin):
        return "Plugin"
    raise TypeError(f"not a Validation: {v!r}")


@dataclass(unsafe_hash=True)
class VerdictAccept:
    pass


@dataclass(unsafe_hash=True)
class VerdictIgnore:
    pass


@dataclass(unsafe_hash=True)
class VerdictReject:
    pass


Verdict = Union[
    VerdictAccept,
    VerdictIgnore,
    VerdictReject,
]


def _read_verdict(r: Reader) -> Verdict:
    tag = r.u32()
    if tag == 0:
        return VerdictAccept()
    if tag == 1:
        return VerdictIgnore()
    if tag == 2:
        return VerdictReject()
    raise DecodeError(f"unknown Verdict {tag}")


def _write_verdict(w: Writer, v: Verdict) -> None:
    if isinstance(v, VerdictAccept):
        w.u32(0)
    elif isinstance(v, VerdictIgnore):
        w.u32(1)
    elif isinstance(v, VerdictReject):
        w.u32(2)
    else:
        raise TypeError(f"not a Verdict: {v!r}")


def _json_verdict(v: Verdict) -> Any:
    if isinstance(v, VerdictAccept):
        return "Accept"
    if isinstance(v, VerdictIgnore):
        return "Ignore"
    if isinstance(v, VerdictReject):
        return "Reject"
    raise TypeError(f"not a Verdict: {v!r}")


@dataclass(unsafe_hash=True)
class SignedRecord:
    key: bytes
    name: str
    sequence: int
    expires: int
    value: bytes
    signature: bytes


def _read_signed_record(r: Reader) -> SignedRecord:
    return SignedRecord(r.bytes32(), r.name(), r.u64(), r.u64(), r.bytes(), r.bytes64())


def _write_signed_record(w: Writer, v: SignedRecord) -> None:
    w.bytes32(v.key)
    w.name(v.name)
    w.u64(v.sequence)
    w.u64(v.expires)
    w.bytes(v.value)
    w.bytes64(v.signature)


def _json_signed_record(v: SignedRecord) -> Any:
    return {"key": node_text(v.key), "name": v.name, "sequence": v.sequence, "expires": v.expires, "value": v.value.hex(), "signature": v.signature.hex()}


@dataclass(unsafe_hash=True)
class RequestListen:
    protocol: str
    scope: Scope
    calls: CallMode


@dataclass(unsafe_hash=True)
class RequestUnlisten:
    protocol: str
    scope: Scope


@dataclass(unsafe_hash=True)
class RequestCall:
    target: Target
    protocol: str
    payload: bytes
    timeout_ms: int


@dataclass(unsafe_hash=True)
class RequestRefuseStream:
    stream: int
    failure: Failure


@dataclass(unsafe_hash=True)
class RequestPeers:
    pass


@dataclass(unsafe_hash=True)
class RequestNode:
    pass


@dataclass(unsafe_hash=True)
class RequestWatchPeers:
    on: bool


@dataclass(unsafe_hash=True)
class RequestReady:
    pass


@dataclass(unsafe_hash=True)
class RequestPing:
    pass


@dataclass(unsafe_hash=True)
class RequestPublish:
    topic: str
    payload: bytes


@dataclass(unsafe_hash=True)
class RequestSubscribe:
    topic: str
    validation: Validation


@dataclass(unsafe_hash=True)
class RequestUnsubscribe:
    topic: str


@dataclass(unsafe_hash=True)
class RequestJudge:
    topic: str
    message: bytes
    verdict: Verdict


@dataclass(unsafe_hash=True)
class RequestTopic:
    topic: str


@dataclass(unsafe_hash=True)
class RequestPutImmutable:
    name: str
    value: bytes
    timeout_ms: int


@dataclass(unsafe_hash=True)
class RequestGetImmutable:
    name: str
    hash: bytes
    timeout_ms: int


@dataclass(unsafe_hash=True)
class RequestPutOwn:
    name: str
    value: bytes
    lifetime_s: int
    timeout_ms: int


@dataclass(unsafe_hash=True)
class RequestPutSigned:
    record: SignedRecord
    timeout_ms: int


@dataclass(unsafe_hash=True)
class RequestGetSigned:
    key: bytes
    name: str
    timeout_ms: int


@dataclass(unsafe_hash=True)
class RequestProvide:
    name: str
    timeout_ms: int


@dataclass(unsafe_hash=True)
class RequestUnprovide:
    name: str


@dataclass(unsafe_hash=True)
class RequestFindProviders:
    name: str
    limit: int
    timeout_ms: int


@dataclass(unsafe_hash=True)
class RequestFindPeer:
    node: bytes
    timeout_ms: int


@dataclass(unsafe_hash=True)
class RequestSendDatagram:
    node: bytes
    protocol: str
    payload: bytes


@dataclass(unsafe_hash=True)
class RequestReceiveDatagrams:
    protocol: str
    on: bool


@dataclass(unsafe_hash=True)
class RequestWatchNetwork:
    on: bool


@dataclass(unsafe_hash=True)
class RequestKeepConnections:
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
    RequestPublish,
    RequestSubscribe,
    RequestUnsubscribe,
    RequestJudge,
    RequestTopic,
    RequestPutImmutable,
    RequestGetImmutable,
    RequestPutOwn,
    RequestPutSigned,
    RequestGetSigned,
    RequestProvide,
    RequestUnprovide,
    RequestFindProviders,
    RequestFindPeer,
    RequestSendDatagram,
    RequestReceiveDatagrams,
    RequestWatchNetwork,
    RequestKeepConnections,
]


def _read_request(r: Reader) -> Request:
    tag = r.u32()
    if tag == 0:
        return RequestListen(r.protocol(), _read_scope(r), _read_call_mode(r))
    if tag == 1:
        return RequestUnlisten(r.protocol(), _read_scope(r))
    if tag == 2:
        return RequestCall(_read_target(r), r.protocol(), r.bytes(), r.u32())
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
    if tag == 9:
        return RequestPublish(r.name(), r.bytes())
    if tag == 10:
        return RequestSubscribe(r.name(), _read_validation(r))
    if tag == 11:
        return RequestUnsubscribe(r.name())
    if tag == 12:
        return RequestJudge(r.name(), r.bytes32(), _read_verdict(r))
    if tag == 13:
        return RequestTopic(r.name())
    if tag == 14:
        return RequestPutImmutable(r.name(), r.bytes(), r.u32())
    if tag == 15:
        return RequestGetImmutable(r.name(), r.bytes32(), r.u32())
    if tag == 16:
        return RequestPutOwn(r.name(), r.bytes(), r.u32(), r.u32())
    if tag == 17:
        return RequestPutSigned(_read_signed_record(r), r.u32())
    if tag == 18:
        return RequestGetSigned(r.bytes32(), r.name(), r.u32())
    if tag == 19:
        return RequestProvide(r.name(), r.u32())
    if tag == 20:
        return RequestUnprovide(r.name())
    if tag == 21:
        return RequestFindProviders(r.name(), r.u32(), r.u32())
    if tag == 22:
        return RequestFindPeer(r.bytes32(), r.u32())
    if tag == 23:
        return RequestSendDatagram(r.bytes32(), r.protocol(), r.bytes())
    if tag == 24:
        return RequestReceiveDatagrams(r.protocol(), r.bool())
    if tag == 25:
        return RequestWatchNetwork(r.bool())
    if tag == 26:
        return RequestKeepConnections()
    raise UnknownTag(f"unknown Request {tag}")


def _write_request(w: Writer, v: Request) -> None:
    if isinstance(v, RequestListen):
        w.u32(0)
        w.protocol(v.protocol)
        _write_scope(w, v.scope)
        _write_call_mode(w, v.calls)
    elif isinstance(v, RequestUnlisten):
        w.u32(1)
        w.protocol(v.protocol)
        _write_scope(w, v.scope)
    elif isinstance(v, RequestCall):
        w.u32(2)
        _write_target(w, v.target)
        w.protocol(v.protocol)
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
    elif isinstance(v, RequestPing):
        w.u32(8)
    elif isinstance(v, RequestPublish):
        w.u32(9)
        w.name(v.topic)
        w.bytes(v.payload)
    elif isinstance(v, RequestSubscribe):
        w.u32(10)
        w.name(v.topic)
        _write_validation(w, v.validation)
    elif isinstance(v, RequestUnsubscribe):
        w.u32(11)
        w.name(v.topic)
    elif isinstance(v, RequestJudge):
        w.u32(12)
        w.name(v.topic)
        w.bytes32(v.message)
        _write_verdict(w, v.verdict)
    elif isinstance(v, RequestTopic):
        w.u32(13)
        w.name(v.topic)
    elif isinstance(v, RequestPutImmutable):
        w.u32(14)
        w.name(v.name)
        w.bytes(v.value)
        w.u32(v.timeout_ms)
    elif isinstance(v, RequestGetImmutable):
        w.u32(15)
        w.name(v.name)
        w.bytes32(v.hash)
        w.u32(v.timeout_ms)
    elif isinstance(v, RequestPutOwn):
        w.u32(16)
        w.name(v.name)
        w.bytes(v.value)
        w.u32(v.lifetime_s)
        w.u32(v.timeout_ms)
    elif isinstance(v, RequestPutSigned):
        w.u32(17)
        _write_signed_record(w, v.record)
        w.u32(v.timeout_ms)
    elif isinstance(v, RequestGetSigned):
        w.u32(18)
        w.bytes32(v.key)
        w.name(v.name)
        w.u32(v.timeout_ms)
    elif isinstance(v, RequestProvide):
        w.u32(19)
        w.name(v.name)
        w.u32(v.timeout_ms)
    elif isinstance(v, RequestUnprovide):
        w.u32(20)
        w.name(v.name)
    elif isinstance(v, RequestFindProviders):
        w.u32(21)
        w.name(v.name)
        w.u32(v.limit)
        w.u32(v.timeout_ms)
    elif isinstance(v, RequestFindPeer):
        w.u32(22)
        w.bytes32(v.node)
        w.u32(v.timeout_ms)
    elif isinstance(v, RequestSendDatagram):
        w.u32(23)
        w.bytes32(v.node)
        w.protocol(v.protocol)
        w.bytes(v.payload)
    elif isinstance(v, RequestReceiveDatagrams):
        w.u32(24)
        w.protocol(v.protocol)
        w.bool(v.on)
    elif isinstance(v, RequestWatchNetwork):
        w.u32(25)
        w.bool(v.on)
    elif isinstance(v, RequestKeepConnections):
        w.u32(26)
    else:
        raise TypeError(f"not a Request: {v!r}")


def _json_request(v: Request) -> Any:
    if isinstance(v, RequestListen):
        return {"Listen": {"protocol": v.protocol, "scope": _json_scope(v.scope), "calls": _json_call_mode(v.calls)}}
    if isinstance(v, RequestUnlisten):
        return {"Unlisten": {"protocol": v.protocol, "scope": _json_scope(v.scope)}}
    if isinstance(v, RequestCall):
        return {"Call": {"target": _json_target(v.target), "protocol": v.protocol, "payload": v.payload.hex(), "timeout_ms": v.timeout_ms}}
    if isinstance(v, RequestRefuseStream):
        return {"RefuseStream": {"stream": v.stream, "failure": _json_failure(v.failure)}}
    if isinstance(v, RequestPeers):
        return "Peers"
    if isinstance(v, RequestNode):
        return "Node"
    if isinstance(v, RequestWatchPeers):
        return {"WatchPeers": {"on": v.on}}
    if isinstance(v, RequestReady):
        return "Ready"
    if isinstance(v, RequestPing):
        return "Ping"
    if isinstance(v, RequestPublish):
        return {"Publish": {"topic": v.topic, "payload": v.payload.hex()}}
    if isinstance(v, RequestSubscribe):
        return {"Subscribe": {"topic": v.topic, "validation": _json_validation(v.validation)}}
    if isinstance(v, RequestUnsubscribe):
        return {"Unsubscribe": {"topic": v.topic}}
    if isinstance(v, RequestJudge):
        return {"Judge": {"topic": v.topic, "message": v.message.hex(), "verdict": _json_verdict(v.verdict)}}
    if isinstance(v, RequestTopic):
        return {"Topic": {"topic": v.topic}}
    if isinstance(v, RequestPutImmutable):
        return {"PutImmutable": {"name": v.name, "value": v.value.hex(), "timeout_ms": v.timeout_ms}}
    if isinstance(v, RequestGetImmutable):
        return {"GetImmutable": {"name": v.name, "hash": v.hash.hex(), "timeout_ms": v.timeout_ms}}
    if isinstance(v, RequestPutOwn):
        return {"PutOwn": {"name": v.name, "value": v.value.hex(), "lifetime_s": v.lifetime_s, "timeout_ms": v.timeout_ms}}
    if isinstance(v, RequestPutSigned):
        return {"PutSigned": {"record": _json_signed_record(v.record), "timeout_ms": v.timeout_ms}}
    if isinstance(v, RequestGetSigned):
        return {"GetSigned": {"key": node_text(v.key), "name": v.name, "timeout_ms": v.timeout_ms}}
    if isinstance(v, RequestProvide):
        return {"Provide": {"name": v.name, "timeout_ms": v.timeout_ms}}
    if isinstance(v, RequestUnprovide):
        return {"Unprovide": {"name": v.name}}
    if isinstance(v, RequestFindProviders):
        return {"FindProviders": {"name": v.name, "limit": v.limit, "timeout_ms": v.timeout_ms}}
    if isinstance(v, RequestFindPeer):
        return {"FindPeer": {"node": node_text(v.node), "timeout_ms": v.timeout_ms}}
    if isinstance(v, RequestSendDatagram):
        return {"SendDatagram": {"node": node_text(v.node), "protocol": v.protocol, "payload": v.payload.hex()}}
    if isinstance(v, RequestReceiveDatagrams):
        return {"ReceiveDatagrams": {"protocol": v.protocol, "on": v.on}}
    if isinstance(v, RequestWatchNetwork):
        return {"WatchNetwork": {"on": v.on}}
    if isinstance(v, RequestKeepConnections):
        return "KeepConnections"
    raise TypeError(f"not a Request: {v!r}")


@dataclass(unsafe_hash=True)
class ClientFrameRequest:
    id: int
    request: Request


@dataclass(unsafe_hash=True)
class ClientFrameCancel:
    id: int


@dataclass(unsafe_hash=True)
class ClientFrameAnswer:
    call: int
    payload: bytes


@dataclass(unsafe_hash=True)
class ClientFrameDecline:
    call: int
    failure: Failure


@dataclass(unsafe_hash=True)
class ClientFrameAlive:
    pass


ClientFrame = Union[
    ClientFrameRequest,
    ClientFrameCancel,
    ClientFrameAnswer,
    ClientFrameDecline,
    ClientFrameAlive,
]


def _read_client_frame(r: Reader) -> ClientFrame:
    tag = r.u32()
    if tag == 0:
        return ClientFrameRequest(r.u64(), _read_request(r))
    if tag == 1:
        return ClientFrameCancel(r.u64())
    if tag == 2:
        return ClientFrameAnswer(r.u64(), r.bytes())
    if tag == 3:
        return ClientFrameDecline(r.u64(), _read_failure(r))
    if tag == 4:
        return ClientFrameAlive()
    raise DecodeError(f"unknown ClientFrame {tag}")


def _write_client_frame(w: Writer, v: ClientFrame) -> None:
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
    elif isinstance(v, ClientFrameDecline):
        w.u32(3)
        w.u64(v.call)
        _write_failure(w, v.failure)
    elif isinstance(v, ClientFrameAlive):
        w.u32(4)
    else:
        raise TypeError(f"not a ClientFrame: {v!r}")


def _json_client_frame(v: ClientFrame) -> Any:
    if isinstance(v, ClientFrameRequest):
        return {"Request": {"id": v.id, "request": _json_request(v.request)}}
    if isinstance(v, ClientFrameCancel):
        return {"Cancel": {"id": v.id}}
    if isinstance(v, ClientFrameAnswer):
        return {"Answer": {"call": v.call, "payload": v.payload.hex()}}
    if isinstance(v, ClientFrameDecline):
        return {"Decline": {"call": v.call, "failure": _json_failure(v.failure)}}
    if isinstance(v, ClientFrameAlive):
        return "Alive"
    raise TypeError(f"not a ClientFrame: {v!r}")


def encode_client_frame(v: ClientFrame) -> bytes:
    """The body of a frame. Raises :class:`ValueError` when it is over the limit, or a name breaks its rule."""
    return encode(_write_client_frame, v)


def decode_client_frame(data: Data) -> ClientFrame:
    """Reads the body of a frame, to its last byte. Raises :class:`DecodeError`."""
    return decode(_read_client_frame, data)


def client_frame_to_json(v: ClientFrame) -> Any:
    """The form that the vectors have."""
    return _json_client_frame(v)


@dataclass(unsafe_hash=True)
class PathDirect:
    pass


@dataclass(unsafe_hash=True)
class PathRelayed:
    pass


Path = Union[
    PathDirect,
    PathRelayed,
]


def _read_path(r: Reader) -> Path:
    tag = r.u32()
    if tag == 0:
        return PathDirect()
    if tag == 1:
        return PathRelayed()
    raise DecodeError(f"unknown Path {tag}")


def _write_path(w: Writer, v: Path) -> None:
    if isinstance(v, PathDirect):
        w.u32(0)
    elif isinstance(v, PathRelayed):
        w.u32(1)
    else:
        raise TypeError(f"not a Path: {v!r}")


def _json_path(v: Path) -> Any:
    if isinstance(v, PathDirect):
        return "Direct"
    if isinstance(v, PathRelayed):
        return "Relayed"
    raise TypeError(f"not a Path: {v!r}")


@dataclass(unsafe_hash=True)
class PeerInfo:
    node: bytes
    path: Path
    rtt_us: int
    connected_ms: int
    protocols: Tuple[str, ...]


def _read_peer_info(r: Reader) -> PeerInfo:
    return PeerInfo(r.bytes32(), _read_path(r), r.u64(), r.u64(), r.list(Reader.protocol))


def _write_peer_info(w: Writer, v: PeerInfo) -> None:
    w.bytes32(v.node)
    _write_path(w, v.path)
    w.u64(v.rtt_us)
    w.u64(v.connected_ms)
    w.u64(len(v.protocols))
    for protocol in v.protocols:
        w.protocol(protocol)


def _json_peer_info(v: PeerInfo) -> Any:
    return {"node": node_text(v.node), "path": _json_path(v.path), "rtt_us": v.rtt_us, "connected_ms": v.connected_ms, "protocols": list(v.protocols)}


@dataclass(unsafe_hash=True)
class NodeInfo:
    node: bytes
    ticket: str
    version: str
    uptime_ms: int


def _read_node_info(r: Reader) -> NodeInfo:
    return NodeInfo(r.bytes32(), r.ticket(), r.string(), r.u64())


def _write_node_info(w: Writer, v: NodeInfo) -> None:
    w.bytes32(v.node)
    w.ticket(v.ticket)
    w.string(v.version)
    w.u64(v.uptime_ms)


def _json_node_info(v: NodeInfo) -> Any:
    return {"node": node_text(v.node), "ticket": v.ticket, "version": v.version, "uptime_ms": v.uptime_ms}


@dataclass(unsafe_hash=True)
class TopicInfo:
    neighbours: int
    delivered: int
    duplicates: int
    dropped: int
    pulled: int


def _read_topic_info(r: Reader) -> TopicInfo:
    return TopicInfo(r.u32(), r.u64(), r.u64(), r.u64(), r.u64())


def _write_topic_info(w: Writer, v: TopicInfo) -> None:
    w.u32(v.neighbours)
    w.u64(v.delivered)
    w.u64(v.duplicates)
    w.u64(v.dropped)
    w.u64(v.pulled)


def _json_topic_info(v: TopicInfo) -> Any:
    return {"neighbours": v.neighbours, "delivered": v.delivered, "duplicates": v.duplicates, "dropped": v.dropped, "pulled": v.pulled}


@dataclass(unsafe_hash=True)
class ResponseFailed:
    value: Failure


@dataclass(unsafe_hash=True)
class ResponseDone:
    pass


@dataclass(unsafe_hash=True)
class ResponseReply:
    payload: bytes


@dataclass(unsafe_hash=True)
class ResponsePeers:
    value: Tuple[PeerInfo, ...]


@dataclass(unsafe_hash=True)
class ResponseNode:
    value: NodeInfo


@dataclass(unsafe_hash=True)
class ResponsePublished:
    message: bytes
    peers: int


@dataclass(unsafe_hash=True)
class ResponseTopic:
    value: TopicInfo


@dataclass(unsafe_hash=True)
class ResponseStored:
    key: bytes
    sequence: int
    copies: int


@dataclass(unsafe_hash=True)
class ResponseValue:
    value: Optional[bytes]


@dataclass(unsafe_hash=True)
class ResponseRecord:
    value: Optional[SignedRecord]


@dataclass(unsafe_hash=True)
class ResponseProviders:
    value: Tuple[bytes, ...]


@dataclass(unsafe_hash=True)
class ResponseFound:
    value: str


Response = Union[
    ResponseFailed,
    ResponseDone,
    ResponseReply,
    ResponsePeers,
    ResponseNode,
    ResponsePublished,
    ResponseTopic,
    ResponseStored,
    ResponseValue,
    ResponseRecord,
    ResponseProviders,
    ResponseFound,
]


def _read_response(r: Reader) -> Response:
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
        return ResponseNode(_read_node_info(r))
    if tag == 5:
        return ResponsePublished(r.bytes32(), r.u32())
    if tag == 6:
        return ResponseTopic(_read_topic_info(r))
    if tag == 7:
        return ResponseStored(r.bytes32(), r.u64(), r.u32())
    if tag == 8:
        return ResponseValue(r.option(Reader.bytes))
    if tag == 9:
        return ResponseRecord(r.option(_read_signed_record))
    if tag == 10:
        return ResponseProviders(r.list(Reader.bytes32))
    if tag == 11:
        return ResponseFound(r.ticket())
    raise UnknownTag(f"unknown Response {tag}")


def _write_response(w: Writer, v: Response) -> None:
    if isinstance(v, ResponseFailed):
        w.u32(0)
        _write_failure(w, v.value)
    elif isinstance(v, ResponseDone):
        w.u32(1)
    elif isinstance(v, ResponseReply):
        w.u32(2)
        w.bytes(v.payload)
    elif isinstance(v, ResponsePeers):
        w.u32(3)
        w.u64(len(v.value))
        for peer_info in v.value:
            _write_peer_info(w, peer_info)
    elif isinstance(v, ResponseNode):
        w.u32(4)
        _write_node_info(w, v.value)
    elif isinstance(v, ResponsePublished):
        w.u32(5)
        w.bytes32(v.message)
        w.u32(v.peers)
    elif isinstance(v, ResponseTopic):
        w.u32(6)
        _write_topic_info(w, v.value)
    elif isinstance(v, ResponseStored):
        w.u32(7)
        w.bytes32(v.key)
        w.u64(v.sequence)
        w.u32(v.copies)
    elif isinstance(v, ResponseValue):
        w.u32(8)
        w.bool(v.value is not None)
        if v.value is not None:
            w.bytes(v.value)
    elif isinstance(v, ResponseRecord):
        w.u32(9)
        w.bool(v.value is not None)
        if v.value is not None:
            _write_signed_record(w, v.value)
    elif isinstance(v, ResponseProviders):
        w.u32(10)
        w.u64(len(v.value))
        for node_id in v.value:
            w.bytes32(node_id)
    elif isinstance(v, ResponseFound):
        w.u32(11)
        w.ticket(v.value)
    else:
        raise TypeError(f"not a Response: {v!r}")


def _json_response(v: Response) -> Any:
    if isinstance(v, ResponseFailed):
        return {"Failed": _json_failure(v.value)}
    if isinstance(v, ResponseDone):
        return "Done"
    if isinstance(v, ResponseReply):
        return {"Reply": {"payload": v.payload.hex()}}
    if isinstance(v, ResponsePeers):
        return {"Peers": [_json_peer_info(item) for item in v.value]}
    if isinstance(v, ResponseNode):
        return {"Node": _json_node_info(v.value)}
    if isinstance(v, ResponsePublished):
        return {"Published": {"message": v.message.hex(), "peers": v.peers}}
    if isinstance(v, ResponseTopic):
        return {"Topic": _json_topic_info(v.value)}
    if isinstance(v, ResponseStored):
        return {"Stored": {"key": v.key.hex(), "sequence": v.sequence, "copies": v.copies}}
    if isinstance(v, ResponseValue):
        return {"Value": None if v.value is None else v.value.hex()}
    if isinstance(v, ResponseRecord):
        return {"Record": None if v.value is None else _json_signed_record(v.value)}
    if isinstance(v, ResponseProviders):
        return {"Providers": [node_text(item) for item in v.value]}
    if isinstance(v, ResponseFound):
        return {"Found": v.value}
    raise TypeError(f"not a Response: {v!r}")


@dataclass(unsafe_hash=True)
class ReachUnknown:
    pass


@dataclass(unsafe_hash=True)
class ReachPublic:
    pass


@dataclass(unsafe_hash=True)
class ReachPrivate:
    pass


Reach = Union[
    ReachUnknown,
    ReachPublic,
    ReachPrivate,
]


def _read_reach(r: Reader) -> Reach:
    tag = r.u32()
    if tag == 0:
        return ReachUnknown()
    if tag == 1:
        return ReachPublic()
    if tag == 2:
        return ReachPrivate()
    raise DecodeError(f"unknown Reach {tag}")


def _write_reach(w: Writer, v: Reach) -> None:
    if isinstance(v, ReachUnknown):
        w.u32(0)
    elif isinstance(v, ReachPublic):
        w.u32(1)
    elif isinstance(v, ReachPrivate):
        w.u32(2)
    else:
        raise TypeError(f"not a Reach: {v!r}")


def _json_reach(v: Reach) -> Any:
    if isinstance(v, ReachUnknown):
        return "Unknown"
    if isinstance(v, ReachPublic):
        return "Public"
    if isinstance(v, ReachPrivate):
        return "Private"
    raise TypeError(f"not a Reach: {v!r}")


@dataclass(unsafe_hash=True)
class NetworkChangePath:
    node: bytes
    path: Path


@dataclass(unsafe_hash=True)
class NetworkChangeReach:
    value: Reach


@dataclass(unsafe_hash=True)
class NetworkChangeAddresses:
    value: str


NetworkChange = Union[
    NetworkChangePath,
    NetworkChangeReach,
    NetworkChangeAddresses,
]


def _read_network_change(r: Reader) -> NetworkChange:
    tag = r.u32()
    if tag == 0:
        return NetworkChangePath(r.bytes32(), _read_path(r))
    if tag == 1:
        return NetworkChangeReach(_read_reach(r))
    if tag == 2:
        return NetworkChangeAddresses(r.ticket())
    raise DecodeError(f"unknown NetworkChange {tag}")


def _write_network_change(w: Writer, v: NetworkChange) -> None:
    if isinstance(v, NetworkChangePath):
        w.u32(0)
        w.bytes32(v.node)
        _write_path(w, v.path)
    elif isinstance(v, NetworkChangeReach):
        w.u32(1)
        _write_reach(w, v.value)
    elif isinstance(v, NetworkChangeAddresses):
        w.u32(2)
        w.ticket(v.value)
    else:
        raise TypeError(f"not a NetworkChange: {v!r}")


def _json_network_change(v: NetworkChange) -> Any:
    if isinstance(v, NetworkChangePath):
        return {"Path": {"node": node_text(v.node), "path": _json_path(v.path)}}
    if isinstance(v, NetworkChangeReach):
        return {"Reach": _json_reach(v.value)}
    if isinstance(v, NetworkChangeAddresses):
        return {"Addresses": v.value}
    raise TypeError(f"not a NetworkChange: {v!r}")


@dataclass(unsafe_hash=True)
class EventStream:
    stream: int
    origin: Origin
    protocol: str


@dataclass(unsafe_hash=True)
class EventStreamGone:
    stream: int
    failure: Failure


@dataclass(unsafe_hash=True)
class EventCall:
    call: int
    origin: Origin
    protocol: str
    payload: bytes


@dataclass(unsafe_hash=True)
class EventCallGone:
    call: int


@dataclass(unsafe_hash=True)
class EventPeerUp:
    value: PeerInfo


@dataclass(unsafe_hash=True)
class EventPeerDown:
    node: bytes
    failure: Failure


@dataclass(unsafe_hash=True)
class EventGrantsChanged:
    value: Grants


@dataclass(unsafe_hash=True)
class EventDropped:
    count: int


@dataclass(unsafe_hash=True)
class EventClosing:
    value: Failure


@dataclass(unsafe_hash=True)
class EventMessage:
    topic: str
    message: bytes
    author: bytes
    payload: bytes


@dataclass(unsafe_hash=True)
class EventDatagram:
    node: bytes
    protocol: str
    payload: bytes


@dataclass(unsafe_hash=True)
class EventNetwork:
    value: NetworkChange


@dataclass(unsafe_hash=True)
class EventHeartbeat:
    pass


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
    EventMessage,
    EventDatagram,
    EventNetwork,
    EventHeartbeat,
]


def _read_event(r: Reader) -> Event:
    tag = r.u32()
    if tag == 0:
        return EventStream(r.u64(), _read_origin(r), r.protocol())
    if tag == 1:
        return EventStreamGone(r.u64(), _read_failure(r))
    if tag == 2:
        return EventCall(r.u64(), _read_origin(r), r.protocol(), r.bytes())
    if tag == 3:
        return EventCallGone(r.u64())
    if tag == 4:
        return EventPeerUp(_read_peer_info(r))
    if tag == 5:
        return EventPeerDown(r.bytes32(), _read_failure(r))
    if tag == 6:
        return EventGrantsChanged(_read_grants(r))
    if tag == 7:
        return EventDropped(r.u64())
    if tag == 8:
        return EventClosing(_read_failure(r))
    if tag == 9:
        return EventMessage(r.name(), r.bytes32(), r.bytes32(), r.bytes())
    if tag == 10:
        return EventDatagram(r.bytes32(), r.protocol(), r.bytes())
    if tag == 11:
        return EventNetwork(_read_network_change(r))
    if tag == 12:
        return EventHeartbeat()
    raise UnknownTag(f"unknown Event {tag}")


def _write_event(w: Writer, v: Event) -> None:
    if isinstance(v, EventStream):
        w.u32(0)
        w.u64(v.stream)
        _write_origin(w, v.origin)
        w.protocol(v.protocol)
    elif isinstance(v, EventStreamGone):
        w.u32(1)
        w.u64(v.stream)
        _write_failure(w, v.failure)
    elif isinstance(v, EventCall):
        w.u32(2)
        w.u64(v.call)
        _write_origin(w, v.origin)
        w.protocol(v.protocol)
        w.bytes(v.payload)
    elif isinstance(v, EventCallGone):
        w.u32(3)
        w.u64(v.call)
    elif isinstance(v, EventPeerUp):
        w.u32(4)
        _write_peer_info(w, v.value)
    elif isinstance(v, EventPeerDown):
        w.u32(5)
        w.bytes32(v.node)
        _write_failure(w, v.failure)
    elif isinstance(v, EventGrantsChanged):
        w.u32(6)
        _write_grants(w, v.value)
    elif isinstance(v, EventDropped):
        w.u32(7)
        w.u64(v.count)
    elif isinstance(v, EventClosing):
        w.u32(8)
        _write_failure(w, v.value)
    elif isinstance(v, EventMessage):
        w.u32(9)
        w.name(v.topic)
        w.bytes32(v.message)
        w.bytes32(v.author)
        w.bytes(v.payload)
    elif isinstance(v, EventDatagram):
        w.u32(10)
        w.bytes32(v.node)
        w.protocol(v.protocol)
        w.bytes(v.payload)
    elif isinstance(v, EventNetwork):
        w.u32(11)
        _write_network_change(w, v.value)
    elif isinstance(v, EventHeartbeat):
        w.u32(12)
    else:
        raise TypeError(f"not a Event: {v!r}")


def _json_event(v: Event) -> Any:
    if isinstance(v, EventStream):
        return {"Stream": {"stream": v.stream, "origin": _json_origin(v.origin), "protocol": v.protocol}}
    if isinstance(v, EventStreamGone):
        return {"StreamGone": {"stream": v.stream, "failure": _json_failure(v.failure)}}
    if isinstance(v, EventCall):
        return {"Call": {"call": v.call, "origin": _json_origin(v.origin), "protocol": v.protocol, "payload": v.payload.hex()}}
    if isinstance(v, EventCallGone):
        return {"CallGone": {"call": v.call}}
    if isinstance(v, EventPeerUp):
        return {"PeerUp": _json_peer_info(v.value)}
    if isinstance(v, EventPeerDown):
        return {"PeerDown": {"node": node_text(v.node), "failure": _json_failure(v.failure)}}
    if isinstance(v, EventGrantsChanged):
        return {"GrantsChanged": _json_grants(v.value)}
    if isinstance(v, EventDropped):
        return {"Dropped": {"count": v.count}}
    if isinstance(v, EventClosing):
        return {"Closing": _json_failure(v.value)}
    if isinstance(v, EventMessage):
        return {"Message": {"topic": v.topic, "message": v.message.hex(), "author": node_text(v.author), "payload": v.payload.hex()}}
    if isinstance(v, EventDatagram):
        return {"Datagram": {"node": node_text(v.node), "protocol": v.protocol, "payload": v.payload.hex()}}
    if isinstance(v, EventNetwork):
        return {"Network": _json_network_change(v.value)}
    if isinstance(v, EventHeartbeat):
        return "Heartbeat"
    raise TypeError(f"not a Event: {v!r}")


@dataclass(unsafe_hash=True)
class ServerFrameResponse:
    id: int
    response: Response


@dataclass(unsafe_hash=True)
class ServerFrameEvent:
    value: Event


ServerFrame = Union[
    ServerFrameResponse,
    ServerFrameEvent,
]


def _read_server_frame(r: Reader) -> ServerFrame:
    tag = r.u32()
    if tag == 0:
        return ServerFrameResponse(r.u64(), _read_response(r))
    if tag == 1:
        return ServerFrameEvent(_read_event(r))
    raise DecodeError(f"unknown ServerFrame {tag}")


def _write_server_frame(w: Writer, v: ServerFrame) -> None:
    if isinstance(v, ServerFrameResponse):
        w.u32(0)
        w.u64(v.id)
        _write_response(w, v.response)
    elif isinstance(v, ServerFrameEvent):
        w.u32(1)
        _write_event(w, v.value)
    else:
        raise TypeError(f"not a ServerFrame: {v!r}")


def _json_server_frame(v: ServerFrame) -> Any:
    if isinstance(v, ServerFrameResponse):
        return {"Response": {"id": v.id, "response": _json_response(v.response)}}
    if isinstance(v, ServerFrameEvent):
        return {"Event": _json_event(v.value)}
    raise TypeError(f"not a ServerFrame: {v!r}")


def encode_server_frame(v: ServerFrame) -> bytes:
    """The body of a frame. Raises :class:`ValueError` when it is over the limit, or a name breaks its rule."""
    return encode(_write_server_frame, v)


def decode_server_frame(data: Data) -> ServerFrame:
    """Reads the body of a frame, to its last byte. Raises :class:`DecodeError`."""
    return decode(_read_server_frame, data)


def server_frame_to_json(v: ServerFrame) -> Any:
    """The form that the vectors have."""
    return _json_server_frame(v)
