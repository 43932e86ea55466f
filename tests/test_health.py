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

# Blocks its event loop once something is written to a named pipe.
BLOCKS = """
import asyncio, os, pathlib, time
import polypeer

async def main():
    block = pathlib.Path(os.environ["POLYPEER_DATA"], "block")
    block.unlink(missing_ok=True)
    os.mkfifo(block)
    written = os.open(block, os.O_RDONLY | os.O_NONBLOCK)
    asyncio.get_running_loop().add_reader(written, time.sleep, 600)
    async with polypeer.connect():
        await asyncio.Event().wait()

asyncio.run(main())
"""

# Says which code `Closing` had, and whether it was there when SIGTERM came.
STOPPED = """
import select, signal
def say(text):
    with open(os.path.join(DATA, "new"), "w") as file: file.write(text)
    os.rename(os.path.join(DATA, "new"), os.path.join(DATA, "said"))
order = []
wait, came = os.pipe()
def term(*_):
    order.append("closing, then SIGTERM" if order or select.select([s], [], [], 0)[0] else "SIGTERM")
    os.write(came, b"x")
s = connect(timeout=None); s.sendall(hello())
length = struct.unpack("<I", s.recv(4))[0]
while length: length -= len(s.recv(length))
signal.signal(signal.SIGTERM, term)
say("runs")
frame, event, code = struct.unpack_from("<III", until_closed(s), 4)
order.append(f"frame {frame} event {event} code {code}")
os.read(wait, 1)
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
    (node.home / "data" / "blocks" / "block").write_text("now")
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
