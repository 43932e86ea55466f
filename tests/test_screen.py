"""What a person sees on a terminal of 80 columns and 24 rows: tables that fit, names in place of ids, and `top`."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from conftest import PLUGINS, MakeNode
from harness import DEADLINE_S, Node

COLUMNS, ROWS = 80, 24
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# What in the environment of the tests decides on colours.
COLOR_VARIABLES = {"NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"}
# Switch to the second screen and back.
ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


def drawn(text: str) -> str:
    """What stands on a terminal after a program has drawn on it: texts and moves of the cursor, no other commands."""
    cells: dict[tuple[int, int], str] = {}
    row = column = 0
    for plain, place, clear in re.findall(r"([^\x1b]+)|\x1b\[(\d+;\d+)H|\x1b\[[0-9;?]*([A-Za-z])", text):
        if place:
            row, column = (int(number) - 1 for number in place.split(";"))
        if clear == "J":
            cells.clear()
        for char in plain:
            cells[row, column] = char
            column += 1
    rows = [[cells.get((at, column), " ") for column in range(COLUMNS)] for at in range(ROWS)]
    return "\n".join("".join(line).rstrip() for line in rows)


class Screen:
    """A command on a terminal of its own."""

    def __init__(self, node: Node, *args: str, env: dict[str, str]) -> None:
        self.ours, self.theirs = pty.openpty()
        self.resize(COLUMNS, ROWS)
        self.before = termios.tcgetattr(self.theirs)
        self.process = subprocess.Popen(
            node.command(*args),
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=self.theirs,
            start_new_session=True,
            env={key: value for key, value in os.environ.items() if key not in COLOR_VARIABLES}
            | {"TERM": "xterm-256color"}
            | env,
        )
        self.text = ""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, deadline: float) -> bool:
        """Reads what there is; waits for it until the deadline. Returns whether something came."""
        ready, _, _ = select.select([self.ours], [], [], max(0.0, deadline - time.monotonic()))
        if ready:
            self.text += os.read(self.ours, 65536).decode()
        return bool(ready)

    def wait_for(self, what: str) -> None:
        """Waits until a text is on the screen."""
        deadline = time.monotonic() + DEADLINE_S
        while what not in (shown := drawn(self.text)):
            assert self.read(deadline), f"{what!r} is not on the screen:\n{shown}"

    def type(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    def end(self) -> int:
        """Waits for the end of the command, reads the rest, and returns its exit code."""
        code = self.process.wait(DEADLINE_S)
        while self.read(time.monotonic() + 0.2):
            pass
        return code

    def lines(self) -> list[str]:
        """The lines that a command printed, without colours."""
        return ESCAPE.sub("", self.text).replace("\r\n", "\n").rstrip("\n").split("\n")

    def is_restored(self) -> bool:
        """Whether the terminal is as it was."""
        return self.text.rfind(LEAVE) > self.text.rfind(ENTER) and termios.tcgetattr(self.theirs) == self.before


@contextmanager
def screen(node: Node, *args: str, **env: str) -> Iterator[Screen]:
    """Runs a command on a terminal; at the end it is gone in any case."""
    made = Screen(node, *args, env=env)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait()
        os.close(made.ours)
        os.close(made.theirs)


def printed(node: Node, *args: str, **env: str) -> Screen:
    """Runs a command on a terminal to its end, which must be a good one."""
    with screen(node, *args, **env) as made:
        assert made.end() == 0, made.text
    return made


@pytest.fixture
def node(make_node: MakeNode) -> Node:
    """A node with a plugin and a connected peer that is called ann."""
    a, b = make_node("a").start(), make_node("b").start()
    a.install(PLUGINS / "toolbox")
    a.meet(b)
    a.cli("peers", "name", b.id[:8], "ann").ok()
    return a


def test_every_table_fits_the_terminal_and_is_whole_elsewhere(node: Node) -> None:
    for args in (["peers"], ["plugin", "list"], ["status"], ["plugin", "info", "toolbox"]):
        lines = printed(node, *args).lines()
        home = str(node.home)
        wide = [line for line in lines if len(line) > COLUMNS and home not in line]
        assert wide == [], args
        assert len(lines) < ROWS or args == ["status"], args
    (peer,) = node.peers()
    heading, row = printed(node, "peers").lines()
    assert row.startswith(f"ann ({peer['node_id'][:8]})")
    assert "ADDRESS" in heading
    for whole in (node.cli("peers").out, printed(node, "peers", "--wide").text, printed(node, "peers", "-v").text):
        assert peer["node_id"] in whole
        assert peer["address"] in whole
    assert "mount_namespace" in node.cli("plugin", "info", "toolbox").out


def test_states_are_coloured_unless_somebody_minds(node: Node) -> None:
    green = "\x1b[32mready"
    assert green in printed(node, "plugin", "list").text
    assert green in printed(node, "status").text
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": "dumb", "CI": "true"}):
        assert "\x1b" not in printed(node, "status", **env).text
    assert "\x1b" not in node.cli("status").out


def test_status_says_first_whether_all_is_well(node: Node) -> None:
    assert node.cli("status").ok().out.splitlines()[0] == "all is well: 1 peer connected, 1 plugin ready"
    assert node.json("status")["problems"] == []
    folder = node.home.with_name("broken")
    folder.mkdir()
    manifest = '[plugin]\nid = "broken"\nversion = "1.0.0"\ncommand = ["false"]\n[restart]\npolicy = "never"\n'
    (folder / "plugin.toml").write_text(manifest)
    node.cli("plugin", "install", str(folder), "--yes")
    node.wait_plugin("broken", "failed")
    first = node.cli("status").ok().out.splitlines()[0]
    assert first.startswith("1 problem: the plugin broken failed: ")
    assert first.endswith(" plugin logs broken` shows its output")
    (problem,) = node.json("status")["problems"]
    assert set(problem) == {"problem", "remedy"}


def test_healthy_node_has_nothing_for_the_doctor(node: Node) -> None:
    result = node.cli("doctor", "--json").ok()
    results = {check["name"]: check["result"] for check in result.json["checks"]}
    # Without root or delegated control groups, one line says what that means; the tests' nodes have no bundled apps.
    worse = {name for name, result in results.items() if result not in ("ok", "info")}
    # "reach" warns of a node that listens on loopback only, as these do.
    assert worse <= {"confinement", "reach"}, result.out


def test_top_shows_the_node_and_gives_the_terminal_back(node: Node) -> None:
    for keys in ("q", "\x1b", "\x03"):
        with screen(node, "top") as top:
            for text in ("daemon", "netcore", "toolbox", "1 peer connected, 1 known", "all is well", "q ends it"):
                top.wait_for(text)
            assert ENTER in top.text
            top.type(keys)
            assert top.end() == 0, top.text
            assert top.is_restored(), top.text


def test_top_follows_the_size_of_the_terminal(node: Node) -> None:
    with screen(node, "top", "--every", "3600") as top:
        top.wait_for("q ends it")
        top.resize(60, 6)
        top.process.send_signal(signal.SIGWINCH)
        top.wait_for("more do not fit")
        top.type("q")
        assert top.end() == 0, top.text


def test_top_gives_the_terminal_back_when_it_fails(node: Node) -> None:
    with screen(node, "top") as top:
        top.wait_for("toolbox")
        node.stop(force=False)
        assert top.end() == 3, top.text
        assert top.is_restored(), top.text
        assert "error:" in top.lines()[-2], top.text
    node.start()
    with screen(node, "top") as top:
        top.wait_for("toolbox")
        top.process.send_signal(signal.SIGTERM)
        assert top.end() == 0, top.text
        assert top.is_restored(), top.text


def test_top_prints_samples_for_programs(node: Node) -> None:
    sample = node.json("top")
    assert [line["kind"] for line in sample["processes"]] == ["daemon", "netcore", "plugin"]
    assert {"node_id", "uptime_s", "interval_s", "problems", "peers", "processes"} <= set(sample)
    assert sample["processes"][2]["name"] == "toolbox"
    lines = node.cli("top", "--json", "--samples", "2").ok().out.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("{") for line in lines)
    endless = node.start_cli("top", "--json", "--samples", "0")
    assert endless.stdout is not None
    assert endless.stdout.readline().startswith(b"{")
    endless.stdout.close()
    assert endless.wait(DEADLINE_S) == 0, "it ends when nobody reads it"
    table = node.cli("top").ok().out.splitlines()
    assert table[1].split()[:4] == ["NAME", "STATE", "CPU", "MEMORY"]
