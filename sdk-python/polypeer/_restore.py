"""Bringing back in a new session what the one before had: listeners and feeds, whose owners (``_serving.py``,
``_feed.py``) say what is wanted. ``_node.py`` runs it."""

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
    """Something that netcore is to be asked for in each session."""

    what: str
    """For people."""
    request: Callable[[], m.Request]
    """Asks for it as it is wanted now."""
    stands: Callable[[], bool]
    """Whether it is still wanted."""
    give_up: Callable[[PolypeerError], None]
    """Ends it: it was refused for good."""

    async def ask(self, session: Session) -> bool:
        """Asks for it, or ends it. False when the refusal may pass. Raises :class:`ConnectionLost`."""
        try:
            await session.ask(self.request())
        except ConnectionLost:
            raise
        except PolypeerError as error:
            if is_passing(error):
                log.info("%s is not back yet: %s", self.what, error)
                return False
            if self.stands():
                self.give_up(error)
        return True


async def restore(session: Session, wanted: Iterable[Wanted]) -> list[Wanted]:
    """Asks for everything once; what was refused for a reason that may pass comes back, for :func:`keep_asking`.
    Raises :class:`ConnectionLost`."""
    return [one for one in wanted if not await one.ask(session)]


async def keep_asking(session: Session, one: Wanted) -> None:
    """Asks until it is granted, refused for good, not wanted any more, or the session is over, which raises
    :class:`ConnectionLost`: then the next one asks."""
    tries = 0
    while True:
        delay = PROVIDE_DELAYS[min(tries, len(PROVIDE_DELAYS) - 1)]
        await asyncio.sleep(delay * random.uniform(0.75, 1.25))
        tries += 1
        if not one.stands() or await one.ask(session):
            return


def is_passing(error: PolypeerError) -> bool:
    """Whether a failure of netcore's may be gone when asked again."""
    return isinstance(error, (Busy, TimedOut)) or error.code == ErrorCode.INTERNAL
