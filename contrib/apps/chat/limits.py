"""Every size and time of the chat app, in one place; those of the wire are in PROTOCOL.md, too."""

from __future__ import annotations

MAX_TEXT = 64 << 10
"""Largest text of one message, bytes of UTF-8: what a person types or pastes; more is a file."""
MAX_LINE = 512 << 10
"""Longest line of either protocol, bytes: the largest text with every character escaped, and the rest around it."""
MAX_ID = 64
"""Length of a message's id, characters. Ours have 32."""
MAX_ERROR = 500
"""Characters kept of an error that a peer sent."""

PEER_MESSAGES = 10_000
"""Messages kept of one conversation; the oldest go first, but never one that waits for delivery."""
PEER_BYTES = 16 << 20
"""Bytes of text kept of one conversation."""
TOTAL_BYTES = 256 << 20
"""Bytes of text kept of all conversations the operator takes part in: a quarter of the app's disk limit."""
STRANGERS = 500
"""Conversations kept that only the other side has written in: anybody may open one."""
STRANGER_BYTES = 32 << 20
"""Bytes of text kept of all those together."""
UNDELIVERED = 1_000
"""Messages that may wait for one peer; the next one fails."""
KEEP_TRYING = 30 * 24 * 3600
"""Seconds of trying after which a message that could not be delivered fails: a peer away for a holiday still gets it.
The app counts them while it runs, so that no clock that jumps loses a message."""
FULL_WAIT = 10.0
"""Seconds for one of the messages that wait to be delivered, when no more may; then the next one fails."""

STREAMS = 64
"""Incoming streams handled at once."""
STREAMS_PER_PEER = 4
"""Of one peer; an honest one needs one."""
BURST = 200
"""Messages a stream may bring at full speed."""
RATE = 20
"""Messages a second after that: far above what people type, and what a flood is slowed to."""
IDLE = 60.0
"""Seconds without a line after which an incoming stream is closed."""
OPEN_TIMEOUT = 30.0
"""Seconds for reaching a peer."""
ANSWER_TIMEOUT = 30.0
"""Seconds for a peer to store one message."""
BATCH = 100
"""Messages delivered over one stream before the store is asked again."""
DIALS = 16
"""Peers tried at once."""
RETRY_FIRST = 2.0
"""Seconds before the second try to deliver; doubles from try to try."""
RETRY_MOST = 300.0
"""Seconds between tries at most. A peer that connects is tried at once."""
VIEWER_QUEUE = 256
"""Lines kept for one viewer that does not read; what comes after them it gets from the store, once it reads."""
SEEN = 1_000
"""Ids in one line that says what was shown."""
HISTORY = 1_000
"""Messages of one answer to `history`."""
VIEWERS = 32
"""Conversations open on the control protocol at once."""
