"""`kill -9` of each process: what notices, goes on and restarts, and that nothing is left behind."""

from __future__ import annotations

import uuid
from typing import Any

from conftest import PLUGINS, MakeNode
from harness import Node, all_pids, kill, mentions, nothing_left, processes_of, until, write_plugin
from toolbox import OrderFailed, Toolbox

# The project's promise, seconds; not a measurement.
PROMISED_S = 3.0
Pair = tuple[Toolbox, Toolbox]


def pids(node: Node) -> dict[str, int]:
    """Returns the pids of a node's processes by name."""
    found = {plugin["id"]: node.plugin(plugin["id"])["pid"] for plugin in node.json("status")["plugins"]}
    return {**found, "netcore": node.json("status")["netcore"]["pid"]}


def answers(asker: Toolbox, peer: str) -> bool:
    """Whether a request to the other toolbox works now."""
    try:
        return bool(asker.do("request", peer=peer, protocol="tool/echo", text="ab", timeout=1) == "ba")
    except OrderFailed:
        return False


def test_netcore_killed_under_traffic_is_back_and_plugins_never_left(pair: Pair) -> None:
    a, b = pair
    peer = b.node.id
    before = pids(a.node)
    traffic = a.start("transfer", timeout_s=60, peer=peer, protocol="tool/duplex", size=4 << 30, seed=3)
    until("bytes flow", lambda: a.node.plugin("toolbox")["usage"]["sent_bytes"] > 1 << 20)
    kill(before["netcore"])
    try:
        traffic.result()
        raise RuntimeError("the stream survived its netcore")
    except OrderFailed as failed:
        assert "Lost" in str(failed)
    until("the plugin dials again", lambda: answers(a, peer), PROMISED_S)
    until("the plugin is reached again", lambda: answers(b, a.node.id), PROMISED_S)
    after = pids(a.node)
    assert after["toolbox"] == before["toolbox"], "the plugin was restarted"
    assert after["netcore"] != before["netcore"]
    assert a.node.json("status")["netcore"]["restarts"] == 1
    assert a.node.plugin("toolbox")["restarts"] == 0


def test_supervisor_killed_leaves_no_process_and_starts_again(pair: Pair) -> None:
    a, b = pair
    marker = f"grandchild-{uuid.uuid4().hex}"
    a.do("daemonise", marker=marker)
    until("the grandchild runs", lambda: any(mentions(pid, marker) for pid in all_pids()))
    identity, grants = a.node.id, a.node.plugin("toolbox")["grants"]

    a.node.kill_supervisor()

    until("nothing is left", lambda: nothing_left(a.node, marker), PROMISED_S)
    a.node.start()
    a.node.wait_plugin("toolbox")
    a.ready()
    assert a.node.id == identity
    assert a.node.plugin("toolbox")["grants"] == grants
    until("the nodes are connected again", lambda: a.node.connected_to(b.node))
    until("requests work again", lambda: answers(a, b.node.id))


def test_supervisor_killed_while_it_starts_plugins_leaves_no_process(make_node: MakeNode) -> None:
    node = make_node("a").start()
    node.install(PLUGINS / "toolbox")
    node.stop()
    for _ in range(3):
        node.spawn()
        until("something runs", lambda: len(processes_of(node.home)) > 2)
        node.kill_supervisor()
        until("nothing is left", lambda: nothing_left(node), PROMISED_S)
    node.start()
    node.wait_plugin("toolbox")


def test_killed_plugin_is_restarted_and_the_others_are_undisturbed(pair: Pair) -> None:
    a, b = pair
    other = write_other(a.node)
    traffic = a.start("transfer", timeout_s=120, peer=b.node.id, protocol="tool/duplex", size=256 << 20, seed=5)
    before = pids(a.node)
    kill(before[other])
    info = until("the other plugin is back", lambda: restarted(a.node, other, before[other]))
    assert info["restarts"] == 1
    assert "kill" in info["exit_reason"]
    done = traffic.result()
    assert done["sent"]
    assert done["received"]
    assert pids(a.node)["toolbox"] == before["toolbox"]


def restarted(node: Node, plugin: str, old_pid: int) -> Any:
    """Returns the plugin's info once it runs as another process."""
    info = node.plugin(plugin)
    return info if info["state"] == "ready" and info["pid"] != old_pid else None


def write_other(node: Node) -> str:
    """Installs a second plugin that only sleeps."""
    manifest = """
[plugin]
id = "sleeper"
version = "1.0.0"
license = "MIT"
command = ["python3", "main.py"]
[restart]
policy = "always"
[health]
ready = "none"
"""
    node.install(write_plugin(node.home.parent / "sleeper", manifest, {"main.py": "import time\ntime.sleep(600)\n"}))
    return "sleeper"


def test_shutdown_stops_everything_and_says_so(make_node: MakeNode) -> None:
    node = make_node("a").start()
    node.install(PLUGINS / "toolbox")
    node.cli("shutdown").ok()
    assert node.daemon is not None
    assert node.daemon.wait(20) == 0
    until("nothing is left", lambda: nothing_left(node), PROMISED_S)
    assert node.cli("status").code == 3
