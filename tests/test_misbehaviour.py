"""Misbehaving plugins harm only themselves: another plugin of the node answers requests throughout."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import PLUGINS
from harness import Node, until, write_plugin
from toolbox import OrderFailed, Toolbox

Pair = tuple[Toolbox, Toolbox]

MANIFEST = """
[plugin]
id = "{name}"
version = "1.0.0"
license = "MIT"
command = ["python3", "main.py"]

[permissions]
dial = ["tool/*"]
peers = "any"

[limits]
memory = "{memory}"

[restart]
policy = "{restart}"

[health]
ready = "none"
"""

# Beginning of every bad plugin: a socket connected to its gateway, its token, and functions for frames.
PRELUDE = """
import os, socket, struct, sys, time
PATH = os.environ["POLYPEER_GATEWAY"]
TOKEN = bytes.fromhex(os.environ["POLYPEER_TOKEN"])
DATA = os.environ["POLYPEER_DATA"]
def connect(timeout=20):
    s = socket.socket(socket.AF_UNIX); s.settimeout(timeout); s.connect(PATH); return s
def frame(body): return struct.pack("<I", len(body)) + body
def hello(token=TOKEN): return frame(struct.pack("<IQI", 0, 1, 1) + token)
def until_closed(s):
    got = b""
    try:
        while True:
            piece = s.recv(65536)
            if not piece: return got
            got += piece
    except ConnectionError: return got
def say(text):
    with open(os.path.join(DATA, "said.tmp"), "w") as file: file.write(text)
    os.rename(os.path.join(DATA, "said.tmp"), os.path.join(DATA, "said"))
    time.sleep(600)
"""

# Errors by which another's socket may keep a plugin out.
NO_WAY_IN = ("refused", "FileNotFoundError", "PermissionError", "ConnectionRefusedError")

BAD = {
    "garbage": "s = connect(); s.sendall(os.urandom(4096)); until_closed(s); say('closed')",
    "oversized_frame": "s = connect(); s.sendall(struct.pack('<I', 0xffffffff)); until_closed(s); say('closed')",
    "oversized_after_hello": (
        "s = connect(); s.sendall(hello()); s.recv(4096); s.sendall(struct.pack('<I', (1<<20)+1)); "
        "until_closed(s); say('closed')"
    ),
    "garbage_after_hello": (
        "s = connect(); s.sendall(hello()); s.recv(4096); s.sendall(frame(b'\\xff'*64)); until_closed(s); say('closed')"
    ),
    "half_a_frame": "s = connect(); s.sendall(hello()[:9]); until_closed(s); say('closed')",
    "wrong_token": "s = connect(); s.sendall(hello(b'\\0'*32)); got = until_closed(s); say('refused %d' % len(got))",
    "many_connections": (
        "held = []\ntry:\n    while len(held) < 5000: held.append(connect(1))\n"
        "except OSError: pass\nheld.pop()\nsay('held some')"
    ),
    "floods_and_never_reads": (
        "s = connect(); s.sendall(hello()); s.recv(4096); s.settimeout(3)\n"
        "ping = b''.join(frame(struct.pack('<IQI', 0, i, 8)) for i in range(1000))\n"
        "try:\n    while True: s.sendall(ping)\n"
        "except OSError: pass\n"
        "say('stuck')"
    ),
}


@pytest.fixture
def undisturbed(pair: Pair) -> Iterator[Pair]:
    """Two nodes whose toolboxes still answer each other at the end, from the same processes."""
    a, b = pair
    before = [(box.node.plugin("toolbox")["pid"], box.node.json("status")["netcore"]["pid"]) for box in pair]
    yield pair
    for asker, other in ((a, b), (b, a)):
        assert asker.do("request", peer=other.node.id, protocol="tool/echo", text="ab") == "ba"
    after = [(box.node.plugin("toolbox")["pid"], box.node.json("status")["netcore"]["pid"]) for box in pair]
    assert after == before, "something was restarted"


def bad_plugin(node: Node, body: str, *, name: str = "bad", memory: str = "64MiB", restart: str = "never") -> Path:
    """Installs a plugin with this program, and returns the file of its result."""
    folder = node.home.parent / name
    manifest = MANIFEST.format(name=name, memory=memory, restart=restart)
    write_plugin(folder, manifest, {"main.py": PRELUDE + body + "\n"})
    installed = node.cli("plugin", "install", str(folder), "--yes")
    # One that dies at once is not praised.
    assert installed.code == 0 or "did not start: killed" in installed.err, installed
    return node.home / "data" / name / "said"


def said(path: Path) -> str:
    """Waits for a bad plugin's result."""
    return until("the bad plugin has ended", lambda: path.read_text() if path.exists() else "")


@pytest.mark.parametrize("case", BAD)
def test_nonsense_at_the_gateway_hurts_only_its_plugin(case: str, undisturbed: Pair) -> None:
    a, b = undisturbed
    where = bad_plugin(a.node, BAD[case])
    assert a.do("request", peer=b.node.id, protocol="tool/echo", text="ab") == "ba"
    assert said(where)


def test_protocol_without_a_grant_is_refused(undisturbed: Pair) -> None:
    a, b = undisturbed
    with pytest.raises(OrderFailed, match="NotAllowed: not granted"):
        a.do("listen", protocol="other/1")
    with pytest.raises(OrderFailed, match="NotAllowed: not granted"):
        a.do("request", peer=b.node.id, protocol="other/1", text="ab")
    with pytest.raises(OrderFailed, match="not served"):
        a.do("request", peer=b.node.id, protocol="tool/none", text="ab")


def test_local_protocol_is_not_reachable_from_a_peer(undisturbed: Pair) -> None:
    a, b = undisturbed
    with pytest.raises(OrderFailed):
        a.do("request", peer=b.node.id, protocol="toollocal/1", text="ab")


def environment(pid: int) -> dict[str, str]:
    """Returns a process's environment."""
    text = Path(f"/proc/{pid}/environ").read_bytes().decode()
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)


def test_socket_and_token_of_another_plugin_are_of_no_use(undisturbed: Pair) -> None:
    """Gives the bad plugin the other's socket and token, as if it had guessed them."""
    a, _ = undisturbed
    theirs = environment(a.node.plugin("toolbox")["pid"])
    body = f"""
told = []
try:
    s = socket.socket(socket.AF_UNIX); s.connect({theirs["POLYPEER_GATEWAY"]!r}); s.settimeout(20)
    # Where each plugin sees its socket at the same path, this is its own one: the other's token must be refused.
    s.sendall(hello(bytes.fromhex({theirs["POLYPEER_TOKEN"]!r})))
    answer = until_closed(s)
    told.append("refused" if answer[4:8] == struct.pack("<I", 0) else "welcomed")
except OSError as error: told.append(type(error).__name__)
say(" ".join(told))
"""
    assert said(bad_plugin(a.node, body)) in (
        "refused",
        "FileNotFoundError",
        "PermissionError",
        "ConnectionRefusedError",
    )


def test_plugin_cannot_use_the_control_socket(undisturbed: Pair) -> None:
    a, _ = undisturbed
    home = a.node.home
    assert "read" not in a.do("try_path", path=str(home / "run" / "control.key"))
    assert "read" not in a.do("try_path", path=str(home / "identity.key"))
    assert "read" not in a.do("try_path", path=str(home / "state.db"))
    secret = (home / "run" / "control.key").read_text().strip()
    body = f"""
import json
told = "nothing"
try:
    s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect({str(home / "run" / "control.sock")!r})
    s.sendall(frame(json.dumps({{"secret": {secret!r}, "version": 1}}).encode()))
    s.sendall(frame(json.dumps("shutdown").encode()))
    answer = until_closed(s)
    told = "refused" if b"plugin" in answer or not answer else repr(answer)
except OSError as error: told = type(error).__name__
say(told)
"""
    answer = said(bad_plugin(a.node, body))
    assert answer in NO_WAY_IN, answer


def test_control_socket_wants_the_secret(undisturbed: Pair) -> None:
    """Uses a process of the same user that is no plugin and does not know the secret."""
    a, _ = undisturbed
    body = json.dumps({"secret": "00" * 32, "version": 1}).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(a.node.home / "run" / "control.sock"))
        connection.sendall(len(body).to_bytes(4, "little") + body)
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
    assert b"node_id" not in answer
    key = a.node.home / "run" / "control.key"
    assert key.stat().st_mode & 0o077 == 0


def toolbox_as(name: str, serve: str, folder: Path) -> Path:
    """Copies the toolbox under another name and protocol."""
    plugin = shutil.copytree(PLUGINS / "toolbox", folder / name)
    manifest = (plugin / "plugin.toml").read_text()
    served = next(line for line in manifest.splitlines() if line.startswith("serve ="))
    manifest = manifest.replace(served, f"serve = {serve}").replace('serve_local = ["toollocal/1"]', "")
    (plugin / "plugin.toml").write_text(manifest.replace('id = "toolbox"', f'id = "{name}"'))
    return plugin


def test_streams_that_are_never_read_stop_only_their_plugin(undisturbed: Pair, folder: Path) -> None:
    a, b = undisturbed
    a.node.install(toolbox_as("greedy", "[]", folder))
    b.node.install(toolbox_as("source", '["tool/source"]', folder))
    greedy = Toolbox(a.node, "greedy").ready()
    Toolbox(b.node, "source").ready()
    done = greedy.do("open_many", timeout_s=120, peer=b.node.id, protocol="tool/source", count=2000)
    assert done["opened"] < 2000
    assert "too many streams" in done["error"]
    assert a.do("transfer", peer=b.node.id, protocol="tool/duplex", size=8 << 20, seed=4)["received"]


def test_plugin_over_its_memory_is_stopped_with_the_reason_in_words(undisturbed: Pair) -> None:
    a, b = undisturbed
    traffic = a.start("transfer", timeout_s=120, peer=b.node.id, protocol="tool/duplex", size=256 << 20, seed=9)
    bad_plugin(a.node, "held = []\nwhile True: held.append(os.urandom(1 << 20))", name="hog", memory="48MiB")
    info = until("the hog is stopped", lambda: ended(a.node, "hog"))
    assert "out of memory" in info["exit_reason"]
    assert "48 MiB" in info["exit_reason"]
    done = traffic.result()
    assert done["sent"]
    assert done["received"]


def test_fork_bomb_is_held_by_its_limit(undisturbed: Pair) -> None:
    a, _ = undisturbed
    body = """
count = 0
try:
    while count < 5000:
        if os.fork() == 0: time.sleep(600)
        count += 1
except OSError: pass
say(str(count))
"""
    assert int(said(bad_plugin(a.node, body, name="forker"))) <= 64


def test_plugin_that_always_crashes_is_given_up_with_a_reason(undisturbed: Pair) -> None:
    a, _ = undisturbed
    folder = write_plugin(
        a.node.home.parent / "crasher",
        MANIFEST.format(name="crasher", memory="64MiB", restart="on-failure"),
        {"main.py": "raise SystemExit(7)\n"},
    )
    installed = a.node.cli("plugin", "install", str(folder), "--yes")
    assert (installed.code, "crasher did not start: exited with status 7" in installed.err) == (1, True)
    info = until("it waits or is given up", lambda: in_states(a.node, "crasher", "backoff", "failed"))
    assert "7" in info["exit_reason"]


def in_states(node: Node, plugin: str, *states: str) -> Any:
    """Returns the plugin's info once it is in one of the states with a reason."""
    info = node.plugin(plugin)
    return info if info["state"] in states and info.get("exit_reason") else None


def ended(node: Node, plugin: str) -> Any:
    """Returns the plugin's info once it has ended."""
    return in_states(node, plugin, "stopped", "failed", "backoff")
