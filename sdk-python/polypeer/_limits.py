"""Every size and time the SDK uses, in one place. The first group is the gateway protocol's; a change there is a
change of ``ipc-protocol/SPEC.md``. The second group is the SDK's own."""

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
"""Seconds an operation takes at most when nothing else is said."""

MAX_STREAMS_PER_PEER = 128
"""Streams and calls a plugin may have open with one peer."""
CALLS_IN_FLIGHT = MAX_STREAMS_PER_PEER - 32
"""Calls by this plugin in flight; more wait here. Less than one peer allows, so that many calls at once to one peer do
not use up its streams; and far less than MAX_REQUESTS, which leaves room for listening and asking."""
TIMEOUT_GRACE = 1.0
"""Seconds netcore's own timeout gets before the SDK gives up by itself."""
RECEIVE_HIGH = 512 << 10
"""Unread bytes of one stream at which the SDK stops reading from its connection."""
RECEIVE_LOW = 128 << 10
"""Unread bytes at which it reads again."""
RECEIVE_FIRST = 4 << 10
"""First receive buffer of a connection, bytes: small, since most streams stay idle."""
RECEIVE_LARGEST = 256 << 10
"""The receive buffer doubles up to here while reads fill it."""
SEND_HIGH = MAX_DATA
"""Bytes waiting in the process at which writing waits: about one frame beyond what the kernel took."""
SEND_LOW = 64 << 10
"""Bytes waiting at which writing goes on."""
CONTROL_SEND_HIGH = 1 << 20
"""Bytes waiting on the control session at which requests wait."""
STREAM_LIMIT = 64 << 10
"""Buffer limit of asyncio's own stream readers, bytes: asyncio's default."""
LINGER = 60.0
"""Seconds a closed stream waits in the background for netcore to confirm what was sent."""
CLOSE_GRACE = 2.0
"""Seconds `Node.close` waits for streams that are being confirmed."""
MAX_UNJUDGED = 256
"""Messages of a topic that one validator may have under way; netcore waits for as many."""
REMEMBERED_MESSAGES = 1024
"""Messages of a topic that a subscription knows again, with 32 bytes each: a netcore that was restarted gets those of
the last minutes once more."""
JUDGE_TIME = 10.0
"""Seconds that netcore waits for a verdict."""
MESSAGE_QUEUE = 256
"""Messages of a topic kept for a slow reader, 16 MiB at most; then the oldest is dropped and counted."""
DATAGRAM_QUEUE = 1024
"""Datagrams of a protocol kept for a slow reader, 1 MiB at most; then the oldest is dropped and counted."""
PROVIDE_DELAYS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds before each try to provide a name, or to begin a feed or listener, again in a new session; the last one
repeats. A netcore that has just started needs a while to find the DHT."""
EVENT_QUEUE = 1024
"""Events kept for one slow reader of events; older ones are dropped and counted."""
SERVE_CONCURRENCY = 128
"""Handlers a listener runs at once when nothing else is said."""
RECONNECT_DELAYS = (0.0, 0.05, 0.1, 0.2, 0.4)
"""Seconds before each try to reach netcore again; the last one repeats. Small, since it is one local connect, and
the promise is that everything works within 3 s of netcore's return."""
