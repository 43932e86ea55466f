"""Two nodes that find each other by ticket and on the local network, as the command line shows it."""

from __future__ import annotations

import json
import os
import pty
import re
from pathlib import Path

from conftest import PLUGINS, MakeNode
from harness import Node, until

NODE_ID = re.compile(r"[13-9a-km-uw-z]{52}")


def test_nodes_meet_by_ticket(make_node: MakeNode) -> None:
    a, b = make_node("a").start(), make_node("b").start()
    a.meet(b)
    seen = a.connected_to(b)
    assert seen is not None
    assert seen["path"] == "direct"
    assert seen["rtt_ms"] < 1000
    assert seen["address"].startswith("127.0.0.1:")
    a.cli("peers", "ping", b.id).ok()


def test_nodes_find_each_other_on_the_local_network(make_node: MakeNode, lan: str) -> None:
    a, b = make_node("a", lan=lan).start(), make_node("b", lan=lan).start()
    until("the nodes find each other", lambda: a.connected_to(b) and b.connected_to(a))


def test_nodes_of_other_networks_stay_apart(make_node: MakeNode, lan: str) -> None:
    a, b = make_node("a", lan=lan).start(), make_node("b", lan=lan).start()
    stranger = make_node("c", lan=lan + "x").start()
    until("the nodes find each other", lambda: a.connected_to(b) and b.connected_to(a))
    assert stranger.peers() == []


def test_peers_are_remembered_after_a_restart(make_node: MakeNode) -> None:
    a, b = make_node("a").start(), make_node("b").start()
    a.meet(b)
    before = a.id
    a.stop()
    a.start()
    assert a.id == before
    until("the nodes are connected again", lambda: a.connected_to(b))


def test_blocked_peer_is_cut_off_until_it_is_unblocked(make_node: MakeNode) -> None:
    a, b = make_node("a").start(), make_node("b").start()
    a.meet(b)
    a.cli("peers", "block", b.id).ok()
    until("the link is gone", lambda: not b.connected_to(a))
    assert [peer["state"] for peer in a.peers()] == ["blocked"]
    ping = a.cli("peers", "ping", b.id)
    assert ping.code == 4, ping
    a.cli("peers", "unblock", b.id).ok()
    until("the nodes are connected again", lambda: a.cli("peers", "ping", b.id).code == 0)


def test_documents_have_their_names(make_node: MakeNode) -> None:
    a, b = make_node("a").start(), make_node("b").start()
    a.install(PLUGINS / "toolbox")
    a.meet(b)
    status = a.json("status")
    assert NODE_ID.fullmatch(status["node_id"])
    assert set(status) >= {
        "node_id",
        "version",
        "uptime_s",
        "listen",
        "reach",
        "netcore",
        "peers",
        "sources",
        "traffic",
        "plugins",
    }
    assert set(status["netcore"]) >= {"pid", "state", "restarts", "rss_bytes"}
    assert status["reach"] in ("public", "mapped", "punchable", "relayed", "unknown")
    assert status["peers"] == {"connected": 1, "known": 1}
    assert set(status["traffic"]) >= {"sent_bytes", "received_bytes"}
    assert all(set(source) >= {"name", "enabled", "found"} for source in status["sources"])
    assert [plugin["id"] for plugin in status["plugins"]] == ["toolbox"]

    (peer,) = a.json("peers")
    wanted = {
        "node_id",
        "state",
        "path",
        "address",
        "rtt_ms",
        "since_s",
        "sources",
        "protocols",
        "sent_bytes",
        "received_bytes",
    }
    assert set(peer) >= wanted

    measured = {"memory_bytes", "cpu_percent", "pids", "sent_bytes", "received_bytes"}
    until("its use is measured", lambda: set(a.plugin("toolbox")["usage"]) >= measured)
    info = a.plugin("toolbox")
    assert set(info) >= {"id", "version", "state", "pid", "restarts", "grants", "limits", "usage", "confinement"}
    assert info["grants"]["dial"] == ["tool/*", "gotool/*", "bare/*"]
    for measure in info["confinement"]:
        assert measure["applied"] or measure["why_not"], measure


def test_exit_codes_and_hints(make_node: MakeNode) -> None:
    node = make_node("a")
    stopped = node.cli("status")
    assert stopped.code == 3
    assert f"polypeer --home {node.home} run" in stopped.err
    node.start()
    assert node.cli("status").code == 0
    assert node.cli("no-such-command").code == 2
    assert node.cli("peers", "add", "polypeer:nonsense").code == 2
    stranger = Node(node.home.with_name("never"))
    unknown = "y" * 52
    assert node.cli("peers", "ping", unknown).code == 5
    assert node.cli("plugin", "info", "nobody").code in (1, 2)
    assert stranger.cli("status", "--json").code == 3


def test_peer_that_is_gone_is_not_reachable(make_node: MakeNode) -> None:
    a, b = make_node("a").start(), make_node("b").start()
    a.meet(b)
    gone = b.id
    b.stop()
    ping = a.cli("peers", "ping", gone, timeout_s=60)
    assert ping.code == 5, ping
    assert "hint" in ping.err


def test_json_goes_to_pipes_and_talk_to_standard_error(make_node: MakeNode) -> None:
    node = make_node("a").start()
    result = node.cli("--json", "status").ok()
    assert json.loads(result.out)["node_id"] == node.cli("id").ok().out.strip()
    assert result.err == ""
    assert "\x1b" not in node.cli("status").ok().out
    assert node.ticket.startswith("polypeer:")


def test_question_may_be_answered_after_a_long_time(make_node: MakeNode, tmp_path: Path) -> None:
    """Restarts the daemon meanwhile, which ends every connection as a long silence does."""
    node = make_node("a").start()
    folder = tmp_path / "quiet"
    folder.mkdir()
    (folder / "plugin.toml").write_text(
        '[plugin]\nid = "quiet"\nversion = "1.0.0"\ncommand = ["sleep", "1000"]\n[health]\nready = "none"\n'
    )
    terminal, theirs = pty.openpty()
    installing = node.start_cli("plugin", "install", str(folder), stdin=theirs, stdout=theirs, stderr=theirs)
    asked = b""
    while b"[y/N]" not in asked:
        asked += os.read(terminal, 4096)
    node.stop(force=False)
    node.start()
    os.write(terminal, b"y\n")
    assert installing.wait(60) == 0
    os.close(theirs)
    os.close(terminal)
    assert node.json("plugin", "info", "quiet")["state"] == "ready"


def test_pipe_and_serve_carry_a_command_over_a_stream(make_node: MakeNode) -> None:
    a, b = make_node("a").start(), make_node("b").start()
    a.meet(b)
    serving = b.start_cli("serve", "upper/1", "--", "tr", "a-z", "A-Z")
    try:
        told = until("serve says so", lambda: serving.stderr.readline().decode())  # type: ignore[union-attr]
        assert told
        done = until("the pipe answers", lambda: asked(a, b.id))
        assert done == "HELLO"
    finally:
        serving.terminate()
        serving.wait(10)


def test_pipe_ends_in_order_when_nobody_reads_on(make_node: MakeNode) -> None:
    a, b = make_node("a").start(), make_node("b").start()
    a.meet(b)
    serving = b.start_cli("serve", "endless/1", "--", "cat", "/dev/zero")
    try:
        assert until("serve says so", lambda: serving.stderr.readline().decode())  # type: ignore[union-attr]
        pipe = a.start_cli("pipe", b.id, "endless/1")
        assert pipe.stdout is not None
        assert pipe.stderr is not None
        assert pipe.stdout.read(1000) == bytes(1000)
        pipe.stdout.close()
        assert pipe.wait(30) == 0
        assert pipe.stderr.read() == b""
    finally:
        serving.terminate()
        serving.wait(10)


def asked(node: Node, peer: str) -> str:
    """Returns the answer of `upper/1` to a word; empty while no plugin serves it."""
    result = node.cli("pipe", peer, "upper/1", stdin=b"hello")
    return result.out if result.code == 0 else ""


def test_peer_is_reached_by_its_name_and_by_the_start_of_its_id(make_node: MakeNode) -> None:
    a, b = make_node("a").start(), make_node("b").start()
    a.meet(b)
    a.cli("peers", "name", b.id, "ann").ok()
    assert [peer["name"] for peer in a.peers()] == ["ann"]
    for text in ("ann", b.id[:8]):
        assert f"reply from ann ({b.id[:8]})" in a.cli("peers", "ping", text).ok().out
    mistyped = a.cli("peers", "ping", b.id[:30] + ("b" if b.id[30] != "b" else "n") + b.id[31:])
    assert mistyped.code == 2
    assert f"did you mean ann ({b.id})?" in mistyped.err
    assert b.cli("peers", "ping", "ann").code == 2, "a name stays where it was given"
    a.cli("peers", "forget", "ann").ok()
    assert "ann" in [peer.get("name") for peer in a.peers()]


def test_list_of_a_plugin_names_its_peers(make_node: MakeNode, tmp_path: Path) -> None:
    node = make_node("a").start()
    folder = tmp_path / "quiet"
    folder.mkdir()
    manifest = '[plugin]\nid = "quiet"\nversion = "1.0.0"\ncommand = ["sleep", "1000"]\n[permissions]\npeers = "list"\n'
    (folder / "plugin.toml").write_text(manifest + '[health]\nready = "none"\n')
    node.install(folder)
    peer = "b" * 51 + "y"
    node.cli("plugin", "grants", "quiet", "--add-peer", peer).ok()
    node.cli("peers", "name", peer[:6], "ann").ok()
    words = node.json("plugin", "grants", "quiet")
    assert words["peers"] == [peer]
    assert "ann (bbbbbbbb) is on your list of peers" in words["in_words"]
