"""The contract of a network core and this SDK: run against the fake core and, where built, the real one."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random

import pytest

import polypeer
from conftest import World, eventually, join_two, soon
from fake_netcore import FakeNetcore

PROTOCOL = "test/1"


async def echo(stream: polypeer.Stream) -> None:
    async for chunk in stream:
        await stream.write(chunk)


class Pair:
    """Two nodes' plugins and a stream between them: `here` opened it, `there` accepted it."""

    def __init__(self, here: polypeer.Stream, there: polypeer.Stream) -> None:
        self.here = here
        self.there = there


async def pair(alpha: polypeer.Node, beta: polypeer.Node) -> Pair:
    async with await beta.listen(PROTOCOL) as listener:
        accepting = asyncio.ensure_future(listener.accept())
        here = await alpha.open_stream((await beta.info()).ticket, PROTOCOL)
        return Pair(here, await soon(accepting))


async def test_both_ends_know_each_other(any_world: World) -> None:
    async with join_two(any_world) as (alpha, beta):
        two = await pair(alpha, beta)
        assert two.here.peer == beta.id
        assert two.there.peer == alpha.id
        assert two.there.protocol == two.here.protocol == PROTOCOL
        assert alpha.plugin == any_world.launches[0].plugin
        assert (await alpha.info()).node == alpha.id


async def test_bytes_arrive_in_order_both_ways_at_once_and_end_cleanly(any_world: World) -> None:
    size = 8 << 20 if isinstance(any_world, FakeNetcore) else 200 << 20
    seeds = random.Random(7)
    blocks = [seeds.randbytes(1 << 20), seeds.randbytes(300_001), seeds.randbytes(3)]

    async def send(stream: polypeer.Stream) -> str:
        digest, sent = hashlib.blake2b(), 0
        for block in itertools.cycle(blocks):
            digest.update(block)
            await stream.write(block)
            sent += len(block)
            if sent >= size:
                break
        await stream.finish()
        return digest.hexdigest()

    async def receive(stream: polypeer.Stream) -> str:
        digest = hashlib.blake2b()
        async for chunk in stream:
            digest.update(chunk)
        return digest.hexdigest()

    async with join_two(any_world) as (alpha, beta):
        two = await pair(alpha, beta)
        async with two.here, two.there:
            sent_here, got_here, sent_there, got_there = await asyncio.gather(
                send(two.here), receive(two.here), send(two.there), receive(two.there)
            )
        assert sent_here == got_there
        assert sent_there == got_here


async def test_half_close_leaves_the_other_direction_open(any_world: World) -> None:
    async with join_two(any_world) as (alpha, beta):
        two = await pair(alpha, beta)
        await two.here.write(b"question")
        await two.here.finish()
        assert await soon(two.there.read()) == b"question"
        await two.there.write(b"answer")
        await two.there.finish()
        assert await soon(two.here.read()) == b"answer"
        await soon(two.here.wait_closed())
        await soon(two.there.wait_closed())
        with pytest.raises(RuntimeError):
            await two.here.write(b"more")


async def test_reset_reaches_the_reader_with_its_code(any_world: World) -> None:
    async with join_two(any_world) as (alpha, beta):
        two = await pair(alpha, beta)
        await two.here.write(b"start")
        assert await soon(two.there.readexactly(5)) == b"start"
        two.here.reset(42)
        with pytest.raises(polypeer.StreamReset) as caught:
            await soon(two.there.read(1))
        assert caught.value.code == 42
        assert isinstance(caught.value, ConnectionResetError)
        with pytest.raises(polypeer.StreamReset):
            await two.there.read(1)


async def test_code_of_polypeers_own_is_heard_as_refused(any_world: World) -> None:
    async with join_two(any_world) as (alpha, beta):
        two = await pair(alpha, beta)
        two.here.reset(polypeer.ErrorCode.TIMED_OUT)
        with pytest.raises(polypeer.StreamReset) as caught:
            await soon(two.there.read(1))
        assert caught.value.code == polypeer.ErrorCode.REFUSED


@pytest.mark.parametrize("way", ["listener", "server"])
async def test_exception_in_a_handler_is_heard_as_such(any_world: World, way: str) -> None:
    async def fail(stream: polypeer.Stream) -> None:
        await stream.read(1)
        raise KeyError("a bug")

    async def fail_with_asyncio(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(1)
        raise KeyError("a bug")

    async with join_two(any_world) as (alpha, beta):
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # asyncio's own report of it
        if way == "listener":
            listener = await beta.listen(PROTOCOL)
            serving = asyncio.ensure_future(listener.serve(fail))
        else:
            server = await beta.start_server(fail_with_asyncio, PROTOCOL)
            serving = asyncio.ensure_future(server.serve_forever())
        stream = await soon(alpha.open_stream((await beta.info()).ticket, PROTOCOL))
        await stream.write(b"x")
        with pytest.raises(polypeer.StreamReset) as caught:
            await soon(stream.read())
        assert caught.value.code == polypeer.ErrorCode.HANDLER_FAILED
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@pytest.mark.parametrize("first", ["end", "stop"])
async def test_other_end_that_needs_no_more_is_no_failure_whoever_is_quicker(any_world: World, first: str) -> None:
    async with join_two(any_world) as (alpha, beta):
        two = await pair(alpha, beta)
        await two.here.write(b"question")
        assert await soon(two.there.readexactly(8)) == b"question"
        if first == "end":
            await two.here.finish()
        await two.there.write(b"answer")
        two.there.close()
        assert await soon(two.here.read()) == b"answer"
        if first == "stop":
            await soon(two.here.finish())
        two.here.close()
        await soon(two.here.wait_closed())


async def test_stop_reaches_the_writer_with_its_code(any_world: World) -> None:
    async def write_on() -> None:
        while True:
            await two.there.write(b"x" * 65536)

    async with join_two(any_world) as (alpha, beta):
        two = await pair(alpha, beta)
        two.here.stop(7)
        with pytest.raises(polypeer.StreamStopped) as caught:
            await soon(write_on())
        assert caught.value.code == 7
        await two.here.write(b"still open this way")
        assert await soon(two.there.readexactly(19)) == b"still open this way"


@pytest.mark.parametrize("size", [5, 40_000, 600_000])
async def test_first_bytes_go_with_the_opening_before_all_others(any_world: World, size: int) -> None:
    first = random.Random(size).randbytes(size)
    async with join_two(any_world) as (alpha, beta), await beta.listen(PROTOCOL) as listener:
        accepting = asyncio.ensure_future(listener.accept())
        ticket = (await beta.info()).ticket
        async with await soon(alpha.open_stream(ticket, PROTOCOL, first=first)) as here, await soon(accepting) as there:
            await here.write(b", then more")
            await here.finish()
            assert await soon(there.read()) == first + b", then more"
        with pytest.raises(polypeer.Refused):
            await soon(alpha.open_stream(ticket, "nobody/1", first=first))


async def test_stream_to_what_nobody_serves_is_refused(any_world: World) -> None:
    async with join_two(any_world) as (alpha, beta):
        with pytest.raises(polypeer.Refused) as caught:
            await soon(alpha.open_stream((await beta.info()).ticket, "nobody/1"))
        assert caught.value.code == polypeer.ErrorCode.NOT_SERVED


async def test_unknown_peer_is_unreachable(any_world: World) -> None:
    async with join_two(any_world) as (alpha, _):
        nobody = "y" * 52
        with pytest.raises(polypeer.Unreachable):
            await soon(alpha.open_stream(nobody, PROTOCOL, timeout=5))


async def test_stream_that_nobody_accepts_times_out(any_world: World) -> None:
    async with join_two(any_world) as (alpha, beta):
        async with await beta.listen(PROTOCOL):
            with pytest.raises(polypeer.TimedOut):
                await soon(alpha.open_stream((await beta.info()).ticket, PROTOCOL, timeout=0.5))


async def test_requests_are_answered_by_streams_and_by_calls(any_world: World) -> None:
    async def shout(call: polypeer.Call) -> bytes:
        if call.payload == b"no":
            raise polypeer.Refused("never", 99)
        if call.payload == b"bug":
            raise KeyError("a bug")
        if call.payload == b"much":
            return bytes(65537)
        return call.payload.upper() + (call.peer or "").encode()

    async with join_two(any_world) as (alpha, beta):
        ticket = (await beta.info()).ticket
        async with await beta.listen("echo/1") as listener:
            serving = asyncio.ensure_future(listener.serve(echo))
            assert await soon(alpha.request(ticket, "echo/1", b"hi")) == b"hi"
            assert await soon(alpha.request(ticket, "echo/1", b"z" * 65536)) == b"z" * 65536
        await soon(serving)
        handling = asyncio.ensure_future(beta.handle("shout/1", shout))
        await eventually_served(alpha, ticket, "shout/1")
        assert await soon(alpha.request(ticket, "shout/1", b"hi")) == b"HI" + alpha.id.encode()
        with pytest.raises(polypeer.Refused) as caught:
            await soon(alpha.request(ticket, "shout/1", b"no"))
        assert (caught.value.code, caught.value.message) == (99, "never")
        with pytest.raises(polypeer.HandlerFailed):
            await soon(alpha.request(ticket, "shout/1", b"bug"))
        with pytest.raises(polypeer.TooLarge):
            await soon(alpha.request(ticket, "shout/1", b"much"))
        many = await soon(asyncio.gather(*(alpha.request(ticket, "shout/1", b"%d" % n) for n in range(600))), 30)
        assert many == [b"%d" % n + alpha.id.encode() for n in range(600)]
        with pytest.raises(polypeer.Refused, match="only requests"):
            await soon(alpha.open_stream(ticket, "shout/1"))
        handling.cancel()
        with pytest.raises(polypeer.TooLarge):
            await alpha.request(ticket, "shout/1", bytes(65537))


async def eventually_served(node: polypeer.Node, peer: str, protocol: str) -> None:
    for _ in range(500):
        try:
            await node.request(peer, protocol, b"?")
            return
        except (polypeer.Refused, polypeer.ConnectionLost):  # the latter: over the connection to the node before
            await asyncio.sleep(0.01)
    raise AssertionError(f"{protocol} was not served")


async def test_cancelled_request_frees_its_place_and_stops_the_handler(any_world: World) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def forever(call: polypeer.Call) -> bytes:
        if call.payload == b"?":
            return b""
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return b""

    async with join_two(any_world) as (alpha, beta):
        ticket = (await beta.info()).ticket
        handling = asyncio.ensure_future(beta.handle(PROTOCOL, forever))
        await eventually_served(alpha, ticket, PROTOCOL)
        asking = asyncio.ensure_future(alpha.request(ticket, PROTOCOL, b"wait"))
        await soon(started.wait())
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await soon(stopped.wait())
        with pytest.raises(polypeer.TimedOut):
            await alpha.request(ticket, PROTOCOL, b"wait", timeout=0.3)
        handling.cancel()


async def test_local_streams_and_requests_stay_on_the_node(any_world: World) -> None:
    first, _, third = any_world.launches[:3]
    async with polypeer.connect(first.path, first.token_text) as alpha:
        async with polypeer.connect(third.path, third.token_text) as gamma:
            assert alpha.id == gamma.id
            async with await gamma.listen("local/1", local=True) as listener:
                serving = asyncio.ensure_future(listener.serve(echo))
                async with await alpha.open_local("local/1") as stream:
                    assert stream.peer is None
                    assert stream.origin.plugin == third.plugin
                    await stream.write(b"near")
                    await stream.finish()
                    assert await soon(stream.read()) == b"near"
                assert await soon(alpha.request_local("local/1", b"near")) == b"near"
            await soon(serving)
            with pytest.raises(polypeer.Refused):
                await alpha.open_local("local/1")


async def test_one_listener_a_protocol_on_a_node(any_world: World) -> None:
    first, _, third = any_world.launches[:3]
    async with polypeer.connect(first.path, first.token_text) as alpha:
        async with polypeer.connect(third.path, third.token_text) as gamma:
            listener = await alpha.listen(PROTOCOL)
            with pytest.raises(polypeer.AlreadyServed):
                await gamma.listen(PROTOCOL)
            await listener.close()
            await (await gamma.listen(PROTOCOL)).close()


async def test_peer_killed_in_the_middle_is_an_error_and_never_the_end(any_world: World) -> None:
    async with join_two(any_world) as (alpha, beta):
        two = await pair(alpha, beta)
        await two.here.write(b"part")
        assert await soon(two.there.readexactly(4)) == b"part"
        await any_world.kill_node(any_world.launches[0].node)
        await any_world.start_node(any_world.launches[0].node)  # its return is noticed before its silence is
        with pytest.raises(polypeer.StreamLost):
            await soon(two.there.read(1), 60)
        with pytest.raises(polypeer.PolypeerError):
            for _ in range(1000):
                await two.there.write(b"x" * 65536)
        with pytest.raises(polypeer.StreamLost):
            await soon(two.here.read())


async def test_plugin_gone_in_the_middle_is_an_error_at_its_peer(any_world: World) -> None:
    async with join_two(any_world) as (alpha, beta):
        two = await pair(alpha, beta)
        await two.here.write(b"part")
        assert await soon(two.there.readexactly(4)) == b"part"
        two.here._connection.abort(polypeer.ConnectionLost("as if killed"))
        with pytest.raises(polypeer.StreamLost):
            await soon(two.there.read(1))


async def test_restart_of_netcore_fails_streams_and_brings_listeners_back(any_world: World) -> None:
    node = any_world.launches[1].node
    async with join_two(any_world) as (alpha, beta):
        async with await beta.listen("echo/1") as listener:
            serving = asyncio.ensure_future(listener.serve(echo))
            two = await pair(alpha, beta)
            events = beta.events()
            seen: list[polypeer.Event] = []

            async def collect() -> None:
                async for event in events:
                    seen.append(event)

            collecting = asyncio.ensure_future(collect())
            await asyncio.sleep(0)
            waiting = asyncio.ensure_future(two.there.read(1))
            await any_world.kill_node(node)
            with pytest.raises(polypeer.StreamLost):
                await soon(waiting)
            await eventually(lambda: not beta.connected, "the loss of the session")
            await any_world.start_node(node)
            await eventually(lambda: beta.connected, "the new session")
            ticket = (await beta.info()).ticket
            await eventually_served(alpha, ticket, "echo/1")
            kinds = [type(event) for event in seen]
            assert polypeer.SessionLost in kinds
            assert polypeer.SessionRestored in kinds
            collecting.cancel()
        await soon(serving)


async def test_peers_are_told_as_they_come(any_world: World) -> None:
    async with join_two(any_world) as (alpha, beta):
        two = await pair(alpha, beta)
        watch = alpha.watch_peers()
        event = await soon(watch.__anext__())
        assert isinstance(event, polypeer.PeerUp)
        assert event.peer.node == beta.id
        assert beta.id in [peer.node for peer in await alpha.peers()]
        two.here.close()


async def test_second_session_of_a_launch_supersedes_the_first(any_world: World) -> None:
    launch = any_world.launches[0]
    first = await polypeer.connect(launch.path, launch.token_text)
    listener = await first.listen(PROTOCOL)
    serving = asyncio.ensure_future(listener.serve(echo))
    async with polypeer.connect(launch.path, launch.token_text) as second:
        with pytest.raises(polypeer.Superseded):
            await soon(serving)
        with pytest.raises(polypeer.Superseded):
            await first.info()
        with pytest.raises(polypeer.Superseded):
            await soon(first.wait_closed())
        await second.ping()
    await first.close()


async def test_wrong_token_is_unauthorised(any_world: World) -> None:
    with pytest.raises(polypeer.Unauthorised):
        await soon(polypeer.connect(any_world.launches[0].path, "00" * 32)._connect())


async def test_slow_reader_stalls_only_its_writer(any_world: World) -> None:
    async with join_two(any_world) as (alpha, beta):
        two = await pair(alpha, beta)

        async def flood() -> None:
            while True:
                await two.here.write(bytes(65536))

        flooding = asyncio.ensure_future(flood())
        async with await beta.listen("echo/1") as listener:
            serving = asyncio.ensure_future(listener.serve(echo))
            ticket = (await beta.info()).ticket
            for number in range(20):
                assert await soon(alpha.request(ticket, "echo/1", b"%d" % number)) == b"%d" % number
        await soon(serving)
        assert not flooding.done()
        assert two.there._size < 1 << 20
        flooding.cancel()
        two.here.abort()


async def test_close_of_the_node_ends_listeners_in_order(any_world: World) -> None:
    launch = any_world.launches[0]
    node = await polypeer.connect(launch.path, launch.token_text)
    listener = await node.listen(PROTOCOL)
    serving = asyncio.ensure_future(listener.serve(echo))
    iterating = asyncio.ensure_future(collect_streams(await node.listen("other/1")))
    await asyncio.sleep(0.01)
    await node.close()
    await node.close()
    await soon(serving)
    assert await soon(iterating) == []
    with pytest.raises(polypeer.NodeClosed):
        await node.info()


async def collect_streams(listener: polypeer.Listener) -> list[polypeer.Stream]:
    return [stream async for stream in listener]
