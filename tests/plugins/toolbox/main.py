"""A plugin that carries out a test's orders. It serves a few protocols from the start, and takes orders on a Unix
socket in its data folder: one connection for each order, with one JSON line each way (`tests/toolbox.py` is the other
end).

tool/echo     stream: sends back what it receives        request: the payload, reversed
tool/duplex   stream: 16 bytes (size, seed), then both sides send `size` bytes at once; the answer ends with the digest
              of what arrived
tool/hold     stream: sends one byte and nothing more, without an end
tool/source   stream: sends without end
tool/http     a minimal HTTP/1.1 server on asyncio streams: replies to a POST with its body, keep-alive
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import struct
import sys
import time
from pathlib import Path
from typing import Any

import polypeer
from services import Services

# Coprime to every buffer size in between, so that misplaced bytes change the digest.
PERIOD = (1 << 20) + 7
PIECE = 256 << 10
HEADER = struct.Struct("<QQ")
DIGEST = 32


def pattern(seed: int) -> bytes:
    """Returns the bytes that one side of a transfer repeats."""
    return random.Random(seed).randbytes(PERIOD)


async def send_pattern(stream: polypeer.Stream, size: int, seed: int) -> None:
    """Writes `size` bytes of the pattern."""
    view = memoryview(pattern(seed))
    at = 0
    while at < size:
        start = at % PERIOD
        piece = view[start : start + min(PIECE, size - at)]
        await stream.write(piece)
        at += len(piece)


async def digest_of(stream: polypeer.Stream, size: int) -> bytes:
    """Reads exactly `size` bytes and returns their digest."""
    digest = hashlib.sha256()
    left = size
    while left:
        piece = await stream.read(min(PIECE, left))
        if not piece:
            raise EOFError(f"{left} bytes are missing")
        digest.update(piece)
        left -= len(piece)
    return digest.digest()


def digest_of_pattern(size: int, seed: int) -> bytes:
    """Returns the digest of `size` bytes of the pattern."""
    whole, rest = divmod(size, PERIOD)
    data = pattern(seed)
    digest = hashlib.sha256()
    for _ in range(whole):
        digest.update(data)
    digest.update(data[:rest])
    return digest.digest()


async def echo(stream: polypeer.Stream) -> None:
    """Serves streams of tool/echo."""
    async for piece in stream:
        await stream.write(piece)
    await stream.finish()


async def reverse(call: polypeer.Call) -> bytes:
    """Answers requests of tool/echo."""
    return call.payload[::-1]


async def duplex(stream: polypeer.Stream) -> None:
    """Serves tool/duplex."""
    size, seed = HEADER.unpack(await stream.readexactly(HEADER.size))
    digest, _ = await asyncio.gather(digest_of(stream, size), send_pattern(stream, size, seed + 1))
    await stream.write(digest)
    await stream.finish()


async def hold(stream: polypeer.Stream) -> None:
    """Serves tool/hold."""
    await stream.write(b"!")
    await stream.read(1)


async def source(stream: polypeer.Stream) -> None:
    """Serves tool/source."""
    await send_pattern(stream, 1 << 40, 0)


async def http(stream: polypeer.Stream) -> None:
    """Serves tool/http."""
    while line := await stream.readline():
        method = line.split()[0]
        length = 0
        while (header := await stream.readline()) not in (b"\r\n", b""):
            name, _, value = header.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        await stream.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nx-method: %s\r\n\r\n" % (length, method))
        while length:
            piece = await stream.read(min(PIECE, length))
            if not piece:
                raise EOFError("the body is cut")
            await stream.write(piece)
            length -= len(piece)
    await stream.finish()


class Toolbox(Services):
    """Orders; each method carries out one."""

    def __init__(self, node: polypeer.Node) -> None:
        super().__init__(node)
        self.held: list[polypeer.Stream] = []

    async def pid(self) -> int:
        """Returns this process's pid, as it sees it."""
        return os.getpid()

    async def request(self, peer: str, protocol: str, text: str, timeout: float = 10) -> str:
        """Sends a request and returns the reply as text."""
        return (await self.node.request(peer, protocol, text.encode(), timeout=timeout)).decode()

    async def converse(self, peer: str, protocol: str, text: str) -> str:
        """Opens a stream, sends a text, and returns the answer."""
        async with await self.node.open_stream(peer, protocol) as stream:
            await stream.write(text.encode())
            await stream.finish()
            return (await stream.read()).decode()

    async def round_trips(self, peer: str, protocol: str, count: int) -> list[float]:
        """Sends `count` requests of 32 bytes, one after another, and returns the seconds of each."""
        took = []
        for _ in range(count):
            started = time.perf_counter()
            await self.node.request(peer, protocol, b"x" * 32, timeout=10)
            took.append(time.perf_counter() - started)
        return took

    async def transfer(self, peer: str, protocol: str, size: int, seed: int) -> dict[str, Any]:
        """Runs tool/duplex with a peer; returns whether each direction arrived bit for bit, and the seconds."""
        started = time.perf_counter()
        stream = await self.node.open_stream(peer, protocol)
        async with stream:
            await stream.write(HEADER.pack(size, seed))
            digest, _ = await asyncio.gather(digest_of(stream, size), send_pattern(stream, size, seed))
            theirs = await stream.readexactly(DIGEST)
            assert await stream.read(1) == b"", "bytes after the end"
        return {
            "received": digest == digest_of_pattern(size, seed + 1),
            "sent": theirs == digest_of_pattern(size, seed),
            "seconds": time.perf_counter() - started,
        }

    async def wait_cut(self, peer: str, protocol: str) -> str:
        """Opens tool/hold, marks in the data folder that it is open, and returns how reading from it ended."""
        stream = await self.node.open_stream(peer, protocol)
        assert await stream.readexactly(1) == b"!"
        Path(os.environ["POLYPEER_DATA"], "held").write_text("yes")
        try:
            rest = await stream.read(1)
        except polypeer.PolypeerError as error:
            return f"{type(error).__name__}: {error}"
        return f"end of data: {rest!r}"

    async def open_many(self, peer: str, protocol: str, count: int) -> dict[str, Any]:
        """Opens streams until one is refused; keeps them open without reading."""
        for opened in range(count):
            try:
                stream = await self.node.open_stream(peer, protocol, timeout=5)
            except polypeer.PolypeerError as error:
                return {"opened": opened, "error": str(error), "kind": type(error).__name__}
            self.held.append(stream)
        return {"opened": count, "error": None, "kind": None}

    async def listen(self, protocol: str) -> None:
        """Serves echo under another name."""
        listener = await self.node.listen(protocol)
        keep(asyncio.ensure_future(listener.serve(echo)))

    async def ask_http(self, peer: str, protocol: str, sizes: list[int]) -> int:
        """POSTs bodies of these sizes over one stream; returns how many came back unchanged."""
        good = 0
        async with await self.node.open_stream(peer, protocol) as stream:
            for size in sizes:
                await stream.write(b"POST / HTTP/1.1\r\nhost: peer\r\ncontent-length: %d\r\n\r\n" % size)
                writing = asyncio.ensure_future(send_pattern(stream, size, size))
                status = await stream.readline()
                assert status.startswith(b"HTTP/1.1 200"), status
                while await stream.readline() != b"\r\n":
                    pass
                good += await digest_of(stream, size) == digest_of_pattern(size, size)
                await writing
        return good

    async def daemonise(self, marker: str) -> None:
        """Leaves a daemonised grandchild behind: in its own session, its parent gone."""
        child = os.fork()
        if child == 0:
            os.setsid()
            if os.fork() == 0:
                os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)", marker])
            os._exit(0)
        os.waitpid(child, 0)  # noqa: ASYNC222 - it ends at once

    async def try_path(self, path: str) -> str:
        """Tries to read a file of the host or to connect to its socket; returns the result."""
        try:
            if path.endswith(".sock"):
                _, writer = await asyncio.open_unix_connection(path)
                writer.close()
                return "connected"
            return f"read {len(Path(path).read_bytes())} bytes"
        except OSError as error:
            return type(error).__name__

    async def exit(self, code: int) -> None:
        """Ends this process."""
        os._exit(code)


TASKS: set[asyncio.Future[None]] = set()


def keep(task: asyncio.Future[None]) -> None:
    """Holds a task until it ends, as the event loop keeps no strong reference."""
    TASKS.add(task)


async def main() -> None:
    """Serves the protocols, and takes orders until stopped."""
    async with polypeer.connect() as node:
        toolbox = Toolbox(node)
        handlers = {
            "tool/echo": echo,
            "tool/duplex": duplex,
            "tool/hold": hold,
            "tool/source": source,
            "tool/http": http,
        }
        for protocol, handler in handlers.items():
            try:
                listener = await node.listen(protocol)
            except polypeer.NotAllowed:
                continue  # a copy under another name, which only dials
            keep(asyncio.ensure_future(listener.serve(handler)))
            if protocol == "tool/echo":
                keep(asyncio.ensure_future(listener.serve_requests(reverse)))
        with contextlib.suppress(polypeer.NotAllowed):
            local = await node.listen("toollocal/1", local=True)
            keep(asyncio.ensure_future(local.serve(echo)))

        async def order(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked = json.loads(await reader.readline())
            try:
                answer = {"result": await getattr(toolbox, asked.pop("op"))(**asked)}
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            writer.write(json.dumps(answer).encode() + b"\n")
            writer.close()

        # A relative path, because the full one may exceed the length of a socket address.
        os.chdir(os.environ["POLYPEER_DATA"])
        Path("orders.sock").unlink(missing_ok=True)
        server = await asyncio.start_unix_server(order, "orders.sock", limit=1 << 20)
        Path("orders.sock").chmod(0o666)
        async with server:
            await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
