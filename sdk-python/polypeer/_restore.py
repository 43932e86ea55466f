"""Restores listeners and feeds in a new session. Their owners (``_serving.py``, ``_feed.py``) list what is wanted;
``_node.py`` runs it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable

from . import _messages as m
from ._errors import Busy, ConnectionLost, ErrorCode, PolypeerError, TimedOut
from ._limits import PROVIDE_DELAYS

if TYPE_CHECKING:
    from ._session import Session

log = logging.getLogger("polypeer")


@dataclass(frozen=True)
class Wanted:
    """Something to request from netcore in each session."""

    what: str
    """A description, for logs."""
    request: Callable[[], m.Request]
    """The request, as it is wanted now."""
    stands: Callable[[], bool]
    """Whether it is still wanted."""
    give_up: Callable[[PolypeerError], None]
    """Ends it after a permanent refusal."""

    async def ask(self, session: Session) -> bool:
        """Requests it, and ends it after a permanent refusal. ``False`` after a temporary one. Raises
        :class:`ConnectionLost`."""
        try:
            await session.ask(self.request())
        except ConnectionLost:
            raise
        except PolypeerError as error:
            if is_passing(error):
                log.info("%s is not restored yet: %s", self.what, error)
                return False
            if self.stands():
                self.give_up(error)
        return True


async def restore(session: Session, wanted: Iterable[Wanted]) -> list[Wanted]:
    """Requests everything once and returns what was refused temporarily, for :func:`keep_asking`. Raises
    :class:`ConnectionLost`."""
    return [one for one in wanted if not await one.ask(session)]


async def keep_asking(session: Session, one: Wanted) -> None:
    """Retries until it is accepted, refused permanently or no longer wanted. Raises :class:`ConnectionLost` at the end
    of the session; the next one requests it again."""
    tries = 0
    while True:
        delay = PROVIDE_DELAYS[min(tries, len(PROVIDE_DELAYS) - 1)]
        await asyncio.sleep(delay * random.uniform(0.75, 1.25))
        tries += 1
        if not one.stands() or await one.ask(session):
            return


def is_passing(error: PolypeerError) -> bool:
    """Whether netcore's failure is temporary."""
    return isinstance(error, (Busy, TimedOut)) or error.code == ErrorCode.INTERNAL
