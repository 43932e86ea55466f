"""Failures and bounds of the SDK, against the fake network core, which fails on command."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

import pytest

import polypeer
from conftest import eventually, join_two, soon
from fake_netcore import FakeNetcore, failed, failure, grants
from polypeer import ErrorCode
from polypeer import _messages as m
from polypeer._limits import EVENT_QUEUE, RECEIVE_HIGH, SERVE_CONCURRENCY
from polypeer._protocol import frame
from test_contract import PROTOCOL, echo, pair


async def test_program_started_by_hand_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLYPEER_GATEWAY", raising=False)
    with pytest.raises(polypeer.NotStartedByPolypeer, match="started by Polypeer"):
        await polypeer.connect()
    monkeypatch.setenv("POLYPEER_GATEWAY", "/nowhere/gateway.sock")
    with pytest.raises(polypeer.NotStartedByPolypeer, match="POLYPEER_TOKEN"):
        await polypeer.connect()
    monkeypatch.setenv("POLYPEER_TOKEN", "short")
    with pytest.raises(polypeer.NotStartedByPolypeer, match="64 hexadecimal"):
        await polypeer.connect()
    monkeypatch.setenv("POLYPEER_TOKEN", "00" * 32)
    with pytest.raises(polypeer.NotStartedByPolypeer, match="gateway socket"):
        await polypeer.connect()


async def test_environment_is_used(world: FakeNetcore, monkeypatch: pytest.MonkeyPatch) -> None:
    launch = world.launches[0]
    monkeypatch.setenv("POLYPEER_GATEWAY", launch.path)
    monkeypatch.setenv("POLYPEER_TOKEN", launch.token_text)
    node = await polypeer.connect()
    assert node.id == launch.id
    await node.close()


async def test_netcore_that_never_answers_times_out(world: FakeNetcore) -> None:
    launch = world.launches[0]
    await world.kill_node(launch.node)
    with pytest.raises(polypeer.TimedOut):
        await polypeer.connect(launch.path, launch.token_text, timeout=0.2)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (ErrorCode.UNAUTHORISED, polypeer.Unauthorised),
        (ErrorCode.UNSUPPORTED_VERSION, polypeer.Unsupported),
        (ErrorCode.SHUTTING_DOWN, polypeer.NodeClosed),
    ],
)
async def test_final_refusals_of_a_session_are_not_tried_again(
    world: FakeNetcore, code: int, error: type[polypeer.PolypeerError]
) -> None:
    launch = world.launches[0]
    world.answer(("Hello",), failed(code))
    with pytest.raises(error):
        await soon(polypeer.connect(launch.path, launch.token_text)._connect())
    assert launch.hellos == 1


async def test_heartbeat_is_answered_from_the_event_loop_alone(world: FakeNetcore) -> None:
    launch = world.launches[0]
    async with polypeer.connect(launch.path, launch.token_text):
        launch.event("Heartbeat")
        await eventually(lambda: launch.heartbeats == 1)
        launch.event("Heartbeat")
        for _ in range(10):  # the loop stands still: this test does not await
            assert launch.heartbeats == 1
        await eventually(lambda: launch.heartbeats == 2)


async def test_plugin_that_is_being_stopped_is_closed_and_does_not_come_back(world: FakeNetcore) -> None:
    launch = world.launches[0]
    async with polypeer.connect(launch.path, launch.token_text) as node:
        listener = await node.listen(PROTOCOL)
        launch.close(ErrorCode.SHUTTING_DOWN)
        await soon(listener.serve(echo))
        await soon(node.wait_closed())
        with pytest.raises(polypeer.NodeClosed):
            await node.ping()
    assert launch.hellos == 1


async def test_session_refused_for_now_is_tried_again(world: FakeNetcore) -> None:
    launch = world.launches[0]
    world.answer(("Hello",), failed(ErrorCode.BUSY))
    connecting = asyncio.ensure_future(polypeer.connect(launch.path, launch.token_text)._connect())
    await eventually(lambda: launch.hellos >= 2)
    world.answer_all()
    await (await soon(connecting)).close()


async def test_garbage_from_netcore_ends_the_session_and_a_new_one_begins(world: FakeNetcore) -> None:
    launch = world.launches[0]
    async with polypeer.connect(launch.path, launch.token_text) as node:
        await node.listen(PROTOCOL)
        for garbage in (b"\xff\xff\xff\xff", b"\x02\0\0\0\xff\xff", b"\x04\0\0\0\x07\0\0\0"):
            hellos = launch.hellos
            launch.send(garbage)
            await eventually(lambda before=hellos: launch.hellos > before and node.connected)  # type: ignore[misc]
            assert (PROTOCOL, False) in launch.listeners
        await node.ping()


async def test_answer_to_a_request_that_was_not_asked_ends_the_session(world: FakeNetcore) -> None:
    launch = world.launches[0]
    async with polypeer.connect(launch.path, launch.token_text) as node:
        launch.send(frame(m.encode_server_frame(m.ServerFrameResponse(1 << 60, m.ResponseDone()))))
        await eventually(lambda: launch.hellos == 2 and node.connected)


async def test_sessions_that_end_at_once_are_not_renewed_in_a_tight_loop(world: FakeNetcore) -> None:
    launch = world.launches[0]
    async with polypeer.connect(launch.path, launch.token_text) as node:
        for _ in range(4):
            await eventually(lambda: launch.session)
            launch.close(ErrorCode.INTERNAL)
            await eventually(lambda: not node.connected)
        assert node._reconnector._task is not None
        hellos = launch.hellos
        await asyncio.sleep(0)
        assert launch.hellos - hellos <= 1


async def test_events_of_a_later_netcore_are_skipped_and_counted(world: FakeNetcore) -> None:
    launch = world.launches[0]
    async with polypeer.connect(launch.path, launch.token_text) as node:
        launch.send(b"\x0b\0\0\0" + b"\x01\0\0\0" + b"\x63\0\0\0" + b"new")
        await node.ping()
        assert node.events_skipped == 1
        assert launch.hellos == 1


async def test_requests_in_flight_fail_when_netcore_goes(world: FakeNetcore) -> None:
    async def forever(call: polypeer.Call) -> bytes:
        await asyncio.Event().wait()
        return b""

    async with join_two(world) as (alpha, beta):
        handling = asyncio.ensure_future(beta.handle(PROTOCOL, forever))
        await eventually(lambda: world.launches[1].listeners)
        asking = asyncio.ensure_future(alpha.request(beta.id, PROTOCOL, b"?"))
        await eventually(lambda: world.calls)
        await world.kill_node(world.launches[0].node)
        with pytest.raises(polypeer.ConnectionLost):
            await soon(asking)
        await world.start_node(world.launches[0].node)
        await soon(alpha.ping())
        handling.cancel()


async def test_operations_wait_for_netcore_to_return(world: FakeNetcore) -> None:
    node = world.launches[0].node
    async with join_two(world) as (alpha, beta):
        async with await beta.listen("echo/1") as listener:
            serving = asyncio.ensure_future(listener.serve(echo))
            await world.kill_node(node)
            await eventually(lambda: not alpha.connected)
            asking = asyncio.ensure_future(alpha.request(beta.id, "echo/1", b"patience"))
            with pytest.raises(polypeer.TimedOut):
                await alpha.open_stream(beta.id, "echo/1", timeout=-0.9)
            await world.start_node(node)
            assert await soon(asking) == b"patience"
        await soon(serving)


async def test_cancelled_read_loses_nothing(world: FakeNetcore) -> None:
    async with join_two(world) as (alpha, beta):
        two = await pair(alpha, beta)
        await two.here.write(b"abc")
        await eventually(lambda: two.there._size == 3)
        for reading in (two.there.readexactly(6), two.there.readline(), two.there.read()):
            task = asyncio.ensure_future(reading)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await two.here.write(b"def\nrest")
        assert await soon(two.there.readline()) == b"abcdef\n"
        two.here.write_eof()
        assert await soon(two.there.read()) == b"rest"


async def test_cancelled_write_leaves_whole_frames_and_a_stream_to_reset(world: FakeNetcore) -> None:
    async with join_two(world) as (alpha, beta):
        two = await pair(alpha, beta)
        writing = asyncio.ensure_future(two.here.write(bytes(50 << 20)))
        await eventually(lambda: two.there._paused)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        two.here.reset(5)
        with pytest.raises(polypeer.StreamReset) as caught:
            while True:
                assert set(await soon(two.there.read(1 << 20))) == {0}
        assert caught.value.code == 5


async def test_cancelled_open_gives_the_stream_up(world: FakeNetcore) -> None:
    async with join_two(world) as (alpha, beta):
        async with await beta.listen(PROTOCOL) as listener:
            opening = asyncio.ensure_future(alpha.open_stream(beta.id, PROTOCOL))
            await eventually(lambda: len(listener._streams))
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            await eventually(lambda: not listener._streams and not world.unclaimed)
            assert not alpha._connections


async def test_second_reader_is_refused(world: FakeNetcore) -> None:
    async with join_two(world) as (alpha, beta):
        two = await pair(alpha, beta)
        first = asyncio.ensure_future(two.here.read(1))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            await two.here.read(1)
        first.cancel()


async def test_unread_stream_holds_a_bounded_amount(world: FakeNetcore) -> None:
    async with join_two(world) as (alpha, beta):
        two = await pair(alpha, beta)
        writing = asyncio.ensure_future(two.here.write(bytes(8 << 20)))
        await eventually(lambda: two.there._paused)
        for _ in range(100):
            await asyncio.sleep(0)
        assert not writing.done()
        assert two.there._size <= RECEIVE_HIGH + (256 << 10)
        received = 0
        while received < 8 << 20:
            received += len(await soon(two.there.read(1 << 20)))
        await soon(writing)


async def test_first_bytes_that_nobody_reads_hold_the_next_write_back(world: FakeNetcore) -> None:
    async with join_two(world) as (alpha, beta), await beta.listen(PROTOCOL) as listener:
        accepting = asyncio.ensure_future(listener.accept())
        here = await soon(alpha.open_stream(beta.id, PROTOCOL, first=bytes(8 << 20)))
        async with here, await soon(accepting) as there:
            writing = asyncio.ensure_future(here.write(b"more"))
            await eventually(lambda: there._paused)
            assert not writing.done()
            assert await soon(there.readexactly(8 << 20)) == bytes(8 << 20)
            await soon(writing)
            assert await soon(there.readexactly(4)) == b"more"


async def test_trickle_of_single_bytes_costs_little_and_reads_whole(world: FakeNetcore) -> None:
    async with join_two(world) as (alpha, beta):
        two = await pair(alpha, beta)
        text = b"".join(b"%d\n" % number for number in range(700))
        for byte in text:
            await two.here.write(bytes([byte]))
        await eventually(lambda: two.there._size == len(text))
        assert len(two.there._chunks) <= len(text) // 512 + 1
        for number in range(700):
            assert await soon(two.there.readline()) == b"%d\n" % number
        reading = asyncio.ensure_future(two.there.readline())
        for byte in b"slow\n":
            await two.here.write(bytes([byte]))
            await asyncio.sleep(0)
        assert await soon(reading) == b"slow\n"


async def test_read_to_the_end_and_lines_have_limits(world: FakeNetcore) -> None:
    async with join_two(world) as (alpha, beta):
        two = await pair(alpha, beta)
        await two.here.write(b"x" * 1000)
        await two.here.finish()
        with pytest.raises(polypeer.TooLarge):
            await soon(two.there.readline(limit=10))
        with pytest.raises(polypeer.TooLarge):
            await soon(two.there.read(limit=10))
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await soon(two.there.readexactly(1001))
        assert len(caught.value.partial) == 1000


async def test_malformed_data_frame_is_an_error_of_that_stream(world: FakeNetcore) -> None:
    async with join_two(world) as (alpha, beta):
        two = await pair(alpha, beta)
        world.launches[0].send(b"\0\0\0\x09", to="streams")
        with pytest.raises(polypeer.ProtocolError):
            await soon(two.here.read(1))
        await alpha.ping()


async def test_failing_handler_is_logged_resets_its_stream_and_serving_goes_on(
    world: FakeNetcore, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(stream: polypeer.Stream) -> None:
        if await stream.read(1) == b"!":
            raise KeyError("a bug")
        await stream.write(b"fine")

    async with join_two(world) as (alpha, beta):
        async with await beta.listen(PROTOCOL) as listener:
            serving = asyncio.ensure_future(listener.serve(handler))
            bad = await alpha.open_stream(beta.id, PROTOCOL)
            with caplog.at_level(logging.ERROR, "polypeer"):
                await bad.write(b"!")
                with pytest.raises(polypeer.StreamReset):
                    await soon(bad.read())
            assert "a bug" in caplog.text
            good = await alpha.open_stream(beta.id, PROTOCOL)
            await good.write(b".")
            assert await soon(good.read()) == b"fine"
        await soon(serving)


async def test_handlers_run_at_most_so_many_at_once(world: FakeNetcore) -> None:
    running = 0
    most = 0
    go_on = asyncio.Event()

    async def handler(stream: polypeer.Stream) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go_on.wait()
        running -= 1

    async with join_two(world) as (alpha, beta):
        async with await beta.listen(PROTOCOL) as listener:
            serving = asyncio.ensure_future(listener.serve(handler, concurrency=3))
            opening = [asyncio.ensure_future(alpha.open_stream(beta.id, PROTOCOL)) for _ in range(8)]
            await eventually(lambda: running == 3 and len(listener._streams) == 5)
            go_on.set()
            await soon(asyncio.gather(*opening))
            await eventually(lambda: running == 0)
            assert most == 3
        await soon(serving)
    assert SERVE_CONCURRENCY == 128


async def test_cancelled_serve_resets_the_streams_it_handled(world: FakeNetcore) -> None:
    async with join_two(world) as (alpha, beta):
        async with await beta.listen(PROTOCOL) as listener:
            serving = asyncio.ensure_future(listener.serve(echo))
            stream = await alpha.open_stream(beta.id, PROTOCOL)
            await eventually(lambda: stream._size == 0 and serving)
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving
            with pytest.raises(polypeer.StreamReset):
                await soon(stream.read())


async def test_withdrawn_grant_ends_the_listener(world: FakeNetcore) -> None:
    launch = world.launches[0]
    async with polypeer.connect(launch.path, launch.token_text) as node:
        serving = asyncio.ensure_future((await node.listen(PROTOCOL)).serve(echo))
        kept = await node.listen("kept/1")
        launch.event({"GrantsChanged": grants(serve=("kept/*",), peers={"List": ()})})
        with pytest.raises(polypeer.NotAllowed):
            await soon(serving)
        assert node.grants.serve == ("kept/*",)
        assert node.grants.peers == ()
        await kept.close()


async def test_listener_not_granted_after_a_restart_says_why(world: FakeNetcore) -> None:
    launch = world.launches[0]
    async with polypeer.connect(launch.path, launch.token_text) as node:
        serving = asyncio.ensure_future((await node.listen(PROTOCOL)).serve(echo))
        launch.allow(grants())
        await world.kill_node(launch.node)
        await world.start_node(launch.node)
        with pytest.raises(polypeer.NotAllowed):
            await soon(serving)
        await node.ping()


async def test_watch_tells_what_changed_while_netcore_was_away(world: FakeNetcore) -> None:
    launch = world.launches[0]
    async with polypeer.connect(launch.path, launch.token_text) as node:
        watch = node.watch_peers()
        first = await soon(watch.__anext__())
        assert isinstance(first, polypeer.PeerUp)
        await world.kill_node(launch.node)
        gone = world.launches[1]
        gone.remove()
        await world.start_node(launch.node)
        event = await soon(watch.__anext__())
        assert isinstance(event, polypeer.PeerDown)
        assert event.node == gone.id
        assert launch.watching


async def test_peer_that_the_operator_hides_and_shows_again_is_told_as_down_and_up(world: FakeNetcore) -> None:
    launch, far = world.launches[:2]
    async with polypeer.connect(launch.path, launch.token_text) as node:
        watch = node.watch_peers()
        first = await soon(watch.__anext__())
        assert isinstance(first, polypeer.PeerUp)
        hidden = {"PeerDown": {"node": far.id, "failure": failure(ErrorCode.PEER_NOT_ALLOWED, "the operator")}}
        shown = {"PeerUp": {"node": far.id, "path": "Direct", "rtt_us": 1500, "connected_ms": 20, "protocols": ()}}
        for event in (hidden, shown, shown, hidden):
            launch.event(event)
        told = [await soon(watch.__anext__()) for _ in range(3)]
        assert [type(event) for event in told] == [polypeer.PeerDown, polypeer.PeerUp, polypeer.PeerDown], "once each"
        assert isinstance(told[0], polypeer.PeerDown)
        assert isinstance(told[0].reason, polypeer.NotAllowed)


async def test_slow_reader_of_events_loses_the_oldest_and_is_told(world: FakeNetcore) -> None:
    launch = world.launches[0]
    async with polypeer.connect(launch.path, launch.token_text) as node:
        events = node.events()
        for _ in range(3):  # who is up, and how the network is
            await soon(events.__anext__())
        for number in range(EVENT_QUEUE + 10):
            launch.event({"GrantsChanged": grants(serve=(f"n/{number}",))})
        await node.ping()
        assert await soon(events.__anext__()) == polypeer.Dropped(10)
        event = await soon(events.__anext__())
        assert isinstance(event, polypeer.GrantsChanged)
        assert event.grants.serve == ("n/10",)


async def test_ready_is_said_again_after_a_restart(world: FakeNetcore) -> None:
    launch = world.launches[0]
    async with polypeer.connect(launch.path, launch.token_text) as node:
        await node.ready()
        assert launch.readies == 1
        await world.kill_node(launch.node)
        await world.start_node(launch.node)
        await eventually(lambda: launch.readies == 2)


async def test_closing_the_node_gives_open_streams_up(world: FakeNetcore) -> None:
    async with join_two(world) as (alpha, beta):
        two = await pair(alpha, beta)
        await alpha.close()
        with pytest.raises(polypeer.StreamLost):
            await soon(two.there.read())
        with pytest.raises(polypeer.PolypeerError):
            await soon(two.here.read())
    assert not alpha._connections
    assert not beta._connections


async def test_streams_closed_just_before_the_node_still_arrive(world: FakeNetcore) -> None:
    async with join_two(world) as (alpha, beta):
        two = await pair(alpha, beta)
        reading = asyncio.ensure_future(two.there.read())
        await two.here.write(b"z" * 3_000_000)
        two.here.close()
        closing = asyncio.ensure_future(alpha.close())
        assert len(await soon(reading)) == 3_000_000
        two.there.close()
        await soon(closing)


async def test_bad_arguments_are_told_before_anything_is_sent(world: FakeNetcore) -> None:
    launch = world.launches[0]
    async with polypeer.connect(launch.path, launch.token_text) as node:
        attempts: list[Any] = [
            node.open_stream("not a peer", PROTOCOL),
            node.open_stream(node.id, "no version"),
            node.open_stream(f"polypeer:{node.id}@localhost:1", PROTOCOL),
            node.request(node.id, "Chat/1", b""),
            node.listen("chat"),
        ]
        for attempt in attempts:
            with pytest.raises(polypeer.BadArgument):
                await attempt
        with contextlib.suppress(polypeer.PolypeerError):
            await node.listen(PROTOCOL)
        with pytest.raises(polypeer.AlreadyServed):
            await node.listen(PROTOCOL)


@pytest.mark.parametrize("code", [code for code in ErrorCode if code is not ErrorCode.COMPLETE])
def test_each_code_has_an_exception_that_keeps_it(code: ErrorCode) -> None:
    from polypeer._errors import from_code

    error = from_code(int(code), "why")
    assert type(error) is not polypeer.PolypeerError or code is ErrorCode.INTERNAL
    assert (error.code, error.message) == (code, "why")
    assert str(error).endswith(": why")
    assert "unknown" not in str(error).split(":")[0] or code is ErrorCode.UNKNOWN_PEER
