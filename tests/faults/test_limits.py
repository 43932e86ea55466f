"""Limits that cannot be put in force."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import MakeNode
from harness import until, write_plugin

MANIFEST = """
[plugin]
id = "large"
version = "0.1.0"
command = ["python3", "main.py"]

[health]
ready = "none"
"""
PROGRAM = """
import time

held = bytearray(80 << 20)
held[::4096] = b"x" * len(held[::4096])
print("holds it", flush=True)
time.sleep(1000)
"""


def test_limit_below_present_use_is_refused_and_the_old_one_stays(make_node: MakeNode, folder: Path) -> None:
    node = make_node("a").start()
    node.install(write_plugin(folder / "large", MANIFEST, {"main.py": PROGRAM}))
    until("it holds its memory", lambda: "holds it" in node.cli("plugin", "logs", "large").ok().out)
    before = node.plugin("large")
    if not any(measure["measure"] == "memory" and measure["applied"] for measure in before["confinement"]):
        pytest.skip("memory is only sampled here")
    refused = node.cli("plugin", "limit", "large", "memory=20MiB")
    assert (refused.code, "uses" in refused.err) == (4, True), refused
    after = node.plugin("large")
    assert after["limits"]["memory_bytes"] == before["limits"]["memory_bytes"]
    assert after["overrides"] == {}
    assert (after["state"], after["pid"]) == ("ready", before["pid"])
    node.cli("plugin", "limit", "large", "memory=200MiB").ok()
    assert node.plugin("large")["limits"]["memory_bytes"] == 200 << 20
