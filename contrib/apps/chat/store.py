"""The history: one SQLite file in the app's data folder. What it returned from is on the disk.

Used by `inbox.py` (what arrives), `outbox.py` (what leaves) and `control.py` (what is shown).
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from limits import PEER_BYTES, PEER_MESSAGES, STRANGER_BYTES, STRANGERS, TOTAL_BYTES, UNDELIVERED
from messages import Message

log = logging.getLogger("chat")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    peer TEXT NOT NULL,
    id TEXT NOT NULL,
    outgoing INTEGER NOT NULL,
    text TEXT NOT NULL,
    size INTEGER NOT NULL,
    at INTEGER NOT NULL,
    state TEXT NOT NULL,
    error TEXT,
    seen INTEGER NOT NULL,
    waited INTEGER NOT NULL DEFAULT 0,  -- seconds of trying to deliver it
    UNIQUE (peer, outgoing, id)
);
CREATE INDEX IF NOT EXISTS of_peer ON messages (peer, seq);
CREATE INDEX IF NOT EXISTS waiting ON messages (peer, seq) WHERE state = 'sent';
CREATE TABLE IF NOT EXISTS conversations (
    peer TEXT PRIMARY KEY,
    ticket TEXT,                -- how the operator reached the peer, if by a ticket
    ours INTEGER NOT NULL,      -- the operator takes part
    count INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    last INTEGER NOT NULL       -- seq of the newest message
);
"""
_VERSION = 2
_TO_VERSION_2 = "ALTER TABLE messages ADD COLUMN waited INTEGER NOT NULL DEFAULT 0"
_FIELDS = "peer, id, outgoing, text, at, state, error"


class StoreError(Exception):
    """The history cannot be read or written: a full disk, mostly. Nothing already stored is lost."""


class Full(Exception):
    """Too many messages wait for this peer."""


@dataclass(frozen=True)
class Conversation:
    """What is known of one conversation."""

    peer: str
    messages: int
    unread: int
    undelivered: int


class Store:
    """The history. Every method raises `StoreError` when the file cannot be used."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the file. A damaged one is put aside as `NAME.damaged-N`, and said in the log."""
        try:
            self._db = _open(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise StoreError(f"failed to open {path}: {error}") from error
            aside = next(p for n in itertools.count(1) if not (p := Path(f"{path}.damaged-{n}")).exists())
            path.rename(aside)
            for rest in ("-wal", "-shm"):
                with contextlib.suppress(OSError):
                    Path(f"{path}{rest}").rename(f"{aside}{rest}")
            log.warning("the history was damaged (%s); it is kept as %s and a new one begins", error, aside)
            self._db = _open(path)

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._db:
                yield self._db
        except sqlite3.Error as error:
            raise StoreError(f"the history is not usable: {error}") from error

    # What arrives.

    def knows(self, peer: str) -> bool:
        """Whether there is a conversation with a peer."""
        with self._transaction() as db:
            return db.execute("SELECT 1 FROM conversations WHERE peer = ?", (peer,)).fetchone() is not None

    def receive(self, message: Message) -> bool:
        """Stores a message of a peer; false when it was there already."""
        with self._transaction() as db:
            if not self._insert(db, message, seen=False):
                return False
            self._make_room(db, message.peer)
            return True

    def unread(self, peer: str) -> list[Message]:
        """Messages of a peer that nobody was shown, oldest first."""
        where = "peer = ? AND outgoing = 0 AND seen = 0 ORDER BY seq"
        return self._messages(where, (peer,))

    def mark_seen(self, peer: str, ids: list[str]) -> None:
        """Notes that messages of a peer were shown."""
        with self._transaction() as db:
            db.executemany(
                "UPDATE messages SET seen = 1 WHERE peer = ? AND outgoing = 0 AND id = ?", [(peer, id) for id in ids]
            )

    # What leaves.

    def open(self, peer: str, ticket: str | None) -> None:
        """Notes that the operator takes part in a conversation, and how the peer was reached."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO conversations VALUES (?, ?, 1, 0, 0, 0) ON CONFLICT (peer) DO UPDATE "
                "SET ours = 1, ticket = coalesce(excluded.ticket, ticket)",
                (peer, ticket),
            )

    def send(self, message: Message) -> Message:
        """Stores a message for a peer, once for its id, and returns it as it is now. Raises `Full`."""
        there = self.outgoing(message.peer, message.id)
        if there is not None:
            return there
        with self._transaction() as db:
            count = "SELECT count(*) FROM messages WHERE peer = ? AND state = 'sent'"
            if db.execute(count, (message.peer,)).fetchone()[0] >= UNDELIVERED:
                raise Full
            self._insert(db, message, seen=True)
            self._make_room(db, message.peer)
        return message

    def outgoing(self, peer: str, id: str) -> Message | None:
        """The message for a peer with an id."""
        found = self._messages("peer = ? AND outgoing = 1 AND id = ?", (peer, id))
        return found[0] if found else None

    def waited(self, peer: str, seconds: int) -> None:
        """Notes that it was tried for so long to deliver what waits for a peer."""
        with self._transaction() as db:
            db.execute("UPDATE messages SET waited = waited + ? WHERE peer = ? AND state = 'sent'", (seconds, peer))

    def expired(self, peer: str, after: int, limit: int) -> list[Message]:
        """Messages that wait for a peer, and have done so for longer than `after` seconds of trying."""
        return self._messages("peer = ? AND state = 'sent' AND waited > ? ORDER BY seq LIMIT ?", (peer, after, limit))

    def undelivered(self, peer: str, limit: int) -> list[Message]:
        """Messages that wait for a peer, oldest first."""
        return self._messages("peer = ? AND state = 'sent' ORDER BY seq LIMIT ?", (peer, limit))

    def waiting_peers(self) -> list[str]:
        """Peers for whom messages wait."""
        with self._transaction() as db:
            return [row[0] for row in db.execute("SELECT DISTINCT peer FROM messages WHERE state = 'sent'")]

    def ticket(self, peer: str) -> str | None:
        """How the operator reached a peer, if by a ticket."""
        with self._transaction() as db:
            row = db.execute("SELECT ticket FROM conversations WHERE peer = ?", (peer,)).fetchone()
            return row[0] if row else None

    def settle(self, peer: str, id: str, state: str, error: str | None = None) -> Message | None:
        """Notes what became of a message that waited; returns it as it is now."""
        with self._transaction() as db:
            db.execute(
                "UPDATE messages SET state = ?, error = ? "
                "WHERE peer = ? AND outgoing = 1 AND id = ? AND state = 'sent'",
                (state, error, peer, id),
            )
        return self.outgoing(peer, id)

    # What is shown.

    def history(self, peer: str, limit: int) -> list[Message]:
        """The newest messages of a conversation, oldest first."""
        return self._messages("peer = ? ORDER BY seq DESC LIMIT ?", (peer, limit))[::-1]

    def conversations(self) -> list[Conversation]:
        """All conversations, the newest first."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT c.peer, c.count, "
                "(SELECT count(*) FROM messages m WHERE m.peer = c.peer AND m.outgoing = 0 AND m.seen = 0), "
                "(SELECT count(*) FROM messages m WHERE m.peer = c.peer AND m.state = 'sent') "
                "FROM conversations c ORDER BY c.last DESC"
            )
            return [Conversation(*row) for row in rows]

    def _messages(self, where: str, values: tuple[object, ...]) -> list[Message]:
        with self._transaction() as db:
            rows = db.execute(f"SELECT {_FIELDS} FROM messages WHERE {where}", values)
            return [Message(r[0], r[1], bool(r[2]), r[3], r[4], r[5], r[6]) for r in rows]

    # What is kept.

    def _insert(self, db: sqlite3.Connection, message: Message, *, seen: bool) -> bool:
        size = len(message.text.encode())
        done = db.execute(
            f"INSERT OR IGNORE INTO messages ({_FIELDS}, size, seen) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                message.peer,
                message.id,
                message.outgoing,
                message.text,
                message.at,
                message.state,
                message.error,
                size,
                seen,
            ),
        )
        if not done.rowcount:
            return False
        db.execute(
            "INSERT INTO conversations VALUES (?, NULL, 0, 1, ?, ?) ON CONFLICT (peer) DO UPDATE "
            "SET count = count + 1, bytes = bytes + excluded.bytes, last = excluded.last",
            (message.peer, size, done.lastrowid),
        )
        return True

    def _make_room(self, db: sqlite3.Connection, peer: str) -> None:
        """Removes the oldest, until every limit is kept."""
        while True:
            count, size = db.execute("SELECT count, bytes FROM conversations WHERE peer = ?", (peer,)).fetchone()
            if (count <= PEER_MESSAGES and size <= PEER_BYTES) or not self._drop_oldest(db, peer):
                break
        while True:
            query = "SELECT count(*), coalesce(sum(bytes), 0) FROM conversations WHERE ours = 0"
            strangers, size = db.execute(query).fetchone()
            if strangers <= STRANGERS and size <= STRANGER_BYTES:
                break
            oldest = "SELECT peer FROM conversations WHERE ours = 0 ORDER BY last LIMIT 1"
            gone = db.execute(oldest).fetchone()[0]
            db.execute("DELETE FROM messages WHERE peer = ?", (gone,))
            db.execute("DELETE FROM conversations WHERE peer = ?", (gone,))
        while True:
            size = db.execute("SELECT coalesce(sum(bytes), 0) FROM conversations WHERE ours = 1").fetchone()[0]
            largest = "SELECT peer FROM conversations WHERE ours = 1 ORDER BY bytes DESC LIMIT 1"
            if size <= TOTAL_BYTES or not self._drop_oldest(db, db.execute(largest).fetchone()[0]):
                break

    def _drop_oldest(self, db: sqlite3.Connection, peer: str) -> bool:
        query = "SELECT seq, size FROM messages WHERE peer = ? AND state != 'sent' ORDER BY seq LIMIT 1"
        row = db.execute(query, (peer,)).fetchone()
        if row is None:
            return False
        db.execute("DELETE FROM messages WHERE seq = ?", (row[0],))
        db.execute("UPDATE conversations SET count = count - 1, bytes = bytes - ? WHERE peer = ?", (row[1], peer))
        return True


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=5)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # a message is confirmed only when it is on the disk
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            raise StoreError(f"{path} is of a later version of this app ({version}); update the app")
        if version == 1:
            db.execute(_TO_VERSION_2)
        db.executescript(_SCHEMA)
        db.execute(f"PRAGMA user_version = {_VERSION}")
        if db.execute("PRAGMA quick_check").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("its pages do not fit together")
    except BaseException:
        db.close()
        raise
    return db
