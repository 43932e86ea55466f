"""`chat/1`, the sending side: delivers what waits, in order, and keeps trying while a peer is away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random

import polypeer
from hub import Hub
from limits import ANSWER_TIMEOUT, BATCH, DIALS, KEEP_TRYING, MAX_LINE, OPEN_TIMEOUT, RETRY_FIRST, RETRY_MOST
from messages import PERMANENT, Bad, Message, document, error_of, line
from store import Store, StoreError

log = logging.getLogger("chat")
PROTOCOL = "chat/1"


class Refusal(Exception):
    """The peer cannot take messages now, for a reason of its own."""


class Outbox:
    """One task for each peer that messages wait for; at most as many dials at once as the limits say."""

    def __init__(self, node: polypeer.Node, store: Store, hub: Hub) -> None:
        """Delivers over `node` what is in `store`, tells `hub`."""
        self._node = node
        self._store = store
        self._hub = hub
        self._tasks: set[asyncio.Task[None]] = set()
        self._kicks: dict[str, asyncio.Event] = {}
        self._settled: dict[str, asyncio.Event] = {}
        self._dials = asyncio.Semaphore(DIALS)

    def start(self) -> None:
        """Begins with what waited when the app ended."""
        for peer in self._store.waiting_peers():
            self.deliver(peer)

    def deliver(self, peer: str) -> None:
        """Something waits for `peer`, or it is worth trying again now."""
        kick = self._kicks.get(peer)
        if kick is not None:
            kick.set()
            return
        self._kicks[peer] = asyncio.Event()
        task = asyncio.ensure_future(self._run(peer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def room(self, peer: str, timeout: float) -> bool:
        """Waits until a message that waits for `peer` is settled; false after `timeout`."""
        self.deliver(peer)
        settled = self._settled.setdefault(peer, asyncio.Event())
        try:
            await asyncio.wait_for(settled.wait(), timeout)
        except asyncio.TimeoutError:
            return False
        return True

    def peer_up(self, peer: str) -> None:
        """`peer` connected: what waits for it is tried at once."""
        if peer in self._kicks:
            self._kicks[peer].set()

    async def close(self) -> None:
        """Stops; what waits stays stored."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, peer: str) -> None:
        try:
            await self._deliver(peer, self._kicks[peer])
        finally:
            del self._kicks[peer]  # in the same step as the last look at the store: no kick falls between

    async def _deliver(self, peer: str, kick: asyncio.Event) -> None:
        delay = RETRY_FIRST
        # Of a clock that nobody sets.
        now = asyncio.get_running_loop().time
        since = now()
        while True:
            kick.clear()
            try:
                self._expire(peer)
                waiting = self._store.undelivered(peer, BATCH)
                if not waiting:
                    return
                async with self._dials:
                    await self._batch(peer, waiting)
                delay = RETRY_FIRST
                continue
            except StoreError as error:
                log.error("messages for %s wait: %s", peer, error)
            except (
                polypeer.PolypeerError,
                OSError,
                Refusal,
                asyncio.TimeoutError,
                asyncio.IncompleteReadError,
            ) as error:
                if isinstance(error, polypeer.NodeClosed):
                    return
                log.info("messages for %s wait: %s", peer, error)
                self._tell_why(peer, error)
            try:
                await asyncio.wait_for(kick.wait(), delay * random.uniform(0.8, 1.2))
            except asyncio.TimeoutError:
                delay = min(delay * 2, RETRY_MOST)
            tried = int(now() - since)
            if tried:
                since += tried
                with contextlib.suppress(StoreError):  # said above; a little less is counted
                    self._store.waited(peer, tried)

    async def _batch(self, peer: str, waiting: list[Message]) -> None:
        """Delivers messages one after the other, each confirmed before the next."""
        whom = self._store.ticket(peer) or peer
        stream = await self._node.open_stream(whom, PROTOCOL, timeout=OPEN_TIMEOUT)
        async with stream:
            for message in waiting:
                await stream.write(line({"id": message.id, "text": message.text, "at": message.at}))
                answer = await asyncio.wait_for(stream.readline(limit=MAX_LINE), ANSWER_TIMEOUT)
                self._answered(message, answer)
            await stream.finish()
            await asyncio.wait_for(stream.read(limit=MAX_LINE), ANSWER_TIMEOUT)  # the other side ends in order, too

    def _answered(self, message: Message, data: bytes) -> None:
        if not data:
            raise Refusal("the peer's chat app ended the conversation")
        try:
            answer = document(data)
        except Bad as bad:
            raise Refusal(f"the peer's chat app answered with something else: {bad.reason}") from None
        if answer.get("stored") == message.id:
            self._settle(message, "delivered", None)
        elif answer.get("code") in PERMANENT and "refused" in answer:
            self._settle(message, "failed", f"refused by the peer: {error_of(answer)}")
        else:
            raise Refusal(f"the peer's chat app did not store the message: {error_of(answer)}")

    def _settle(self, message: Message, state: str, error: str | None) -> None:
        now = self._store.settle(message.peer, message.id, state, error)
        if now is not None:
            self._hub.show(now)
        settled = self._settled.pop(message.peer, None)
        if settled is not None:
            settled.set()

    def _expire(self, peer: str) -> None:
        for message in self._store.expired(peer, KEEP_TRYING, BATCH):
            self._settle(message, "failed", "the peer was not reached within 30 days")

    def _tell_why(self, peer: str, error: BaseException) -> None:
        """Says on open views why the oldest message still waits."""
        code = int(error.code) if isinstance(error, polypeer.PolypeerError) else None
        with contextlib.suppress(StoreError):
            for message in self._store.undelivered(peer, 1):
                self._hub.show(Message(peer, message.id, True, message.text, message.at, "sent", str(error), code))
