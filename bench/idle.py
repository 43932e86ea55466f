"""Figures of nodes that do nothing, and of connections on which nothing happens."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Callable

import machine
from people import OrdinaryNode, alone, netcore_of, processes
from runner import Figure, Sample, Side
from sides import BASE, BUILT, OURS, Build, Driver, Pair, built, end

MB = 1e6
# How long a node settles after its start, and how long idling is watched.
SETTLE_S = 5.0
WATCH_S = 60.0
# Processes on the machine beside the node, as on anybody's.
SLEEPERS = 200
# Bytes of bulk before `rss_after_bulk`.
BULK = 10_000_000_000
# Connections of the crowd. A node holds 768 peers at most.
CROWD = 700
HELD = 500
HIGH = "\n[peers]\nhigh = 768\n"
HANDSHAKES = 600
PARALLEL = 16


def sleepers(stack: ExitStack) -> None:
    """Starts SLEEPERS processes that sleep."""
    for _ in range(SLEEPERS):
        stack.callback(end, subprocess.Popen(["sleep", "3600"]))


def idle_rss(build: Build) -> Side:
    """Memory of a new node's network core, MB."""

    def side(stack: ExitStack) -> Sample:
        node = alone(stack, build)
        time.sleep(SETTLE_S)
        return lambda: machine.rss_bytes(netcore_of(node)) / MB

    return side


def idle_cpu(build: Build) -> Side:
    """Processor time of daemon and network core, per cent of a core."""

    def side(stack: ExitStack) -> Sample:
        node = alone(stack, build)
        time.sleep(SETTLE_S)
        return lambda: cpu_percent(processes(node))

    return side


def cpu_percent(pids: Sequence[int]) -> float:
    """Processor time that processes use while nothing happens, per cent of a core."""
    started, before = time.monotonic(), machine.cpu_seconds(pids)
    time.sleep(WATCH_S)
    return (machine.cpu_seconds(pids) - before) / (time.monotonic() - started) * 100


def rss_after_bulk(build: Build) -> Side:
    """Memory of the network core that received 10 GB, MB."""

    def side(stack: ExitStack) -> Sample:
        pair = Pair(stack, build)

        def sample() -> float:
            pair("bulk", amount=BULK)
            return max(machine.rss_bytes(netcore_of(node)) for node in pair.nodes) / MB

        return sample

    return side


class Crowd:
    """A node, and what connects to it in great number."""

    def __init__(self, stack: ExitStack, build: Build) -> None:
        """Starts both; nobody is connected yet."""
        self.node: OrdinaryNode = alone(stack, build, HIGH)
        self.driver = Driver.to(stack, built(BUILT / "contender-crowd"), self.node.ticket)
        self.pid = netcore_of(self.node)


def crowd(build: Build, sample: Callable[[Driver, int], float]) -> Side:
    """A figure of a node with a crowd; `sample` takes the crowd and the network core's process id, anew each time."""

    def side(_: ExitStack) -> Sample:
        built(BUILT / "contender-crowd"), build.program

        def take() -> float:
            with ExitStack() as stack:
                made = Crowd(stack, build)
                return sample(made.driver, made.pid)

        return take

    return side


def server(*command: str, sample: Callable[[Driver, int], float]) -> Side:
    """The same of a contender's server and its driver."""

    def side(_: ExitStack) -> Sample:
        built(BUILT / f"contender-{command[0]}")

        def take() -> float:
            with ExitStack() as stack:
                driver = Driver(stack, *command)
                return sample(driver, driver.server.pid)

        return take

    return side


def handshakes(driver: Driver, _: int) -> float:
    """Connections set up and closed per second, PARALLEL at a time."""
    driver("handshakes", amount=HANDSHAKES // 10, flight=PARALLEL)
    return HANDSHAKES / driver("handshakes", amount=HANDSHAKES, flight=PARALLEL)[0]


def memory(driver: Driver, pid: int) -> float:
    """Memory of one more idle connection, kB."""
    driver("hold", amount=10)
    time.sleep(1)
    before = machine.rss_bytes(pid)
    driver("hold", amount=HELD)
    time.sleep(SETTLE_S)
    return (machine.rss_bytes(pid) - before) / HELD / 1000


def held_cpu(driver: Driver, pid: int) -> float:
    """Processor time with CROWD idle connections, scaled to 1,000, per cent of a core."""
    driver("hold", amount=CROWD)
    time.sleep(SETTLE_S)
    return cpu_percent([pid]) * 1000 / CROWD


def packets(driver: Driver, _: int) -> float:
    """Packets of an idle connection in a minute, both directions."""
    driver("hold", amount=HELD)
    time.sleep(SETTLE_S)
    started, before = time.monotonic(), driver("packets")[0]
    time.sleep(WATCH_S)
    return (driver("packets")[0] - before) / HELD / (time.monotonic() - started) * 60


def both(side: Callable[[Build], Side]) -> dict[str, Side]:
    """Ours and the baseline."""
    return {"ours": side(OURS), "baseline": side(BASE)}


def crowds(sample: Callable[[Driver, int], float], *peers: str) -> dict[str, Side]:
    """Ours, the baseline, and contenders."""
    sides = {"ours": crowd(OURS, sample), "baseline": crowd(BASE, sample)}
    return {**sides, **{peer: server(peer, sample=sample) for peer in peers}}


FIGURES = {
    "handshakes": Figure(
        f"connections set up, {PARALLEL} at a time", "1/s", "more", crowds(handshakes, "quinn", "iroh"), rounds=3
    ),
    "memory_per_connection": Figure(
        "network core's memory of an idle connection", "kB", "less", crowds(memory, "quinn", "iroh"), rounds=2
    ),
    "idle_rss": Figure("memory of an idle network core", "MB", "less", both(idle_rss), rounds=1),
    "rss_after_bulk": Figure(
        "memory of the network core after 10 GB of bulk", "MB", "less", both(rss_after_bulk), rounds=2
    ),
    "idle_cpu": Figure(
        f"processor time of an idle node, {SLEEPERS} other processes, ordinary user",
        "% of a core",
        "less",
        both(idle_cpu),
        rounds=2,
        at_once=True,
        before=sleepers,
    ),
    "connections_idle_cpu": Figure(
        f"processor time of the network core with {CROWD} idle connections, scaled to 1,000",
        "% of a core",
        "less",
        crowds(held_cpu),
        rounds=1,
        at_once=True,
    ),
    "idle_packets": Figure(
        "packets of an idle connection in a minute", "1/min", "less", crowds(packets), rounds=1, at_once=True
    ),
}
