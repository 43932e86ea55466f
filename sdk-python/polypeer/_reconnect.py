"""Reconnects to netcore: starts the first control session, and the next one when a session is lost, until a permanent
failure. ``_node.py`` decides what to restore in a new session."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable
from typing import Callable

from ._errors import ConnectionLost, ErrorCode, NodeClosed, PolypeerError, Superseded, Unauthorised
from ._gateway import connect
from ._limits import RECONNECT_DELAYS
from ._session import OnEvent, Session

log = logging.getLogger("polypeer")

_STEADY = 1.0
"""Seconds a session must last to reset the backoff; shorter ones look like a loop."""

Restore = Callable[[Session], Awaitable[None]]
OnLost = Callable[[PolypeerError], None]


def is_final(reason: PolypeerError) -> bool:
    """Whether a retry is pointless, or would fight another session of the same launch."""
    return isinstance(reason, (Superseded, Unauthorised)) or reason.code == ErrorCode.UNSUPPORTED_VERSION


class Reconnector:
    """Owns the session and the task that replaces it."""

    def __init__(self, path: str, token: bytes, on_event: OnEvent, restore: Restore, on_lost: OnLost) -> None:
        self._path = path
        self._token = token
        self._on_event = on_event
        self._restore = restore
        self._on_lost = on_lost
        self._session: Session | None = None
        self._skipped = 0  # by earlier sessions
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.ended: asyncio.Future[PolypeerError] = asyncio.get_running_loop().create_future()
        """Why there are no more sessions, once that is so."""

    async def start(self) -> Session:
        """The first session. Raises ``FileNotFoundError`` and ``PermissionError`` for the socket, a final refusal, and
        retries otherwise, so the caller sets the time limit."""
        session = await self._again(first=True)
        self._set(session)
        self._task = asyncio.ensure_future(self._keep(session))
        return session

    @property
    def skipped(self) -> int:
        """Events that all sessions skipped."""
        return self._skipped + (0 if self._session is None else self._session.skipped)

    @property
    def current(self) -> Session | None:
        """The session, if there is one now."""
        return self._session

    async def session(self) -> Session:
        """The session; waits for one while netcore restarts, so the caller sets the time limit. Raises the reason when
        there are no more sessions."""
        while self._session is None:
            if self.ended.done():
                raise self.ended.result()
            await self._changed.wait()
        return self._session

    def end(self, reason: PolypeerError) -> None:
        """Starts no more sessions, for this reason. The current one lasts until :meth:`close`."""
        if not self.ended.done():
            self.ended.set_result(reason)
        self._changed.set()

    async def close(self) -> None:
        """Ends the session and the task."""
        self.end(NodeClosed("the node was closed"))
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        session = self._session
        self._set(None)
        if session is not None:
            session.close()

    def _set(self, session: Session | None) -> None:
        if self._session is not None:
            self._skipped += self._session.skipped
        self._session = session
        if session is not None or self.ended.done():
            self._changed.set()
        else:
            self._changed.clear()

    async def _keep(self, session: Session) -> None:
        loop = asyncio.get_running_loop()
        tries = 0
        while True:
            began = loop.time()
            reason = await asyncio.shield(session.lost)
            if self.ended.done():
                return
            if is_final(reason):
                self.end(reason)
            elif reason.code == ErrorCode.SHUTTING_DOWN:  # this plugin is being stopped
                self.end(NodeClosed(reason.message))
            self._set(None)
            self._on_lost(reason)
            if self.ended.done():
                return
            log.info("disconnected from the network core (%s); reconnecting", reason)
            tries = 0 if loop.time() - began >= _STEADY else tries + 1
            try:
                session = await self._again(tries)
            except PolypeerError as error:
                self.end(error)
                self._on_lost(error)
                return
            self._set(session)

    async def _again(self, tries: int = 0, *, first: bool = False) -> Session:
        """A new session with everything restored. Raises only permanent failures (:class:`NodeClosed` when this plugin
        must stop), and for the ``first`` session the errors of a wrong path."""
        while True:
            delay = RECONNECT_DELAYS[min(tries, len(RECONNECT_DELAYS) - 1)]
            await asyncio.sleep(delay * random.uniform(0.75, 1.25))
            tries += 1
            try:
                return await self._establish()
            except PolypeerError as error:
                if is_final(error):
                    raise
                if error.code == ErrorCode.SHUTTING_DOWN:
                    raise NodeClosed(error.message) from error
                log.debug("no session with the network core yet: %s", error)
            except OSError as error:
                if first and isinstance(error, (FileNotFoundError, PermissionError)):
                    raise
                log.debug("no connection to %s yet: %s", self._path, error)

    async def _establish(self) -> Session:
        session = await connect(self._path, lambda: Session(self._token, self._on_event))
        try:
            await session.welcomed
            await self._restore(session)
            if session.lost.done():
                raise ConnectionLost("the network core disconnected again")
        except BaseException:
            session.close()
            raise
        return session
