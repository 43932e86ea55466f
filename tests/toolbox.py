"""Client of the test plugins `toolbox` (Python) and `toolbox-go`: an order is one JSON line to a Unix socket in the
plugin's data folder, answered by one line."""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import Any, Optional

from harness import DEADLINE_S, Node, until


class OrderFailed(AssertionError):
    """The plugin's error; its text begins with the kind."""


class Toolbox:
    """A test plugin of a node, as the test sees it. Its orders are the plugin's methods."""

    def __init__(self, node: Node, plugin: str = "toolbox") -> None:
        self.node = node
        self.plugin = plugin
        self.data = node.home / "data" / plugin

    def ready(self) -> Toolbox:
        """Waits until the plugin takes orders."""
        until(f"{self.plugin} takes orders", self._answers)
        return self

    def _answers(self) -> bool:
        try:
            return bool(self.do("pid", timeout_s=2))
        except OSError:
            return False

    def do(self, op: str, timeout_s: float = DEADLINE_S, **arguments: Any) -> Any:
        """Carries out an order and returns its result. Raises OrderFailed with the plugin's error."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            # Through the folder's descriptor, because the path may exceed the length of a socket address.
            folder = os.open(self.data, os.O_PATH)
            try:
                connection.connect(f"/proc/self/fd/{folder}/orders.sock")
            finally:
                os.close(folder)
            connection.sendall(json.dumps({"op": op, **arguments}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                line = lines.readline()
        if not line:
            raise OSError(f"{self.plugin} went away during {op}")
        answer = json.loads(line)
        if answer.get("error"):
            raise OrderFailed(answer["error"])
        return answer.get("result")

    def start(self, op: str, timeout_s: float = DEADLINE_S, **arguments: Any) -> Order:
        """Starts an order without waiting for it."""
        return Order(self, op, timeout_s, arguments)


class Order:
    """An order in progress."""

    def __init__(self, toolbox: Toolbox, op: str, timeout_s: float, arguments: dict[str, Any]) -> None:
        self._result: Any = None
        self._error: Optional[BaseException] = None

        def run() -> None:
            try:
                self._result = toolbox.do(op, timeout_s, **arguments)
            except (AssertionError, OSError) as error:
                self._error = error

        self._timeout_s = timeout_s
        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return not self._thread.is_alive()

    def result(self) -> Any:
        """Returns its result; raises its error."""
        self._thread.join(self._timeout_s + 5)
        assert self.done, "the order did not end"
        if self._error is not None:
            raise self._error
        return self._result
