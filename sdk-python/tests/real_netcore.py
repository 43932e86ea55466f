"""Real network cores for tests: two `polypeer-netcore` processes on loopback, with this file as their supervisor.

The admin session (`ipc-protocol/src/admin.rs`) is a socket pair, descriptor 3 of the process; frames as on a control
session. Each launch's listening socket goes along with its `AddLaunch` and stays open here, so that a restarted
netcore finds the connections that came meanwhile.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ADD_LAUNCH, REMOVE_LAUNCH, SET_GRANTS, START = range(4)
CONFIGURE = 16
_RESPONSE, _FAILED, _DONE = 0, 0, 1


def find_binary(name: str) -> Path | None:
    """A binary in the folder that `POLYPEER_BIN` names, or in the target folder of the source tree."""
    folders = [Path(os.environ["POLYPEER_BIN"])] if "POLYPEER_BIN" in os.environ else []
    folders += [ROOT / "target/release", ROOT / "target/debug"]
    return next((path for folder in folders if (path := folder / name).is_file()), None)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def everything() -> bytes:
    """Grants of all protocols, topics and names, with any peer."""
    all_names = struct.pack("<Q", 1) + text("*")
    nothing = struct.pack("<Q", 0)
    return all_names * 3 + struct.pack("<I", 1) + all_names * 2 + nothing


def settings() -> bytes:
    """One loopback address, the local network off, the other settings as by default."""
    listen = struct.pack("<Q", 1) + text("127.0.0.1:0")
    no_watermarks = struct.pack("<??", False, False)
    node = listen + text("main") + struct.pack("<?", False) + no_watermarks
    sources = struct.pack("<??Q??Q??", True, False, 0, False, True, 0, True, True)  # remembered, lan, …, exchange, dht
    mainline = struct.pack("<?HQ", False, 0, 0)
    return node + sources + mainline


@dataclass
class Launch:
    """One plugin launch."""

    number: int
    node: bytes
    plugin: str
    path: str
    listening: socket.socket
    grants: bytes = field(default_factory=everything)
    token: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    @property
    def token_text(self) -> str:
        return self.token.hex()


class Netcore:
    """One process and the supervisor's end of its admin session."""

    def __init__(self, program: Path, home: Path) -> None:
        self.program = program
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None
        self.admin: socket.socket | None = None
        self.commands = 0
        self.received = b""

    async def start(self, launches: list[Launch]) -> None:
        ours, theirs = socket.socketpair()
        self.home.mkdir(exist_ok=True)
        command = [str(self.program), "--home", str(self.home)]
        self.process = spawn(command, theirs, self.home / "netcore.log")
        theirs.close()
        ours.setblocking(False)
        self.admin, self.received = ours, b""
        await self.ask(struct.pack("<I", CONFIGURE) + settings())
        for launch in launches:
            body = struct.pack("<IQ", ADD_LAUNCH, launch.number) + text(launch.plugin) + launch.token + launch.grants
            await self.ask(body, launch.listening.fileno())
        await self.ask(struct.pack("<I", START))

    async def ask(self, request: bytes, descriptor: int | None = None) -> None:
        """Sends one command and waits for `Done`; events are skipped."""
        assert self.admin is not None
        self.commands += 1
        body = struct.pack("<Q", self.commands) + request
        frame = struct.pack("<I", len(body)) + body
        passed = []
        if descriptor is not None:
            passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        assert self.admin.sendmsg([frame], passed) == len(frame), "an admin frame fits the socket's buffer"
        while True:
            answer = await self.frame()
            kind, id, response = struct.unpack_from("<IQI", answer.ljust(16, b"\0"))
            if kind == _RESPONSE and id == self.commands:
                assert response == _DONE, f"netcore refused a command: {answer!r}\n{self.log()}"
                return

    async def frame(self) -> bytes:
        assert self.admin is not None
        loop = asyncio.get_running_loop()
        while True:
            if len(self.received) >= 4:
                size = int.from_bytes(self.received[:4], "little")
                if len(self.received) >= 4 + size:
                    body, self.received = self.received[4 : 4 + size], self.received[4 + size :]
                    return body
            data = await asyncio.wait_for(loop.sock_recv(self.admin, 65536), 20)
            assert data, f"netcore ended its admin session:\n{self.log()}"
            self.received += data

    def log(self) -> str:
        with contextlib.suppress(OSError):
            return (self.home / "netcore.log").read_text(errors="replace")[-4000:]
        return ""

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None
        if self.admin is not None:
            self.admin.close()
            self.admin = None


_EXEC = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.execv(sys.argv[2], sys.argv[2:])"


def spawn(command: list[str], admin: socket.socket, log: Path) -> subprocess.Popen[bytes]:
    """Starts a program with `admin` as its descriptor 3."""
    number = admin.fileno()
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-S", "-c", _EXEC, str(number), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(number,),
        )


class RealWorld:
    """Two nodes: launches 0 and 2 are plugins of the first, launch 1 of the second."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.folder = folder
        self.launches: list[Launch] = []
        self.nodes = {node: Netcore(program, folder / node.decode()) for node in (b"first", b"second")}
        for node, plugin in ((b"first", "alpha"), (b"second", "beta"), (b"first", "gamma")):
            number = len(self.launches) + 1
            path = str(folder / f"{number}.sock")
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listening.bind(path)
            listening.listen(64)
            listening.setblocking(False)
            self.launches.append(Launch(number, node, plugin, path, listening))

    async def start(self) -> None:
        for node in self.nodes:
            await self.start_node(node)

    async def stop(self) -> None:
        for netcore in self.nodes.values():
            netcore.kill()
        for launch in self.launches:
            launch.listening.close()

    async def start_node(self, node: bytes) -> None:
        await self.nodes[node].start([launch for launch in self.launches if launch.node == node])

    async def kill_node(self, node: bytes) -> None:
        self.nodes[node].kill()
