"""Requests to netcore over the current session: the base of the parts of :class:`Node`."""

from __future__ import annotations

import asyncio

from . import _messages as m
from ._deadline import Deadline
from ._errors import ConnectionLost, PolypeerError
from ._reconnect import Reconnector


class Asking:
    """Owns the reconnector and the newest session's welcome."""

    def __init__(self, path: str, reconnector: Reconnector) -> None:
        self._path = path
        self._reconnector = reconnector
        self._welcome: m.Welcome | None = None

    def _own_id(self) -> bytes:
        return self._welcomed().node

    def _welcomed(self) -> m.Welcome:
        assert self._welcome is not None, "connect() waits for the welcome"
        return self._welcome

    def _raise_if_ended(self) -> None:
        if self._reconnector.ended.done():
            raise self._reconnector.ended.result()

    async def _ask(self, request: m.Request, timeout: float, *, again: bool = False) -> m.Response:
        """Sends a request to netcore. With ``again`` the request is idempotent: it is repeated in the next session when
        netcore restarts."""
        async with Deadline(timeout, "asking the network core"):
            while True:
                session = await self._reconnector.session()
                try:
                    return await session.ask(request)
                except ConnectionLost:
                    if not again or not session.lost.done():
                        raise
                await asyncio.sleep(0)  # lets the reconnector see the end of the session

    async def _ask_for_the_end(self, request: m.Request) -> None:
        """Sends a request that ends something and waits for the answer. Without a session there is nothing to end."""
        if self._reconnector.current is not None:
            try:
                await self._reconnector.current.ask(request)
            except PolypeerError:
                return
