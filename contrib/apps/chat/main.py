"""The chat app: puts its parts together and runs until Polypeer stops it.

peers ──chat/1──► Inbox ──► Store ◄── Outbox ──chat/1──► peers
                    └────► Hub ◄────────┘
                            ▲
command line ──chat-control/1──► Control
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

import polypeer
from control import Control
from hub import Hub
from inbox import Inbox
from limits import STREAMS, VIEWERS
from outbox import PROTOCOL, Outbox
from store import Store, StoreError

log = logging.getLogger("chat")


async def run(node: polypeer.Node, store: Store) -> None:
    """The app on a node, until the node is closed (returns) or something that it cannot do without fails (raises)."""
    hub = Hub()
    outbox = Outbox(node, store, hub)
    control = Control(node.id, store, hub, outbox)
    async with await node.listen(PROTOCOL) as peers, await node.listen("chat-control/1", local=True) as local:
        await node.ready()
        outbox.start()
        tasks = [
            asyncio.ensure_future(peers.serve(Inbox(store, hub).handle, concurrency=STREAMS)),
            asyncio.ensure_future(local.serve(control.handle, concurrency=2 * VIEWERS)),
            asyncio.ensure_future(watch(node, outbox)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await outbox.close()


async def watch(node: polypeer.Node, outbox: Outbox) -> None:
    """Tries what waits for a peer when it connects."""
    async for event in node.watch_peers():
        if isinstance(event, polypeer.PeerUp):
            outbox.peer_up(event.peer.node)


async def main() -> int:
    """The program; its exit status."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    this = asyncio.current_task()
    assert this is not None, "main runs as a task"
    with contextlib.suppress(NotImplementedError):  # Windows: the process is simply ended
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    try:
        async with polypeer.connect() as node:
            store = Store(Path(os.environ.get("POLYPEER_DATA", ".")) / "chat.db")
            try:
                await run(node, store)
            finally:
                store.close()
    except asyncio.CancelledError:
        log.info("stopped")
    except (polypeer.PolypeerError, StoreError) as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
