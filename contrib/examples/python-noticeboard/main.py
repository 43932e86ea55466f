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
"""Seconds after which this node says its notice again, for those who came since; and the longest time between two
searches for other boards."""
SOON = 5.0
"""Seconds before something that did not work is tried again."""


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
    """What is no notice goes no further than the first board. Boards look at their own before they say it: whoever
    publishes what others reject is blamed for it."""
    return polypeer.Verdict.ACCEPT if is_notice(message.payload) else polypeer.Verdict.REJECT


def own_notice(node: polypeer.Node) -> bytes:
    """What the user wrote, or something that is always true."""
    file = Path(os.environ["POLYPEER_DATA"]) / "notice.txt"
    return file.read_bytes().strip() if file.exists() else f"{node.plugin} was here".encode()


async def say(node: polypeer.Node, board: Board) -> None:
    """Says this node's notice, now and again."""
    notice = own_notice(node)
    if not is_notice(notice):
        print(f"notice.txt is no notice, and is not said; expected one line of 1 to {LONGEST} bytes", flush=True)
        return
    board.add(node.id, notice.decode())
    while True:
        try:
            await node.publish(TOPIC, notice)
        except (polypeer.ConnectionLost, polypeer.TimedOut, polypeer.Busy) as error:
            print(f"perhaps not said: {error}", flush=True)
        await asyncio.sleep(AGAIN)


async def catch_up(node: polypeer.Node, board: Board) -> None:
    """Says that there is a board here, and reads others' boards, once one is found: a node may be alone for long."""
    pause = SOON
    provided = False
    while True:
        try:
            if not provided:
                await node.provide(BOARD)
                provided = True
            if await read_others(node, board):
                return
            pause = min(pause * 2, AGAIN)  # nobody has a board yet; this one hears of each new notice anyway
        except (polypeer.Unreachable, polypeer.TimedOut, polypeer.Busy, polypeer.ConnectionLost) as error:
            print(f"other boards cannot be looked for yet: {error}", flush=True)
            pause = SOON
        await asyncio.sleep(pause)


async def read_others(node: polypeer.Node, board: Board) -> bool:
    """Takes what is on a few others' boards. Whether there was one."""
    found = False
    for peer in await node.find_providers(BOARD, limit=4):
        try:
            board.add_json(await node.request(peer, PROTOCOL, b"", timeout=10))
        except polypeer.PolypeerError as error:
            print(f"the board of {peer[:10]} cannot be read: {error}", flush=True)
        else:
            print(f"read the board of {peer[:10]}", flush=True)
            found = True
    return found


async def main() -> None:
    """Runs until Polypeer stops the plugin, or something of it fails for good."""
    board = Board()

    async def answer(call: polypeer.Call) -> bytes:
        return board.to_json()

    async with polypeer.connect() as node, node.subscribe(TOPIC, validate=check) as messages:

        async def read() -> None:
            async for message in messages:
                board.add(message.author, message.payload.decode())

        reading = asyncio.ensure_future(read())
        others = [node.handle(PROTOCOL, answer), say(node, board), catch_up(node, board)]
        tasks = {reading, *map(asyncio.ensure_future, others)}
        running = tasks
        try:
            while reading in running:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # raises what it ended with: a task that nobody looks at fails silently
        finally:
            for task in tasks:
                task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
