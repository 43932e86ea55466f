"""A plugin that hangs is restarted, and one that is stopped is told before it gets SIGTERM."""

from __future__ import annotations

from typing import Any

from conftest import MakeNode
from harness import Node, until, write_plugin
from test_misbehaviour import PRELUDE

# The code `shutting down` of ipc-protocol/SPEC.md.
SHUTTING_DOWN = 65556

MANIFEST = """
[plugin]
id = "{name}"
version = "1.0.0"
license = "MIT"
command = ["python3", "main.py"]

[health]
{health}
"""

# Blocks its event loop once it finds a file.
BLOCKS = """
import asyncio, os, pathlib, time
import polypeer

async def main():
    async with polypeer.connect():
        block = pathlib.Path(os.environ["POLYPEER_DATA"], "block")
        while not block.exists():
            await asyncio.sleep(0.05)
        block.unlink()
        time.sleep(600)

asyncio.run(main())
"""

# Says which code `Closing` had, and whether it was there when SIGTERM came.
STOPPED = """
import select, signal
def say(text):
    with open(os.path.join(DATA, "new"), "w") as file: file.write(text)
    os.rename(os.path.join(DATA, "new"), os.path.join(DATA, "said"))
order = []
def term(*_):
    order.append("closing, then SIGTERM" if order or select.select([s], [], [], 0)[0] else "SIGTERM")
s = connect(timeout=None); s.sendall(hello())
length = struct.unpack("<I", s.recv(4))[0]
while length: length -= len(s.recv(length))
signal.signal(signal.SIGTERM, term)
say("runs")
frame, event, code = struct.unpack_from("<III", until_closed(s), 4)
order.append(f"frame {frame} event {event} code {code}")
while not any("SIGTERM" in one for one in order): time.sleep(0.01)
say("; ".join(sorted(order)))
"""


def restarted(node: Node, plugin: str, old_pid: int) -> Any:
    """Returns the plugin's info once it runs as another process."""
    info = node.plugin(plugin)
    return info if info["state"] == "ready" and info["pid"] != old_pid else None


def test_plugin_whose_event_loop_is_blocked_is_restarted(make_node: MakeNode) -> None:
    node = make_node("a").start()
    health = 'live = "session"\nlive_every = "1s"'
    node.install(
        write_plugin(node.home.parent / "blocks", MANIFEST.format(name="blocks", health=health), {"main.py": BLOCKS})
    )
    before = node.plugin("blocks")
    assert before["not_enforced"] == []
    (node.home / "data" / "blocks" / "block").touch()
    silent = until("it is told that it does not answer", lambda: node.plugin("blocks").get("note"))
    assert "has not answered for" in silent
    info = until("it is restarted", lambda: restarted(node, "blocks", before["pid"]))
    assert info["exit_reason"] == "did not answer for 3 s: killed; is its event loop blocked?"
    assert info["restarts"] == 1


def test_plugin_is_told_of_its_stop_before_it_gets_sigterm(make_node: MakeNode) -> None:
    node = make_node("a").start()
    manifest = MANIFEST.format(name="stopped", health='stop_timeout = "20s"')
    node.install(write_plugin(node.home.parent / "stopped", manifest, {"main.py": PRELUDE + STOPPED}))
    said = node.home / "data" / "stopped" / "said"
    until("it runs", lambda: said.exists() and said.read_text() == "runs")
    stopping = node.start_cli("plugin", "stop", "stopped")
    told = until("it was stopped", lambda: said.read_text() != "runs" and said.read_text())
    assert told == f"closing, then SIGTERM; frame 1 event 8 code {SHUTTING_DOWN}"
    assert stopping.wait(30) == 0
