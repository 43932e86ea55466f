"""Streams between plugins of two nodes, in Python and Go: exact in both directions at once, HTTP, ends and aborts."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import PLUGINS, MakeNode
from harness import kill, until
from toolbox import Order, Toolbox

MIB = 1 << 20
Pair = tuple[Toolbox, Toolbox]


def test_requests_and_streams_between_python_plugins(pair: Pair) -> None:
    a, b = pair
    assert a.do("request", peer=b.node.id, protocol="tool/echo", text="stressed") == "desserts"
    assert b.do("request", peer=a.node.id, protocol="tool/echo", text="drawer") == "reward"
    done = a.do("transfer", peer=b.node.id, protocol="tool/duplex", size=3 * MIB + 1, seed=7)
    assert done["sent"]
    assert done["received"]


def test_a_gibibyte_each_way_at_once_arrives_exactly(pair: Pair) -> None:
    a, b = pair
    done = a.do("transfer", timeout_s=300, peer=b.node.id, protocol="tool/duplex", size=1024 * MIB, seed=1)
    assert done["sent"]
    assert done["received"]
    sent = b.node.plugin("toolbox")["usage"]["sent_bytes"]
    assert sent >= 1024 * MIB, "the plugin's bytes are counted"


def test_http_on_asyncio_streams_keeps_the_connection(pair: Pair) -> None:
    a, b = pair
    sizes = [0, 1, 65_536, 1_000_003, 100_000_000, 5]
    assert a.do("ask_http", timeout_s=120, peer=b.node.id, protocol="tool/http", sizes=sizes) == len(sizes)


def test_go_http_server_and_client_over_the_overlay(go_pair: Pair) -> None:
    a, b = go_pair
    sizes = [0, 1, 65_536, 1_000_003, 100_000_000, 5]
    done = a.do("ask_http", timeout_s=120, peer=b.node.id, protocol="gotool/http", sizes=sizes)
    assert done == {"requests": len(sizes), "connections": 1}


def test_go_streams_are_exact_both_ways(go_pair: Pair) -> None:
    a, b = go_pair
    done = a.do("transfer", timeout_s=120, peer=b.node.id, protocol="gotool/duplex", size=64 * MIB + 3)
    assert done["sent"]
    assert done["received"]


def test_stream_is_cut_when_the_other_node_falls_silent(pair: Pair) -> None:
    """The peer's node is killed without closing: only its silence shows it, after the timeout."""
    a, b = pair
    waiting = a.start("wait_cut", timeout_s=90, peer=b.node.id, protocol="tool/hold")
    until("the stream stands", lambda: (a.data / "held").exists())
    b.node.kill_supervisor()
    assert "Lost" in waiting.result()


@pytest.fixture(params=["toolbox", "toolbox-go"])
def holding(request: pytest.FixtureRequest, make_node: MakeNode, go_plugin: Path) -> tuple[Toolbox, Toolbox, Order]:
    """Two nodes, and a reader on the first that waits in the middle of a stream to the second."""
    name = request.param
    source, protocol = (PLUGINS / name, "tool/hold") if name == "toolbox" else (go_plugin, "gotool/hold")
    a, b = make_node("a").start(), make_node("b").start()
    for node in (a, b):
        node.install(source)
    a.meet(b)
    reader, holder = Toolbox(a, name).ready(), Toolbox(b, name).ready()
    waiting = reader.start("wait_cut", peer=b.id, protocol=protocol)
    until("the stream stands", lambda: (reader.data / "held").exists())
    return reader, holder, waiting


def test_stream_is_cut_when_the_other_plugin_is_killed(holding: tuple[Toolbox, Toolbox, Order]) -> None:
    _, holder, waiting = holding
    kill(holder.node.plugin(holder.plugin)["pid"])
    assert "Lost" in waiting.result()


def test_stream_is_cut_when_the_own_netcore_is_killed(holding: tuple[Toolbox, Toolbox, Order]) -> None:
    reader, _, waiting = holding
    kill(reader.node.json("status")["netcore"]["pid"])
    assert "Lost" in waiting.result()


def test_stream_is_cut_when_the_other_netcore_is_killed(holding: tuple[Toolbox, Toolbox, Order]) -> None:
    _, holder, waiting = holding
    kill(holder.node.json("status")["netcore"]["pid"])
    assert "Lost" in waiting.result()
