"""A plugin written from `ipc-protocol/SPEC.md` alone, together with plugins that use an SDK."""

from __future__ import annotations

from conftest import PLUGINS
from toolbox import Toolbox


def test_plugin_without_sdk_serves_and_dials(pair: tuple[Toolbox, Toolbox]) -> None:
    a, b = pair
    b.node.install(PLUGINS / "bare")
    peer = b.node.id
    assert a.do("converse", peer=peer, protocol="bare/1", text="hello") == "HELLO"
    assert a.do("converse", peer=peer, protocol="bare/1", text="") == ""
    assert a.do("request", peer=peer, protocol="bare/1", text="same") == "same"
    assert a.do("request", peer=peer, protocol="bare/1", text=f"ask {a.node.id}") == "from bare"
