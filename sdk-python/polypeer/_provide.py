"""Provided names, restored in each session and retried while the DHT is unreachable."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Generator
from typing import TYPE_CHECKING, Callable

from . import _messages as m
from ._deadline import Deadline, milliseconds
from ._errors import AlreadyServed, Busy, ConnectionLost, PolypeerError, TimedOut, Unreachable, expect
from ._limits import PROVIDE_DELAYS, TIMEOUT_GRACE
from ._names import allows_any
from ._types import Grants

if TYPE_CHECKING:
    from ._dht import Dht
    from ._session import Session

log = logging.getLogger("polypeer")
CurrentSession = Callable[[], Awaitable["Session"]]


class Provision:
    """The result of :meth:`Node.provide`: ``async with node.provide(name):`` provides inside the block, ``await
    node.provide(name)`` until :meth:`Node.unprovide` or the end of the node."""

    def __init__(self, node: Dht, name: str, timeout: float) -> None:
        self.name = name
        self.copies = 0
        """Number of nodes that listed it at first. 0: netcore retries until one does."""
        self._node = node
        self._timeout = timeout

    def __await__(self) -> Generator[object, None, Provision]:
        return self._begin().__await__()

    async def _begin(self) -> Provision:
        self.copies = await self._node.begin_providing(self.name, self._timeout)
        return self

    async def __aenter__(self) -> Provision:
        return await self._begin()

    async def __aexit__(self, *_: object) -> None:
        await self._node.unprovide(self.name)


class Provided:
    """The names a node provides. One task each restores it in every new session; netcore republishes within a
    session."""

    def __init__(self, session: CurrentSession) -> None:
        self._session = session
        self._tasks: dict[str, asyncio.Task[None] | None] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._tasks

    async def begin(self, name: str, timeout: float) -> int:
        """Provides a name and returns the number of nodes that list it. Raises netcore's failure, and
        :class:`AlreadyServed`; then nothing is provided."""
        if name in self._tasks:
            raise AlreadyServed(f"this plugin provides {name} already")
        asked = request(name, timeout)
        self._tasks[name] = None
        session: Session | None = None
        try:
            async with Deadline(timeout + TIMEOUT_GRACE, f"providing {name}"):
                session = await self._session()
                stored = expect(await session.ask(asked), m.ResponseStored)
        except BaseException:
            self._tasks.pop(name, None)
            if session is not None:
                session.tell(m.RequestUnprovide(name))  # netcore may have accepted it meanwhile
            raise
        if name in self._tasks:  # not ended meanwhile
            self._tasks[name] = asyncio.ensure_future(self._keep(name, timeout, session))
        return stored.copies

    def end(self, name: str) -> bool:
        """Stops providing a name; ``False`` when it was not provided."""
        known = name in self._tasks
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
        return known

    def grants_changed(self, grants: Grants) -> None:
        """Ends the names that the grants no longer cover, as netcore did."""
        for name in list(self._tasks):
            if not allows_any(grants.dht, name):
                self.end(name)
                log.warning("%s is no longer provided: the operator withdrew the grant", name)

    async def close(self) -> None:
        """Ends all names."""
        tasks = [task for task in self._tasks.values() if task is not None]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, name: str, timeout: float, session: Session) -> None:
        try:
            while True:
                await asyncio.shield(session.lost)
                session = await self._again(name, timeout)
        except PolypeerError as error:
            self._tasks.pop(name, None)
            log.warning("%s is no longer provided: %s", name, error)

    async def _again(self, name: str, timeout: float) -> Session:
        """Restores a name and returns the session that provides it. Raises a permanent failure."""
        tries = 0
        while True:
            session = await self._session()
            try:
                async with Deadline(timeout + TIMEOUT_GRACE, f"providing {name}"):
                    await session.ask(request(name, timeout))
                return session
            except ConnectionLost:
                delay = 0.0  # the next session, once there is one
            except (Busy, Unreachable, TimedOut) as error:
                delay = PROVIDE_DELAYS[min(tries, len(PROVIDE_DELAYS) - 1)]
                log.info("%s is not provided yet (%s); retrying in %.0f s", name, error, delay)
                tries += 1
            await asyncio.sleep(delay * random.uniform(0.75, 1.25))


def request(name: str, timeout: float) -> m.RequestProvide:
    """The request to provide a name."""
    return m.RequestProvide(name, milliseconds(timeout))
