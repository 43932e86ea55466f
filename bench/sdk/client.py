"""The Python SDK at work. ``src/bin/client.rs`` and ``go/main.go`` do the same.

``client.py WORK AMOUNT FLIGHT`` works against ``src/bin/gateway.rs``, which has this node's own id, and
``client.py WORK AMOUNT FLIGHT PEER TICKET`` against ``client.py attend`` on another node, which prints the two. Prints
``{"seconds", "cpu"}`` as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import polypeer

PIECE = 256 << 10
"""Bytes per read and write of a stream."""
DATA = bytes([7]) * PIECE
SMALL = DATA[:1024]


async def send(node: polypeer.Node, peer: str, size: int) -> None:
    """One stream that is written, and answered by a byte."""
    async with await node.open_stream(peer, "sink/1") as stream:
        view = memoryview(DATA)
        while size > 0:
            await stream.write(view[: min(size, PIECE)])
            size -= PIECE
        await stream.finish()
        await stream.readexactly(1)


async def receive(node: polypeer.Node, peer: str, size: int) -> None:
    """One stream that is read to its end."""
    size = -(-size // PIECE) * PIECE
    async with await node.open_stream(peer, "source/1") as stream:
        await stream.write(size.to_bytes(8, "little"))
        await stream.finish()
        received = 0
        async for chunk in stream:
            received += len(chunk)
    assert received == size, f"{received} bytes came, not {size}"


async def request(node: polypeer.Node, peer: str) -> None:
    """One request of 1 KiB, answered by as much."""
    await node.request(peer, "echo/1", SMALL)


async def carry_out(node: polypeer.Node, peer: str, work: str, amount: int, flight: int) -> None:
    """Does one kind of work: an amount of bytes, requests or streams."""
    if work == "send":
        await send(node, peer, amount)
    elif work == "receive":
        await receive(node, peer, amount)
    elif work == "serve":
        await node.request(peer, "ask/1", f"{amount} {flight}".encode())
    else:

        async def worker(share: int) -> None:
            for _ in range(share):
                await (request(node, peer) if work == "request" else send(node, peer, 1024))

        shares = [amount // flight + (each < amount % flight) for each in range(flight)]
        await asyncio.gather(*map(worker, shares))


async def echo(call: polypeer.Call) -> bytes:
    """Answers a request with what it holds."""
    return call.payload


async def drain(stream: polypeer.Stream) -> None:
    """Reads a stream to its end and answers with a byte."""
    async for _ in stream:
        pass
    await stream.write(b"!")


async def fill(stream: polypeer.Stream) -> None:
    """Writes as much as the stream's first 8 bytes say."""
    for _ in range(int.from_bytes(await stream.readexactly(8), "little") // PIECE):
        await stream.write(DATA)


async def attend() -> None:
    """Serves the clients of another node until killed."""
    async with polypeer.connect() as node:
        sink, source = await node.listen("sink/1"), await node.listen("source/1")
        print(node.id, (await node.info()).ticket, flush=True)
        await asyncio.gather(sink.serve(drain), source.serve(fill), node.handle("echo/1", echo))


async def main() -> None:
    """Connects, does a twentieth of the work for what is done once only, then measures all of it."""
    work, amount, flight = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    async with polypeer.connect() as node:
        serving = asyncio.ensure_future(node.handle("serve/1", echo))
        peer, ticket = sys.argv[4:] or (node.id, node.id)
        await node.request(ticket, "echo/1", SMALL)
        await carry_out(node, peer, work, amount // 20 + 1, flight)
        began, used = time.perf_counter(), time.process_time()
        await carry_out(node, peer, work, amount, flight)
        print(json.dumps({"seconds": time.perf_counter() - began, "cpu": time.process_time() - used}))
        serving.cancel()


if __name__ == "__main__":
    asyncio.run(attend() if sys.argv[1] == "attend" else main())
