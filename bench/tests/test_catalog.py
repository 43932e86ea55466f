"""Every figure has a side of ours, first, and compares it with known peers only."""

from __future__ import annotations

import pytest
from catalog import FIGURES

PEERS = [
    "baseline",
    "quinn",
    "iroh",
    "libp2p-quic",
    "libp2p-tcp",
    "p2pd",
    "tcp",
    "tls",
    "unix",
    "scp",
    "rsync",
    "aria2",
    "iroh-blobs",
    "runit",
    "s6",
]
NAMES = [
    "bulk",
    "bulk_large",
    "bulk_installed",
    "tcp_plane",
    "local",
    "request_p50",
    "request_rate",
    "stream_p50",
    "stream_rate",
    "neighbour_p99",
    "handshakes",
    "memory_per_connection",
    "idle_rss",
    "rss_after_bulk",
    "idle_cpu",
    "connections_idle_cpu",
    "idle_packets",
    "file",
    "many_apps",
    "restart",
    "spawn_100",
]


def test_no_figure_is_missing() -> None:
    assert sorted(FIGURES) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_sides_are_ours_and_known_peers(name: str) -> None:
    ours, *peers = FIGURES[name].sides
    assert ours == "ours" and peers and set(peers) <= set(PEERS)
    assert FIGURES[name].better in ("more", "less") and FIGURES[name].rounds > 0
