"""Peer-to-peer plugins for Polypeer, with asyncio.

    import asyncio, polypeer

    async def echo(stream):
        async for chunk in stream:
            await stream.write(chunk)

    async def main():
        async with polypeer.connect() as node:
            listener = await node.listen("echo/1")
            await listener.serve(echo)

    asyncio.run(main())

A program that uses this is started by Polypeer, as a plugin; see the README.
"""

from ._connect import connect
from ._datagram import Datagram, Datagrams
from ._errors import (
    AlreadyServed,
    BadArgument,
    Busy,
    Cancelled,
    ConnectionLost,
    ErrorCode,
    HandlerFailed,
    NodeClosed,
    NotAllowed,
    NotStartedByPolypeer,
    PolypeerError,
    ProtocolError,
    Refused,
    StreamLost,
    StreamReset,
    StreamStopped,
    Superseded,
    TimedOut,
    TooLarge,
    Unauthorised,
    Unreachable,
    Unsupported,
)
from ._events import Events
from ._gossip import Message, Subscription, Verdict
from ._ids import key_id, peer_id
from ._listener import Call, Listener
from ._node import Node
from ._provide import Provision
from ._record import SignedRecord
from ._server import StreamServer
from ._stream import Stream
from ._transport import StreamTransport
from ._types import (
    AddressesChanged,
    Dropped,
    Event,
    Grants,
    GrantsChanged,
    NetworkEvent,
    NodeInfo,
    Origin,
    PathChanged,
    PeerDown,
    PeerEvent,
    PeerInfo,
    PeerUp,
    Published,
    Reach,
    ReachChanged,
    SessionLost,
    SessionRestored,
    Stored,
    TopicInfo,
)

__version__ = "0.1.0"

__all__ = [
    "AddressesChanged",
    "AlreadyServed",
    "BadArgument",
    "Busy",
    "Call",
    "Cancelled",
    "ConnectionLost",
    "Datagram",
    "Datagrams",
    "Dropped",
    "ErrorCode",
    "Event",
    "Events",
    "Grants",
    "GrantsChanged",
    "HandlerFailed",
    "Listener",
    "Message",
    "NetworkEvent",
    "Node",
    "NodeClosed",
    "NodeInfo",
    "NotAllowed",
    "NotStartedByPolypeer",
    "Origin",
    "PathChanged",
    "PeerDown",
    "PeerEvent",
    "PeerInfo",
    "PeerUp",
    "PolypeerError",
    "ProtocolError",
    "Provision",
    "Published",
    "Reach",
    "ReachChanged",
    "Refused",
    "SessionLost",
    "SessionRestored",
    "SignedRecord",
    "Stored",
    "Stream",
    "StreamLost",
    "StreamReset",
    "StreamServer",
    "StreamStopped",
    "StreamTransport",
    "Subscription",
    "Superseded",
    "TimedOut",
    "TooLarge",
    "TopicInfo",
    "Unauthorised",
    "Unreachable",
    "Unsupported",
    "Verdict",
    "connect",
    "key_id",
    "peer_id",
]
