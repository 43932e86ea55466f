"""`chat-control/1`: what the command line and other plugins of this node ask. See PROTOCOL.md."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import polypeer
from hub import Hub, Viewer
from limits import FULL_WAIT, HISTORY, IDLE, MAX_LINE, SEEN, UNDELIVERED, VIEWERS
from messages import LATER, MALFORMED, TOO_LARGE, Bad, Message, document, id_of, line, new_id, text_of
from outbox import Outbox
from store import Full, Store, StoreError

log = logging.getLogger("chat")


class Control:
    """Handles the streams of this node's own programs."""

    def __init__(self, me: str, store: Store, hub: Hub, outbox: Outbox) -> None:
        """`me` is this node's id."""
        self._me = me
        self._store = store
        self._hub = hub
        self._outbox = outbox

    async def handle(self, stream: polypeer.Stream) -> None:
        """One stream: an operation, its answer, and for `open` the conversation."""
        try:
            request = document(await asyncio.wait_for(stream.readline(limit=MAX_LINE), IDLE))
            operation = request.get("op")
            if operation == "open":
                await self._open(stream, request)
            elif operation == "history":
                await self._history(stream, request)
            elif operation == "peers":
                conversations = [vars(conversation) for conversation in self._store.conversations()]
                await stream.write(line({"peers": conversations}))
            else:
                raise Bad(MALFORMED, "expected the operation open, history or peers")
        except Bad as bad:
            await stream.write(line({"error": bad.reason, "code": bad.code}))
        except polypeer.TooLarge:
            await stream.write(line({"error": f"a line has at most {MAX_LINE} bytes", "code": TOO_LARGE}))
        except StoreError as error:
            log.error("%s", error)
            await stream.write(line({"error": str(error), "code": LATER}))
        except asyncio.TimeoutError:
            await stream.write(line({"error": "no operation came", "code": MALFORMED}))

    def _peer(self, request: dict[str, Any]) -> tuple[str, str]:
        """The peer's id, and the text that named it."""
        text = request.get("peer")
        try:
            peer = polypeer.peer_id(text) if isinstance(text, str) else ""
        except polypeer.BadArgument as error:
            raise Bad(MALFORMED, error.message) from None
        if not isinstance(text, str):
            raise Bad(MALFORMED, "expected a peer: a node id or a ticket")
        if peer == self._me:
            raise Bad(MALFORMED, "the peer is this node itself")
        return peer, text.strip()

    async def _history(self, stream: polypeer.Stream, request: dict[str, Any]) -> None:
        peer, _ = self._peer(request)
        limit = request.get("limit", 100)
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            raise Bad(MALFORMED, "expected a limit of at least 1")
        for message in self._store.history(peer, min(limit, HISTORY)):
            await stream.write(line(message.shown(self._me)))

    async def _open(self, stream: polypeer.Stream, request: dict[str, Any]) -> None:
        peer, text = self._peer(request)
        if len(self._hub) >= VIEWERS:
            raise Bad(LATER, f"{VIEWERS} conversations are open; close one")
        self._store.open(peer, text if text != peer else None)
        viewer = self._hub.join(peer)
        try:
            await stream.write(line({"ready": True, "peer": peer}))
            await self._converse(stream, peer, viewer)
        finally:
            self._hub.leave(peer, viewer)

    async def _converse(self, stream: polypeer.Stream, peer: str, viewer: Viewer) -> None:
        """Both directions at once, until the other side ends its own or either fails."""
        showing = asyncio.ensure_future(self._show(stream, peer, viewer))
        typing = asyncio.ensure_future(self._typed(stream, peer, viewer))
        try:
            await asyncio.wait({showing, typing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (showing, typing):
                task.cancel()
            results = await asyncio.gather(showing, typing, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result

    async def _show(self, stream: polypeer.Stream, peer: str, viewer: Viewer) -> None:
        """First what came while nobody looked, then what happens. The opener says what was seen."""
        await self._show_unread(stream, peer, viewer)
        await stream.write(line({"caught_up": True}))
        while True:
            await self._show_one(stream, viewer, await viewer.queue.get())
            if viewer.behind and viewer.queue.empty():
                viewer.behind = False
                await self._show_unread(stream, peer, viewer)
                for id in list(viewer.waiting):
                    now = self._store.outgoing(peer, id)
                    if now is not None:
                        await self._show_one(stream, viewer, now)

    async def _show_unread(self, stream: polypeer.Stream, peer: str, viewer: Viewer) -> None:
        unread = self._store.unread(peer)
        viewer.forget({message.id for message in unread})
        for message in unread:
            if message.id not in viewer.unseen:
                await self._show_one(stream, viewer, message)

    async def _show_one(self, stream: polypeer.Stream, viewer: Viewer, message: Message) -> None:
        viewer.shows(message)
        await stream.write(line(message.shown(self._me)))
        viewer.shown(message)

    async def _typed(self, stream: polypeer.Stream, peer: str, viewer: Viewer) -> None:
        """Sends what is typed, and notes what was seen. After the end of it, waits until everything typed here is
        delivered or has failed."""
        while True:
            data = await stream.readline(limit=MAX_LINE)
            if not data:
                await _either(viewer.settled.wait(), stream.wait_closed())
                return
            value = document(data)
            if "seen" in value:
                self._seen(peer, viewer, value)
            else:
                await self._send(peer, viewer, value)

    def _seen(self, peer: str, viewer: Viewer, value: dict[str, Any]) -> None:
        ids = value["seen"]
        if not isinstance(ids, list) or len(ids) > SEEN or not all(isinstance(id, str) for id in ids):
            raise Bad(MALFORMED, f"expected at most {SEEN} ids of what was seen")
        viewer.unseen -= set(ids)
        try:
            self._store.mark_seen(peer, ids)
        except StoreError as error:
            log.error("%s; what was seen is shown again", error)

    async def _send(self, peer: str, viewer: Viewer, value: dict[str, Any]) -> None:
        """Stores a message, unless it is stored already, and has it delivered. Takes its time while many wait."""
        id = id_of(value) if "id" in value else new_id()
        message = Message(peer, id, True, text_of(value), int(time.time()), "sent")
        viewer.typed(id)
        try:
            stored = await self._stored(message)
        except Full:
            self._fail(message, f"{UNDELIVERED} messages wait for this peer already; it is not kept")
            return
        except StoreError as error:
            log.error("%s", error)
            self._fail(message, f"it is not kept: {error}")
            return
        self._hub.show(stored)
        if stored.state == "sent":
            self._outbox.deliver(peer)
        await asyncio.sleep(0)  # what shows the view, and delivers, gets its turn

    async def _stored(self, message: Message) -> Message:
        while True:
            try:
                return self._store.send(message)
            except Full:
                if not await self._outbox.room(message.peer, FULL_WAIT):
                    raise

    def _fail(self, message: Message, error: str) -> None:
        self._hub.show(replace(message, state="failed", error=error))


async def _either(*awaitables: Awaitable[object]) -> None:
    """Returns when one of them has ended, in whatever way; the others are cancelled."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
