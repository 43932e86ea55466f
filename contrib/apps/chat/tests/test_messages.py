from __future__ import annotations

import pytest
from limits import MAX_LINE, MAX_TEXT
from messages import MALFORMED, TOO_LARGE, Bad, document, error_of, id_of, line, new_id, text_of, time_of


@pytest.mark.parametrize(
    "data", [b"", b"x", b"[]", b"1", b'{"a":', b"\xff\xfe", b"[" * 100_000, b'"\\ud800"'], ids=lambda d: repr(d[:8])
)
def test_line_that_is_no_document_is_bad(data: bytes) -> None:
    with pytest.raises(Bad) as caught:
        document(data)
    assert caught.value.code == MALFORMED


@pytest.mark.parametrize("text", [None, 1, "", [], {}, "\ud800"])
def test_text_that_is_none_is_bad(text: object) -> None:
    with pytest.raises(Bad) as caught:
        text_of({"text": text})
    assert caught.value.code == MALFORMED


def test_text_has_a_limit_in_bytes() -> None:
    assert text_of({"text": "ä" * (MAX_TEXT // 2)})
    with pytest.raises(Bad) as caught:
        text_of({"text": "ä" * (MAX_TEXT // 2 + 1)})
    assert caught.value.code == TOO_LARGE


@pytest.mark.parametrize("id", [None, 7, "", "x" * 65, "ä", "a\n"])
def test_bad_id_is_bad(id: object) -> None:
    with pytest.raises(Bad):
        id_of({"id": id})


@pytest.mark.parametrize("at", [None, "1", -1, 1.5, True])
def test_bad_time_is_bad(at: object) -> None:
    with pytest.raises(Bad):
        time_of({"at": at}, 100)


def test_time_is_never_after_now() -> None:
    assert time_of({"at": 10**30}, 100) == 100
    assert time_of({"at": 50}, 100) == 50


def test_largest_message_fits_a_line_however_it_is_written() -> None:
    for text in ("\x01" * MAX_TEXT, "\U0001f600" * (MAX_TEXT // 4), '"' * MAX_TEXT):
        assert len(line({"id": new_id(), "text": text, "at": 2**63})) <= MAX_LINE
        assert document(line({"text": text}))["text"] == text


def test_error_of_a_peer_is_cut() -> None:
    assert len(error_of({"error": "x" * 10_000})) == 500
    assert error_of({"error": 1}) == "no reason given"
