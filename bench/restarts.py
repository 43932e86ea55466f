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
import packages
from people import OrdinaryNode, alone
from runner import Figure, Sample, Side, missing
from sides import BASE, BUILT, OURS, Build, built, end, kill, mentions, scratch

SERVICES = 100
KILLED = 20
# Each of the supervisors waits before a restart when the service ran for a shorter time.
HEALTHY_S = 11.0
TELLS_S = 30.0

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
# Becomes another command once it reads a line.
WAITS = ("sh", "-c", 'read _ && exec "$@"', "sh")


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
        self._command = packages.command(*command, self._folder, before=WAITS)
        for number in range(services):
            service = self._folder / f"service-{number}"
            service.mkdir()
            run = service / "run"
            run.write_text(f"#!/bin/sh\nexec {built(BUILT / 'start')} {told.path}\n")
            run.chmod(0o755)
        self._process = self._prepare()
        stack.callback(self._end)

    def _prepare(self) -> subprocess.Popen[bytes]:
        """Starts a shell that becomes the scanner when it is told so, and has what unpacked programs need."""
        none = subprocess.DEVNULL
        environment = packages.environment()
        return subprocess.Popen(self._command, env=environment, stdin=subprocess.PIPE, stdout=none, stderr=none)

    def start(self) -> None:
        """Starts the scanner."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def stop(self) -> None:
        """Kills the scanner and all that it started, and prepares the next one."""
        self._end()
        self._process = self._prepare()

    def _end(self) -> None:
        every = machine.children(self._process.pid)
        end(self._process)
        # Supervisors first, so that none starts its service again.
        for pid in sorted(every, key=lambda pid: machine.command_of(pid) == "start"):
            kill(pid)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


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
    return Scanned(stack, ["runsvdir", "-P"], told, services)


def s6(stack: ExitStack, told: Told, services: int) -> Supervisor:
    """s6, with room for all services."""
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
        {
            **{name: spawn(make) for name, make in MAKES.items()},
            "baseline": missing(f"left out: it takes minutes to install {SERVICES} plugins"),
        },
        rounds=3,
    ),
}
