"""The contract of topics, records, providers and datagrams, for the fake core and, where built, the real one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import Callable, TypeVar

import pytest

import polypeer
from conftest import World, join_two, soon

T = TypeVar("T")
PATIENCE = 180.0
"""Seconds two real nodes have after their start to find each other in the network."""


@contextlib.asynccontextmanager
async def two(world: World) -> AsyncIterator[tuple[polypeer.Node, polypeer.Node]]:
    """The plugins of two nodes that are connected."""
    async with join_two(world) as (alpha, beta), await beta.listen("test/1") as listener:
        accepting = asyncio.ensure_future(listener.accept())
        ticket = (await beta.info()).ticket
        here = await alpha.open_stream(ticket, "test/1")
        there = await soon(accepting)
        for stream in (here, there):
            await stream.finish()
        assert await here.read() + await there.read() == b""
        yield alpha, beta


async def once(attempt: Callable[[], Awaitable[T]]) -> T:
    """Retries until the result is true; attempts may fail while a node is new."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while True:
        seen: object
        try:
            found = await attempt()
            if found:
                return found
            seen = found
        except (polypeer.Unreachable, polypeer.Busy, polypeer.TimedOut) as error:
            seen = error
        assert loop.time() < deadline, f"it did not come true; last seen: {seen!r}"
        await asyncio.sleep(0.05)


async def test_message_reaches_the_other_node_once(any_world: World) -> None:
    async with two(any_world) as (alpha, beta), beta.subscribe("test/news") as messages:
        published = await alpha.publish("test/news", b"hello")
        await alpha.publish("test/news", b"hello")
        got = [await soon(messages.receive(), PATIENCE) for _ in range(2)]
        assert {message.author for message in got} == {alpha.id}
        assert [message.payload for message in got] == [b"hello"] * 2
        assert got[0].id != got[1].id
        assert published.id in {message.id for message in got}
        with pytest.raises(polypeer.BadArgument):
            await alpha.topic_info("test/news")


async def test_validator_sees_what_comes_from_peers(any_world: World) -> None:
    seen: list[bytes] = []

    async def check(message: polypeer.Message) -> bool:
        seen.append(message.payload)
        return message.payload != b"dull"

    async with two(any_world) as (alpha, beta), beta.subscribe("test/news", validate=check) as messages:
        await alpha.publish("test/news", b"dull")
        await alpha.publish("test/news", b"good")
        assert (await soon(messages.receive(), PATIENCE)).payload == b"good"
        await once(lambda: asyncio.sleep(0, len(seen) == 2))
        assert messages.dropped == messages.verdicts_lost == 0


async def test_record_is_found_by_the_other_node(any_world: World) -> None:
    async with two(any_world) as (alpha, beta):
        first = await once(lambda: alpha.put_record("test/motd", b"one", lifetime=60))
        second = await once(lambda: alpha.put_record("test/motd", b"two", lifetime=60))
        assert second.sequence > first.sequence
        found = await once(lambda: beta.get_record("test/motd", node=alpha.id))
        assert found is not None
        assert (found.key, found.value, found.sequence) == (alpha.id, b"two", second.sequence)
        assert await beta.get_record("test/none", node=alpha.id) is None
        hash = await once(lambda: alpha.put_immutable("test/value", b"forever"))
        assert await once(lambda: beta.get_immutable("test/value", hash)) == b"forever"
        assert await beta.get_immutable("test/value", "00" * 32) is None


async def test_provider_is_found_by_the_other_node(any_world: World) -> None:
    async with two(any_world) as (alpha, beta):
        await once(lambda: begin(alpha, "test/files"))
        assert await once(lambda: beta.find_providers("test/files", timeout=5)) == [alpha.id]
        assert (await once(lambda: beta.find_peer(alpha.id))).startswith(f"polypeer:{alpha.id}")


async def begin(node: polypeer.Node, name: str) -> bool:
    await node.provide(name, timeout=5)
    return True


async def test_datagram_reaches_the_other_node(any_world: World) -> None:
    async with two(any_world) as (alpha, beta), beta.datagrams("test/1") as datagrams:

        async def exchange() -> polypeer.Datagram | None:
            await alpha.send_datagram(beta.id, "test/1", b"move")
            with contextlib.suppress(asyncio.TimeoutError):
                return await asyncio.wait_for(datagrams.receive(), 0.5)
            return None

        assert await once(exchange) == polypeer.Datagram(alpha.id, "test/1", b"move")
        with pytest.raises(polypeer.Unreachable):
            await alpha.send_datagram("y" * 52, "test/1", b"move")
