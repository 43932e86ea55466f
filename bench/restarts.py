"""Figures of starting services: again after they were killed, and a hundred at once. The service is the same program
for everybody: it tells a socket that it runs, and sleeps.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Callable, Protocol

import machine
from people import OrdinaryNode, alone
from runner import Figure, Missing, Sample, Side
from sides import BASE, BUILT, HERE, OURS, Build, built, mentions, scratch

SERVICES = 100
KILLED = 20
# Each of the supervisors waits before a restart when the service ran for a shorter time.
HEALTHY_S = 11.0
TELLS_S = 60.0
# Debian's packages, unpacked by `scripts/bench`, for machines on which they are not installed.
UNPACKED = HERE / "target" / "debian"

MANIFEST = """[plugin]
id = "{name}"
version = "0.1.0"
description = "Sleeps"
license = "MIT OR Apache-2.0"
command = ["./start", "{socket}"]

[health]
ready = "none"

[restart]
policy = "always"
"""


class Told:
    """The socket that services tell when they run."""

    def __init__(self, stack: ExitStack) -> None:
        """Makes it, where every user may write to it."""
        folder = scratch(stack)
        folder.chmod(0o755)
        self.path = folder / "told"
        self._socket = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self._socket.bind(str(self.path))
        self.path.chmod(0o777)
        self._socket.settimeout(TELLS_S)

    def forget(self) -> None:
        """Drops what was told and not waited for."""
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while self._socket.recv(16):
                pass
        self._socket.settimeout(TELLS_S)

    def wait(self, services: int) -> None:
        """Waits until so many have told."""
        for _ in range(services):
            self._socket.recv(16)


def tool(name: str) -> Path:
    """A supervisor's program, installed or unpacked."""
    found = shutil.which(name)
    places = [UNPACKED / place / name for place in ("usr/bin", "bin", "usr/sbin")]
    for path in [Path(found)] if found else places:
        if path.exists():
            return path
    raise Missing(f"not installed: {name}")


def environment() -> dict[str, str]:
    """The environment in which unpacked programs find their libraries and each other."""
    libraries = ":".join(str(UNPACKED / place / "x86_64-linux-gnu") for place in ("usr/lib", "lib"))
    programs = ":".join(str(UNPACKED / place) for place in ("usr/bin", "bin"))
    return {**os.environ, "LD_LIBRARY_PATH": libraries, "PATH": f"{os.environ['PATH']}:{programs}"}


class Supervisor(Protocol):
    """What keeps services running."""

    def start(self) -> None:
        """Starts it with all its services; returns at once."""

    def stop(self) -> None:
        """Stops it and its services."""


class Scanned:
    """runit's or s6's scanner on a folder of services, each a folder with a script `run`."""

    def __init__(self, stack: ExitStack, command: Sequence[str], told: Told, services: int) -> None:
        """Makes the folders."""
        self._folder = scratch(stack)
        self._command = [str(tool(command[0])), *command[1:], str(self._folder)]
        for number in range(services):
            service = self._folder / f"service-{number}"
            service.mkdir()
            run = service / "run"
            run.write_text(f"#!/bin/sh\nexec {built(BUILT / 'start')} {told.path}\n")
            run.chmod(0o755)
        stack.callback(self.stop)

    def start(self) -> None:
        """Starts the scanner."""
        self._process = subprocess.Popen(
            self._command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def stop(self) -> None:
        """Kills the scanner and all that it started."""
        process = getattr(self, "_process", None)
        if process is not None and process.returncode is None:
            every = machine.children(process.pid)
            process.kill()
            process.wait()
            # Supervisors first, so that none starts its service again.
            for pid in sorted(every, key=lambda pid: machine.command_of(pid) == "start"):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue


class Plugins:
    """A node of an ordinary user with the services as plugins."""

    def __init__(self, stack: ExitStack, build: Build, told: Told, services: int) -> None:
        """Installs them, and stops the node again."""
        self.node: OrdinaryNode = alone(stack, build)
        folder = scratch(stack)
        folder.chmod(0o755)
        for number in range(services):
            plugin = folder / f"service-{number}"
            plugin.mkdir()
            (plugin / "plugin.toml").write_text(MANIFEST.format(name=plugin.name, socket=told.path))
            shutil.copy(built(BUILT / "start"), plugin)
            self.node.cli("plugin", "install", str(plugin), "--yes").ok()
        told.wait(services)
        self.stop()

    def start(self) -> None:
        """Starts the daemon."""
        self.node.spawn()

    def stop(self) -> None:
        """Stops the daemon."""
        self.node.stop()


Make = Callable[[ExitStack, Told, int], Supervisor]


def runit(stack: ExitStack, told: Told, services: int) -> Supervisor:
    """runit."""
    tool("runsv")
    return Scanned(stack, ["runsvdir", "-P"], told, services)


def s6(stack: ExitStack, told: Told, services: int) -> Supervisor:
    """s6, with room for all services."""
    tool("s6-supervise")
    return Scanned(stack, ["s6-svscan", "-c", "500"], told, services)


def node(build: Build) -> Make:
    """A node."""
    return lambda stack, told, services: Plugins(stack, build, told, services)


def spawn(make: Make) -> Side:
    """From the supervisor's start until all services have told, ms."""

    def side(stack: ExitStack) -> Sample:
        told = Told(stack)
        supervisor = make(stack, told, SERVICES)

        def sample() -> float:
            told.forget()
            started = time.monotonic()
            supervisor.start()
            told.wait(SERVICES)
            took = time.monotonic() - started
            supervisor.stop()
            return took * 1000

        return sample

    return side


def restart(make: Make) -> Side:
    """From SIGKILL of a service until it tells again, ms; median of KILLED services, each killed once."""

    def side(stack: ExitStack) -> Sample:
        told = Told(stack)
        supervisor = make(stack, told, KILLED)
        supervisor.start()
        told.wait(KILLED)

        def sample() -> float:
            time.sleep(HEALTHY_S)
            return statistics.median(killed(pid, told) for pid in starts(told)) * 1000

        return sample

    return side


def starts(told: Told) -> list[int]:
    """The services that tell this socket."""
    every = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in every if machine.command_of(pid) == "start" and mentions(pid, str(told.path))]


def killed(pid: int, told: Told) -> float:
    """Kills a service and returns the seconds until it tells again."""
    told.forget()
    started = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    told.wait(1)
    return time.monotonic() - started


MAKES: dict[str, Make] = {"ours": node(OURS), "baseline": node(BASE), "runit": runit, "s6": s6}

FIGURES = {
    "restart": Figure(
        "service restarted after kill -9, ordinary user, median",
        "ms",
        "less",
        {name: restart(make) for name, make in MAKES.items()},
        rounds=3,
    ),
    "spawn_100": Figure(
        f"{SERVICES} services running, from the supervisor's start",
        "ms",
        "less",
        {name: spawn(make) for name, make in MAKES.items()},
        rounds=3,
    ),
}
