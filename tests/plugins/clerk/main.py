"""Answers requests: shouts back, says who asked, refuses, fails, answers too much or not at all, as the text says."""

from __future__ import annotations

import asyncio

import polypeer


async def answer(call: polypeer.Call) -> bytes:
    """One request."""
    text = call.payload.decode()
    if text == "who":
        return str(call.origin).encode()
    if text == "refuse":
        raise polypeer.Refused("not today", 7)
    if text == "fail":
        raise KeyError("a bug")
    if text == "much":
        return bytes((64 << 10) + 1)
    if text == "never":
        await asyncio.sleep(3600)
    return text.upper().encode()


async def fail(stream: polypeer.Stream) -> None:
    """Fails in the middle of a stream."""
    await stream.write(b"so far so good")
    await stream.read(1)
    raise KeyError("a bug")


async def main() -> None:
    """Serves until the node is closed."""
    async with polypeer.connect() as node:
        listener = await node.listen("clerk-stream/1")
        served = [
            asyncio.ensure_future(node.handle("clerk/1", answer)),
            asyncio.ensure_future(node.handle("clerk-local/1", answer, local=True)),
            asyncio.ensure_future(listener.serve(fail)),
        ]
        await node.ready()
        await asyncio.gather(*served)


if __name__ == "__main__":
    asyncio.run(main())
