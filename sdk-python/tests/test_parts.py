"""Small parts: the inbox, the deadline."""

from __future__ import annotations

import asyncio

import pytest

import polypeer
from conftest import soon
from polypeer._deadline import _KEPT, Deadline, _Clock
from polypeer._inbox import Inbox


async def test_deadline_ends_the_block_as_timed_out() -> None:
    with pytest.raises(polypeer.TimedOut, match=r"waiting took more than 0\.01 s"):
        async with Deadline(0.01, "waiting"):
            await asyncio.Event().wait()
    with pytest.raises(asyncio.TimeoutError):
        async with Deadline(0, "waiting"):
            await asyncio.Event().wait()


async def test_deadline_leaves_a_cancel_from_outside_a_cancel() -> None:
    async def wait() -> None:
        async with Deadline(60, "waiting"):
            await asyncio.Event().wait()

    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_inner_deadline_does_not_end_the_outer_one() -> None:
    async with Deadline(60, "outer"):
        with pytest.raises(polypeer.TimedOut, match="inner"):
            async with Deadline(0.01, "inner"):
                await asyncio.Event().wait()
        await asyncio.sleep(0)


async def test_deadline_that_begins_later_and_ends_sooner_is_not_late() -> None:
    async def wait(seconds: float, what: str) -> None:
        async with Deadline(seconds, what):
            await asyncio.Event().wait()

    long = asyncio.ensure_future(wait(60, "long"))
    await asyncio.sleep(0)
    shorter = [asyncio.ensure_future(wait(seconds, "short")) for seconds in (0.03, 0.02, 0.02, 0.01)]
    for each in shorter:
        with pytest.raises(polypeer.TimedOut, match="short"):
            await soon(each)
    assert not long.done()
    long.cancel()


async def test_clock_forgets_the_blocks_that_have_ended() -> None:
    async with Deadline(60, "outer"):
        clock = _Clock.running()
        for _ in range(10 * _KEPT):
            async with Deadline(60, "inner"):
                pass
        assert len(clock._due) <= 2 + _KEPT


async def test_inbox_is_full_at_its_limit() -> None:
    box: Inbox[int] = Inbox(2)
    assert box.put(1)
    assert box.put(2)
    assert not box.put(3)
    assert [await box.get(), await box.get()] == [1, 2]


async def test_cancelled_reader_of_an_inbox_takes_nothing_from_the_next() -> None:
    box: Inbox[int] = Inbox(2)
    first, second = asyncio.ensure_future(box.get()), asyncio.ensure_future(box.get())
    await asyncio.sleep(0)
    box.put(1)
    first.cancel()
    assert await soon(second) == 1
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_closed_inbox_gives_what_it_has_and_then_the_reason() -> None:
    box: Inbox[int] = Inbox(2)
    waiting = asyncio.ensure_future(box.get())
    await asyncio.sleep(0)
    box.put(1)
    box.close(polypeer.NodeClosed("over"))
    assert await waiting == 1
    assert not box.put(2)
    with pytest.raises(polypeer.NodeClosed):
        await box.get()
