"""What a node offers beside streams and requests: topics, records, providers, datagrams. The base of :class:`Node`,
which owns the session."""

from __future__ import annotations

from typing import Any

from . import _ids, _types
from . import _messages as m
from ._datagram import Datagrams, check_datagram
from ._deadline import milliseconds
from ._errors import BadArgument, PolypeerError, TooLarge, expect, expect_bytes
from ._feed import Feed, Feeds
from ._gossip import Subscription, Validate
from ._limits import DEFAULT_TIMEOUT, MAX_GOSSIP, MAX_PROVIDERS, MAX_RECORD_LIFETIME, TIMEOUT_GRACE
from ._provide import Provided, Provision
from ._reconnect import Reconnector
from ._record import SignedRecord, check_value, from_wire, to_wire
from ._types import Published, Stored, TopicInfo


class Dht:
    """Every method raises :class:`NotAllowed` without its grant, :class:`TimedOut` after ``timeout`` seconds,
    :class:`BadArgument` for what is no name, node or hash, :class:`Busy` while 256 requests are unanswered, and
    :class:`ConnectionLost` when netcore went away; more is said where it applies."""

    _reconnector: Reconnector

    def __init__(self) -> None:
        self._feeds = Feeds()
        self._provided = Provided(self._session)

    async def _session(self) -> Any:
        return await self._reconnector.session()

    async def _ask(self, request: m.Request, timeout: float, *, again: bool = False) -> m.Response:
        raise NotImplementedError

    def _raise_if_ended(self) -> None:
        raise NotImplementedError

    # Topics.

    async def publish(self, topic: str, payload: bytes, *, timeout: float = DEFAULT_TIMEOUT) -> Published:
        """Sends a message of at most 64 KiB (:class:`TooLarge`) to all who are subscribed to a topic. Grant ``topics``.
        After :class:`ConnectionLost`, or a cancel, it may have been sent."""
        expect_bytes(payload, "a message")
        if len(payload) > MAX_GOSSIP:
            raise TooLarge(f"message of {len(payload)} bytes; the limit is {MAX_GOSSIP}. Publish where to get it")
        request = m.RequestPublish(_ids.record_name(topic), bytes(payload))
        answer = expect(await self._ask(request, timeout), m.ResponsePublished)
        return Published(answer.message.hex(), answer.peers)

    def subscribe(self, topic: str, *, validate: Validate = None) -> Subscription:
        """A topic's messages: ``async with node.subscribe("news") as messages:``, then ``async for message in
        messages``. Grant ``topics``. Each message comes once, in no order; those published by this plugin do not come.

        ``validate`` decides which messages are passed on to other peers, and given to the reader: a function, or an
        ``async`` one, of the :class:`Message` that returns a :class:`Verdict`, ``True`` for ``ACCEPT`` or ``False`` for
        ``IGNORE`` within 10 s; one that raises ignores. A function that is not ``async`` must be quick: it runs in the
        event loop. With ``"manual"`` every message is given to the reader, who calls its :meth:`Message.accept`,
        :meth:`Message.ignore` or :meth:`Message.reject`. Without it every message is passed on at once.
        """
        if validate is not None and validate != "manual" and not callable(validate):
            raise BadArgument('validate is a function, "manual" or None')
        return Subscription(self, _ids.record_name(topic), validate)

    async def topic_info(self, topic: str, *, timeout: float = DEFAULT_TIMEOUT) -> TopicInfo:
        """How a topic fares that this plugin is subscribed to; otherwise :class:`BadArgument`."""
        answer = await self._ask(m.RequestTopic(_ids.record_name(topic)), timeout, again=True)
        return _types.topic_info(expect(answer, m.ResponseTopic).value)

    # Records. Asking again does no harm: the same value in the same place.

    async def put_record(
        self, name: str, value: bytes, *, lifetime: float | None = None, timeout: float = DEFAULT_TIMEOUT
    ) -> Stored:
        """Puts a value of at most 3,072 bytes under this node's id and a name, signed by the node; it replaces the one
        before. It is good for ``lifetime`` seconds, a day at most and by default; the node keeps it there for so long.
        Grant ``dht``. Raises :class:`TooLarge`, :class:`Unreachable` when no node of the DHT is known."""
        check_value(value)
        seconds = 0 if lifetime is None else int(lifetime)
        if lifetime is not None and not 1 <= lifetime <= MAX_RECORD_LIFETIME:
            raise BadArgument(f"a record lives 1 to {MAX_RECORD_LIFETIME} s, not {lifetime:g}; put it again to keep it")
        request = m.RequestPutOwn(_ids.record_name(name), bytes(value), seconds, milliseconds(timeout))
        return _types.stored(expect(await self._ask_dht(request, timeout), m.ResponseStored))

    async def put_signed(self, record: SignedRecord, *, timeout: float = DEFAULT_TIMEOUT) -> Stored:
        """Puts a record that this plugin, or somebody else, signed. Raises as :meth:`put_record`, and
        :class:`BadArgument` for a wrong signature, or a record that has expired or lives longer than a day."""
        request = m.RequestPutSigned(to_wire(record), milliseconds(timeout))
        return _types.stored(expect(await self._ask_dht(request, timeout), m.ResponseStored))

    async def get_record(
        self,
        name: str,
        *,
        node: str | None = None,
        key: str | bytes | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> SignedRecord | None:
        """The newest record under a name of a node (its id or ticket) or of any other ``key`` (32 bytes, or their
        text); of this node without either. ``None`` when nobody who was asked has one. Its signature is right. Raises
        as :meth:`put_record`."""
        if node is not None and key is not None:
            raise BadArgument("a record is of a node or of a key, not of both")
        if key is not None:
            whose = _ids.node_bytes(key if isinstance(key, str) else _ids.key_id(key))
        else:
            whose = _ids.node_bytes(_ids.peer_id(node)) if node is not None else self._own_id()
        request = m.RequestGetSigned(whose, _ids.record_name(name), milliseconds(timeout))
        found = expect(await self._ask_dht(request, timeout), m.ResponseRecord).value
        return None if found is None else from_wire(found)

    async def put_immutable(self, name: str, value: bytes, *, timeout: float = DEFAULT_TIMEOUT) -> str:
        """Puts a value of at most 3,072 bytes under a name and its own hash, which is returned: 64 hexadecimal digits.
        It stays a day after it was last put, by anybody. Raises as :meth:`put_record`."""
        check_value(value)
        request = m.RequestPutImmutable(_ids.record_name(name), bytes(value), milliseconds(timeout))
        return expect(await self._ask_dht(request, timeout), m.ResponseStored).key.hex()

    async def get_immutable(self, name: str, hash: str, *, timeout: float = DEFAULT_TIMEOUT) -> bytes | None:
        """What :meth:`put_immutable` put; ``None`` when nobody who was asked has it. Raises as :meth:`put_record`."""
        request = m.RequestGetImmutable(_ids.record_name(name), _ids.hash_bytes(hash), milliseconds(timeout))
        return expect(await self._ask_dht(request, timeout), m.ResponseValue).value

    # Providers.

    def provide(self, name: str, *, timeout: float = DEFAULT_TIMEOUT) -> Provision:
        """Says in the DHT that this node provides what the name stands for: inside ``async with node.provide(name):``,
        or after ``await node.provide(name)`` until :meth:`unprovide`. Goes on across restarts of netcore. Grant
        ``dht``. Raises as :meth:`put_record`, and :class:`AlreadyServed` when this plugin provides it already. Where
        no other node can list it yet, since none is known or this one cannot be dialed, it succeeds all the same:
        netcore goes on trying. :attr:`Provision.copies` says how many list it."""
        return Provision(self, _ids.record_name(name), timeout)

    async def begin_providing(self, name: str, timeout: float) -> int:
        """For provisions."""
        self._raise_if_ended()
        return await self._provided.begin(name, timeout)

    async def unprovide(self, name: str) -> None:
        """Provides it no more; what others hold of it runs out by itself. Does nothing when it was not provided. Raises
        nothing; a cancel leaves it ended here."""
        if self._provided.end(name) and self._reconnector.current is not None:
            try:
                await self._reconnector.current.ask(m.RequestUnprovide(name))
            except PolypeerError:
                return  # the session is over, and with it what it provided

    async def find_providers(self, name: str, *, limit: int = 16, timeout: float = DEFAULT_TIMEOUT) -> list[str]:
        """Node ids of others who provide what the name stands for, in no order; ``limit``, 64 at most, are enough.
        Those found within ``timeout`` are the answer. Grant ``dht``. Raises :class:`Unreachable` when no node of the
        DHT is known."""
        if not 1 <= limit <= MAX_PROVIDERS:
            raise BadArgument(f"a limit of {limit}; expected 1 to {MAX_PROVIDERS}")
        request = m.RequestFindProviders(_ids.record_name(name), limit, milliseconds(timeout))
        found = expect(await self._ask_dht(request, timeout), m.ResponseProviders).value
        return [_ids.node_text(node) for node in found]

    async def find_peer(self, node: str, *, timeout: float = DEFAULT_TIMEOUT) -> str:
        """A ticket of a node, by what it signed itself; the grant ``peers`` must include it. Raises
        :class:`Unreachable` when nothing was found."""
        request = m.RequestFindPeer(_ids.node_bytes(_ids.peer_id(node)), milliseconds(timeout))
        return expect(await self._ask_dht(request, timeout), m.ResponseFound).value

    # Datagrams.

    async def send_datagram(self, peer: str, protocol: str, data: bytes, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Sends at most 1,024 bytes (:class:`TooLarge`) to a connected peer; they arrive once or never, and nobody is
        told when they do not. Returns once they are queued. Grant ``dial``. Raises :class:`Unreachable` when the peer
        is not connected: a request or a stream connects."""
        check_datagram(data)
        node = _ids.node_bytes(_ids.peer_id(peer))
        await self._ask(m.RequestSendDatagram(node, _ids.protocol(protocol), bytes(data)), timeout)

    def datagrams(self, protocol: str) -> Datagrams:
        """A protocol's datagrams: ``async with node.datagrams("game/1") as datagrams:``, then ``async for``. Grant
        ``serve``; one plugin of a node has them."""
        return Datagrams(self, _ids.protocol(protocol))

    # Feeds, for those who make them.

    async def begin_feed(self, feed: Feed[Any]) -> None:
        """For feeds: asks netcore."""
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
        """For feeds: tells netcore that it is over, and waits until it knows."""
        if self._feeds.remove(feed) and self._reconnector.current is not None:
            try:
                await self._reconnector.current.ask(feed.end_request())
            except PolypeerError:
                return  # the session is over, and with it what it received

    def _own_id(self) -> bytes:
        raise NotImplementedError

    async def _ask_dht(self, request: m.Request, timeout: float) -> m.Response:
        """Netcore keeps the time, and knows best what was missing at its end."""
        return await self._ask(request, timeout + TIMEOUT_GRACE, again=True)
