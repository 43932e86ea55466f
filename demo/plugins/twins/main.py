"""Finds its twin on a connected peer, greets it once, and then sends it requests without end. Prints the greetings, and
twice a second a report as one JSON line, which the demo reads with `polypeer plugin logs`."""

import asyncio
import json
import statistics
import time

import polypeer

PROTOCOL = "twins/1"
PAUSE_S = 0.01
REPORT_EVERY_S = 0.5


async def answer(call: polypeer.Call) -> bytes:
    """Answers a greeting with a greeting, and every other request with its payload."""
    if call.payload.startswith(b"hello"):
        print(f"my twin says: {call.payload.decode()}", flush=True)
        return b"hello yourself"
    return call.payload


async def find_twin(node: polypeer.Node) -> str:
    """Waits for a peer that serves this plugin's protocol, and returns its node id."""
    while True:
        for peer in await node.peers():
            if PROTOCOL in peer.protocols:
                return peer.node
        await asyncio.sleep(0.02)


async def keep_asking(node: polypeer.Node) -> None:
    """Sends requests to the twin without end, and prints reports."""
    twin = await find_twin(node)
    reply = await node.request(twin, PROTOCOL, b"hello, twin", timeout=5)
    print(f"I said hello, and it answered: {reply.decode()}", flush=True)
    asked = answered = 0
    times: list[float] = []
    report_at = time.monotonic() + REPORT_EVERY_S
    while True:
        asked += 1
        started = time.perf_counter()
        try:
            answered += await node.request(twin, PROTOCOL, b"%d" % asked, timeout=5) == b"%d" % asked
            times.append(time.perf_counter() - started)
        except polypeer.PolypeerError as error:
            print(f"no answer: {error}", flush=True)
        if time.monotonic() > report_at:
            report_at += REPORT_EVERY_S
            figures = {"asked": asked, "answered": answered, "worst_ms": round(max(times) * 1000, 3)}
            print(json.dumps({**figures, "median_ms": round(statistics.median(times) * 1000, 3)}), flush=True)
            times.clear()
        await asyncio.sleep(PAUSE_S)


async def main() -> None:
    """Serves requests and sends them."""
    async with polypeer.connect() as node:
        listener = await node.listen(PROTOCOL)
        await asyncio.gather(listener.serve_requests(answer), keep_asking(node))


asyncio.run(main())
