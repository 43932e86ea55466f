"""The examples of contrib/ on real nodes."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
from conftest import MakeNode
from harness import ROOT, Node, until

EXAMPLES = ROOT / "contrib" / "examples"


def built(folder: Path, name: str) -> Path:
    """Builds a Go example, and returns its plugin folder."""
    made = folder / "built" / name
    made.mkdir(parents=True)
    shutil.copy(EXAMPLES / name / "plugin.toml", made)
    environment = {**os.environ, "CGO_ENABLED": "0"}
    subprocess.run(["go", "build", "-o", str(made / name), "."], cwd=EXAMPLES / name, check=True, env=environment)
    return made


def board(node: Node, plugin: str) -> set[tuple[str, str]]:
    """Returns the notices on a board, each with the beginning of its author's id."""
    said = node.cli("plugin", "logs", plugin).ok().out.splitlines()
    notices = (line.partition(" | ")[2].split(": ", 1) for line in said if " out | " in line)
    return {(notice[0], notice[1]) for notice in notices if len(notice) == 2 and len(notice[0]) == 10}


def complete(node: Node, plugin: str, wanted: set[tuple[str, str]]) -> bool:
    """Whether a board shows exactly these notices."""
    found = board(node, plugin)
    assert found == wanted, found
    return True


def shows(node: Node, notice: tuple[str, str]) -> bool:
    """Whether a Go board shows a notice."""
    return notice in board(node, "go-noticeboard")


def test_noticeboards_in_python_and_go_show_the_same(make_node: MakeNode, folder: Path) -> None:
    a, b, c = (make_node(name).start() for name in "abc")
    b.meet(a)
    c.meet(a)
    a.install(EXAMPLES / "python-noticeboard")
    go = built(folder, "go-noticeboard")
    for node in (b, c):
        node.install(go)
    wanted = {
        (a.id[:10], "python-noticeboard was here"),
        (b.id[:10], "go-noticeboard was here"),
        (c.id[:10], "go-noticeboard was here"),
    }
    for node, plugin in ((a, "python-noticeboard"), (b, "go-noticeboard"), (c, "go-noticeboard")):
        until(f"the board of {node.home.name} is complete", partial(complete, node, plugin, wanted))
    notice = a.home / "data" / "python-noticeboard" / "notice.txt"
    notice.write_text("Cake at four\n")
    a.cli("plugin", "restart", "python-noticeboard").ok()
    for node in (b, c):
        until("the new notice is there", partial(shows, node, (a.id[:10], "Cake at four")))


def said(node: Node, plugin: str, words: str) -> bool:
    """Whether a plugin's log contains `words`."""
    return words in node.cli("plugin", "logs", plugin).ok().out


def refusals(node: Node, plugin: str) -> int:
    """Returns how often a board refused its own notice."""
    return node.cli("plugin", "logs", plugin).ok().out.count("is no notice")


def refused_again(node: Node, plugin: str, before: int) -> bool:
    """Whether a board refused its notice more than `before` times."""
    return refusals(node, plugin) > before


@pytest.mark.parametrize("plugin", ["python-noticeboard", "go-noticeboard"])
def test_noticeboard_says_nothing_that_others_would_reject(make_node: MakeNode, folder: Path, plugin: str) -> None:
    node = make_node("a").start()
    example = built(folder, plugin) if plugin.startswith("go") else EXAMPLES / plugin
    node.install(example)
    notice = node.home / "data" / plugin / "notice.txt"
    for text in (b"Cake at four\nand tea at five\n", b"Cake\tat four", b"", b"\xc3\xa4" * 71, b"\xff"):
        notice.write_bytes(text)
        before = refusals(node, plugin)
        node.cli("plugin", "restart", plugin).ok()
        until(f"{text!r} is refused", partial(refused_again, node, plugin, before))
        assert all(author != node.id[:10] or text == f"{plugin} was here" for author, text in board(node, plugin))


@pytest.mark.parametrize("plugin", ["python-noticeboard", "go-noticeboard"])
def test_noticeboard_that_starts_alone_reads_others_once_there_are_some(
    make_node: MakeNode, folder: Path, plugin: str
) -> None:
    a, b, late = (make_node(name).start() for name in ("a", "b", "late"))
    b.meet(a)
    for node in (a, b):
        node.install(EXAMPLES / "python-noticeboard")
    until("the first boards know each other", partial(said, b, "python-noticeboard", f"read the board of {a.id[:10]}"))
    late.install(built(folder, plugin) if plugin.startswith("go") else EXAMPLES / plugin)
    until("it has no peer to ask", partial(said, late, plugin, "cannot be looked for yet"))
    late.meet(a)
    until("it reads another's board", partial(said, late, plugin, "read the board of "))
