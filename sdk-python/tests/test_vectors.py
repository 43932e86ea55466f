"""The golden vectors of `ipc-protocol/vectors`, which every implementation reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest

from polypeer import BadArgument, PolypeerError, ProtocolError, SignedRecord, _ids
from polypeer import _messages as m
from polypeer._codec import DecodeError, UnknownTag
from polypeer._data import Data, DataReceiver, Fin, Reset
from polypeer._names import allows
from polypeer._protocol import FrameBuffer

VECTORS = Path(__file__).resolve().parents[2] / "ipc-protocol/vectors/v1"
DECODE: dict[str, Callable[[bytes], Any]] = {
    "Opening": m.decode_opening,
    "OpeningReply": m.decode_opening_reply,
    "ClientFrame": m.decode_client_frame,
    "ServerFrame": m.decode_server_frame,
}
ENCODE: dict[str, Callable[[Any], bytes]] = {
    "Opening": m.encode_opening,
    "OpeningReply": m.encode_opening_reply,
    "ClientFrame": m.encode_client_frame,
    "ServerFrame": m.encode_server_frame,
}
JSON: dict[str, Callable[[Any], Any]] = {
    "Opening": m.opening_to_json,
    "OpeningReply": m.opening_reply_to_json,
    "ClientFrame": m.client_frame_to_json,
    "ServerFrame": m.server_frame_to_json,
}


def cases(name: str) -> pytest.MarkDecorator:
    entries = json.loads((VECTORS / f"{name}.json").read_text())
    names = [entry.get("name") or f"{entry.get('kind', entry.get('pattern'))} {n}" for n, entry in enumerate(entries)]
    return pytest.mark.parametrize("case", entries, ids=names)


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace(" ", ""))


@cases("messages")
def test_message_reads_and_writes(case: Any) -> None:
    data, kind = unhex(case["hex"]), case["type"]
    message = DECODE[kind](data)
    assert JSON[kind](message) == case["json"]
    assert ENCODE[kind](message) == data
    with pytest.raises(DecodeError):
        DECODE[kind](data + b"\0")
    cuts = range(len(data)) if len(data) < 2000 else (0, 3, 4, len(data) // 2, len(data) - 1)
    for cut in cuts:
        with pytest.raises(DecodeError):
            DECODE[kind](data[:cut])


@cases("messages_rejected")
def test_bad_message_is_refused(case: Any) -> None:
    with pytest.raises(DecodeError) as caught:
        DECODE[case["type"]](unhex(case["hex"]))
    assert not isinstance(caught.value, UnknownTag)


@cases("unknown")
def test_message_of_a_later_version_is_told_apart(case: Any) -> None:
    with pytest.raises(UnknownTag):
        DECODE[case["type"]](unhex(case["hex"]))


@cases("frames")
def test_frames_are_found_wherever_the_bytes_are_cut(case: Any) -> None:
    data = unhex(case["hex"])
    for cut in range(0, len(data) + 1, max(1, len(data) // 300)):
        buffer, bodies, end = FrameBuffer(), [], ""
        try:
            for part in (data[:cut], data[cut:]):
                buffer.feed(part)
                while (body := buffer.take()) is not None:
                    bodies.append(body.hex())
            end = "cut" if buffer.rest() else "clean"
        except ProtocolError:
            end = "too large"
        assert bodies == [unhex(body).hex() for body in case["bodies"]]
        assert end == case["end"]


@cases("data")
def test_data_connection_comes_apart_wherever_it_is_cut(case: Any) -> None:
    wire, expected = unhex(case["hex"]), unhex(case["data"])
    for cut in range(0, len(wire) + 1, max(1, len(wire) // 300)):
        receiver, data, end, code = DataReceiver(), b"", "lost", None
        try:
            for part in (wire[:cut], wire[cut:]):
                for event in receiver.feed(memoryview(part)):
                    if isinstance(event, Data):
                        data += event.view
                    elif isinstance(event, Fin):
                        end = "fin"
                    elif isinstance(event, Reset):
                        end, code = "reset", event.code
        except ProtocolError:
            end = "malformed"
        assert end == case["end"]
        assert end != "reset" or code == case["code"]
        assert receiver.stopped == case.get("stop")
        assert data == expected if end == "fin" else expected.startswith(data)


@cases("text")
def test_text(case: Any) -> None:
    parse: dict[str, Callable[[str], Any]] = {
        "node id": _ids.node_bytes,
        "secret": _ids.secret_bytes,
        "ticket": ticket,
        "protocol": _ids.protocol,
        "hash": _ids.hash_bytes,
        "name": _ids.record_name,
        "plugin id": lambda text: m.encode_opening_reply(m.OpeningReplyOpened(m.OriginLocal(text), "any/1")),
        "pattern": lambda text: m.encode_server_frame(m.ServerFrameEvent(m.EventGrantsChanged(serving(text)))),
    }
    kind, text = case["kind"], case["text"]
    if not case["valid"]:
        with pytest.raises(ValueError, match=r".") as caught:
            parse[kind](text)
        assert isinstance(caught.value, BadArgument) or kind in ("plugin id", "pattern")
        return
    parsed = parse[kind](text)
    if kind in ("node id", "secret", "hash"):
        assert parsed == unhex(case["bytes"])
    if kind == "node id":
        assert _ids.node_text(parsed) == text
    if kind == "ticket":
        assert _ids.node_bytes(_ids.peer_id(text)) == unhex(case["bytes"])


def ticket(text: str) -> m.TargetTicket:
    target = _ids.target(text)
    if not isinstance(target, m.TargetTicket):
        raise BadArgument("a node id")
    return target


def serving(pattern: str) -> m.Grants:
    return m.Grants((pattern,), (), (), m.PeerScopeAny(), (), (), ())


@cases("records")
def test_record_is_signed_as_stated(case: Any) -> None:
    key, value, signature = (unhex(case[each]) for each in ("key", "value", "signature"))
    record = SignedRecord(_ids.node_text(key), case["record"], case["sequence"], case["expires"], value)
    assert record.signed_bytes() == unhex(case["signed"])
    signed = record.with_signature(signature)
    assert signed.signed_bytes() == record.signed_bytes()
    assert signed.signature == signature


@cases("patterns")
def test_pattern(case: Any) -> None:
    assert allows(case["pattern"], case["name"]) is case["allows"]


def test_errors_of_this_package_share_a_base() -> None:
    assert issubclass(BadArgument, PolypeerError)
