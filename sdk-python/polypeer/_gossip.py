"""Topics: messages, and the plugin's verdicts on them."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import OrderedDict
from collections.abc import Awaitable
from enum import Enum
from typing import TYPE_CHECKING, Callable, Literal, Union

from . import _messages as m
from ._errors import PolypeerError
from ._feed import Feed
from ._ids import node_text
from ._limits import JUDGE_TIME, MAX_UNJUDGED, MESSAGE_QUEUE, REMEMBERED_MESSAGES
from ._types import Grants

if TYPE_CHECKING:
    from ._messaging import Messaging
    from ._session import Session

log = logging.getLogger("polypeer")


class Verdict(Enum):
    """A decision on a message published by another node."""

    ACCEPT = "accept"
    """Pass it on to other peers."""
    IGNORE = "ignore"
    """Drop it, without blaming anybody."""
    REJECT = "reject"
    """Drop it, and count it against its author, if received directly from there: no honest peer would have published
    it. Peers that pass many of these on are excluded from the topic for a while."""


_WIRE: dict[Verdict, m.Verdict] = {
    Verdict.ACCEPT: m.VerdictAccept(),
    Verdict.IGNORE: m.VerdictIgnore(),
    Verdict.REJECT: m.VerdictReject(),
}


class Message:
    """A message of a topic; netcore has verified its signature by ``author``."""

    __slots__ = ("_judge", "author", "id", "payload", "topic")

    def __init__(
        self, topic: str, id: str, author: str, payload: bytes, judge: Callable[[Verdict], None] | None = None
    ) -> None:
        self.topic = topic
        self.id = id
        """Its id, the same on every node: 64 hexadecimal digits."""
        self.author = author
        """Node id of the node that published it."""
        self.payload = payload
        """At most 64 KiB."""
        self._judge = judge

    def __repr__(self) -> str:
        return f"<polypeer.Message {self.topic} {self.id[:8]} from {self.author[:10]}, {len(self.payload)} bytes>"

    def accept(self) -> None:
        """For ``validate="manual"``: passes the message on. Only the first verdict counts; one later than 10 s after
        the message has no effect."""
        self._decide(Verdict.ACCEPT)

    def ignore(self) -> None:
        """For ``validate="manual"``: drops the message, without blame."""
        self._decide(Verdict.IGNORE)

    def reject(self) -> None:
        """For ``validate="manual"``: drops the message and counts it against the author."""
        self._decide(Verdict.REJECT)

    def _decide(self, verdict: Verdict) -> None:
        judge, self._judge = self._judge, None
        if judge is not None:
            judge(verdict)


Validator = Callable[[Message], Union[Verdict, bool, Awaitable[Union[Verdict, bool]]]]
Validate = Union[Validator, Literal["manual"], None]


class Subscription(Feed[Message]):
    """A topic's messages, made by :meth:`Node.subscribe`. Queues 256 for a slow reader."""

    def __init__(self, node: Messaging, topic: str, validate: Validate) -> None:
        super().__init__(node, topic, MESSAGE_QUEUE)
        self.topic = topic
        self.verdicts_lost = 0
        """Verdicts that could not be sent because netcore was down: those messages were ignored."""
        self._validate = validate
        self._known: OrderedDict[bytes, Verdict | None] = OrderedDict()  # message id → verdict, once decided
        self._validating: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<polypeer.Subscription {self.topic}>"

    @property
    def what(self) -> str:
        return f"a subscription to {self.topic}"

    def begin_request(self) -> m.Request:
        none = self._validate is None
        return m.RequestSubscribe(self.topic, m.ValidationSignature() if none else m.ValidationPlugin())

    def end_request(self) -> m.Request:
        return m.RequestUnsubscribe(self.topic)

    def patterns(self, grants: Grants) -> tuple[str, ...]:
        return grants.topics

    def end(self, reason: PolypeerError) -> None:
        super().end(reason)
        for task in list(self._validating):
            task.cancel()

    # Callbacks of the node.

    def on_message(self, session: Session, event: m.EventMessage) -> None:
        """Handles a received message."""

        def judge(verdict: Verdict) -> None:
            if event.message in self._known:
                self._known[event.message] = verdict
            if not session.tell_later(m.RequestJudge(self.topic, event.message, _WIRE[verdict])):
                self.verdicts_lost += 1

        if event.message in self._known:
            # A restarted netcore has forgotten it: the verdict is repeated, and the message not delivered again.
            if self._validate is not None:
                judge(self._known[event.message] or Verdict.IGNORE)
            return
        self._known[event.message] = None
        if len(self._known) > REMEMBERED_MESSAGES:
            self._known.popitem(last=False)
        judged = judge if self._validate is not None else None
        message = Message(self.topic, event.message.hex(), node_text(event.author), event.payload, judged)
        if judged is None or self._validate == "manual":
            lost = self._keep(message)
            if lost is not None:
                lost.ignore()
        else:
            self._run(message)

    def _run(self, message: Message) -> None:
        assert callable(self._validate), "there is a validator"
        try:
            verdict = self._validate(message)
        except Exception:
            log.exception("validating %r failed", message)
            message.ignore()
            return
        if not inspect.isawaitable(verdict):
            self._judged(message, verdict)
        elif len(self._validating) >= MAX_UNJUDGED:
            asyncio.ensure_future(verdict).cancel()
            self._dropped += 1
            message.ignore()
        else:
            task = asyncio.ensure_future(self._wait(message, verdict))
            self._validating.add(task)
            task.add_done_callback(self._validating.discard)

    async def _wait(self, message: Message, verdict: Awaitable[Verdict | bool]) -> None:
        try:
            self._judged(message, await asyncio.wait_for(verdict, JUDGE_TIME))
        except asyncio.CancelledError:
            message.ignore()
            raise
        except asyncio.TimeoutError:
            log.warning("validating %r took more than %.0f s; it is ignored", message, JUDGE_TIME)
            message.ignore()
        except Exception:
            log.exception("validating %r failed", message)
            message.ignore()

    def _judged(self, message: Message, verdict: Verdict | bool) -> None:
        if verdict is True or verdict is Verdict.ACCEPT:
            message.accept()
            self._keep(message)
        elif verdict is Verdict.REJECT:
            message.reject()
        else:
            message.ignore()
