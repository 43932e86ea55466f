"""`chat/1`, the receiving side: stores what peers send, and confirms it only then."""

from __future__ import annotations

import asyncio
import collections
import logging
import time

import polypeer
from hub import Hub
from limits import BURST, IDLE, MAX_LINE, RATE, STREAMS_PER_PEER
from messages import LATER, TOO_LARGE, Bad, Message, document, id_of, line, text_of, time_of
from store import Store, StoreError

log = logging.getLogger("chat")


class Inbox:
    """Handles the streams that peers open. A peer may waste only its own few streams."""

    def __init__(self, store: Store, hub: Hub) -> None:
        """Stores in `store`, tells `hub`."""
        self._store = store
        self._hub = hub
        self._streams: collections.Counter[str] = collections.Counter()

    async def handle(self, stream: polypeer.Stream) -> None:
        """One incoming stream, up to its end."""
        peer = stream.peer
        if peer is None or self._streams[peer] >= STREAMS_PER_PEER:
            stream.abort(LATER)
            return
        self._streams[peer] += 1
        try:
            await self._lines(stream, peer)
        finally:
            self._streams[peer] -= 1
            if not self._streams[peer]:
                del self._streams[peer]

    async def _lines(self, stream: polypeer.Stream, peer: str) -> None:
        count = 0
        while True:
            try:
                data = await asyncio.wait_for(stream.readline(limit=MAX_LINE), IDLE)
            except polypeer.TooLarge:
                stream.abort(TOO_LARGE)
                return
            except asyncio.TimeoutError:
                return
            if not data:
                return
            await stream.write(line(self._take(data, peer)))
            count += 1
            if count > BURST:
                await asyncio.sleep(1 / RATE)

    def _take(self, data: bytes, peer: str) -> dict[str, object]:
        """Stores one message; the answer to it."""
        id = ""
        try:
            value = document(data)
            id = id_of(value)
            message = Message(peer, id, False, text_of(value), time_of(value, int(time.time())), "received")
            new = not self._store.knows(peer)
            if self._store.receive(message):
                self._hub.show(message)
                if new:
                    log.info("%s has written for the first time; `polypeer chat` lists who wrote", peer)
            return {"stored": id}
        except Bad as bad:
            return {"refused": id, "code": bad.code, "error": bad.reason}
        except StoreError as error:
            log.error("a message of %s could not be stored: %s", peer, error)
            return {"refused": id, "code": LATER, "error": "the message could not be stored now"}
