"""Nodes as people run them: as an ordinary user, without the rights that control groups and namespaces need."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import machine
from sides import Build, Node, scratch

# "nobody": no other process on the machine should belong to it.
ORDINARY = 65534
# What the measured plugins run.
PROGRAMS = ("plugin", "start")


class OrdinaryNode(Node):
    """A node that belongs to an ordinary user. Root hands it over; anybody else is one."""

    def __init__(self, home: Path, program: Path, config: str = "") -> None:
        """Makes the home, and gives it to the user."""
        super().__init__(home, program=program, config=config)
        if os.geteuid() == 0:
            home.parent.chmod(0o755)
            for path in (home, *home.iterdir()):
                os.chown(path, ORDINARY, ORDINARY)

    def command(self, *args: str) -> list[str]:
        """Returns the arguments of a command on this home, as that user."""
        whole = super().command(*args)
        if os.geteuid() != 0:
            return whole
        return ["setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups", *whole]


def alone(stack: ExitStack, build: Build, config: str = "", start: bool = True) -> OrdinaryNode:
    """An ordinary user's node without peers or plugins."""
    node = OrdinaryNode(scratch(stack) / "node", build.program, config)
    stack.callback(node.stop)
    if start:
        node.start()
    return node


def netcore_of(node: Node) -> int:
    """Process id of a node's network core."""
    return int(node.json("status")["netcore"]["pid"])


def processes(node: Node) -> list[int]:
    """The node's own processes: daemon, network core and helpers, not its plugins' programs."""
    assert node.daemon is not None
    every = [node.daemon.pid, *machine.children(node.daemon.pid)]
    return [pid for pid in every if machine.command_of(pid) not in PROGRAMS]
