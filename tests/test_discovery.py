"""Discovery: sources in the status, settings, and seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conftest import MakeNode
from harness import SLEEPER, Node, kill, until, write_plugin

SOURCES = ["remembered", "lan", "dns", "list", "exchange", "dht", "mainline"]
STATES = {"off", "idle", "asking", "working", "failing"}


def sources(node: Node) -> dict[str, dict[str, Any]]:
    """Returns the sources of `status` by name."""
    return {source["name"]: source for source in node.json("status")["sources"]}


def test_status_shows_every_source_in_order(make_node: MakeNode) -> None:
    node = make_node("a").start()
    listed = node.json("status")["sources"]
    assert [source["name"] for source in listed] == SOURCES
    for source in listed:
        assert source["state"] in STATES
        assert source["enabled"] == (source["state"] != "off")
        assert source["found"] == 0
        assert "last_success_s" not in source
    off = {source["name"] for source in listed if not source["enabled"]}
    assert off == {"lan", "dns", "list", "mainline"}, "nothing to ask, or not wanted"
    text = node.cli("status").ok().out
    assert "mainline: off" in text
    assert "exchange: " in text


def test_listed_address_leads_to_an_unverified_seed(make_node: MakeNode) -> None:
    seed = make_node("seed").start("--seed-only")
    address = seed.json("status")["listen"][0]
    node = make_node("node", config=f'[discovery]\nlist = ["{address}"]\n').start()
    until("the seed is found", lambda: node.connected_to(seed))
    until("the list works", lambda: sources(node)["list"]["state"] == "working")
    found = sources(node)["list"]
    assert found["found"] == 1
    assert found["last_success_s"] < 60
    until("the seed is marked", lambda: (node.connected_to(seed) or {}).get("unverified"))
    assert "unverified" in node.cli("peers").ok().out


def test_reload_takes_the_nodes_to_begin_with_also_for_a_later_network_core(make_node: MakeNode) -> None:
    seed = make_node("seed").start("--seed-only")
    node = make_node("node").start()
    assert sources(node)["list"]["state"] == "off"
    file = node.home / "config.toml"
    before = file.read_text()
    address = seed.json("status")["listen"][0]
    file.write_text(f'{before}[discovery]\nlist = ["{address}"]\n')
    assert node.json("reload") == {"applied": ["discovery.list"], "needs_restart": []}
    until("the seed is found", lambda: node.connected_to(seed))
    pid = node.json("status")["netcore"]["pid"]
    kill(pid)
    until("another network core runs", lambda: node.json("status")["netcore"].get("pid") not in (None, pid))
    until("it answers", lambda: "list" in sources(node))
    assert sources(node)["list"]["enabled"]
    file.write_text(before)
    assert node.json("reload")["applied"] == ["discovery.list"]
    until("the list is off", lambda: sources(node)["list"]["state"] == "off")


def test_sources_can_be_switched_off_and_say_why_they_fail(make_node: MakeNode) -> None:
    config = """
[discovery]
remembered = false
exchange = false
dht = false
dns_seeds = ["seed.test"]
resolver = "127.0.0.1:9"
[discovery.mainline]
enabled = true
port = 0
bootstrap = ["127.0.0.1:9"]
[peers]
low = 4
high = 8
"""
    node = make_node("a", config=config).start()
    found = sources(node)
    assert [name for name in SOURCES if found[name]["enabled"]] == ["dns", "mainline"]
    until("the name server is found wanting", lambda: sources(node)["dns"]["state"] == "failing")
    assert sources(node)["dns"]["problem"].startswith("seed.test: ")
    assert any("Mainline" in warning for warning in node.json("status")["warnings"])


def test_mistake_in_the_settings_is_told_with_its_place(make_node: MakeNode) -> None:
    node = make_node("a", config='[discovery]\ndns_seed = ["seed.test"]\n')
    checked = node.cli("config", "check")
    assert checked.code == 2, checked
    assert 'unknown key "dns_seed"' in checked.err
    assert 'did you mean "dns_seeds"?' in checked.err
    node = make_node("b", config="[peers]\nlow = 10\nhigh = 5\n")
    assert "low (10) is above high (5)" in node.cli("config", "check").err


def test_seed_only_node_starts_no_plugins_and_says_so(make_node: MakeNode, folder: Path) -> None:
    node = make_node("a").start()
    node.install(write_plugin(folder / "sleeper", SLEEPER))
    node.stop()
    node.start("--seed-only")
    status = node.json("status")
    assert any("--seed-only" in warning for warning in status["warnings"])
    assert [plugin["state"] for plugin in status["plugins"]] == ["stopped"]
    refused = node.cli("plugin", "start", "sleeper")
    assert refused.code == 4, refused
    assert "--seed-only" in refused.err
    assert "no plugins are started" in node.log.read_text()
    another = write_plugin(folder / "another", SLEEPER.replace("sleeper", "another"))
    installed = node.cli("plugin", "install", str(another), "--yes")
    assert installed.code == 0 and "it starts once the daemon runs without --seed-only" in installed.err, installed
    sent = node.cli("send", __file__)
    assert sent.code == 4 and "--seed-only" in sent.err and "plugin start" not in sent.err, sent
    checks = {check["name"]: check for check in node.cli("doctor", "--json").json["checks"]}
    assert checks["app files"]["result"] == checks["plugins"]["result"] == "ok", checks
    assert not any(check.get("remedy", "").startswith("`polypeer plugin start") for check in checks.values())
