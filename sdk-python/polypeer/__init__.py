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
from ._errors import (
    AlreadyServed,
    BadArgument,
    Busy,
    Cancelled,
    ConnectionLost,
    ErrorCode,
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
from ._ids import key_id, peer_id
from ._listener import Call, Listener
from ._node import Node
from ._records import SignedRecord
from ._server import StreamServer
from ._stream import Stream
from ._transport import StreamTransport
from ._types import (
    Dropped,
    Event,
    Grants,
    GrantsChanged,
    NodeInfo,
    Origin,
    PeerDown,
    PeerEvent,
    PeerInfo,
    PeerUp,
    SessionLost,
    SessionRestored,
)

__version__ = "0.1.0"

__all__ = [
    "AlreadyServed",
    "BadArgument",
    "Busy",
    "Call",
    "Cancelled",
    "ConnectionLost",
    "Dropped",
    "ErrorCode",
    "Event",
    "Events",
    "Grants",
    "GrantsChanged",
    "Listener",
    "Node",
    "NodeClosed",
    "NodeInfo",
    "NotAllowed",
    "NotStartedByPolypeer",
    "Origin",
    "PeerDown",
    "PeerEvent",
    "PeerInfo",
    "PeerUp",
    "PolypeerError",
    "ProtocolError",
    "Refused",
    "SessionLost",
    "SessionRestored",
    "SignedRecord",
    "Stream",
    "StreamLost",
    "StreamReset",
    "StreamServer",
    "StreamStopped",
    "StreamTransport",
    "Superseded",
    "TimedOut",
    "TooLarge",
    "Unauthorised",
    "Unreachable",
    "Unsupported",
    "connect",
    "key_id",
    "peer_id",
]
