"""The daemon and whoever runs it: its control socket, signals, readers that go, configuration and logs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import shutil
import signal
import stat
import subprocess
import termios
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeNode
from harness import SLEEPER, Node, until, write_plugin


def test_removed_control_socket_is_put_back(make_node: MakeNode) -> None:
    node = make_node("a").start()
    for name in ("control.sock", "control.key"):
        (node.home / "run" / name).unlink()
        assert node.cli("status").ok().code == 0
    metrics = node.home / "run" / "metrics.sock"
    metrics.unlink()
    until("metrics can be read again", metrics.exists)
    assert "was removed by somebody" in node.cli("logs").ok().out


def test_daemon_that_does_not_listen_is_told_from_none(make_node: MakeNode) -> None:
    node = make_node("a").start()
    assert node.daemon is not None
    node.daemon.send_signal(signal.SIGSTOP)
    (node.home / "run" / "control.sock").unlink()
    told = node.cli("status")
    node.daemon.send_signal(signal.SIGCONT)
    assert told.code == 1, told
    assert f"the daemon (pid {node.daemon.pid}) runs on {node.home}" in told.err
    assert "no daemon runs" not in told.err
    assert node.cli("status").ok().code == 0


def test_second_daemon_is_refused_although_the_lock_was_removed(make_node: MakeNode) -> None:
    node = make_node("a").start()
    lock = node.home / "run" / "daemon.lock"
    lock.unlink()
    until("the home is locked again", lock.exists)
    second = node.cli("run")
    assert second.code == 1, second
    assert "already runs" in second.err
    assert f"polypeer --home {node.home} shutdown" in second.err


def test_home_may_be_reached_by_a_symbolic_link(make_node: MakeNode, folder: Path) -> None:
    (folder / "real").mkdir(mode=0o700)
    (folder / "link").symlink_to("real")
    node = make_node("link/home").start()
    assert (folder / "real" / "home" / "state.db").exists()
    assert node.cli("doctor").out.count("PROBLEM") == 0


def test_daemon_outlives_the_reader_of_its_output(make_node: MakeNode, folder: Path) -> None:
    node = make_node("a")
    reader, writer = os.pipe()
    node.daemon = subprocess.Popen(node.command("run"), stdin=subprocess.DEVNULL, stdout=writer, stderr=writer)
    os.close(writer)
    with open(reader, "rb") as lines:
        assert lines.readline()
    until("it is ready", node.netcore_ready)
    node.install(write_plugin(folder / "sleeper", SLEEPER))
    assert node.cli("plugin", "restart", "sleeper").ok().code == 0
    warned = until("it says so", lambda: [text for text in node.json("status")["warnings"] if "dropped" in text])
    assert "polypeer logs" in warned[0]
    assert "plugin sleeper: ready" in node.cli("logs").ok().out
    assert node.cli("shutdown").ok().code == 0
    assert node.daemon.wait() == 0


def test_stuck_reader_of_the_output_stops_nothing(make_node: MakeNode, folder: Path) -> None:
    node = make_node("a")
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    node.daemon = subprocess.Popen(node.command("run"), stdin=subprocess.DEVNULL, stdout=writer, stderr=writer)
    os.close(writer)
    until("it is ready", node.netcore_ready)
    node.install(write_plugin(folder / "sleeper", SLEEPER))
    assert node.cli("shutdown").ok().code == 0
    assert node.daemon.wait() == 0
    os.close(reader)


def test_daemon_outlives_its_terminal(make_node: MakeNode) -> None:
    node = make_node("a")
    master, slave = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    streams: dict[str, Any] = {"stdin": slave, "stdout": slave, "stderr": slave}
    node.daemon = subprocess.Popen(node.command("run"), preexec_fn=take_terminal, **streams)
    os.close(slave)
    shown = b""
    while b"is ready" not in shown:
        shown += os.read(master, 4096)
    os.close(master)
    until("it was hung up", lambda: "the configuration was read again" in node.cli("logs").ok().out)
    assert node.netcore_ready()
    assert node.cli("shutdown").ok().code == 0
    assert node.daemon.wait() == 0


def test_hangup_stays_ignored_under_nohup(make_node: MakeNode) -> None:
    node = make_node("a")
    with node.log.open("ab") as log:
        streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
        node.daemon = subprocess.Popen(["nohup", *node.command("run")], **streams)
    until("it is ready", node.netcore_ready)
    status = Path(f"/proc/{node.daemon.pid}/status").read_text()
    ignored = int(next(line for line in status.splitlines() if line.startswith("SigIgn")).split()[1], 16)
    assert ignored & 1 << (signal.SIGHUP - 1)
    node.daemon.send_signal(signal.SIGHUP)
    assert node.netcore_ready()
    assert "read again" not in node.cli("logs").ok().out


def shown(node: Node, key: str) -> tuple[object, str]:
    """The value of a setting and where it comes from."""
    setting = next(setting for setting in node.json("config", "show") if setting["key"] == key)
    return setting["value"], setting["source"]


def test_configuration_is_read_again(make_node: MakeNode, folder: Path) -> None:
    node = make_node("a")
    node.start("--listen", "127.0.0.1:0", "-v")
    node.install(write_plugin(folder / "sleeper", SLEEPER))
    file = node.home / "config.toml"
    before = file.read_text()
    assert all(set(setting) == {"key", "value", "source"} for setting in node.json("config", "show"))
    assert shown(node, "listen") == (["127.0.0.1:0"], "flag")
    assert shown(node, "log.level") == ("debug", "flag")
    assert shown(node, "bundled_apps") == (False, "file")
    assert shown(node, "discovery.dht") == (True, "default")

    file.write_text(f'network = "other"\n{before}[limits]\npids = 9\n')
    told = node.json("reload")
    assert told == {"applied": ["limits.pids"], "needs_restart": ["network"]}
    assert node.plugin("sleeper")["limits"]["pids"] == 9
    assert shown(node, "limits.pids") == (9, "file")
    assert shown(node, "network") == ("main", "default")

    file.write_text(f"{before}[limits]\npids = 0\n")
    refused = node.cli("reload")
    assert refused.code == 2
    line = before.count("\n") + 2
    assert f"config.toml:{line}:1: 0 is out of range" in refused.err
    assert node.plugin("sleeper")["limits"]["pids"] == 9

    assert node.daemon is not None
    node.daemon.send_signal(signal.SIGHUP)
    until("the mistake is logged", lambda: f"config.toml:{line}:1" in node.cli("logs").ok().out)
    file.write_text(before)
    node.daemon.send_signal(signal.SIGHUP)
    until("the file is read", lambda: shown(node, "limits.pids")[1] == "default")
    node.stop()
    assert shown(node, "listen") == (["127.0.0.1:0"], "file")


def test_logs_have_levels_one_time_and_no_reader_but_their_owner(make_node: MakeNode) -> None:
    node = make_node("a").start()
    for path in (node.home / "logs").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    logged = until("both have logged", lambda: (lines := node.json("logs")["lines"])[3:] and lines)
    assert all(set(line) == {"time", "level", "target", "message"} for line in logged)
    assert {line["target"] for line in logged} == {"daemon", "netcore"}
    core = node.cli("logs", "--netcore").ok().out
    assert " INFO  " in core
    assert "err |" not in core
    assert core.count("Z ") == len(core.splitlines()), "one time a line"

    assert node.json("log-level") == {"level": "info", "targets": {}}
    assert node.json("log-level", "netcore=trace")["targets"] == {"netcore": "trace"}
    assert shown(node, "log.targets") == ({"netcore": "trace"}, "flag")
    until(
        "the core says more", lambda: any(line["target"].startswith("netcore::") for line in node.json("logs")["lines"])
    )
    assert node.json("log-level", "default") == {"level": "info", "targets": {}}
    assert node.cli("log-level", "chat=debug").code == 2


def test_log_has_the_form_that_was_asked_for(make_node: MakeNode) -> None:
    node = make_node("a", config='[log]\nformat = "json"\n').start()
    node.stop()
    lines = [json.loads(line) for line in node.log.read_text().splitlines()]
    assert any("is ready" in line["message"] for line in lines)
    assert {line["target"].split("::")[0] for line in lines} == {"daemon", "netcore"}
    assert all(set(line) >= {"time", "level", "target", "message"} for line in lines)

    node = make_node("b")
    node.log.touch()
    found = node.log.stat()
    node.spawn(env={"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
    until("it is ready", node.netcore_ready)
    node.stop()
    lines = node.log.read_text().splitlines()
    assert lines
    assert all(line[:3] in ("<3>", "<4>", "<6>") for line in lines), lines


@pytest.mark.parametrize("arguments", [("logs",), ("plugin", "logs", "sleeper")])
def test_followed_log_ends_with_its_reader(make_node: MakeNode, folder: Path, arguments: tuple[str, ...]) -> None:
    node = make_node("a").start()
    node.install(write_plugin(folder / "sleeper", SLEEPER))
    until("it has logged", lambda: node.cli(*arguments).ok().out)
    follower = node.start_cli(*arguments, "-f")
    assert follower.stdout is not None
    assert follower.stdout.readline()
    follower.stdout.close()
    assert follower.wait(30) == 0


def test_id_needs_no_daemon(make_node: MakeNode) -> None:
    node = make_node("a").start()
    known = node.cli("id").ok().out
    node.stop()
    assert node.cli("id").ok().out == known
    told = node.cli("ticket")
    assert told.code == 3
    assert known.strip() in told.err


def test_first_start_says_what_is_open_and_how_to_close_it(make_node: MakeNode) -> None:
    node = make_node("a", bundled_apps=True).start()
    until("it is said", lambda: "is ready" in node.log.read_text())
    said = node.log.read_text()
    assert "accept any peer" in said
    assert f"polypeer --home {node.home} status" in said
    until("chat is installed", lambda: node.cli("plugin", "info", "chat").code == 0)
    assert node.json("plugin", "grants", "chat")["peers"] == "any"
    other = "y" * 52
    narrowed = node.json("plugin", "grants", "chat", "--peers", "list", "--add-peer", other)
    assert narrowed["peers"] == [other]
    assert node.json("plugin", "grants", "chat", "--peers", "any")["peers"] == "any"
    node.stop()
    node.log.unlink()
    node.start()
    assert "accept any peer" not in node.log.read_text(), "the first start only"


def test_removed_bundled_app_comes_back_by_its_name(make_node: MakeNode) -> None:
    node = make_node("a", bundled_apps=True).start()
    removed = node.cli("plugin", "remove", "chat", "--yes").ok()
    assert f"`polypeer --home {node.home} plugin install chat`" in removed.err
    assert node.cli("plugin", "info", "chat").code != 0
    unknown = node.cli("plugin", "install", "chta", "--yes")
    assert unknown.code == 2
    assert "the bundled apps are chat, files" in unknown.err
    node.cli("plugin", "install", "chat", "--yes").ok()
    assert node.plugin("chat")["source"] == "bundled"


def test_same_app_from_elsewhere_is_the_operators_until_it_is_installed_by_its_name(
    make_node: MakeNode, folder: Path
) -> None:
    node = make_node("a", bundled_apps=True).start()
    before = node.wait_plugin("chat")
    copied = shutil.copytree(node.home / "plugins" / "chat", folder / "chat")
    node.install(copied)
    mine = node.plugin("chat")
    assert (mine["source"], mine["digest"]) == (str(copied), before["digest"])
    node.cli("plugin", "install", "chat", "--yes").ok()
    again = node.plugin("chat")
    assert (again["source"], again["pid"]) == ("bundled", before["pid"]), "without a restart"


def test_peers_that_come_and_go_are_in_the_log(make_node: MakeNode) -> None:
    a, b = make_node("a").start(), make_node("b").start()
    a.meet(b)
    name = b.id
    b.stop()

    def told(word: str) -> bool:
        lines = (line for line in a.json("logs")["lines"] if line["target"] == "netcore" and line["level"] == "info")
        return any(name in line["message"] and word in line["message"] for line in lines)

    until("its coming is told", lambda: told("connected"))
    until("its going is told", lambda: told("lost"))
