"""Tells the open views of a conversation what happens in it."""

from __future__ import annotations

import asyncio

from limits import VIEWER_QUEUE
from messages import Message


class Viewer:
    """One open view: a bounded queue of what to show. What does not fit is shown from the store later."""

    def __init__(self) -> None:
        """Empty."""
        self.queue: asyncio.Queue[Message] = asyncio.Queue(VIEWER_QUEUE)
        self.behind = False
        """Whether something did not fit into the queue."""
        self.waiting: set[str] = set()
        """Ids of messages typed in this view that are not settled, at most as many as may wait for the peer."""
        self.unseen: set[str] = set()
        """Ids of the peer's messages that were shown and are not yet said to be seen, at most as many as are kept."""
        self.settled = asyncio.Event()
        """Set while `waiting` is empty."""
        self.settled.set()

    def typed(self, id: str) -> None:
        """A message was typed in this view."""
        self.waiting.add(id)
        self.settled.clear()

    def shows(self, message: Message) -> None:
        """A message is about to be shown in this view."""
        if not message.outgoing:
            self.unseen.add(message.id)

    def forget(self, ids: set[str]) -> None:
        """Takes the peer's messages with these ids out of the queue: they are shown in another way."""
        kept = [self.queue.get_nowait() for _ in range(self.queue.qsize())]
        for message in kept:
            if message.outgoing or message.id not in ids:
                self.queue.put_nowait(message)

    def shown(self, message: Message) -> None:
        """A message was shown in this view."""
        if message.state in ("delivered", "failed"):
            self.waiting.discard(message.id)
            if not self.waiting:
                self.settled.set()

    def show(self, message: Message) -> None:
        """Queues a message, if there is room."""
        if self.queue.full():
            self.behind = True
        else:
            self.queue.put_nowait(message)


class Hub:
    """Who looks at which conversation."""

    def __init__(self) -> None:
        """With nobody looking."""
        self._viewers: dict[str, set[Viewer]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._viewers.values()))

    def join(self, peer: str) -> Viewer:
        """A new view of the conversation with `peer`."""
        viewer = Viewer()
        self._viewers.setdefault(peer, set()).add(viewer)
        return viewer

    def leave(self, peer: str, viewer: Viewer) -> None:
        """The view is closed."""
        viewers = self._viewers.get(peer, set())
        viewers.discard(viewer)
        if not viewers:
            self._viewers.pop(peer, None)

    def show(self, message: Message) -> None:
        """Something happened to `message`; every view of its conversation is told."""
        for viewer in list(self._viewers.get(message.peer, ())):
            viewer.show(message)
