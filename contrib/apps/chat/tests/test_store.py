from __future__ import annotations

from pathlib import Path

import limits
import pytest
import store
from messages import Message
from store import Full, Store, StoreError


def received(peer: str, id: str, text: str = "hi") -> Message:
    return Message(peer, id, False, text, 1, "received")


def sent(peer: str, id: str, text: str = "hi") -> Message:
    return Message(peer, id, True, text, 1, "sent")


@pytest.fixture
def history(tmp_path: Path) -> Store:
    return Store(tmp_path / "chat.db")


def test_message_is_stored_once_however_often_it_comes(history: Store) -> None:
    assert history.receive(received("p", "1"))
    assert not history.receive(received("p", "1", "again"))
    assert history.receive(received("q", "1"))
    assert [m.text for m in history.history("p", 10)] == ["hi"]


def test_history_is_there_after_a_restart(tmp_path: Path) -> None:
    first = Store(tmp_path / "chat.db")
    first.send(sent("p", "1"))
    first.receive(received("p", "2"))
    first.close()
    second = Store(tmp_path / "chat.db")
    assert [m.id for m in second.history("p", 10)] == ["1", "2"]
    assert second.waiting_peers() == ["p"]
    assert [m.id for m in second.unread("p")] == ["2"]
    second.mark_seen("p", ["2"])
    assert not second.unread("p")


def test_only_what_waits_can_be_settled(history: Store) -> None:
    history.send(sent("p", "1"))
    delivered = history.settle("p", "1", "delivered")
    assert delivered is not None
    assert delivered.state == "delivered"
    again = history.settle("p", "1", "failed", "late")
    assert again is not None
    assert again.state == "delivered"
    assert history.settle("p", "none", "failed") is None
    assert not history.undelivered("p", 10)


def test_oldest_messages_go_but_never_one_that_waits(history: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PEER_MESSAGES", 3)
    history.send(sent("p", "waits"))
    for number in range(5):
        history.receive(received("p", str(number)))
    assert [m.id for m in history.history("p", 10)] == ["waits", "3", "4"]
    conversation = history.conversations()[0]
    assert (conversation.messages, conversation.unread, conversation.undelivered) == (3, 2, 1)


def test_one_conversation_has_a_limit_in_bytes(history: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PEER_BYTES", 100)
    for number in range(5):
        history.receive(received("p", str(number), "x" * 40))
    assert [m.id for m in history.history("p", 10)] == ["3", "4"]


def test_strangers_push_out_each_other_and_nobody_else(history: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "STRANGERS", 3)
    history.open("friend", None)
    history.receive(received("friend", "1"))
    for number in range(10):
        history.receive(received(f"stranger {number}", "1"))
    assert {c.peer for c in history.conversations()} == {"friend", "stranger 7", "stranger 8", "stranger 9"}
    monkeypatch.setattr(store, "STRANGER_BYTES", 10)
    history.receive(received("stranger 9", "2", "x" * 9))
    assert {c.peer for c in history.conversations()} == {"friend"}


def test_all_conversations_together_have_a_limit(history: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "TOTAL_BYTES", 100)
    for peer in ("a", "b"):
        history.open(peer, None)
        for number in range(3):
            history.receive(received(peer, str(number), "x" * 30))
    assert sum(c.messages for c in history.conversations()) == 3


def test_messages_that_wait_for_one_peer_are_limited(history: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "UNDELIVERED", 2)
    history.send(sent("p", "1"))
    history.send(sent("p", "2"))
    with pytest.raises(Full):
        history.send(sent("p", "3"))
    assert limits.UNDELIVERED == 1000


def test_ticket_is_kept_until_a_newer_one_comes(history: Store) -> None:
    assert history.ticket("p") is None
    history.open("p", "polypeer:p@1")
    history.open("p", None)
    assert history.ticket("p") == "polypeer:p@1"


def test_damaged_file_is_put_aside_and_kept(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / "chat.db").write_bytes(b"not a database at all" * 300)
        history = Store(tmp_path / "chat.db")
        assert history.receive(received("p", "1"))
        history.close()
        assert (tmp_path / f"chat.db.damaged-{number}").read_bytes().startswith(b"not a database")


def test_file_of_version_1_is_read(tmp_path: Path) -> None:
    first = Store(tmp_path / "chat.db")
    first.send(sent("p", "1"))
    first._db.execute("ALTER TABLE messages DROP COLUMN waited")
    first._db.execute("PRAGMA user_version = 1")
    first.close()
    second = Store(tmp_path / "chat.db")
    second.waited("p", 100)
    assert not second.expired("p", 100, 10)
    assert [m.id for m in second.expired("p", 99, 10)] == ["1"]


def test_file_of_a_later_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    history = Store(tmp_path / "chat.db")
    history._db.execute("PRAGMA user_version = 9")
    history.close()
    with pytest.raises(StoreError, match="later version"):
        Store(tmp_path / "chat.db")
    assert list(tmp_path.glob("*damaged*")) == []


def test_folder_that_cannot_be_written_is_an_error_with_the_path(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"none.chat\.db"):
        Store(tmp_path / "none" / "chat.db")
