"""Where the app's modules and the SDK are, and a world of two nodes with the app on each."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

APP = Path(__file__).resolve().parents[1]
SDK = APP.parents[2] / "sdk-python"
sys.path[:0] = [str(APP), str(SDK), str(SDK / "tests")]

LIMIT = 60
"""Seconds after which a hanging test fails."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    """Runs `async def` tests, each in a loop of its own; `world` is started and stopped inside it."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in names}

    async def run() -> None:
        world = arguments.get("world")
        if world is not None:
            await world.start()
        try:
            await asyncio.wait_for(pyfuncitem.obj(**arguments), LIMIT)
        finally:
            if world is not None:
                await world.stop()

    asyncio.run(run())
    return True


@pytest.fixture
def world() -> Iterator[Any]:
    """The SDK's fake network core with the app's launches 0 and 1 on two nodes, and an operator on each (2 and 3)."""
    fake = importlib.import_module("fake_netcore")
    with tempfile.TemporaryDirectory(prefix="pp-") as folder:
        core = fake.FakeNetcore(Path(folder))
        for node, plugin in ((1, "chat"), (2, "chat"), (1, "operator"), (2, "operator")):
            core.launch(node, plugin)
        yield core


async def eventually(condition: Callable[[], object], what: str = "condition") -> None:
    """Waits until `condition()` is true; fails after 10 s."""
    deadline = asyncio.get_running_loop().time() + 10
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not come true"
        await asyncio.sleep(0.005)
