"""Two nodes with the app on each, and an operator who uses it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import control
import hub as hub_module
import inbox
import main
import outbox
import polypeer
import pytest
import store as store_module
from conftest import eventually
from hub import Hub
from limits import KEEP_TRYING, MAX_LINE, RATE, STREAMS_PER_PEER, VIEWER_QUEUE
from messages import LATER, MALFORMED, TOO_LARGE, Message
from store import Store


@contextlib.asynccontextmanager
async def app(world: Any, number: int, folder: Path) -> AsyncIterator[Store]:
    """The app on launch `number`."""
    launch = world.launches[number]
    before = launch.readies
    async with polypeer.connect(launch.path, launch.token_text) as node:
        store = Store(folder / f"{number}.db")
        running = asyncio.ensure_future(main.run(node, store))
        await eventually(lambda: launch.readies > before or running.done(), "readiness")
        try:
            yield store
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            store.close()


class Talk:
    """A stream of lines."""

    def __init__(self, stream: polypeer.Stream) -> None:
        self.stream = stream

    async def say(self, document: dict[str, Any]) -> None:
        await self.stream.write(json.dumps(document).encode() + b"\n")

    async def hear(self) -> dict[str, Any]:
        while "caught_up" in (heard := await self.hear_all()):
            pass
        return heard

    async def hear_all(self) -> dict[str, Any]:
        data = await asyncio.wait_for(self.stream.readline(limit=MAX_LINE), 10)
        assert data, "the stream ended"
        value: dict[str, Any] = json.loads(data)
        return value

    async def until_key(self, key: str) -> dict[str, Any]:
        while key not in (heard := await self.hear_all()):
            pass
        return heard

    async def until(self, state: str) -> dict[str, Any]:
        while (heard := await self.hear()).get("state") != state:
            pass
        return heard


@contextlib.asynccontextmanager
async def operator(world: Any, number: int, request: dict[str, Any]) -> AsyncIterator[Talk]:
    """The operator of node `number` (0 or 1) asks the app something."""
    launch = world.launches[2 + number]
    async with polypeer.connect(launch.path, launch.token_text) as node:
        talk = Talk(await node.open_local("chat-control/1"))
        await talk.say(request)
        yield talk
        talk.stream.close()


async def ask(world: Any, number: int, request: dict[str, Any]) -> list[dict[str, Any]]:
    """All lines of the answer."""
    async with operator(world, number, request) as talk:
        await talk.stream.finish()
        return [json.loads(part) for part in (await asyncio.wait_for(talk.stream.read(), 10)).splitlines()]


async def test_message_is_delivered_when_the_other_app_stored_it(world: Any, tmp_path: Path) -> None:
    me, peer = world.launches[0].id, world.launches[1].id
    async with app(world, 0, tmp_path), app(world, 1, tmp_path) as far:
        async with operator(world, 0, {"op": "open", "peer": peer}) as here:
            assert await here.hear() == {"ready": True, "peer": peer}
            async with operator(world, 1, {"op": "open", "peer": f"polypeer:{me}"}) as there:
                assert await there.hear() == {"ready": True, "peer": me}
                await here.say({"text": "hello, wörld"})
                assert (await here.hear())["state"] == "sent"
                delivered = await here.hear()
                assert (delivered["state"], delivered["from"], delivered["text"]) == ("delivered", me, "hello, wörld")
                assert [m.text for m in far.history(me, 10)] == ["hello, wörld"]
                got = await there.hear()
                assert (got["state"], got["from"], got["text"], got["id"]) == (
                    "received",
                    me,
                    "hello, wörld",
                    delivered["id"],
                )
                await there.say({"text": "and back"})
                assert (await here.until("received"))["text"] == "and back"


async def test_messages_wait_for_a_peer_that_is_away_and_keep_their_order(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "RETRY_FIRST", 0.05)
    peer = world.launches[1].id
    async with app(world, 0, tmp_path):
        async with operator(world, 0, {"op": "open", "peer": peer}) as talk:
            for number in range(5):
                await talk.say({"text": str(number)})
            while "error" not in (heard := await talk.hear()):
                pass
            assert "not served" in heard["error"]
            assert heard["state"] == "sent"
        async with app(world, 1, tmp_path) as far:
            await eventually(lambda: len(far.history(world.launches[0].id, 10)) == 5, "delivery")
            assert [m.text for m in far.history(world.launches[0].id, 10)] == list("01234")
        history = await ask(world, 0, {"op": "history", "peer": peer, "limit": 3})
        assert [(m["text"], m["state"]) for m in history] == [(n, "delivered") for n in "234"]


async def test_messages_survive_a_restart_of_the_app_and_arrive_once(world: Any, tmp_path: Path) -> None:
    me, peer = world.launches[0].id, world.launches[1].id
    async with app(world, 0, tmp_path):
        async with operator(world, 0, {"op": "open", "peer": peer}) as talk:
            await talk.say({"text": "later"})
            await talk.until("sent")
    async with app(world, 1, tmp_path) as far, app(world, 0, tmp_path) as near:
        await eventually(lambda: not near.waiting_peers(), "delivery")
        waited = near.history(peer, 1)[0]
        near._db.execute("UPDATE messages SET state = 'sent'")  # as if the confirmation had been lost
        near._db.commit()
        async with operator(world, 0, {"op": "open", "peer": peer}) as talk:
            await talk.say({"text": "next"})
            await eventually(lambda: not near.waiting_peers(), "delivery")
        assert [m.text for m in far.history(me, 10)] == ["later", "next"]
        assert far.history(me, 10)[0].id == waited.id


async def test_unread_messages_are_shown_when_the_conversation_is_opened_and_once(world: Any, tmp_path: Path) -> None:
    me, peer = world.launches[0].id, world.launches[1].id
    async with app(world, 0, tmp_path), app(world, 1, tmp_path) as far:
        far.receive(Message(me, "1", False, "missed", 7, "received"))
        assert (await ask(world, 1, {"op": "peers"}))[0]["peers"][0]["unread"] == 1
        missed = {"id": "1", "from": me, "text": "missed", "at": 7, "state": "received"}
        ready, caught_up = {"ready": True, "peer": me}, {"caught_up": True}
        assert await ask(world, 1, {"op": "open", "peer": me}) == [ready, missed, caught_up]
        assert far.conversations()[0].unread == 1, "nobody said that it was seen"
        async with operator(world, 1, {"op": "open", "peer": me}) as talk:
            assert [await talk.hear_all(), await talk.hear_all(), await talk.hear_all()] == [ready, missed, caught_up]
            await talk.say({"seen": ["1"]})
            await eventually(lambda: not far.unread(me), "seen")
        assert await ask(world, 1, {"op": "open", "peer": me}) == [ready, caught_up]
        conversations = (await ask(world, 1, {"op": "peers"}))[0]["peers"]
        assert conversations == [{"peer": me, "messages": 1, "unread": 0, "undelivered": 0}]
        assert peer


async def test_view_that_ends_its_input_is_told_of_what_it_sent(world: Any, tmp_path: Path) -> None:
    async with app(world, 0, tmp_path), app(world, 1, tmp_path):
        async with operator(world, 0, {"op": "open", "peer": world.launches[1].id}) as talk:
            await talk.say({"text": "last words"})
            await talk.stream.finish()
            assert (await talk.until("delivered"))["text"] == "last words"
            assert await asyncio.wait_for(talk.stream.read(), 10) == b""


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"op": "dance"}, MALFORMED),
        ({}, MALFORMED),
        ({"op": "open", "peer": "nobody"}, MALFORMED),
        ({"op": "open"}, MALFORMED),
        ({"op": "history", "peer": 7}, MALFORMED),
        ({"op": "history", "peer": "y" * 52, "limit": 0}, MALFORMED),
    ],
)
async def test_bad_operation_is_answered(world: Any, tmp_path: Path, request_: dict[str, Any], code: int) -> None:
    async with app(world, 0, tmp_path):
        answer = await ask(world, 0, request_)
        assert answer[0]["code"] == code
        assert answer[0]["error"]


async def test_talking_to_oneself_and_texts_over_the_limit_are_refused(world: Any, tmp_path: Path) -> None:
    async with app(world, 0, tmp_path):
        assert "itself" in (await ask(world, 0, {"op": "open", "peer": world.launches[0].id}))[0]["error"]
        async with operator(world, 0, {"op": "open", "peer": world.launches[1].id}) as talk:
            await talk.hear()
            await talk.say({"text": "x" * 65537})
            assert (await talk.hear())["code"] == TOO_LARGE


@contextlib.asynccontextmanager
async def hostile(world: Any) -> AsyncIterator[polypeer.Node]:
    """A peer that speaks `chat/1` by hand."""
    launch = world.launches[1]
    async with polypeer.connect(launch.path, launch.token_text) as node:
        yield node


async def test_hostile_lines_are_refused_one_by_one(world: Any, tmp_path: Path) -> None:
    async with app(world, 0, tmp_path) as store, hostile(world) as node:
        talk = Talk(await node.open_stream(world.launches[0].id, "chat/1"))
        bad: list[tuple[dict[str, Any], int]] = [
            ({}, MALFORMED),
            ({"id": "1", "text": 5, "at": 1}, MALFORMED),
            ({"id": "1", "text": "x" * 65537, "at": 1}, TOO_LARGE),
            ({"id": "1", "text": "x", "at": "now"}, MALFORMED),
        ]
        for document, code in bad:
            await talk.say(document)
            assert (await talk.hear())["code"] == code
        await talk.stream.write(b"no json\n")
        assert (await talk.hear())["code"] == MALFORMED
        await talk.say({"id": "1", "text": "fine", "at": 10**18})
        assert await talk.hear() == {"stored": "1"}
        assert len(store.history(node.id, 10)) == 1
        await talk.stream.write(b"x" * (MAX_LINE + 2))
        with pytest.raises(polypeer.StreamReset) as caught:
            await asyncio.wait_for(talk.stream.read(), 10)
        assert caught.value.code == TOO_LARGE


async def test_peer_has_few_streams_and_slow_ones_after_a_burst(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await real(0)

    async with app(world, 0, tmp_path), hostile(world) as node:
        first = [Talk(await node.open_stream(world.launches[0].id, "chat/1")) for _ in range(STREAMS_PER_PEER)]
        for talk in first:
            await talk.say({"id": "1", "text": "x", "at": 1})
            await talk.hear()
        one_more = Talk(await node.open_stream(world.launches[0].id, "chat/1"))
        with pytest.raises(polypeer.StreamReset) as caught:
            await one_more.hear()
        assert caught.value.code == LATER
        monkeypatch.setattr(inbox, "BURST", 10)
        monkeypatch.setattr(asyncio, "sleep", sleep)
        for number in range(20):
            await first[0].say({"id": str(number), "text": "x", "at": 1})
            await first[0].hear()
        assert waits.count(1 / RATE) >= 9


async def test_peer_that_refuses_for_good_fails_the_message(world: Any, tmp_path: Path) -> None:
    async def refuse(stream: polypeer.Stream) -> None:
        async for _ in stream:
            id = store.undelivered(node.id, 1)[0].id
            await stream.write(json.dumps({"refused": id, "code": TOO_LARGE, "error": "no"}).encode() + b"\n")

    async with app(world, 0, tmp_path) as store, hostile(world) as node:
        async with await node.listen("chat/1") as listener:
            serving = asyncio.ensure_future(listener.serve(refuse))
            async with operator(world, 0, {"op": "open", "peer": node.id}) as talk:
                await talk.say({"text": "hello"})
                failed = await talk.until("failed")
                assert failed["error"] == "refused by the peer: no"
            serving.cancel()


async def test_peer_that_answers_nonsense_keeps_the_message_waiting(world: Any, tmp_path: Path) -> None:
    async def nonsense(stream: polypeer.Stream) -> None:
        await stream.readline()
        await stream.write(b'{"stored":"something else"}\n')
        await stream.finish()

    async with app(world, 0, tmp_path) as store, hostile(world) as node:
        async with await node.listen("chat/1") as listener:
            serving = asyncio.ensure_future(listener.serve(nonsense))
            async with operator(world, 0, {"op": "open", "peer": node.id}) as talk:
                await talk.say({"text": "hello"})
                while "error" not in (heard := await talk.hear()):
                    pass
                assert heard["state"] == "sent"
                assert len(store.undelivered(node.id, 10)) == 1
            serving.cancel()


async def test_message_nobody_took_for_a_month_fails_whatever_the_clock_says(world: Any, tmp_path: Path) -> None:
    peer = world.launches[1].id
    first = Store(tmp_path / "0.db")
    first.send(Message(peer, "old", True, "hello?", int(time.time()), "sent"))
    first.waited(peer, KEEP_TRYING + 1)
    first.send(Message(peer, "before the clock jumped by years", True, "hello?", 1, "sent"))
    first.close()
    async with app(world, 0, tmp_path) as store:
        await eventually(lambda: store.history(peer, 2)[0].state == "failed")
        assert "30 days" in (store.history(peer, 2)[0].error or "")
        assert store.history(peer, 2)[1].state == "sent"


async def test_view_that_does_not_read_has_a_bounded_queue() -> None:
    hub = Hub()
    viewer = hub.join("p")
    for number in range(VIEWER_QUEUE + 50):
        hub.show(Message("p", str(number), False, "x", 1, "received"))
    assert viewer.queue.qsize() == VIEWER_QUEUE
    assert viewer.behind
    hub.leave("p", viewer)
    assert len(hub) == 0


async def test_view_that_fell_behind_misses_nothing(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "VIEWER_QUEUE", 3)
    me = world.launches[0].id
    async with app(world, 0, tmp_path), app(world, 1, tmp_path) as far:
        async with operator(world, 1, {"op": "open", "peer": me}) as there:
            assert await there.until_key("caught_up")
            async with operator(world, 0, {"op": "open", "peer": world.launches[1].id}) as here:
                for number in range(100):
                    await here.say({"text": str(number)})
                await eventually(lambda: len(far.history(me, 200)) == 100, "delivery")
                heard = [(await there.until("received"))["text"] for _ in range(100)]
                assert sorted(map(int, heard)) == list(range(100)), "each once"
                await here.stream.finish()
                texts = [json.loads(part) for part in (await asyncio.wait_for(here.stream.read(), 10)).splitlines()]
                assert len({m["id"] for m in texts if m.get("state") == "delivered"}) == 100


async def test_line_repeated_with_its_id_is_sent_once(world: Any, tmp_path: Path) -> None:
    peer = world.launches[1].id
    async with app(world, 0, tmp_path) as near, app(world, 1, tmp_path) as far:
        for _ in range(2):
            async with operator(world, 0, {"op": "open", "peer": peer}) as talk:
                await talk.say({"text": "only once", "id": "mine"})
                assert (await talk.until("delivered"))["id"] == "mine"
        assert len(near.history(peer, 10)) == len(far.history(world.launches[0].id, 10)) == 1


async def test_more_lines_than_may_wait_are_taken_as_fast_as_they_are_delivered(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "UNDELIVERED", 5)
    async with app(world, 0, tmp_path), app(world, 1, tmp_path) as far:
        async with operator(world, 0, {"op": "open", "peer": world.launches[1].id}) as talk:
            for number in range(60):
                await talk.say({"text": str(number)})
            await talk.stream.finish()
            heard = [json.loads(part) for part in (await asyncio.wait_for(talk.stream.read(), 30)).splitlines()]
            assert not [m for m in heard if m.get("state") == "failed"]
        assert [m.text for m in far.history(world.launches[0].id, 100)] == [str(number) for number in range(60)]


async def test_message_beyond_what_may_wait_for_an_absent_peer_fails_and_the_others_stay(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "UNDELIVERED", 2)
    monkeypatch.setattr(control, "FULL_WAIT", 0.01)
    peer = world.launches[1].id
    async with app(world, 0, tmp_path) as near:
        async with operator(world, 0, {"op": "open", "peer": peer}) as talk:
            for number in range(3):
                await talk.say({"text": str(number)})
            failed = await talk.until("failed")
            assert failed["text"] == "2"
            assert "wait for this peer already" in failed["error"]
        assert [m.text for m in near.undelivered(peer, 10)] == ["0", "1"]


def limit_pages(store: Store, *, full: bool) -> None:
    """Makes the file as large as it may get, as on a full disk, or lifts that."""
    pages = store._db.execute("PRAGMA page_count").fetchone()[0] if full else 1 << 30
    store._db.execute(f"PRAGMA max_page_count = {pages}")


async def test_full_disk_refuses_the_message_and_loses_none(world: Any, tmp_path: Path) -> None:
    me, peer = world.launches[0].id, world.launches[1].id
    async with app(world, 0, tmp_path) as near, app(world, 1, tmp_path) as far:
        async with operator(world, 0, {"op": "open", "peer": peer}) as talk:
            await talk.say({"text": "before"})
            await talk.until("delivered")
            for store in (near, far):
                limit_pages(store, full=True)
            await talk.say({"text": "x" * 60_000})
            failed = await talk.until("failed")
            assert "it is not kept" in failed["error"]
            assert "full" in failed["error"]
            limit_pages(near, full=False)
            await talk.say({"text": "y" * 60_000})
            await talk.until("sent")
            limit_pages(far, full=False)
            assert (await talk.until("delivered"))["text"][0] == "y"
        assert [m.text[0] for m in far.history(me, 10)] == ["b", "y"]


async def test_stranger_who_writes_is_named_in_the_log(
    world: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with app(world, 0, tmp_path), hostile(world) as node:
        talk = Talk(await node.open_stream(world.launches[0].id, "chat/1"))
        for id in "12":
            await talk.say({"id": id, "text": "hi", "at": 1})
            await talk.hear()
        assert [record.getMessage().split()[0] for record in caplog.records if "first time" in record.msg] == [node.id]
