"""Fixtures: worlds of network cores, and asynchronous tests without a pytest plugin."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

import polypeer
import real_netcore
from fake_netcore import FakeNetcore

TEST_LIMIT = 120
"""Seconds after which a hanging test fails."""
T = TypeVar("T")


class LaunchLike(Protocol):
    """A plugin launch, as tests use it."""

    node: bytes
    plugin: str
    path: str

    @property
    def token_text(self) -> str: ...


class World(Protocol):
    """Two nodes: launches 0 and 2 are plugins of the first, launch 1 of the second."""

    @property
    def launches(self) -> Any: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def start_node(self, node: bytes) -> None: ...
    async def kill_node(self, node: bytes) -> None: ...


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    """Runs `async def` tests, each in a loop of its own; worlds are started and stopped inside it."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in names}
    world: World | None = arguments.get("world") or arguments.get("any_world")

    async def run() -> None:
        if world is not None:
            await world.start()
        try:
            await asyncio.wait_for(pyfuncitem.obj(**arguments), TEST_LIMIT)
        finally:
            if world is not None:
                await world.stop()

    asyncio.run(run())
    return True


@pytest.fixture
def world() -> Iterator[FakeNetcore]:
    """A world with the fake network core."""
    with tempfile.TemporaryDirectory(prefix="pp-") as folder, contextlib.closing(FakeNetcore(Path(folder))) as core:
        for node, plugin in ((1, "alpha"), (2, "beta"), (1, "gamma")):
            core.launch(node, plugin)
        yield core


@pytest.fixture
def real_world() -> Iterator[real_netcore.RealWorld]:
    """A world of real network cores; skipped where none is built."""
    binary = real_netcore.find_binary("polypeer-netcore")
    if binary is None:
        pytest.skip("polypeer-netcore is not built")
    with tempfile.TemporaryDirectory(prefix="pp-") as folder:
        yield real_netcore.RealWorld(binary, Path(folder))


@pytest.fixture(params=["fake", "real"])
def any_world(request: pytest.FixtureRequest) -> World:
    """Each kind of world."""
    made: World = request.getfixturevalue("world" if request.param == "fake" else "real_world")
    return made


@contextlib.asynccontextmanager
async def join_two(world: World) -> AsyncIterator[tuple[polypeer.Node, polypeer.Node]]:
    """The plugins of the two nodes, connected."""
    first, second = world.launches[:2]
    async with polypeer.connect(first.path, first.token_text) as alpha:
        async with polypeer.connect(second.path, second.token_text) as beta:
            yield alpha, beta


async def eventually(condition: Callable[[], object], what: str = "condition") -> None:
    """Waits until `condition()` is true; fails after 10 s."""
    deadline = asyncio.get_running_loop().time() + 10
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not come true"
        await asyncio.sleep(0.005)


async def soon(awaitable: Awaitable[T], seconds: float = 10) -> T:
    """The result, or a failure when it takes unreasonably long."""
    return await asyncio.wait_for(awaitable, seconds)
