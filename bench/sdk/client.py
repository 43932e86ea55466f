"""The Python SDK at work: ``client.py WORK AMOUNT FLIGHT`` prints ``{"seconds", "cpu"}`` as JSON. The other end, whose
node id is this node's own, is ``src/bin/gateway.rs``; ``src/bin/client.rs`` and ``go/main.go`` do the same work."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

import polypeer

PIECE = 256 << 10
"""Bytes per read and write of a stream."""
DATA = bytes([7]) * PIECE
SMALL = DATA[:1024]


async def send(node: polypeer.Node, size: int) -> None:
    """One stream that is written, and answered by a byte."""
    async with await node.open_stream(node.id, "sink/1") as stream:
        view = memoryview(DATA)
        while size > 0:
            await stream.write(view[: min(size, PIECE)])
            size -= PIECE
        await stream.finish()
        await stream.readexactly(1)


async def receive(node: polypeer.Node, size: int) -> None:
    """One stream that is read to its end."""
    size = -(-size // PIECE) * PIECE
    async with await node.open_stream(node.id, "source/1") as stream:
        await stream.write(size.to_bytes(8, "little"))
        await stream.finish()
        received = 0
        async for chunk in stream:
            received += len(chunk)
    assert received == size, f"{received} bytes came, not {size}"


async def request(node: polypeer.Node) -> None:
    """One request of 1 KiB, answered by as much."""
    await node.request(node.id, "echo/1", SMALL)


async def carry_out(node: polypeer.Node, work: str, amount: int, flight: int) -> None:
    """Does one kind of work: an amount of bytes, requests or streams."""
    if work == "send":
        await send(node, amount)
    elif work == "receive":
        await receive(node, amount)
    elif work == "serve":
        await node.request(node.id, "ask/1", f"{amount} {flight}".encode())
    else:

        async def worker(share: int) -> None:
            for _ in range(share):
                await (request(node) if work == "request" else send(node, 1024))

        shares = [amount // flight + (each < amount % flight) for each in range(flight)]
        await asyncio.gather(*map(worker, shares))


async def main() -> None:
    """Connects, does a twentieth of the work for what is done once only, then measures all of it."""
    work, amount, flight = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

    async def echo(call: polypeer.Call) -> bytes:
        return call.payload

    async with polypeer.connect() as node:
        serving = asyncio.ensure_future(node.handle("serve/1", echo))
        await carry_out(node, work, amount // 20 + 1, flight)
        began, used = time.perf_counter(), time.process_time()
        await carry_out(node, work, amount, flight)
        print(json.dumps({"seconds": time.perf_counter() - began, "cpu": time.process_time() - used}))
        serving.cancel()


if __name__ == "__main__":
    if "PROFILE" in os.environ:
        import cProfile

        cProfile.run("asyncio.run(main())", os.environ["PROFILE"])
    else:
        asyncio.run(main())
