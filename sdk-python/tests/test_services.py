"""Topics, records, providers, datagrams and network events, against the fake network core."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import time
from collections.abc import Awaitable
from typing import Any, Callable

import pytest

import polypeer
from conftest import eventually, join_two, soon
from fake_netcore import FakeNetcore, everything, grants
from polypeer import Verdict, _gossip, _provide, _restore
from polypeer import _limits as limits

KEY = polypeer.key_id(bytes(range(32)))


async def test_message_reaches_those_who_are_subscribed(world: FakeNetcore) -> None:
    async with join_two(world) as (alpha, beta):
        assert (await alpha.publish("news", b"nobody")).peers == 0
        async with beta.subscribe("news") as messages:
            published = await alpha.publish("news", b"hello")
            message = await soon(messages.receive())
            assert (message.topic, message.author, message.payload) == ("news", alpha.id, b"hello")
            assert message.id == published.id
            assert published.peers == 1
            message.accept()  # nobody asks for a verdict
            assert await beta.topic_info("news") == polypeer.TopicInfo(5, 4, 3, 2, 1)
            with pytest.raises(polypeer.AlreadyServed):
                async with beta.subscribe("news"):
                    pass
        assert (await alpha.publish("news", b"nobody")).peers == 0
        assert world.launches[1].verdicts == []
        with pytest.raises(polypeer.BadArgument):
            await beta.topic_info("news")


async def test_iteration_ends_when_it_is_closed_or_the_node_is(world: FakeNetcore) -> None:
    async with join_two(world) as (alpha, beta):
        messages = beta.subscribe("news")
        with pytest.raises(RuntimeError):
            await messages.receive()
        async with messages:
            await alpha.publish("news", b"one")
            await eventually(lambda: len(messages._items))
        assert [message.payload async for message in messages] == [b"one"]
        with pytest.raises(RuntimeError):
            async with messages:
                pass
        async with beta.subscribe("news") as messages:
            await beta.close()
            assert [message async for message in messages] == []
        with pytest.raises(polypeer.NodeClosed):
            async with beta.subscribe("news"):
                pass


async def slowly(message: polypeer.Message) -> Verdict:
    await asyncio.sleep(0)
    return {b"good": Verdict.ACCEPT, b"bad": Verdict.REJECT}.get(message.payload, Verdict.IGNORE)


def quickly(message: polypeer.Message) -> bool | Verdict:
    if message.payload == b"dull":
        raise ValueError("a validator that fails ignores")
    return message.payload == b"good" or Verdict.REJECT


@pytest.mark.parametrize("validate", [slowly, quickly])
async def test_validator_decides_what_is_passed_on_and_given_out(
    world: FakeNetcore, validate: Callable[[polypeer.Message], Any]
) -> None:
    async with join_two(world) as (alpha, beta), beta.subscribe("news", validate=validate) as messages:
        assert world.launches[1].topics == {"news": "Plugin"}
        for payload in (b"bad", b"dull", b"good"):
            await alpha.publish("news", payload)
        assert (await soon(messages.receive())).payload == b"good"
        launch = world.launches[1]
        await eventually(lambda: len(launch.verdicts) == 3)
        assert [each["verdict"] for each in launch.verdicts] == ["Reject", "Ignore", "Accept"]


async def test_manual_verdict_is_sent_once(world: FakeNetcore) -> None:
    async with join_two(world) as (alpha, beta), beta.subscribe("news", validate="manual") as messages:
        for method in ("accept", "ignore", "reject"):
            await alpha.publish("news", b"hello")
            message = await soon(messages.receive())
            getattr(message, method)()
            message.reject()
        await beta.ping()
        verdicts = world.launches[1].verdicts
        assert [each["verdict"] for each in verdicts] == ["Accept", "Ignore", "Reject"]
        await alpha.publish("news", b"too late")
        message = await soon(messages.receive())
        await world.kill_node(world.launches[1].node)
        await eventually(lambda: not beta.connected)
        message.accept()
        assert messages.verdicts_lost == 1


async def test_slow_reader_loses_the_oldest_and_is_told_how_many(world: FakeNetcore) -> None:
    async with join_two(world) as (alpha, beta), beta.subscribe("news", validate="manual") as messages:
        for number in range(limits.MESSAGE_QUEUE + 5):
            await alpha.publish("news", str(number).encode())
        await eventually(lambda: messages.dropped == 5)
        assert (await soon(messages.receive())).payload == b"5"
        await beta.ping()
        assert [each["verdict"] for each in world.launches[1].verdicts] == ["Ignore"] * 5


async def test_validators_under_way_are_bounded(world: FakeNetcore) -> None:
    release = asyncio.Event()

    async def validate(message: polypeer.Message) -> bool:
        await release.wait()
        return True

    async with join_two(world) as (alpha, beta), beta.subscribe("news", validate=validate) as messages:
        for _ in range(limits.MAX_UNJUDGED + 3):
            await alpha.publish("news", b"")
        await eventually(lambda: messages.dropped == 3)
        release.set()
        launch = world.launches[1]
        await eventually(lambda: len(launch.verdicts) == limits.MAX_UNJUDGED + 3)
        assert [each["verdict"] for each in launch.verdicts].count("Accept") == limits.MAX_UNJUDGED


async def test_grant_that_is_taken_away_ends_the_feed(world: FakeNetcore) -> None:
    async with join_two(world) as (_, beta), beta.subscribe("news") as messages, beta.datagrams("game/1") as datagrams:
        world.launches[1].event({"GrantsChanged": everything(topics=("other/*",))})
        with pytest.raises(polypeer.NotAllowed):
            await soon(messages.receive())
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(datagrams.receive(), 0)


async def test_without_grant_everything_is_refused(world: FakeNetcore) -> None:
    world.launches[0].allow(grants())
    async with join_two(world) as (alpha, _):
        for attempt in (
            alpha.publish("news", b""),
            alpha.subscribe("news").__aenter__(),
            alpha.put_record("motd", b""),
            alpha.put_immutable("motd", b""),
            alpha.get_record("motd"),
            alpha.get_immutable("motd", "00" * 32),
            alpha.provide("rooms").__aenter__(),
            alpha.find_providers("rooms"),
            alpha.datagrams("game/1").__aenter__(),
        ):
            with pytest.raises(polypeer.NotAllowed) as caught:
                await attempt
            assert caught.value.code == polypeer.ErrorCode.NOT_GRANTED


async def test_senseless_arguments_are_refused_before_they_are_sent(world: FakeNetcore) -> None:
    large = b"x" * 70_000
    record = polypeer.SignedRecord(KEY, "motd", 1, 2, b"")
    async with join_two(world) as (alpha, _):
        too_large: tuple[Awaitable[object], ...] = (
            alpha.publish("news", large),
            alpha.put_record("motd", large),
            alpha.put_immutable("motd", large),
            alpha.put_signed(dataclasses.replace(record, value=large, signature=bytes(64))),
            alpha.send_datagram(KEY, "game/1", large),
        )
        for attempt in too_large:
            with pytest.raises(polypeer.TooLarge):
                await attempt
        attempts: tuple[Awaitable[object], ...] = (
            alpha.publish("News", b""),
            alpha.topic_info("chat/*"),
            alpha.put_record("motd", b"", lifetime=100_000),
            alpha.put_record("motd", b"", lifetime=0),
            alpha.put_signed(record),
            alpha.get_record("motd", node=KEY, key=KEY),
            alpha.get_record("motd", key=b"short"),
            alpha.get_immutable("motd", "abc"),
            alpha.find_providers("rooms", limit=0),
            alpha.find_providers("rooms", limit=65),
            alpha.find_peer("nobody"),
            alpha.send_datagram(KEY, "game", b""),
        )
        for attempt in attempts:
            with pytest.raises(polypeer.BadArgument):
                await attempt
        for make in (
            lambda: alpha.subscribe(""),
            lambda: alpha.subscribe("news", validate="auto"),  # type: ignore[arg-type]
            lambda: alpha.datagrams("game"),
            lambda: alpha.provide("a b"),
            lambda: record.with_signature(b"short"),
            lambda: dataclasses.replace(record, sequence=-1).signed_bytes(),
        ):
            with pytest.raises(polypeer.BadArgument):
                make()


async def test_records_are_found_by_others(world: FakeNetcore) -> None:
    async with join_two(world) as (alpha, beta):
        assert await beta.get_record("motd", node=alpha.id) is None
        stored = await alpha.put_record("motd", b"one", lifetime=60)
        assert (stored.sequence, stored.copies) == (1, 20)
        assert (await alpha.put_record("motd", b"two")).sequence == 2
        found = await beta.get_record("motd", node=(await alpha.info()).ticket)
        assert found is not None
        assert (found.key, found.name, found.sequence, found.value) == (alpha.id, "motd", 2, b"two")
        assert await alpha.get_record("motd") == found
        hash = await alpha.put_immutable("files", b"value")
        assert await beta.get_immutable("files", hash) == b"value"
        assert await beta.get_immutable("files", "00" * 32) is None
        assert (await beta.find_peer(alpha.id)).startswith(f"polypeer:{alpha.id}@")
        with pytest.raises(polypeer.Unreachable):
            await beta.find_peer(KEY)


async def test_record_of_an_own_key_is_put(world: FakeNetcore) -> None:
    key, _ = world.sign(seed := bytes(range(32)), b"")
    record = polypeer.SignedRecord(polypeer.key_id(key), "motd", 7, int(time.time()) + 60, b"signed")
    record = record.with_signature(world.sign(seed, record.signed_bytes())[1])
    async with join_two(world) as (alpha, beta):
        assert (await alpha.put_signed(record)).sequence == 7
        assert await beta.get_record("motd", key=record.key) == record
        assert await beta.get_record("motd", key=key) == record
        with pytest.raises(polypeer.BadArgument):
            await alpha.put_signed(dataclasses.replace(record, value=b"forged"))


async def test_name_is_provided_inside_the_block(world: FakeNetcore) -> None:
    async with join_two(world) as (alpha, beta):
        async with alpha.provide("rooms/1"):
            assert await beta.find_providers("rooms/1") == [alpha.id]
            with pytest.raises(polypeer.AlreadyServed):
                await alpha.provide("rooms/1")
        assert await beta.find_providers("rooms/1") == []
        assert (await alpha.provide("rooms/1")).copies == 20
        assert await beta.find_providers("rooms/1", limit=1) == [alpha.id]
        await alpha.unprovide("rooms/1")
        await alpha.unprovide("rooms/1")
        assert await beta.find_providers("rooms/1") == []
        world.no_dht(1)
        with pytest.raises(polypeer.Unreachable):
            await alpha.provide("rooms/1")
        await alpha.provide("rooms/1")  # the failure left nothing behind


async def test_everything_comes_back_after_a_restart(world: FakeNetcore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_provide, "PROVIDE_DELAYS", (0.0,))
    async with join_two(world) as (alpha, beta), beta.subscribe("news") as messages:
        async with beta.datagrams("game/1") as datagrams, beta.provide("rooms/1"), beta.network_events() as events:
            begin = [await soon(events.__anext__()) for _ in range(2)]
            assert begin == [
                polypeer.ReachChanged(polypeer.Reach.UNKNOWN),
                polypeer.AddressesChanged(f"polypeer:{beta.id}"),
            ]
            await world.kill_node(world.launches[1].node)
            world.launches[1].tell_reach("Private")
            world.forget_providers()
            world.no_dht(3)
            await world.start_node(world.launches[1].node)
            await eventually(lambda: world.launches[1].topics and world.launches[1].datagrams)
            await alpha.publish("news", b"again")
            assert (await soon(messages.receive())).payload == b"again"
            await alpha.send_datagram(beta.id, "game/1", b"again")
            assert (await soon(datagrams.receive())).payload == b"again"
            await eventually(lambda: world.providers("rooms/1"))
            assert world.launches[1].network
            # What became different meanwhile, and nothing that is as before.
            assert await soon(events.__anext__()) == polypeer.ReachChanged(polypeer.Reach.PRIVATE)
            world.launches[1].event({"Network": {"Reach": "Public"}})
            assert await soon(events.__anext__()) == polypeer.ReachChanged(polypeer.Reach.PUBLIC)


async def test_feed_that_is_refused_after_a_restart_ends_with_the_reason(world: FakeNetcore) -> None:
    async with join_two(world) as (_, beta), beta.subscribe("news") as messages:
        await world.kill_node(world.launches[1].node)
        world.launches[1].allow(everything(topics=()))
        await world.start_node(world.launches[1].node)
        with pytest.raises(polypeer.NotAllowed):
            await soon(messages.receive())


async def test_what_netcore_is_too_busy_for_after_a_restart_is_asked_for_again(
    world: FakeNetcore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_restore, "PROVIDE_DELAYS", (0.0,))
    async with join_two(world) as (alpha, beta), beta.subscribe("news") as messages, beta.datagrams("game/1") as moves:
        async with await beta.listen("echo/1") as listener:
            serving = asyncio.ensure_future(listener.serve_requests(echo))
            await eventually(lambda: "Events" in world.launches[1].listeners.values())
            await world.kill_node(world.launches[1].node)
            world.busy(5)
            await world.start_node(world.launches[1].node)
            await eventually(lambda: {"news"} <= world.launches[1].topics.keys() and world.launches[1].datagrams)
            await eventually(lambda: world.launches[1].listeners)
            assert world.answers_left == 0
            await alpha.publish("news", b"again")
            assert (await soon(messages.receive())).payload == b"again"
            await alpha.send_datagram(beta.id, "game/1", b"again")
            assert (await soon(moves.receive())).payload == b"again"
            assert await soon(alpha.request(beta.id, "echo/1", b"again")) == b"again"
            serving.cancel()


async def echo(call: polypeer.Call) -> bytes:
    return call.payload


async def test_feed_that_is_closed_meanwhile_is_not_asked_for_again(
    world: FakeNetcore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_restore, "PROVIDE_DELAYS", (0.0,))
    async with join_two(world) as (_, beta):
        async with beta.subscribe("news"):
            await world.kill_node(world.launches[1].node)
            world.busy(1 << 30)
            await world.start_node(world.launches[1].node)
            await eventually(lambda: world.answers_left < (1 << 30) - 2, "it is asked for again")
        await eventually(lambda: not beta._background, "nobody asks any more")
        assert not world.launches[1].topics


async def test_messages_that_come_again_after_a_restart_are_given_out_once(world: FakeNetcore) -> None:
    async with join_two(world) as (_, beta), beta.subscribe("news", validate=quickly) as messages:
        launch = world.launches[1]
        author = world.launches[0].id

        def comes(number: int, payload: bytes) -> None:
            message = {"message": number.to_bytes(32, "little").hex(), "payload": payload.hex()}
            launch.event({"Message": {"topic": "news", "author": author, **message}})

        comes(1, b"good")
        comes(2, b"bad")
        await eventually(lambda: len(launch.verdicts) == 2)
        await world.kill_node(launch.node)
        await world.start_node(launch.node)
        await eventually(lambda: launch.topics and beta.connected)
        for number, payload in ((2, b"bad"), (1, b"good"), (3, b"good")):
            comes(number, payload)
        await eventually(lambda: len(launch.verdicts) == 5)
        verdicts = [each["verdict"] for each in launch.verdicts]
        assert verdicts == ["Accept", "Reject", "Reject", "Accept", "Accept"], "what was decided is said again"
        assert [int.from_bytes(bytes.fromhex(each.id), "little") for each in messages._items._items] == [1, 3]
        for number in range(10, 10 + 2 * limits.REMEMBERED_MESSAGES):
            comes(number, b"bad")
            if number % 100 == 0:
                await beta.ping()
        await beta.ping()
        assert len(messages._known) == limits.REMEMBERED_MESSAGES


async def test_validator_that_never_decides_gives_its_place_back(
    world: FakeNetcore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_gossip, "JUDGE_TIME", 0.0)

    async def validate(message: polypeer.Message) -> bool:
        await asyncio.Event().wait()
        return True

    async with join_two(world) as (alpha, beta), beta.subscribe("news", validate=validate) as messages:
        await alpha.publish("news", b"?")
        await eventually(lambda: world.launches[1].verdicts)
        assert [each["verdict"] for each in world.launches[1].verdicts] == ["Ignore"]
        await eventually(lambda: not messages._validating)


async def test_events_that_netcore_dropped_are_counted(world: FakeNetcore) -> None:
    async with join_two(world) as (_, beta), beta.subscribe("news") as messages:
        world.launches[1].event({"Dropped": {"count": 3}})
        world.launches[1].event({"Dropped": {"count": 4}})
        await beta.ping()
        assert (beta.events_dropped, messages.dropped) == (7, 0)


async def test_provide_that_was_cancelled_leaves_nothing_provided(world: FakeNetcore) -> None:
    async with join_two(world) as (alpha, _):
        world.answer(("Provide",), None)
        providing = asyncio.ensure_future(alpha.provide("rooms/1")._begin())
        await eventually(lambda: world.providers("rooms/1"))
        providing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await providing
        await eventually(lambda: world.launches[0].requests("Unprovide") == [{"name": "rooms/1"}])


async def test_withdrawn_grant_ends_what_is_provided(world: FakeNetcore) -> None:
    async with join_two(world) as (alpha, _):
        await alpha.provide("rooms/1")
        world.launches[0].event({"GrantsChanged": everything(dht=("files",))})
        await eventually(lambda: alpha.grants.dht == ("files",))
        assert "rooms/1" not in alpha._provided


async def test_wrong_arguments_are_named(world: FakeNetcore) -> None:
    text: Any = "text"
    async with join_two(world) as (alpha, beta):
        for call in (
            lambda: alpha.publish("news", text),
            lambda: alpha.put_record("motd", text),
            lambda: alpha.request(beta.id, "echo/1", text),
            lambda: alpha.send_datagram(beta.id, "game/1", text),
        ):
            with pytest.raises(polypeer.BadArgument, match="is bytes, not str"):
                await call()
        nothing: Any = None
        for timeout in (float("nan"), text, nothing):
            with pytest.raises(polypeer.BadArgument, match="number of seconds"):
                await alpha.find_providers("rooms/1", timeout=timeout)
            with pytest.raises(polypeer.BadArgument, match="number of seconds"):
                await alpha.ping(timeout=timeout)
            with pytest.raises(polypeer.BadArgument, match="number of seconds"):
                await alpha.open_stream(beta.id, "echo/1", timeout=timeout)
        await alpha.ping(timeout=float("inf"))
        assert await alpha.find_providers("rooms/1", timeout=float("inf")) == []


async def test_datagram_arrives_with_its_sender(world: FakeNetcore) -> None:
    async with join_two(world) as (alpha, beta):
        async with beta.datagrams("game/1") as datagrams:
            await alpha.send_datagram(beta.id, "game/1", b"move")
            assert await soon(datagrams.receive()) == polypeer.Datagram(alpha.id, "game/1", b"move")
            for number in range(limits.DATAGRAM_QUEUE + 2):
                await alpha.send_datagram((await beta.info()).ticket, "game/1", str(number).encode())
            await eventually(lambda: datagrams.dropped == 2)
            assert (await soon(datagrams.receive())).payload == b"2"
        assert world.launches[1].datagrams == set()
        with pytest.raises(polypeer.Unreachable):
            await alpha.send_datagram(polypeer.key_id(secrets.token_bytes(32)), "game/1", b"")


async def test_changes_of_the_network_are_told(world: FakeNetcore) -> None:
    async with join_two(world) as (alpha, beta), beta.network_events() as events, beta.events() as everything:
        ticket = f"polypeer:{beta.id}@192.0.2.1:7470"
        changes = ({"Path": {"node": alpha.id, "path": "Relayed"}}, {"Reach": "Private"}, {"Addresses": ticket})
        for change in changes:
            world.launches[1].event({"Network": change})
        world.launches[1].event({"Dropped": {"count": 3}})
        expected = [
            polypeer.ReachChanged(polypeer.Reach.UNKNOWN),
            polypeer.AddressesChanged(f"polypeer:{beta.id}"),
            polypeer.PathChanged(alpha.id, True),
            polypeer.ReachChanged(polypeer.Reach.PRIVATE),
            polypeer.AddressesChanged(ticket),
            polypeer.Dropped(3),
        ]
        assert [await soon(events.__anext__()) for _ in expected] == expected
        seen = [await soon(everything.__anext__()) for _ in range(len(expected) + 1)]
        assert [event for event in seen if not isinstance(event, polypeer.PeerUp)] == expected
        # Who begins later learns how it is now.
        async with beta.network_events() as late, beta.events() as later:
            now = [polypeer.ReachChanged(polypeer.Reach.PRIVATE), polypeer.AddressesChanged(ticket)]
            assert [await soon(late.__anext__()) for _ in now] == now
            seen = [await soon(later.__anext__()) for _ in range(3)]
            assert [event for event in seen if not isinstance(event, polypeer.PeerUp)] == now
