"""Fixtures of the end-to-end tests: nodes that are stopped after each test and leave nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import POLYPEER, ROOT, Node, nothing_left, until
from toolbox import Toolbox

# What the programs under test look at, as whoever runs the tests has it; a test that is about one sets it.
for looked_at in ("CI", "CLICOLOR_FORCE", "JOURNAL_STREAM", "NO_COLOR", "NOTIFY_SOCKET", "SUDO_UID"):
    os.environ.pop(looked_at, None)
os.environ.setdefault("HOME", str(Path.home()))  # the Go toolchain needs one
# Under nohup, hang-ups are ignored, and by what is started as well; what is caught here is not ignored there.
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

PLUGINS = ROOT / "tests" / "plugins"
MakeNode = Callable[..., Node]


def pytest_sessionstart() -> None:
    """Fails early if something is not built."""
    if not POLYPEER.exists():
        pytest.exit(f"{POLYPEER} is not built; run `make build`, or set POLYPEER_BIN", returncode=2)


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder with a short path, because sockets lie below it."""
    made = Path(tempfile.mkdtemp(prefix="pp-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def make_node(folder: Path, request: pytest.FixtureRequest) -> Iterator[MakeNode]:
    """A function that makes nodes by name. At the end all are stopped, and none may leave anything behind."""
    nodes: list[Node] = []

    def make(name: str, **options: Any) -> Node:
        node = Node(folder / name, **options)
        nodes.append(node)
        return node

    yield make
    left = []
    for node in nodes:
        running = node.daemon is not None
        node.stop(force=False)
        if running:
            try:
                until(f"nothing of {node.home.name} is left", partial(nothing_left, node), 5)
            except AssertionError as error:
                left.append(str(error))
        node.sweep()
        if os.environ.get("POLYPEER_TEST_LOGS"):
            print(f"--- {node.home.name}\n{node.log.read_text(errors='replace') if node.log.exists() else ''}")
    assert not left, f"left after an ordered stop: {left}"


@pytest.fixture
def lan() -> str:
    """A network name used by no other test."""
    return "test-" + uuid.uuid4().hex[:12]


@pytest.fixture
def pair(make_node: MakeNode) -> tuple[Toolbox, Toolbox]:
    """Two connected nodes, each with the Python toolbox."""
    boxes = []
    for name in ("a", "b"):
        node = make_node(name).start()
        node.install(PLUGINS / "toolbox")
        boxes.append(Toolbox(node).ready())
    boxes[0].node.meet(boxes[1].node)
    return boxes[0], boxes[1]


@pytest.fixture(scope="session")
def go_plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built Go toolbox as a plugin's folder."""
    made = tmp_path_factory.mktemp("go") / "toolbox-go"
    made.mkdir()
    shutil.copy(PLUGINS / "toolbox-go" / "plugin.toml", made)
    build = ["go", "build", "-trimpath", "-o", str(made / "toolbox-go"), "."]
    subprocess.run(build, cwd=PLUGINS / "toolbox-go", check=True, env={**os.environ, "CGO_ENABLED": "0"})
    return made


@pytest.fixture
def go_pair(make_node: MakeNode, go_plugin: Path) -> tuple[Toolbox, Toolbox]:
    """Two connected nodes, each with the Go toolbox."""
    boxes = []
    for name in ("a", "b"):
        node = make_node(name).start()
        node.install(go_plugin)
        boxes.append(Toolbox(node, "toolbox-go").ready())
    boxes[0].node.meet(boxes[1].node)
    return boxes[0], boxes[1]
