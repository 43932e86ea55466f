"""Figures of applications side by side: one that asks while another sends, and twenty on one node."""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack

import machine
from idle import HIGH
from people import OrdinaryNode, alone, processes
from runner import Figure, Sample, Side
from sides import BASE, BUILT, OURS, Build, Driver, Pair, built, scratch, serve

MB = 1e6
BULK = 1 << 30
REQUESTS = 2000
# How long the bulk transfer goes on beside the requests.
BESIDE_S = 6.0
APPS = 20
PEERS = 100
SETTLE_S = 5.0


def p99(pair: Pair) -> float:
    """99th percentile of requests of 1 KiB, one at a time, s."""
    return statistics.quantiles(pair("requests", amount=REQUESTS), n=100)[98]


def beside_bulk(build: Build) -> Side:
    """p99 beside another plugin's bulk transfer, at half of the speed that it reaches alone, ÷ p99 in quiet."""

    def side(stack: ExitStack) -> Sample:
        pair = Pair(stack, build, "bulk")
        speed = BULK / pair.order("bulk", "bulk", amount=BULK)[0]

        def sample() -> float:
            quiet = p99(pair)
            rate = int(speed / 2)
            bulk = pair.start("bulk", "bulk", amount=int(rate * BESIDE_S), rate=rate)
            busy = p99(pair)
            if bulk.done:
                raise RuntimeError("the bulk transfer ended before the requests did")
            bulk.result()
            return busy / quiet

        return sample

    return side


def apps_on_a_node(build: Build) -> Side:
    """Memory of all that is the node's, MB: 20 plugins, 100 peers. The plugins' own processes are left out, and with
    them the gateway client in each.
    """

    def side(stack: ExitStack) -> Sample:
        node: OrdinaryNode = alone(stack, build, HIGH)
        folder = scratch(stack)
        folder.chmod(0o755)
        for number in range(APPS):
            node.install(build.plugin(folder, f"app-{number}"))
        crowd = Driver.to(stack, built(BUILT / "contender-crowd"), node.ticket)
        crowd("hold", amount=PEERS)
        time.sleep(SETTLE_S)
        return lambda: machine.pss_bytes(processes(node)) / MB

    return side


def apps_of_libp2p(kind: str) -> Side:
    """Memory of 20 applications with a node each, MB, less that of as many without one."""

    def side(stack: ExitStack) -> Sample:
        program = built(BUILT / "contender-libp2p")
        _, addresses = serve(stack, program, "crowd", kind, PEERS)

        def pss(*arguments: str) -> float:
            with ExitStack() as own:
                apps = [serve(own, program, "app", kind, *arguments)[0] for _ in range(APPS)]
                time.sleep(SETTLE_S)
                return machine.pss_bytes(app.pid for app in apps) / MB

        return lambda: pss(*addresses.split()) - pss()

    return side


FIGURES = {
    "neighbour_p99": Figure(
        "a plugin's request p99 beside another's bulk at half speed, against quiet",
        "times",
        "less",
        {"ours": beside_bulk(OURS), "baseline": beside_bulk(BASE)},
        rounds=3,
    ),
    "many_apps": Figure(
        f"memory for {APPS} applications with {PEERS} peers each: ours the node, without the gateway client in each "
        "application; libp2p's the whole library in each",
        "MB",
        "less",
        {
            "ours": apps_on_a_node(OURS),
            "baseline": apps_on_a_node(BASE),
            "libp2p-quic": apps_of_libp2p("quic"),
            "libp2p-tcp": apps_of_libp2p("tcp"),
        },
        rounds=2,
    ),
}
