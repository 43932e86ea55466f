"""The fake network core (`ipc-protocol/fake`), one process per test: a world of nodes that obey the contract, and fail
on command. It passes the same contract suite as the real one (`test_contract.py`).

Commands are short and wait for their reply, so they may be given anywhere in a test. Events, requests and grants are in
the JSON form of the gateway's types.
"""

from __future__ import annotations

import json
import select
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest

from polypeer import ErrorCode
from polypeer._ids import node_text
from real_netcore import find_binary

REPLY_TIME = 20
"""Seconds until a reply must be there; it takes a thousandth of one."""
ALWAYS = 1 << 40
"""How often an exception applies that has no end."""
Json = dict[str, Any]


def failure(code: int, message: str = "") -> Json:
    return {"code": int(code), "message": message}


def failed(code: int, message: str = "") -> Json:
    """A response that refuses a request."""
    return {"Failed": failure(code, message)}


def grants(names: tuple[str, ...] = (), **changes: Any) -> Json:
    """The same names for every grant, but for the changes; any peer."""
    made: Json = {grant: names for grant in ("serve", "dial", "serve_local", "topics", "dht")}
    return {**made, "peers": "Any", "routes": (), **changes}


def everything(**changes: Any) -> Json:
    """What a launch may do at first, but for the changes."""
    return grants(("*",), **changes)


class Launch:
    """One plugin launch: where it connects, and what the fake tells about it."""

    def __init__(self, world: FakeNetcore, node: bytes, plugin: str, path: str) -> None:
        self.world = world
        self.node = node
        self.plugin = plugin
        self.path = path
        reply = world.do(launch={"node": self.id, "plugin": plugin, "path": path})
        self.number: int = reply["launch"]
        self.token_text: str = reply["token"]
        self._requests: list[Json] = []

    @property
    def id(self) -> str:
        return node_text(self.node)

    def remove(self) -> None:
        self._do("remove")

    # Observations.

    @property
    def state(self) -> Json:
        return cast(Json, self.world.state["launches"][str(self.number)])

    @property
    def session(self) -> bool:
        """Whether it has a control session."""
        return cast(bool, self.state["session"])

    @property
    def hellos(self) -> int:
        """Control sessions it asked for, refused ones included."""
        return cast(int, self.state["hellos"])

    @property
    def heartbeats(self) -> int:
        """Heartbeats it answered."""
        return cast(int, self.state["heartbeats"])

    @property
    def listeners(self) -> dict[tuple[str, bool], str]:
        """How calls arrive, by protocol and whether it is served locally."""
        return {(protocol, scope == "Local"): calls for protocol, scope, calls in self.state["listeners"]}

    @property
    def topics(self) -> dict[str, str]:
        """Who validates the messages of each topic."""
        return dict(self.state["topics"])

    @property
    def datagrams(self) -> set[str]:
        return set(self.state["datagrams"])

    @property
    def watching(self) -> bool:
        return cast(bool, self.state["watches_peers"])

    @property
    def network(self) -> bool:
        return cast(bool, self.state["watches_network"])

    def requests(self, kind: str) -> list[Any]:
        """The requests of one kind in all its sessions: their fields."""
        self._requests += self._do("requests", {"from": len(self._requests)})["requests"]
        return [each[kind] if isinstance(each, dict) else {} for each in self._requests if kind in each]

    @property
    def readies(self) -> int:
        return len(self.requests("Ready"))

    @property
    def verdicts(self) -> list[Json]:
        return self.requests("Judge")

    # Commands.

    def allow(self, allowed: Json) -> None:
        """Changes what it may do, without telling it."""
        self._do("grants", {"grants": allowed})

    def tell_reach(self, reach: str) -> None:
        """Changes what those learn who begin to watch the network."""
        self._do("network", {"reach": reach, "addresses": ()})

    def event(self, event: Json | str) -> None:
        self._do("event", {"event": event})

    def send(self, data: bytes, to: str = "session") -> None:
        """Sends bytes on its session, or on all its streams."""
        self._do("send", {"bytes": data.hex(), "to": to})

    def close(self, code: int) -> None:
        """Ends its session."""
        self._do("close", {"failure": failure(code)})

    def _do(self, command: str, fields: Json | None = None) -> Json:
        return self.world.do(**{command: {"launch": self.number, **(fields or {})}})


class FakeNetcore:
    """The world of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.launches: list[Launch] = []
        binary = find_binary("polypeer-fake-netcore")
        if binary is None:
            pytest.fail("polypeer-fake-netcore is not built; run: make build", pytrace=False)
        self.process = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def do(self, **command: Json) -> Json:
        """Gives one command and waits for its reply."""
        return self._line(json.dumps(command))

    def _line(self, line: str) -> Json:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        assert select.select([self.process.stdout], [], [], REPLY_TIME)[0], f"no reply to {line}"
        reply = cast(Json, json.loads(self.process.stdout.readline() or '{"error": "it has ended"}'))
        assert "error" not in reply, reply
        return reply

    # Scenery.

    def launch(self, node: int = 1, plugin: str = "alpha") -> Launch:
        """Adds a plugin launch on node number `node`."""
        path = str(self.folder / f"gateway-{len(self.launches)}.sock")
        launch = Launch(self, bytes([node]) * 32, plugin, path)
        self.launches.append(launch)
        return launch

    async def start(self) -> None:
        """All nodes run from the beginning."""

    async def start_node(self, node: bytes) -> None:
        """Runs a node again: sessions and streams begin from nothing."""
        self.do(start={"node": node_text(node)})

    async def kill_node(self, node: bytes) -> None:
        """As `kill -9`: connections break at once. The listening sockets stay, as the supervisor keeps them."""
        self.do(kill={"node": node_text(node)})

    async def stop(self) -> None:
        """Nothing: `close` ends all nodes at once."""

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(REPLY_TIME)
        self.process.stdout.close()

    # Observations.

    @property
    def state(self) -> Json:
        return self._line('"state"')

    @property
    def unclaimed(self) -> int:
        """Streams announced and not yet claimed."""
        return cast(int, self.state["unclaimed"])

    @property
    def calls(self) -> int:
        """Calls that wait for an answer."""
        return cast(int, self.state["calls"])

    @property
    def answers_left(self) -> int:
        """How often an exception to the right answer will still be made."""
        return sum(self.state["answers"])

    def providers(self, name: str) -> list[str]:
        return list(self.state["providers"].get(name, ()))

    # Commands.

    def answer(self, requests: tuple[str, ...], response: Json | None, times: int = ALWAYS) -> None:
        """Answers the next requests of these kinds with `response`; `None`: does what they ask and never answers."""
        self.do(answer={"launch": None, "requests": requests, "name": None, "times": times, "with": response})

    def busy(self, times: int) -> None:
        """So many requests to listen, subscribe or receive fail as busy."""
        self.answer(("Listen", "Subscribe", "ReceiveDatagrams"), failed(ErrorCode.BUSY), times)

    def no_dht(self, times: int) -> None:
        """So many requests of the DHT fail: no node of it is known."""
        kinds = ("PutImmutable", "GetImmutable", "PutOwn", "PutSigned", "GetSigned", "Provide", "FindProviders")
        self.answer(kinds, failed(ErrorCode.UNREACHABLE), times)

    def answer_all(self) -> None:
        """Makes no exceptions any more."""
        self._line('"answer_all"')

    def forget_providers(self) -> None:
        self._line('"forget_providers"')

    def sign(self, seed: bytes, data: bytes) -> tuple[bytes, bytes]:
        """The Ed25519 key of a seed, and its signature of `data`."""
        reply = self.do(sign={"seed": seed.hex(), "bytes": data.hex()})
        return bytes.fromhex(reply["key"]), bytes.fromhex(reply["signature"])
