"""The bundled apps, driven by the command line: files by link, verified and resumed; chat line by line."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue

import pytest
from conftest import MakeNode
from harness import Node, kill, until

MIB = 1 << 20
Nodes = tuple[Node, Node]


@pytest.fixture
def nodes(make_node: MakeNode) -> Nodes:
    """Two connected nodes with the bundled apps."""
    a, b = make_node("a", bundled_apps=True).start(), make_node("b", bundled_apps=True).start()
    for node in (a, b):
        node.wait_plugin("files")
        node.wait_plugin("chat")
    a.meet(b)
    return a, b


def random_file(path: Path, size: int) -> str:
    """Writes random bytes and returns their digest."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        while size:
            piece = os.urandom(min(size, MIB))
            digest.update(piece)
            file.write(piece)
            size -= len(piece)
    return digest.hexdigest()


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 65_536, 5 * MIB + 3])
def test_file_arrives_as_it_was(size: int, nodes: Nodes, folder: Path) -> None:
    a, b = nodes
    digest = random_file(folder / "a file & more.bin", size)
    link = a.cli("send", str(folder / "a file & more.bin")).ok().out.strip()
    assert link.startswith("polypeer-file:")
    b.cli("get", link, "--output", str(folder / "got")).ok()
    assert digest_of(folder / "got") == digest


def test_get_stores_under_the_name_of_the_link_and_replaces_nothing(nodes: Nodes, folder: Path) -> None:
    a, b = nodes
    random_file(folder / "name.bin", 100)
    link = a.cli("send", str(folder / "name.bin")).ok().out.strip()
    other = folder / "elsewhere"
    other.mkdir()
    (other / "name.bin").write_text("mine")
    refused = subprocess.run(
        [*b.command("get", link)], cwd=other, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60
    )
    assert refused.returncode != 0
    assert "--force" in refused.stderr
    assert (other / "name.bin").read_text() == "mine"


def test_interrupted_get_goes_on_where_it_was(nodes: Nodes, folder: Path) -> None:
    a, b = nodes
    digest = random_file(folder / "big.bin", 400 * MIB)
    link = a.cli("send", str(folder / "big.bin"), timeout_s=120).ok().out.strip()
    getting = b.start_cli("get", link, "--output", str(folder / "got"))
    until("a part has arrived", lambda: b.plugin("files")["usage"]["received_bytes"] > 40 * MIB)
    kill(b.plugin("files")["pid"])
    getting.wait(60)
    assert not (folder / "got").exists() or getting.returncode == 0
    b.wait_plugin("files")
    b.cli("get", link, "--output", str(folder / "got"), "--force", timeout_s=120).ok()
    assert digest_of(folder / "got") == digest


def test_link_that_nobody_serves_is_an_error_with_a_hint(nodes: Nodes, folder: Path) -> None:
    a, b = nodes
    random_file(folder / "gone.bin", 1000)
    link = a.cli("send", str(folder / "gone.bin")).ok().out.strip()
    wrong = link.replace(link.split(":")[1][:4], "0000", 1)
    failed = b.cli("get", wrong, "--output", str(folder / "got"), timeout_s=60)
    assert failed.code != 0
    assert "hint: " in failed.err
    assert not (folder / "got").exists()
    assert b.cli("get", "polypeer-file:nonsense").code == 2


class Chat:
    """A running `polypeer chat`: lines in, lines out."""

    def __init__(self, node: Node, peer: str) -> None:
        self.process = node.start_cli("chat", peer)
        self.lines: Queue[str] = Queue()
        self.seen: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line.decode())

    def say(self, text: str) -> None:
        """Enters a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def shows(self, text: str) -> bool:
        """Whether a line with this text was printed."""
        while True:
            try:
                self.seen.append(self.lines.get_nowait())
            except Empty:
                return any(text in line for line in self.seen)

    def end(self) -> int:
        """Ends the input, like Ctrl-D."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(20)


@pytest.fixture
def chats(nodes: Nodes) -> Iterator[tuple[Chat, Chat]]:
    """Both ends of a chat."""
    a, b = nodes
    both = Chat(a, b.id), Chat(b, a.id)
    yield both
    for chat in both:
        if chat.process.poll() is None:
            chat.process.send_signal(signal.SIGKILL)
            chat.process.wait()


def test_chat_carries_lines_both_ways(chats: tuple[Chat, Chat]) -> None:
    alice, bob = chats
    alice.say("good morning")
    until("bob sees it", lambda: bob.shows("good morning"))
    bob.say("and to you: äöü 🙂")
    until("alice sees it", lambda: alice.shows("and to you: äöü 🙂"))
    assert alice.end() == 0
    assert bob.end() == 0
