"""Fixtures: a world with a fake network core, and asynchronous tests without a plugin for them."""

from __future__ import annotations

import asyncio
import inspect
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fake_netcore import FakeNetcore

TEST_LIMIT = 60
"""Seconds after which a hanging test fails."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    """Runs `async def` tests, each in a loop of its own; the `world` fixture is started and stopped inside it."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in names}

    async def run() -> None:
        world = arguments.get("world")
        if isinstance(world, FakeNetcore):
            await world.start()
        try:
            await asyncio.wait_for(pyfuncitem.obj(**arguments), TEST_LIMIT)
        finally:
            if isinstance(world, FakeNetcore):
                await world.stop()

    asyncio.run(run())
    return True


@pytest.fixture
def world() -> Any:
    """A fake network core with two launches on two nodes: `world.launches[0]` and `[1]`."""
    with tempfile.TemporaryDirectory(prefix="pp-") as folder:
        core = FakeNetcore(Path(folder))
        core.launch(1, "alpha")
        core.launch(2, "beta")
        yield core


async def eventually(condition: Callable[[], object], what: str = "condition") -> None:
    """Waits until `condition()` is true; fails after 10 s."""
    deadline = asyncio.get_running_loop().time() + 10
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not come true"
        await asyncio.sleep(0.005)


async def soon(awaitable: Awaitable[Any], seconds: float = 10) -> Any:
    """The result, or a failure when it takes unreasonably long."""
    return await asyncio.wait_for(awaitable, seconds)
