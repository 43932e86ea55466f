"""Finds the gateway and starts the first session."""

from __future__ import annotations

import os
from collections.abc import Generator

from ._errors import BadArgument, NotStartedByPolypeer, PolypeerError
from ._ids import secret_bytes
from ._limits import DEFAULT_TIMEOUT
from ._node import Node

_HINT = (
    "this program is started by Polypeer: install its folder with `polypeer plugin install PATH`, "
    "which runs it with POLYPEER_GATEWAY and POLYPEER_TOKEN set"
)


def connect(gateway: str | None = None, token: str | None = None, *, timeout: float = DEFAULT_TIMEOUT) -> Connecting:
    """Connects to the node that started this program: ``async with polypeer.connect() as node`` or ``node = await
    polypeer.connect()``. ``gateway`` and ``token`` default to ``POLYPEER_GATEWAY`` and ``POLYPEER_TOKEN``.

    Raises :class:`NotStartedByPolypeer` when either is absent or not usable (no such socket, a token that is not 64
    hexadecimal digits), :class:`Unauthorised` when the token is not that of this launch, :class:`Unsupported` when
    netcore speaks another version, :class:`TimedOut` when netcore did not answer within ``timeout`` seconds. A cancel
    leaves nothing open.
    """
    return Connecting(gateway, token, timeout)


class Connecting:
    """The result of :func:`connect`: await it, or use it as ``async with``."""

    def __init__(self, gateway: str | None, token: str | None, timeout: float) -> None:
        self._gateway = gateway
        self._token = token
        self._timeout = timeout
        self._node: Node | None = None

    def __await__(self) -> Generator[object, None, Node]:
        return self._connect().__await__()

    async def __aenter__(self) -> Node:
        self._node = await self._connect()
        return self._node

    async def __aexit__(self, *_: object) -> None:
        assert self._node is not None, "the block was entered"
        await self._node.close()

    async def _connect(self) -> Node:
        path = self._gateway or os.environ.get("POLYPEER_GATEWAY")
        if not path:
            raise NotStartedByPolypeer(f"POLYPEER_GATEWAY is not set; {_HINT}")
        text = self._token or os.environ.get("POLYPEER_TOKEN")
        if not text:
            raise NotStartedByPolypeer(f"POLYPEER_TOKEN is not set; {_HINT}")
        try:
            token = secret_bytes(text)
        except BadArgument:
            raise NotStartedByPolypeer(f"POLYPEER_TOKEN is not 64 hexadecimal digits; {_HINT}") from None
        node = Node(path, token)
        try:
            await node._start(self._timeout)
        except BaseException as error:
            await node.close()
            if isinstance(error, OSError) and not isinstance(error, PolypeerError):
                raise NotStartedByPolypeer(f"the gateway socket {path} is not usable ({error}); {_HINT}") from error
            raise
        return node
