"""Connecting to the gateway: a Unix socket, or a named pipe on Windows."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from typing import Any, Callable, TypeVar, cast

P = TypeVar("P", bound=asyncio.BaseProtocol)

_FULL_BACKLOG_PAUSE = 0.01
"""Seconds between retries while the socket's queue of connections is full (netcore restarts): short, since a place
becomes free the moment netcore accepts one."""


async def connect(path: str, factory: Callable[[], P]) -> P:
    """A connection to the gateway at ``path``. Raises ``OSError``; waits while the queue of connections is full, so the
    caller sets the time limit. A cancel leaves nothing open."""
    loop = asyncio.get_running_loop()
    if sys.platform == "win32":
        pipes = cast(Any, loop)
        _, protocol = await pipes.create_pipe_connection(factory, path)
        return cast(P, protocol)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        opened.setblocking(False)
        while True:
            try:
                opened.connect(path)
                break
            except BlockingIOError as error:
                # Unlike TCP, a full queue is EAGAIN and the connect does not continue in the background.
                if error.errno not in (errno.EAGAIN, errno.EWOULDBLOCK):
                    raise
                await asyncio.sleep(_FULL_BACKLOG_PAUSE)
        _, connected = await loop.create_unix_connection(factory, sock=opened)
        return connected
    except BaseException:
        opened.close()
        raise
