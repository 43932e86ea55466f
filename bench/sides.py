"""What can be measured: contender programs, and pairs of nodes with the measured plugin. Both take orders: an operation
with numbers, answered by the seconds that it took.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Optional, Protocol

from runner import ROOT, Missing

sys.path.insert(0, str(ROOT / "tests"))

from harness import BIN
from harness import Node as Node
from harness import kill as kill
from harness import mentions as mentions
from toolbox import Order, Toolbox

HERE = Path(__file__).resolve().parent
BUILT = HERE / "target" / "release"
# This project at the commit that everything is compared with; `scripts/bench` reads the commit here and builds it.
BASELINE_COMMIT = "2a725b6"
BASELINE = HERE / "target" / f"baseline-{BASELINE_COMMIT}" / "source"
# No order may take longer.
ORDER_S = 180.0


class Orders(Protocol):
    """What carries out orders."""

    def __call__(self, op: str, **arguments: Any) -> list[float]:
        """Carries out an order and returns seconds: of the whole, or of each one."""


def built(program: Path) -> Path:
    """Returns a program's path. Raises Missing if it was not built."""
    if not program.exists():
        raise Missing(f"not built: {program.name}")
    return program


def serve(stack: contextlib.ExitStack, *command: object) -> tuple[subprocess.Popen[str], str]:
    """Starts a server, and returns it with the line that it prints: its address."""
    server = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    stack.callback(end, server)
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    if not address:
        raise RuntimeError(f"{command[0]} ended before it served")
    return server, address


def end(process: subprocess.Popen[Any]) -> None:
    """Kills a process and waits for its end."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


class Driver:
    """A contender's driver, connected to its server. `server` is the server's process, if the contender has its own."""

    server: subprocess.Popen[str]

    def __init__(self, stack: contextlib.ExitStack, program: str, *arguments: str) -> None:
        """Starts both processes. Raises Missing if the program was not built."""
        path = built(BUILT / f"contender-{program}")
        self.server, address = serve(stack, path, "serve", *arguments)
        self._start(stack, path, *arguments, address)

    @classmethod
    def to(cls, stack: contextlib.ExitStack, path: Path, *arguments: str) -> Driver:
        """Starts only the driver, on what something else serves."""
        driver = cls.__new__(cls)
        driver._start(stack, path, *arguments)
        return driver

    def _start(self, stack: contextlib.ExitStack, path: Path, *arguments: str) -> None:
        self._driver = subprocess.Popen(
            [path, "drive", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        stack.callback(end, self._driver)

    def __call__(self, op: str, **arguments: Any) -> list[float]:
        """Carries out an order."""
        assert self._driver.stdin is not None and self._driver.stdout is not None
        self._driver.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
        self._driver.stdin.flush()
        # Ends a wait that nothing else would.
        alarm = threading.Timer(ORDER_S, self._driver.kill)
        alarm.start()
        try:
            line = self._driver.stdout.readline()
        finally:
            alarm.cancel()
        if not line:
            raise RuntimeError(f"the driver ended during {op}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        seconds: list[float] = answer["result"]
        return seconds


MANIFEST = """[plugin]
id = "{name}"
version = "0.1.0"
description = "Does the work of the benchmark, when told to"
license = "MIT OR Apache-2.0"
command = ["./plugin", "{name}/1", "{scope}"]

[permissions]
{serve} = ["{name}/1"]
dial = ["bench/1", "local/1", "bulk/1"]
peers = "any"

[limits]
cpu = "800%"
"""


class Build:
    """The binaries of one state of the project, and the measured plugin that belongs to them."""

    def __init__(self, binaries: Path, plugin: Path) -> None:
        """Names them; they need not exist yet."""
        self.binaries = binaries
        self._plugin = plugin

    @property
    def program(self) -> Path:
        """The daemon and command line."""
        return built(self.binaries / "polypeer")

    def plugin(self, folder: Path, name: str = "bench", scope: str = "peers") -> Path:
        """Makes the folder of a measured plugin that serves `NAME/1` to peers or to local plugins, and returns it."""
        made = folder / name
        made.mkdir()
        serve = "serve" if scope == "peers" else "serve_local"
        (made / "plugin.toml").write_text(MANIFEST.format(name=name, scope=scope, serve=serve))
        shutil.copy(built(self._plugin), made / "plugin")
        return made


OURS = Build(BIN, BUILT / "plugin")
BASE = Build(BASELINE / "target" / "release", BASELINE / "bench" / "target" / "release" / "plugin")


class Pair:
    """Two nodes that are connected, each with the measured plugin."""

    def __init__(self, stack: contextlib.ExitStack, build: Build, *more: str, config: str = "") -> None:
        """Starts them. Each name in `more` is a further plugin: `local` on the first node, `bulk` on both. `config` is
        appended to `config.toml`.
        """
        folder = scratch(stack)
        plugins = [build.plugin(folder, name, "local" if name == "local" else "peers") for name in ("bench", *more)]
        self.nodes = [Node(folder / name, program=build.program, config=config) for name in ("a", "b")]
        for node in self.nodes:
            stack.callback(node.stop)
            node.start()
            for plugin in plugins:
                node.install(plugin)
        self.nodes[0].meet(self.nodes[1])
        self.peer = self.nodes[1].id
        self.boxes = {name: Toolbox(self.nodes[0], name).ready() for name in ("bench", *more)}

    def __call__(self, op: str, **arguments: Any) -> list[float]:
        """Carries out an order of the first node's plugin `bench`, with its twin unless told otherwise."""
        return self.order("bench", op, **arguments)

    def order(self, plugin: str, op: str, **arguments: Any) -> list[float]:
        """Carries out an order of one of the first node's plugins."""
        seconds: list[float] = self.start(plugin, op, **arguments).result()
        return seconds

    def start(self, plugin: str, op: str, **arguments: Any) -> Order:
        """Starts such an order."""
        whole = {"peer": self.peer, "protocol": f"{plugin}/1", **arguments}
        return self.boxes[plugin].start(op, ORDER_S, **whole)


def scratch(stack: contextlib.ExitStack, where: Optional[str] = None) -> Path:
    """Makes a folder that is removed in the end."""
    folder = Path(tempfile.mkdtemp(prefix="pp-", dir=where))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return folder
