"""Records and providers in the DHT."""

from __future__ import annotations

from . import _ids, _types
from . import _messages as m
from ._asking import Asking
from ._deadline import milliseconds
from ._errors import BadArgument, expect
from ._limits import DEFAULT_TIMEOUT, MAX_PROVIDERS, MAX_RECORD_LIFETIME, TIMEOUT_GRACE
from ._provide import Provided, Provision
from ._reconnect import Reconnector
from ._record import SignedRecord, check_value, from_wire, to_wire
from ._types import Stored


class Dht(Asking):
    """Owns the provided names. Every method raises :class:`NotAllowed` without the grant ``dht``, :class:`TimedOut`
    after ``timeout`` seconds, :class:`BadArgument` for an invalid name, node or hash, :class:`Busy` while 256 requests
    are unanswered, and :class:`ConnectionLost` when netcore disconnected; each method names further ones."""

    def __init__(self, path: str, reconnector: Reconnector) -> None:
        super().__init__(path, reconnector)
        self._provided = Provided(reconnector.session)

    # Records. Asking again does no harm: the same value in the same place.

    async def put_record(
        self, name: str, value: bytes, *, lifetime: float | None = None, timeout: float = DEFAULT_TIMEOUT
    ) -> Stored:
        """Puts a value of at most 3,072 bytes under this node's id and a name, signed by the node; it replaces the
        previous one. It is valid for ``lifetime`` seconds, a day at most and by default; until then the node
        republishes it. Several puts of one name may run at once: all succeed, and the value sent last stays. Grant
        ``dht``. Raises :class:`TooLarge`, :class:`Unreachable` when no node of the DHT is known."""
        check_value(value)
        seconds = 0 if lifetime is None else int(lifetime)
        if lifetime is not None and not 1 <= lifetime <= MAX_RECORD_LIFETIME:
            raise BadArgument(f"a record lives 1 to {MAX_RECORD_LIFETIME} s, not {lifetime:g}; republish it to keep it")
        request = m.RequestPutOwn(_ids.record_name(name), bytes(value), seconds, milliseconds(timeout))
        return _types.stored(expect(await self._ask_dht(request, timeout), m.ResponseStored))

    async def put_signed(self, record: SignedRecord, *, timeout: float = DEFAULT_TIMEOUT) -> Stored:
        """Puts a record that this plugin or somebody else signed. Raises as :meth:`put_record`, and
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
        text); of this node without either. ``None`` when no node asked has one. Netcore has verified the signature.
        Raises as :meth:`put_record`."""
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
        It expires a day after the last put, by any node. Raises as :meth:`put_record`."""
        check_value(value)
        request = m.RequestPutImmutable(_ids.record_name(name), bytes(value), milliseconds(timeout))
        return expect(await self._ask_dht(request, timeout), m.ResponseStored).key.hex()

    async def get_immutable(self, name: str, hash: str, *, timeout: float = DEFAULT_TIMEOUT) -> bytes | None:
        """The value that :meth:`put_immutable` stored; ``None`` when no node asked has it. Raises as
        :meth:`put_record`."""
        request = m.RequestGetImmutable(_ids.record_name(name), _ids.hash_bytes(hash), milliseconds(timeout))
        return expect(await self._ask_dht(request, timeout), m.ResponseValue).value

    # Providers.

    def provide(self, name: str, *, timeout: float = DEFAULT_TIMEOUT) -> Provision:
        """Announces in the DHT that this node provides a name: inside ``async with node.provide(name):``, or after
        ``await node.provide(name)`` until :meth:`unprovide`, across restarts of netcore. Grant ``dht``. Raises as
        :meth:`put_record`, and :class:`AlreadyServed` when this plugin provides the name already. It also succeeds
        while no other node can list it, because none is known or none can dial this one: netcore retries.
        :attr:`Provision.copies` is the number of nodes that list it."""
        return Provision(self, _ids.record_name(name), timeout)

    async def begin_providing(self, name: str, timeout: float) -> int:
        """For provisions: starts to provide a name and returns the number of copies."""
        self._raise_if_ended()
        return await self._provided.begin(name, timeout)

    async def unprovide(self, name: str) -> None:
        """Stops providing a name; the entries at other nodes expire. Does nothing when it was not provided. Raises
        nothing; after a cancel it is stopped as well."""
        if self._provided.end(name):
            await self._ask_for_the_end(m.RequestUnprovide(name))

    async def find_providers(self, name: str, *, limit: int = 16, timeout: float = DEFAULT_TIMEOUT) -> list[str]:
        """Node ids of other providers of a name, at most ``limit`` (up to 64), in no order: those found within
        ``timeout``. Grant ``dht``. Raises :class:`Unreachable` when no node of the DHT is known."""
        if not 1 <= limit <= MAX_PROVIDERS:
            raise BadArgument(f"a limit of {limit}; expected 1 to {MAX_PROVIDERS}")
        request = m.RequestFindProviders(_ids.record_name(name), limit, milliseconds(timeout))
        found = expect(await self._ask_dht(request, timeout), m.ResponseProviders).value
        return [_ids.node_text(node) for node in found]

    async def find_peer(self, node: str, *, timeout: float = DEFAULT_TIMEOUT) -> str:
        """A ticket of a node, from its own signed address record; the grant ``peers`` must include it. Raises
        :class:`Unreachable` when nothing was found."""
        request = m.RequestFindPeer(_ids.node_bytes(_ids.peer_id(node)), milliseconds(timeout))
        return expect(await self._ask_dht(request, timeout), m.ResponseFound).value

    async def _ask_dht(self, request: m.Request, timeout: float) -> m.Response:
        """Netcore applies the timeout, since its error says what was missing."""
        return await self._ask(request, timeout + TIMEOUT_GRACE, again=True)
