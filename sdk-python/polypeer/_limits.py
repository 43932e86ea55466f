"""The SDK's limits, timeouts and backoffs. The first group is fixed by ``ipc-protocol/SPEC.md``, the second is the
SDK's own."""

VERSION = 1
"""The version of the gateway protocol this SDK speaks."""
MAX_FRAME = 1 << 20
"""Largest body of a control frame, bytes."""
MAX_DATA = 256 << 10
"""Largest payload of one data frame, bytes."""
MAX_PAYLOAD = 64 << 10
"""Largest request or reply payload, bytes."""
MAX_REQUESTS = 256
"""Requests one session may have in flight."""
MAX_CALLS = 256
"""Calls from others that may wait for this plugin's answer."""
MAX_UNCLAIMED = 128
"""Streams announced and not yet claimed."""
MAX_PROTOCOL = 80
"""Length of a protocol name, bytes."""
MAX_NAME = 128
"""Length of the name of a topic or record, bytes."""
MAX_VALUE = 3072
"""Largest value of a DHT record, bytes."""
MAX_RECORD_LIFETIME = 24 * 3600
"""Longest life of a signed record, seconds."""
MAX_GOSSIP = 64 << 10
"""Largest gossip message, bytes."""
MAX_DATAGRAM = 1024
"""Largest datagram, bytes."""
MAX_PROVIDERS = 64
"""Providers in one answer."""
MAX_MESSAGE = 1024
"""Length of an error's text, bytes."""
MAX_TICKET = 1024
"""Length of a ticket, bytes."""
MAX_TICKET_ADDRESSES = 16
"""Addresses in a ticket."""
FIRST_CODE = 0x1_0000
"""Error codes from here up are Polypeer's; an application may use those below."""
DEFAULT_TIMEOUT = 30.0
"""Default timeout of an operation, seconds."""

MAX_STREAMS_PER_PEER = 128
"""Streams and calls a plugin may have open with one peer."""
CALLS_IN_FLIGHT = MAX_STREAMS_PER_PEER - 32
"""Calls by this plugin in flight; further ones wait. Below MAX_STREAMS_PER_PEER, so that a burst of calls leaves
streams to that peer, and far below MAX_REQUESTS, which leaves room for other requests."""
TIMEOUT_GRACE = 1.0
"""Seconds the SDK waits for netcore's own timeout before it raises one itself."""
RECEIVE_HIGH = 512 << 10
"""High watermark: unread bytes of one stream at which the SDK pauses reading from its connection."""
RECEIVE_LOW = 128 << 10
"""Low watermark: unread bytes at which it resumes."""
RECEIVE_FIRST = 4 << 10
"""First receive buffer of a connection, bytes: small, since most streams stay idle."""
RECEIVE_LARGEST = 256 << 10
"""The receive buffer doubles up to here while reads fill it."""
SEND_HIGH = MAX_DATA
"""High watermark of the send buffer, bytes: about one frame beyond the kernel's buffer."""
SEND_LOW = 64 << 10
"""Low watermark of the send buffer, bytes."""
CONTROL_BATCH = 64 << 10
"""Frames of the control session that one turn of the event loop collects before it sends them, bytes."""
CONTROL_SEND_HIGH = 1 << 20
"""High watermark of the control session's send buffer, bytes; requests wait above it."""
STREAM_LIMIT = 64 << 10
"""Buffer limit of asyncio's own stream readers, bytes: asyncio's default."""
LINGER = 60.0
"""Seconds a closed stream waits in the background for netcore's confirmation."""
CLOSE_GRACE = 2.0
"""Seconds `Node.close` waits for closed streams to be confirmed."""
MAX_UNJUDGED = 256
"""Validations of a topic in flight; netcore waits for as many verdicts."""
REMEMBERED_MESSAGES = 1024
"""Message ids that a subscription keeps to drop duplicates, 32 bytes each: after a restart netcore delivers the
messages of the last minutes again."""
JUDGE_TIME = 10.0
"""Seconds netcore waits for a verdict."""
MESSAGE_QUEUE = 256
"""Messages of a topic queued for a slow reader, 16 MiB at most; then the oldest is dropped and counted."""
DATAGRAM_QUEUE = 1024
"""Datagrams of a protocol queued for a slow reader, 1 MiB at most; then the oldest is dropped and counted."""
PROVIDE_DELAYS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Backoff, seconds, between attempts to restore a provided name, feed or listener in a new session; the last one
repeats. A netcore that has just started needs a while to join the DHT."""
EVENT_QUEUE = 1024
"""Events queued for one slow reader; then the oldest is dropped and counted."""
SERVE_CONCURRENCY = 128
"""Default number of handlers that a listener runs at once."""
RECONNECT_DELAYS = (0.0, 0.05, 0.1, 0.2, 0.4)
"""Backoff, seconds, between attempts to reconnect; the last one repeats. Small, since it is one local connect, and the
promise is that everything works within 3 s of netcore's restart."""
