"""What hangs, or never starts, is noticed, told and ended."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from conftest import MakeNode
from harness import kill, until, write_plugin

pytestmark = pytest.mark.slow

SILENT = """
[plugin]
id = "silent"
version = "0.1.0"
command = ["sleep", "1000"]
"""


def test_frozen_network_core_is_replaced(make_node: MakeNode) -> None:
    node = make_node("a").start()
    frozen = node.json("status")["netcore"]["pid"]
    kill(frozen, signal.SIGSTOP)
    until("another one runs", lambda: node.json("status")["netcore"].get("pid", frozen) != frozen, 60)
    until("it answers", node.netcore_ready)
    assert "the network core" in node.log.read_text()
    assert node.json("status")["netcore"]["restarts"] == 1


def test_plugin_that_never_connects_is_ended_with_what_it_lacked(make_node: MakeNode, folder: Path) -> None:
    node = make_node("a").start()
    source = write_plugin(folder / "silent", SILENT)
    installed = node.cli("plugin", "install", str(source), "--yes", timeout_s=120)
    assert installed.code == 1, installed
    assert "does it call connect()" in installed.err
    assert "connect()" in node.plugin("silent")["exit_reason"]
