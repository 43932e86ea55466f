"""Topics and datagrams, and the feeds in which they arrive."""

from __future__ import annotations

from typing import Any

from . import _ids, _types
from . import _messages as m
from ._asking import Asking
from ._datagram import Datagrams, check_datagram
from ._errors import BadArgument, PolypeerError, TooLarge, expect, expect_bytes
from ._feed import Feed, Feeds
from ._gossip import Subscription, Validate
from ._limits import DEFAULT_TIMEOUT, MAX_GOSSIP
from ._reconnect import Reconnector
from ._types import Published, TopicInfo


class Messaging(Asking):
    """Owns the feeds. Every method raises :class:`NotAllowed` without its grant, :class:`TimedOut` after ``timeout``
    seconds, :class:`BadArgument` for an invalid name or node, :class:`Busy` while 256 requests are unanswered, and
    :class:`ConnectionLost` when netcore disconnected; each method names further ones."""

    def __init__(self, path: str, reconnector: Reconnector) -> None:
        super().__init__(path, reconnector)
        self._feeds = Feeds()

    # Topics.

    async def publish(self, topic: str, payload: bytes, *, timeout: float = DEFAULT_TIMEOUT) -> Published:
        """Sends a message of at most 64 KiB (:class:`TooLarge`) to all subscribers of a topic. Grant ``topics``. After
        :class:`ConnectionLost`, or a cancel, it may have been sent."""
        expect_bytes(payload, "a message")
        if len(payload) > MAX_GOSSIP:
            raise TooLarge(f"message of {len(payload)} bytes; the limit is {MAX_GOSSIP}. Publish where to get it")
        request = m.RequestPublish(_ids.record_name(topic), bytes(payload))
        answer = expect(await self._ask(request, timeout), m.ResponsePublished)
        return Published(answer.message.hex(), answer.peers)

    def subscribe(self, topic: str, *, validate: Validate = None) -> Subscription:
        """A topic's messages: ``async with node.subscribe("news") as messages:``, then ``async for message in
        messages``. Grant ``topics``. Each message is delivered once, in no order; this plugin's own are not.

        ``validate`` decides which messages are passed on to other peers and delivered to the reader: a function, or an
        ``async`` one, of the :class:`Message` that returns a :class:`Verdict`, ``True`` for ``ACCEPT`` or ``False`` for
        ``IGNORE`` within 10 s; one that raises ignores. A function that is not ``async`` must be quick: it runs in the
        event loop. With ``"manual"`` every message is delivered, and the reader calls its :meth:`Message.accept`,
        :meth:`Message.ignore` or :meth:`Message.reject`. Without it every message is passed on at once.
        """
        if validate is not None and validate != "manual" and not callable(validate):
            raise BadArgument('validate is a function, "manual" or None')
        return Subscription(self, _ids.record_name(topic), validate)

    async def topic_info(self, topic: str, *, timeout: float = DEFAULT_TIMEOUT) -> TopicInfo:
        """Counters of a subscribed topic; :class:`BadArgument` without a subscription."""
        answer = await self._ask(m.RequestTopic(_ids.record_name(topic)), timeout, again=True)
        return _types.topic_info(expect(answer, m.ResponseTopic).value)

    # Datagrams.

    async def send_datagram(self, peer: str, protocol: str, data: bytes, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Sends at most 1,024 bytes (:class:`TooLarge`) to a connected peer; they arrive once or never, and a loss is
        not reported. Returns once they are queued. Grant ``dial``. Raises :class:`Unreachable` when the peer is not
        connected: a request or a stream connects."""
        check_datagram(data)
        node = _ids.node_bytes(_ids.peer_id(peer))
        await self._ask(m.RequestSendDatagram(node, _ids.protocol(protocol), bytes(data)), timeout)

    def datagrams(self, protocol: str) -> Datagrams:
        """A protocol's datagrams: ``async with node.datagrams("game/1") as datagrams:``, then ``async for``. Grant
        ``serve``; one plugin per node receives them."""
        return Datagrams(self, _ids.protocol(protocol))

    # Feeds.

    async def begin_feed(self, feed: Feed[Any]) -> None:
        """For feeds: registers one and requests it from netcore."""
        self._raise_if_ended()
        self._feeds.add(feed)
        try:
            await self._ask(feed.begin_request(), DEFAULT_TIMEOUT, again=True)
        except BaseException as error:
            feed.end(error if isinstance(error, PolypeerError) else PolypeerError(f"{feed.what} did not begin"))
            if self._feeds.remove(feed) and self._reconnector.current is not None:
                self._reconnector.current.tell(feed.end_request())
            raise

    async def end_feed(self, feed: Feed[Any]) -> None:
        """For feeds: removes one, tells netcore and waits for the answer."""
        if self._feeds.remove(feed):
            await self._ask_for_the_end(feed.end_request())
