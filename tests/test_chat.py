"""Chat at the keyboard: nothing lost, nothing doubled, nothing in the line being typed."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import sqlite3
import subprocess
import termios
import threading
from collections.abc import Iterator
from functools import partial

import pytest
from conftest import MakeNode
from harness import Node, kill, until

Nodes = tuple[Node, Node]


@pytest.fixture
def nodes(make_node: MakeNode) -> Nodes:
    """Two connected nodes with the bundled apps."""
    a, b = make_node("a", bundled_apps=True).start(), make_node("b", bundled_apps=True).start()
    for node in (a, b):
        node.wait_plugin("chat")
    a.meet(b)
    return a, b


def stored(node: Node) -> list[str]:
    """The texts of the messages in the app's history, in order."""
    with contextlib.closing(sqlite3.connect(node.home / "data" / "chat" / "chat.db", timeout=20)) as db:
        return [row[0] for row in db.execute("SELECT text FROM messages ORDER BY seq")]


def has_more(node: Node, count: int) -> bool:
    """Whether the history has more messages than that."""
    return len(stored(node)) > count


def say(node: Node, peer: str, *lines: str) -> None:
    """Sends lines, which must be delivered."""
    node.cli("chat", peer, stdin="".join(f"{line}\n" for line in lines).encode()).ok()


def test_what_was_not_shown_stays_unread_and_conversations_are_listed(nodes: Nodes) -> None:
    a, b = nodes
    assert b.json("chat") == []
    say(a, b.id, "one", "two")
    (conversation,) = b.json("chat")
    assert conversation == {"node_id": a.id, "messages": 2, "unread": 2, "undelivered": 0}
    with open("/dev/full", "wb") as full:
        unshown = b.start_cli("chat", a.id, stdin=subprocess.DEVNULL, stdout=full)
        assert unshown.wait(30) == 1
    assert b.json("chat")[0]["unread"] == 2
    history = b.cli("chat", a.id, "--history", "1").ok().out
    assert "two" in history
    assert "one" not in history
    assert [message["text"] for message in b.json("chat", a.id, "--history")] == ["one", "two"]
    assert b.json("chat")[0]["unread"] == 2, "a look at the history changes nothing"
    shown = b.cli("chat", a.id).ok().out.splitlines()
    assert [line.rsplit(": ", 1)[1] for line in shown] == ["one", "two"]
    assert b.json("chat")[0]["unread"] == 0
    assert b.cli("chat", a.id).ok().out == ""


def test_conversation_with_oneself_and_with_a_blocked_peer_is_refused(nodes: Nodes) -> None:
    a, b = nodes
    assert a.cli("chat", a.id).code == 2
    a.cli("peers", "block", b.id).ok()
    refused = a.cli("chat", b.id, stdin=b"hello\n")
    assert refused.code == 4
    assert "unblock" in refused.err


def test_message_to_a_peer_that_blocks_this_node_is_kept_and_refused(nodes: Nodes) -> None:
    a, b = nodes
    ticket = b.ticket
    b.cli("peers", "block", a.id).ok()
    kept = a.cli("chat", ticket, stdin=b"hello\n")
    assert kept.code == 4
    assert "is kept" in kept.err
    assert "unblock" in kept.err
    b.cli("peers", "unblock", a.id).ok()
    a.cli("peers", "add", ticket).ok()
    until("it is delivered", lambda: stored(b) == ["hello"])


def test_message_to_an_absent_peer_is_kept_and_delivered_once(nodes: Nodes) -> None:
    a, b = nodes
    peer, address = b.id, b.ticket.rpartition("@")[2]
    b.stop()
    until("a sees it gone", lambda: all(p["state"] != "connected" for p in a.peers()))
    kept = a.cli("chat", peer, "--timeout", "1", stdin=b"just once\n")
    assert kept.code == 5
    assert "is kept: it is delivered when" in kept.err
    assert "again" not in kept.err
    assert "offline" in kept.err
    b.start("--listen", address)
    b.wait_plugin("chat")
    until("it is delivered", lambda: stored(b) == ["just once"])
    assert a.json("chat")[0]["undelivered"] == 0


def test_many_lines_of_a_pipe_arrive_in_order(nodes: Nodes) -> None:
    a, b = nodes
    lines = [str(number) for number in range(1200)]
    done = a.cli("chat", b.id, stdin="\n".join(lines).encode(), timeout_s=120)
    assert done.code == 0, done
    assert stored(b) == lines


def running(victim: str, sender: Node, receiver: Node) -> int:
    """The pid of what is to be killed; 0 while it does not run."""
    if victim == "sender's network core":
        return int(sender.json("status")["netcore"].get("pid") or 0)
    return int((sender if victim == "sender's app" else receiver).plugin("chat").get("pid") or 0)


@pytest.mark.parametrize("victim", ["sender's app", "receiver's app", "sender's network core"])
def test_nothing_is_lost_or_doubled_when_something_is_killed(victim: str, nodes: Nodes) -> None:
    a, b = nodes
    chat = a.start_cli("chat", b.id, "--timeout", "60")
    assert chat.stdin is not None
    lines = [str(number) for number in range(300)]
    for number, line in enumerate(lines):
        chat.stdin.write(f"{line}\n".encode())
        chat.stdin.flush()
        if number % 100 == 50:
            until("the conversation goes on", partial(has_more, b, number - 50))
            kill(until(f"the {victim} runs", lambda: running(victim, a, b)))
    chat.stdin.close()
    assert chat.wait(120) == 0
    assert sorted(map(int, stored(b))) == list(range(300)), "each once"
    assert stored(b) == lines


def test_what_was_taken_is_delivered_after_the_command_or_the_daemon_is_killed(nodes: Nodes) -> None:
    a, b = nodes
    peer = b.id
    for victim in ("command", "daemon"):
        before = len(stored(b))
        chat = a.start_cli("chat", peer)
        assert chat.stdin is not None
        for number in range(50):
            chat.stdin.write(f"{victim} {number}\n".encode())
            chat.stdin.flush()
        until("some are taken", partial(has_more, b, before))
        if victim == "command":
            chat.kill()
        else:
            a.kill_supervisor()
            assert chat.wait(30) == 3
        chat.wait(30)
        if victim == "daemon":
            a.start()
            a.wait_plugin("chat")
        until("nothing waits", lambda: a.json("chat")[0]["undelivered"] == 0)
        arrived = stored(b)[before:]
        assert arrived == [f"{victim} {number}" for number in range(len(arrived))], "in order, without a gap, once"


class Terminal:
    """A `polypeer chat` on a terminal of 80 columns."""

    def __init__(self, node: Node, peer: str) -> None:
        self.master, self.theirs = pty.openpty()
        env = {**os.environ, "TERM": "xterm", "TZ": "UTC"}
        ends = {"stdin": self.theirs, "stdout": self.theirs, "stderr": self.theirs}
        self.process = node.start_cli("chat", peer, **ends, env=env)
        self.output = b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self.master, 4096):
                self.output += data

    def type(self, text: str) -> None:
        """Presses keys."""
        os.write(self.master, text.encode())

    def shows(self, text: str) -> bool:
        """Whether a text was printed."""
        return text in self.output.decode(errors="replace")

    def close(self) -> None:
        """Ends it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)
        os.close(self.theirs)
        os.close(self.master)


@pytest.fixture
def terminal(nodes: Nodes) -> Iterator[Terminal]:
    """A conversation of the first node with the second on a terminal."""
    a, b = nodes
    made = Terminal(a, b.id)
    yield made
    made.close()


def test_what_arrives_is_printed_above_the_line_being_typed(nodes: Nodes, terminal: Terminal) -> None:
    a, b = nodes
    until("it says how things are", lambda: terminal.shows("online"))
    until("it prompts", lambda: terminal.shows("> "))
    terminal.type("I am typ")
    until("the terminal echoes", lambda: terminal.shows("I am typ"))
    say(b, a.id, "an interruption \x1b[2J")
    until("it is shown", lambda: terminal.shows("an interruption \\u{1b}[2J"))
    before, after = terminal.output.decode().split("an interruption", 1)
    assert re.search(r"\r\x1b\[J\d\d:\d\d \S+: $", before), "the line was cleared first"
    assert after.startswith(" \\u{1b}[2J\r\n> I am typ\r"), "and drawn again"
    terminal.type("ing\r")
    until("it is sent whole", lambda: stored(b)[-1:] == ["I am typing"])
    until("its delivery is shown", lambda: terminal.shows("delivered: I am typing"))
    until("it was seen", lambda: a.json("chat")[0]["unread"] == 0)
    for typed, shown in (
        ("/help", "/history [N]"),
        ("/halp", "there is no command /halp"),
        ("/history 2", "you: I am"),
    ):
        terminal.type(f"{typed}\r")
        until(f"{typed} is answered", partial(terminal.shows, shown))
    assert stored(b) == ["an interruption \x1b[2J", "I am typing"], "commands are not sent"
    terminal.type("\x04")
    assert terminal.process.wait(20) == 0


def test_terminal_is_left_as_it_was_when_the_daemon_stops(nodes: Nodes, terminal: Terminal) -> None:
    a, _ = nodes
    until("it prompts", lambda: terminal.shows("> "))
    a.cli("shutdown").ok()
    assert terminal.process.wait(30) == 3
    until("it says why", lambda: terminal.shows("the daemon of this node stopped"))
    assert termios.tcgetattr(terminal.theirs)[3] & termios.ECHO, "what is typed is shown again"
