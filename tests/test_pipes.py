"""`pipe`, `serve` and `request`: ends, exit codes, what is written where, and who may."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest
from conftest import PLUGINS, MakeNode
from harness import Node, all_pids, until

Nodes = tuple[Node, Node]


@pytest.fixture
def nodes(make_node: MakeNode) -> Nodes:
    """Two connected nodes without plugins."""
    a, b = make_node("a").start(), make_node("b").start()
    a.meet(b)
    return a, b


class Serving:
    """A running `polypeer serve`."""

    def __init__(self, node: Node, *args: str, ignores: Optional[signal.Signals] = None) -> None:
        number = ignores
        ignore = (lambda: signal.signal(number, signal.SIG_IGN)) if number is not None else None
        self.process = node.start_cli("serve", *args, preexec_fn=ignore)
        self.said: list[str] = []
        assert self.says("serving"), self.said

    def says(self, text: str) -> bool:
        """Waits for a line of its stderr that contains a text; false at the end, or after a minute."""
        timer = threading.Timer(60, self.process.kill)
        timer.start()
        try:
            assert self.process.stderr is not None
            for line in self.process.stderr:
                self.said.append(line.decode())
                if text in self.said[-1]:
                    return True
            return False
        finally:
            timer.cancel()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signals it and returns its exit status."""
        self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture
def serve() -> Iterator[Any]:
    """A function that starts a `serve`; at the end all are ended."""
    all_of_them: list[Serving] = []

    def start(node: Node, *args: str, **options: Any) -> Serving:
        all_of_them.append(Serving(node, *args, **options))
        return all_of_them[-1]

    yield start
    for one in all_of_them:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait(20)


def runs(seconds: str) -> bool:
    """Whether a process runs that sleeps for so long."""
    for pid in all_pids():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes() == f"sleep\0{seconds}\0".encode():
                return True
    return False


@pytest.fixture
def marker() -> str:
    """Seconds to sleep that no other process names."""
    return f"9{uuid.uuid4().int % 10**9:09}"


def test_pipe_ends_when_both_directions_have_whatever_its_stdin_does(nodes: Nodes, serve: Any) -> None:
    a, b = nodes
    serve(b, "bye/1", "--", "echo", "bye")
    pipe = a.start_cli("pipe", b.id, "bye/1")  # its stdin stays open
    assert pipe.stdout is not None
    assert pipe.stdout.read() == b"bye\n"
    assert pipe.wait(20) == 0


def test_program_that_ends_without_reading_is_no_failure(nodes: Nodes, serve: Any) -> None:
    a, b = nodes
    serve(b, "quick/1", "--", "true")
    peer = b.id
    for _ in range(30):
        a.cli("pipe", peer, "quick/1", stdin=b"x").ok()


def test_error_of_json_is_not_written_behind_data(nodes: Nodes, serve: Any) -> None:
    a, b = nodes
    serve(b, "half/1", "--", "sh", "-c", "printf data; read line; exit 3")
    failed = a.cli("pipe", b.id, "half/1", "--json", stdin=b"go on\n")
    assert failed.code == 1
    assert failed.out == "data"
    assert "the plugin's handler failed" in failed.err
    unserved = a.cli("pipe", b.id, "nobody/1", "--json")
    assert json.loads(unserved.out)["error"]["exit_code"] == unserved.code == 1


def test_process_of_a_stream_ends_with_it_and_with_what_it_started(nodes: Nodes, serve: Any, marker: str) -> None:
    a, b = nodes
    serving = serve(b, "slow/1", "--", "sh", "-c", f"sleep {marker} & sleep {marker}; echo")
    pipe = a.start_cli("pipe", b.id, "slow/1", stdin=subprocess.DEVNULL)
    until("the process runs", lambda: runs(marker))
    pipe.terminate()
    assert serving.says("left before the end")
    until("it has ended", lambda: not runs(marker))
    assert not any("failed" in line for line in serving.said), serving.said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_processes_end_with_serve(number: int, nodes: Nodes, serve: Any, marker: str) -> None:
    a, b = nodes
    serving = serve(b, "slow/1", "--", "sh", "-c", f"sleep {marker}; echo")
    pipe = a.start_cli("pipe", b.id, "slow/1", stdin=subprocess.DEVNULL)
    until("the process runs", lambda: runs(marker))
    assert serving.end(number) == 0
    assert not runs(marker)
    assert pipe.wait(20) != 0


def test_process_ends_when_serve_is_killed(nodes: Nodes, serve: Any, marker: str) -> None:
    a, b = nodes
    serving = serve(b, "slow/1", "--", "sleep", marker)
    a.start_cli("pipe", b.id, "slow/1", stdin=subprocess.DEVNULL)
    until("the process runs", lambda: runs(marker))
    serving.end(signal.SIGKILL)
    until("it has ended", lambda: not runs(marker))


def test_serve_outlives_its_terminal_under_nohup(nodes: Nodes, serve: Any) -> None:
    a, b = nodes
    serving = serve(b, "stays/1", "--", "echo", "still here", ignores=signal.SIGHUP)
    serving.process.send_signal(signal.SIGHUP)
    assert a.cli("pipe", b.id, "stays/1").ok().out == "still here\n"
    assert serving.process.poll() is None
    assert serving.end() == 0


def test_missing_program_is_refused_before_anything_is_served(nodes: Nodes) -> None:
    refused = nodes[0].cli("serve", "lost/1", "--", "no-such-program")
    assert refused.code == 2
    assert "no-such-program" in refused.err


def test_failing_program_is_told_in_words(nodes: Nodes, serve: Any) -> None:
    a, b = nodes
    serving = serve(b, "broken/1", "--", "sh", "-c", "exit 3")
    failed = a.cli("pipe", b.id, "broken/1")
    assert failed.code == 1
    assert "the plugin's handler failed" in failed.err
    assert "its operator sees why" in failed.err
    assert serving.says("exit status: 3")


def test_only_the_peers_named_are_served(make_node: MakeNode, serve: Any) -> None:
    a, b, c = (make_node(name).start() for name in "abc")
    a.meet(b)
    c.meet(b)
    serve(b, "private/1", "--peer", a.id, "--", "echo", "hello")
    assert a.cli("pipe", b.id, "private/1").ok().out == "hello\n"
    refused = c.cli("pipe", b.id, "private/1")
    assert refused.code == 4
    assert "to other peers only" in refused.err
    assert b.cli("pipe", "local", "private/1").ok().out == "hello\n"


def test_pipe_gives_up_when_nothing_moves(nodes: Nodes, serve: Any) -> None:
    a, b = nodes
    serve(b, "silent/1", "--", "sleep", "1000")
    failed = a.cli("pipe", b.id, "silent/1", "--timeout", "500ms")
    assert failed.code == 5
    assert "no byte moved for 0.5 s" in failed.err


@pytest.fixture
def clerk(make_node: MakeNode) -> Node:
    """A node with the clerk, which accepts no peer."""
    node = make_node("a").start()
    node.install(PLUGINS / "clerk")
    return node


def test_handlers_of_the_own_node_are_tried_from_the_shell(clerk: Node) -> None:
    assert clerk.cli("request", "local", "clerk/1", stdin=b"hello").ok().out == "HELLO"
    assert clerk.cli("request", "local", "clerk/1", stdin=b"who").ok().out == clerk.id
    assert clerk.cli("request", "local", "clerk-local/1", stdin=b"who").ok().out == "local:operator"
    assert clerk.json_of("request", "local", "clerk/1", stdin=b"hello") == {"reply": "HELLO"}


def test_answer_of_a_handler_has_an_exit_code_and_words(clerk: Node) -> None:
    for text, code, words in (
        ("refuse", 1, "not today"),
        ("fail", 1, "the plugin's handler failed"),
        ("much", 4, "too large"),
    ):
        failed = clerk.cli("request", "local", "clerk/1", stdin=text.encode())
        assert (failed.code, words in failed.err) == (code, True), failed
    late = clerk.cli("request", "local", "clerk/1", "--timeout", "200ms", stdin=b"never")
    assert late.code == 5
    assert clerk.cli("request", "local", "clerk/1", stdin=bytes(65537)).code == 2


def test_exception_in_the_middle_of_a_stream_is_told_in_words(clerk: Node) -> None:
    failed = clerk.cli("pipe", "local", "clerk-stream/1", stdin=b"x")
    assert failed.code == 1
    assert "the plugin's handler failed" in failed.err
    assert "a bug" in clerk.cli("plugin", "logs", "clerk").ok().out


def test_request_reaches_a_peer(make_node: MakeNode) -> None:
    a, b = make_node("a").start(), make_node("b").start()
    b.install(PLUGINS / "clerk")
    a.meet(b)
    refused = a.cli("request", b.id, "clerk/1", stdin=b"hello")
    assert refused.code == 4, "it accepts no peer yet"
    b.cli("plugin", "grants", "clerk", "--add-peer", a.id).ok()
    assert a.cli("request", b.id, "clerk/1", stdin=b"hello").ok().out == "HELLO"


def test_own_daemon_that_stops_is_told_apart(nodes: Nodes, serve: Any, marker: str) -> None:
    a, b = nodes
    serve(b, "slow/1", "--", "sleep", marker)
    pipe = a.start_cli("pipe", b.id, "slow/1")
    serving = serve(a, "other/1", "--", "cat")
    assert serving
    until("the stream stands", lambda: runs(marker))
    a.cli("shutdown").ok()
    assert pipe.wait(20) == 3
    assert pipe.stderr is not None
    assert b"the daemon of this node stopped" in pipe.stderr.read()
    assert serving.process.wait(20) == 3
