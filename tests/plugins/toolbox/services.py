"""Orders for topics, records, providers and datagrams. What arrives is kept until a test asks for it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Optional

import polypeer


class Services:
    """Orders; each method without an underscore carries out one."""

    def __init__(self, node: polypeer.Node) -> None:
        self.node = node
        self._messages: dict[str, list[dict[str, str]]] = {}
        self._datagrams: dict[str, list[dict[str, str]]] = {}
        self._changes: list[str] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}

    # Topics.

    async def subscribe(self, topic: str, validate: bool = False) -> None:
        """Subscribes and keeps messages. `validate` rejects those that begin with "bad" and ignores "dull" ones."""

        def judge(message: polypeer.Message) -> polypeer.Verdict:
            if message.payload.startswith(b"bad"):
                return polypeer.Verdict.REJECT
            return polypeer.Verdict.IGNORE if message.payload.startswith(b"dull") else polypeer.Verdict.ACCEPT

        subscription = self.node.subscribe(topic, validate=judge if validate else None)
        kept = self._messages.setdefault(topic, [])

        async def read(begun: asyncio.Future[None]) -> None:
            async with subscription:
                begun.set_result(None)
                async for message in subscription:
                    kept.append({"author": message.author, "text": message.payload.decode(), "id": message.id})

        await self._run(topic, read)

    async def unsubscribe(self, topic: str) -> None:
        """Ends a subscription."""
        task = self._tasks.pop(topic)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def messages(self, topic: str) -> list[dict[str, str]]:
        """Returns a topic's messages, in the order of arrival."""
        return self._messages.get(topic, [])

    async def publish(self, topic: str, text: str) -> str:
        """Publishes a message, and returns its id."""
        return (await self.node.publish(topic, text.encode())).id

    async def topic_info(self, topic: str) -> dict[str, int]:
        """Returns a topic's counters."""
        return vars(await self.node.topic_info(topic))

    # Records and providers.

    async def put_record(self, name: str, text: str) -> int:
        """Stores this node's record, and returns its sequence number."""
        stored = await self.node.put_record(name, text.encode(), lifetime=600, timeout=10)
        assert stored.copies >= 1, stored
        return stored.sequence

    async def get_record(self, name: str, key: Optional[str] = None) -> Optional[str]:
        """Returns the value of a key's record, or of this node's own; None if there is none."""
        found = await self.node.get_record(name, key=key, timeout=10)
        return None if found is None else found.value.decode()

    async def put_immutable(self, name: str, text: str) -> str:
        """Stores an immutable value, and returns its hash."""
        return await self.node.put_immutable(name, text.encode(), timeout=10)

    async def get_immutable(self, name: str, hash: str) -> Optional[str]:
        """Returns an immutable value; None if it is not found."""
        found = await self.node.get_immutable(name, hash, timeout=10)
        return None if found is None else found.decode()

    async def put_forged(self, name: str) -> None:
        """Tries to store a record with an invalid signature."""
        record = polypeer.SignedRecord(polypeer.key_id(bytes(range(32))), name, 1, 2_000_000_000, b"forged")
        await self.node.put_signed(record.with_signature(bytes(64)), timeout=10)

    async def provide(self, name: str) -> None:
        """Becomes a provider of a name."""
        await self.node.provide(name, timeout=10)

    async def unprovide(self, name: str) -> None:
        """Ceases to be a provider of a name."""
        await self.node.unprovide(name)

    async def find_providers(self, name: str) -> list[str]:
        """Returns the providers of a name."""
        return await self.node.find_providers(name, timeout=5)

    async def find_peer(self, peer: str) -> str:
        """Returns a peer's ticket from the DHT."""
        return await self.node.find_peer(peer, timeout=10)

    # Datagrams and the network.

    async def receive(self, protocol: str) -> None:
        """Receives and keeps a protocol's datagrams."""
        datagrams = self.node.datagrams(protocol)
        kept = self._datagrams.setdefault(protocol, [])

        async def read(begun: asyncio.Future[None]) -> None:
            async with datagrams:
                begun.set_result(None)
                async for datagram in datagrams:
                    kept.append({"peer": datagram.peer, "text": datagram.payload.decode()})

        await self._run(protocol, read)

    async def datagrams(self, protocol: str) -> list[dict[str, str]]:
        """Returns the datagrams received."""
        return self._datagrams.get(protocol, [])

    async def send_datagram(self, peer: str, protocol: str, text: str) -> None:
        """Sends a datagram."""
        await self.node.send_datagram(peer, protocol, text.encode())

    async def watch_network(self) -> None:
        """Watches and keeps changes of the network."""

        async def read(begun: asyncio.Future[None]) -> None:
            async with self.node.network_events() as events:
                begun.set_result(None)
                async for event in events:
                    self._changes.append(str(event))

        await self._run("network", read)

    async def changes(self) -> list[str]:
        """Returns the changes."""
        return self._changes

    async def _run(self, name: str, read: Any) -> None:
        """Starts a reader in the background, and waits until it has begun."""
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(read(begun))
        await asyncio.wait([begun, task], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            begun.cancel()
            task.result()
        self._tasks[name] = task
