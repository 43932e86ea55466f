"""A noticeboard that all nodes share: each node has one notice on it, and everybody sees all of them.

A notice travels as a message of the topic `noticeboard/notices`, whose author the network proves. A board that starts
later asks others for theirs: it finds them as providers of `noticeboard/board`, and makes a request.

Notices are kept for as long as the plugin runs. What this node has to say is in `notice.txt` in the plugin's folder of
data; it is read at the start.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import polypeer

TOPIC = "noticeboard/notices"
BOARD = "noticeboard/board"
PROTOCOL = "noticeboard/1"
LONGEST = 140
"""Bytes of a notice."""
ROOM = 64
"""Notices on a board: their JSON fits in the answer to one request, however it is escaped."""
AGAIN = 600.0
"""Seconds after which this node says its notice again, for those who came since."""


@dataclass
class Board:
    """Notices by their authors' node ids; when it is full, no new authors get on."""

    notices: dict[str, str] = field(default_factory=dict)

    def add(self, author: str, text: str) -> None:
        """Puts up a notice, in place of the author's last."""
        if self.notices.get(author) == text or (author not in self.notices and len(self.notices) >= ROOM):
            return
        self.notices[author] = text
        print(f"{author[:10]}: {text}", flush=True)

    def to_json(self) -> bytes:
        """All of it."""
        return json.dumps(self.notices).encode()

    def add_json(self, data: bytes) -> None:
        """What another board has and this one has not. Its word is all there is for who said what."""
        with contextlib.suppress(ValueError, AttributeError):
            for author, text in json.loads(data).items():
                if author not in self.notices and is_notice(str(text).encode()):
                    self.add(polypeer.peer_id(author), text)


def is_notice(payload: bytes) -> bool:
    """Whether it is a line of text, and not too long."""
    try:
        return 0 < len(payload) <= LONGEST and payload.decode().isprintable()
    except UnicodeDecodeError:
        return False


def check(message: polypeer.Message) -> polypeer.Verdict:
    """What is no notice goes no further than the first board; a board never sends one."""
    return polypeer.Verdict.ACCEPT if is_notice(message.payload) else polypeer.Verdict.REJECT


async def say(node: polypeer.Node, board: Board) -> None:
    """Says this node's notice, now and again."""
    file = Path(os.environ["POLYPEER_DATA"]) / "notice.txt"
    text = file.read_text().strip()[:LONGEST] if file.exists() else f"{node.plugin} was here"
    board.add(node.id, text)
    while True:
        with contextlib.suppress(polypeer.ConnectionLost, polypeer.TimedOut):
            await node.publish(TOPIC, text.encode())
        await asyncio.sleep(AGAIN)


async def catch_up(node: polypeer.Node, board: Board) -> None:
    """Says that there is a board here, and reads those of others, once the network's hash table can be reached."""
    while True:
        try:
            await node.provide(BOARD)
            break
        except (polypeer.Unreachable, polypeer.TimedOut, polypeer.Busy) as error:
            print(f"not known to others yet: {error}", flush=True)
            await asyncio.sleep(5)
    for peer in await node.find_providers(BOARD, limit=4):
        with contextlib.suppress(polypeer.PolypeerError):
            board.add_json(await node.request(peer, PROTOCOL, b"", timeout=10))


async def main() -> None:
    """Runs until Polypeer stops the plugin."""
    board = Board()

    async def answer(call: polypeer.Call) -> bytes:
        return board.to_json()

    async with polypeer.connect() as node, node.subscribe(TOPIC, validate=check) as messages:
        tasks = [
            asyncio.ensure_future(node.handle(PROTOCOL, answer)),
            asyncio.ensure_future(say(node, board)),
            asyncio.ensure_future(catch_up(node, board)),
        ]
        try:
            async for message in messages:
                board.add(message.author, message.payload.decode())
        finally:
            for task in tasks:
                task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
