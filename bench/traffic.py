"""Figures of bytes and messages between two plugins, and on what else could carry them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import statistics
import subprocess
from typing import Any

from runner import Figure, Missing, Sample, Side, missing
from sides import BASE, OURS, Build, Driver, Orders, Pair

GIB = 1 << 30
# Bytes of one bulk transfer: one to two seconds.
BULK = GIB
REQUESTS = 2000
RATE_REQUESTS = 30_000
RATE_FLIGHT = 64
STREAMS = 1000
RATE_STREAMS = 6000
STREAM_FLIGHT = 32
# Packets on a path of Ethernet, bytes: its 1,500 without the headers of IPv4 and UDP.
ETHERNET_MTU = "1500"
ETHERNET_PACKET = "1472"
# clone(2): a network namespace.
CLONE_NEWNET = 0x40000000
# Size of quinn's packets over loopback, bytes, as the network core's there: ten of them are one full send of the kernel
# (65,507 bytes).
LARGE_PACKET = "6500"


def gbit(orders: Orders, amount: int = BULK, **arguments: Any) -> Sample:
    """Gbit/s of one stream."""
    return lambda: amount * 8 / 1e9 / orders("bulk", amount=amount, **arguments)[0]


def p50_us(orders: Orders, op: str, amount: int) -> Sample:
    """Median of `amount` in µs. The first ones are not counted."""

    def sample() -> float:
        orders(op, amount=amount // 10)
        return statistics.median(orders(op, amount=amount)) * 1e6

    return sample


def per_second(orders: Orders, op: str, amount: int, flight: int) -> Sample:
    """How many per second."""

    def sample() -> float:
        orders(op, amount=amount // 10, flight=flight)
        return amount / orders(op, amount=amount, flight=flight)[0]

    return sample


class Work:
    """One kind of work; makes the sides that do it."""

    def __init__(self, op: str, amount: int, flight: int = 0) -> None:
        """`flight` is how many at a time; 0: one after another, each timed."""
        self.op, self.amount, self.flight = op, amount, flight

    def sample(self, orders: Orders) -> Sample:
        """What takes a sample of this work."""
        if self.op == "bulk":
            return gbit(orders, self.amount)
        if self.flight:
            return per_second(orders, self.op, self.amount, self.flight)
        return p50_us(orders, self.op, self.amount)

    def nodes(self, build: Build) -> Side:
        """The work between two nodes."""
        return lambda stack: self.sample(Pair(stack, build))

    def contender(self, *command: str) -> Side:
        """The work by a contender."""
        return lambda stack: self.sample(Driver(stack, *command))

    def sides(self, *peers: str) -> dict[str, Side]:
        """Ours and the named peers."""
        known: dict[str, Side] = {
            "baseline": self.nodes(BASE),
            "quinn": self.contender("quinn"),
            "iroh": self.contender("iroh"),
            "libp2p-quic": self.contender("libp2p", "quic"),
            "libp2p-tcp": self.contender("libp2p", "tcp"),
            "p2pd": missing("not built: hivemind's daemon ends both directions of a stream with the first one"),
            "tcp": self.contender("sockets", "tcp"),
            "tls": self.contender("sockets", "tls"),
            "unix": self.contender("sockets", "unix"),
        }
        return {"ours": self.nodes(OURS), **{peer: known[peer] for peer in peers}}


def ethernet(stack: contextlib.ExitStack) -> None:
    """Starts the sides where loopback carries packets of Ethernet's size: in a network namespace of their own."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    stack.callback(os.close, before)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise Missing(f"no network namespace could be made ({os.strerror(ctypes.get_errno())}): run it as root")

    def back() -> None:
        if libc.setns(before, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "cannot return to the former network namespace")

    stack.callback(back)
    subprocess.run(["ip", "link", "set", "lo", "mtu", ETHERNET_MTU, "up"], check=True)


def local(stack: contextlib.ExitStack) -> Sample:
    """Between two plugins on one node."""
    return gbit(Pair(stack, OURS, "local"), peer="local", protocol="local/1")


BULK_WORK = Work("bulk", BULK)
REQUEST = Work("requests", REQUESTS)
REQUEST_RATE = Work("request_rate", RATE_REQUESTS, RATE_FLIGHT)
STREAM = Work("streams", STREAMS)
STREAM_RATE = Work("stream_rate", RATE_STREAMS, STREAM_FLIGHT)

FIGURES = {
    "bulk": Figure(
        "bulk, one stream, packets of Ethernet's size",
        "Gbit/s",
        "more",
        {
            **BULK_WORK.sides("iroh", "libp2p-quic", "libp2p-tcp", "p2pd", "baseline"),
            "quinn": BULK_WORK.contender("quinn", "--packet", ETHERNET_PACKET),
        },
        before=ethernet,
    ),
    "bulk_large": Figure(
        "bulk over loopback, packets of 6,500 bytes, socket buffers of 4 MiB",
        "Gbit/s",
        "more",
        {**BULK_WORK.sides("tls", "tcp"), "quinn": BULK_WORK.contender("quinn", "--packet", LARGE_PACKET)},
    ),
    "bulk_installed": Figure("bulk over loopback, as installed", "Gbit/s", "more", BULK_WORK.sides("baseline")),
    "tcp_plane": Figure(
        "bulk over the TCP plane",
        "Gbit/s",
        "more",
        {
            **BULK_WORK.sides("tls"),
            "quinn": BULK_WORK.contender("quinn", "--packet", LARGE_PACKET),
            "ours": missing("not built: streams over TCP between nodes"),
        },
    ),
    "local": Figure(
        "bulk between two plugins on one node", "Gbit/s", "more", {**BULK_WORK.sides("unix"), "ours": local}
    ),
    "request_p50": Figure(
        "request and reply of 1 KiB, one at a time, median",
        "µs",
        "less",
        REQUEST.sides("quinn", "iroh", "libp2p-quic", "libp2p-tcp", "baseline"),
    ),
    "request_rate": Figure(
        f"requests of 1 KiB, {RATE_FLIGHT} in flight", "1/s", "more", REQUEST_RATE.sides("quinn", "iroh", "baseline")
    ),
    "stream_p50": Figure(
        "stream opened, 1 KiB sent, answered by 1 byte, median", "µs", "less", STREAM.sides("quinn", "iroh", "baseline")
    ),
    "stream_rate": Figure(
        f"the same, {STREAM_FLIGHT} in flight", "1/s", "more", STREAM_RATE.sides("quinn", "iroh", "baseline")
    ),
}
