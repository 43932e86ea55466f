"""How a control session writes: what one turn of the event loop sends travels together."""

from __future__ import annotations

import asyncio

from polypeer import _messages as m
from polypeer._limits import CONTROL_BATCH
from polypeer._protocol import frame
from polypeer._session import Session
from test_protocol import TOKEN, answer, server, welcome


class Written(asyncio.Transport):
    """A transport that keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.writes.append(b"closed")


def connected() -> tuple[Session, Written]:
    session, transport = Session(TOKEN, lambda _session, _event: None), Written()
    session.connection_made(transport)
    session.data_received(welcome())
    session.data_received(server(m.ServerFrameEvent(m.EventHeartbeat())))
    transport.writes.clear()
    return session, transport


def asked(id: int) -> bytes:
    return frame(m.encode_client_frame(m.ClientFrameRequest(id, m.RequestPing())))


async def test_requests_of_one_turn_travel_together() -> None:
    session, transport = connected()
    asking = [asyncio.ensure_future(session.ask(m.RequestPing())) for _ in range(3)]
    await asyncio.sleep(0)
    assert transport.writes == [asked(1)], "the first one does not wait for others"
    await asyncio.sleep(0)
    assert transport.writes == [asked(1), asked(2) + asked(3)]
    session.data_received(b"".join(answer(id, m.ResponseDone()) for id in (1, 2, 3)))
    assert [await each for each in asking] == [m.ResponseDone()] * 3


async def test_answers_to_what_came_together_travel_together() -> None:
    session, transport = connected()
    session.data_received(server(m.ServerFrameEvent(m.EventHeartbeat())) * 2)
    alive = frame(m.encode_client_frame(m.ClientFrameAlive()))
    assert transport.writes == [alive], "the one that was due to go alone"
    await asyncio.sleep(0)
    assert transport.writes == [alive, alive]
    session.data_received(server(m.ServerFrameEvent(m.EventHeartbeat())) * 2)
    await asyncio.sleep(0)
    assert transport.writes[2:] == [alive * 2]


async def test_full_batch_does_not_wait_for_the_end_of_the_turn() -> None:
    session, transport = connected()
    payload = bytes(CONTROL_BATCH // 2)
    for call in range(4):
        await session.answer(call, payload)
    assert len(transport.writes) == 2
    await asyncio.sleep(0)
    assert sum(map(len, transport.writes)) == 4 * len(frame(m.encode_client_frame(m.ClientFrameAnswer(0, payload))))


async def test_what_was_collected_is_sent_before_the_session_closes() -> None:
    session, transport = connected()
    for _ in range(3):
        session.tell(m.RequestPing())
    session.close()
    assert transport.writes == [asked(1), asked(2) + asked(3), b"closed"]
    await asyncio.sleep(0)
    assert len(transport.writes) == 3


async def test_lost_session_sends_nothing_more() -> None:
    session, transport = connected()
    asking = asyncio.ensure_future(session.ask(m.RequestPing()))
    await asyncio.sleep(0)
    session.tell(m.RequestPing())
    session.connection_lost(None)
    await asyncio.gather(asking, return_exceptions=True)
    assert transport.writes == [asked(1)]
    assert not session.tell(m.RequestPing())
