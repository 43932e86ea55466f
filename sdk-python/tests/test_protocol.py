"""The sans-IO state machines: the order of messages, however the bytes are split."""

from __future__ import annotations

import pytest

from polypeer import Busy, ErrorCode, ProtocolError, TooLarge, Unsupported
from polypeer import _messages as m
from polypeer._data import DataReceiver, DataSender, Side, Stop
from polypeer._limits import MAX_REQUESTS
from polypeer._protocol import Answered, ControlMachine, Happened, HelloRefused, Welcomed, frame

TOKEN = bytes(range(32))
EVERYTHING = m.Grants(("*",), ("*",), ("*",), m.PeerScopeAny(), ("*",), ("*",), ())


def failure(code: int, message: str = "") -> m.Failure:
    return m.Failure(int(code), message)


def welcome(version: int = 1) -> bytes:
    message = m.Welcome(version, bytes(32), "alpha", EVERYTHING, bytes(32))
    return frame(m.encode_opening_reply(m.OpeningReplyWelcome(message)))


def server(message: m.ServerFrame) -> bytes:
    return frame(m.encode_server_frame(message))


def answer(id: int, response: m.Response) -> bytes:
    return server(m.ServerFrameResponse(id, response))


@pytest.fixture
def machine() -> ControlMachine:
    made = ControlMachine(TOKEN)
    hello = m.decode_opening(made.hello()[4:])
    assert hello == m.OpeningHello((1,), TOKEN)
    assert isinstance(made.receive(welcome())[0], Welcomed)
    return made


def test_session_begins_whatever_the_pieces() -> None:
    made = ControlMachine(TOKEN)
    made.hello()
    events = [event for byte in welcome() for event in made.receive(bytes([byte]))]
    assert len(events) == 1
    assert isinstance(events[0], Welcomed)


def test_refusal_comes_with_its_failure_and_nothing_may_follow() -> None:
    made = ControlMachine(TOKEN)
    made.hello()
    refused = m.OpeningReplyRefused(failure(ErrorCode.UNAUTHORISED, "no"))
    assert made.receive(frame(m.encode_opening_reply(refused))) == [HelloRefused(refused.value)]
    with pytest.raises(ProtocolError):
        made.receive(answer(1, m.ResponseDone()))


def test_version_that_was_not_offered_is_refused() -> None:
    made = ControlMachine(TOKEN)
    made.hello()
    with pytest.raises(Unsupported):
        made.receive(welcome(2))


def test_answer_as_if_it_were_a_stream_is_refused() -> None:
    made = ControlMachine(TOKEN)
    made.hello()
    with pytest.raises(ProtocolError):
        made.receive(frame(m.encode_opening_reply(m.OpeningReplyOpened(m.OriginPeer(bytes(32)), "a/1"))))


def test_answers_find_their_requests_in_any_order(machine: ControlMachine) -> None:
    first, data = machine.request(m.RequestPing())
    assert m.decode_client_frame(data[4:]) == m.ClientFrameRequest(first, m.RequestPing())
    second, _ = machine.request(m.RequestNode())
    done = m.ResponseDone()
    assert machine.receive(answer(second, done) + answer(first, done)) == [
        Answered(second, done),
        Answered(first, done),
    ]
    assert machine.unanswered == 0


def test_requests_without_an_answer_are_limited_cancelled_ones_included(machine: ControlMachine) -> None:
    ids = [machine.request(m.RequestPing())[0] for _ in range(MAX_REQUESTS)]
    assert machine.cancel(ids[0])
    with pytest.raises(Busy):
        machine.request(m.RequestPing())
    machine.receive(answer(ids[0], m.ResponseFailed(failure(ErrorCode.CANCELLED))))
    assert machine.cancel(ids[0]) == b""
    machine.request(m.RequestPing())


def test_answer_nobody_asked_for_is_a_broken_protocol(machine: ControlMachine) -> None:
    with pytest.raises(ProtocolError):
        machine.receive(answer(5, m.ResponseDone()))


def test_answer_of_a_later_kind_fails_its_request_only(machine: ControlMachine) -> None:
    id, _ = machine.request(m.RequestPing())
    later = frame(b"\0\0\0\0" + id.to_bytes(8, "little") + b"\x63\0\0\0new")
    event = machine.receive(later)[0]
    assert isinstance(event, Answered)
    assert isinstance(event.response, m.ResponseFailed)
    assert event.response.value.code == ErrorCode.UNSUPPORTED
    machine.request(m.RequestPing())


def test_event_of_a_later_kind_is_skipped_and_counted(machine: ControlMachine) -> None:
    known = m.EventCallGone(3)
    later = frame(b"\1\0\0\0\x63\0\0\0new")
    assert machine.receive(later + server(m.ServerFrameEvent(known))) == [Happened(known)]
    assert machine.skipped == 1


def test_payloads_over_the_limit_never_leave(machine: ControlMachine) -> None:
    large = bytes(65537)
    with pytest.raises(TooLarge):
        machine.request(m.RequestCall(m.TargetLocal(), "a/1", large, 0))
    assert machine.unanswered == 0


def test_answer_over_the_limit_is_sent_so_that_netcore_tells_the_caller(machine: ControlMachine) -> None:
    over = frame(m.encode_client_frame(m.ClientFrameAnswer(1, bytes(65537))))
    assert machine.answer(1, bytes(1 << 20)) == over


def test_sender_leaves_out_what_the_receiver_would_refuse() -> None:
    sender, receiver = DataSender(), DataReceiver()
    wire = sender.data(2) + b"hi" + sender.stop(1) + sender.stop(2) + sender.fin() + sender.fin() + sender.reset(3)
    events = receiver.feed(memoryview(wire))
    assert [type(event).__name__ for event in events] == ["Data", "Stop", "Fin"]
    assert events[1] == Stop(1)
    assert sender.side is receiver.side is Side.FINISHED


def test_code_over_24_bits_becomes_internal_error() -> None:
    assert DataSender().reset(1 << 24) == (2 << 24 | ErrorCode.INTERNAL).to_bytes(4, "little")


@pytest.mark.parametrize("number", [-1, 1 << 64, "1"])
def test_number_that_does_not_fit_is_a_value_error(number: object) -> None:
    with pytest.raises(ValueError, match="unsigned integer"):
        m.encode_client_frame(m.ClientFrameCancel(number))  # type: ignore[arg-type]
