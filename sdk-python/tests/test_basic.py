from __future__ import annotations

import polypeer
from fake_netcore import FakeNetcore


async def echo(stream: polypeer.Stream) -> None:
    async for chunk in stream:
        await stream.write(chunk)


async def test_echo(world: FakeNetcore) -> None:
    import asyncio

    a, b = world.launches
    async with polypeer.connect(a.path, a.token_text) as alpha, polypeer.connect(b.path, b.token_text) as beta:
        listener = await beta.listen("echo/1")
        serving = asyncio.create_task(listener.serve(echo))
        async with await alpha.open_stream(beta.id, "echo/1") as stream:
            assert stream.peer == beta.id
            await stream.write(b"hello" * 100000)
            await stream.finish()
            assert await stream.read() == b"hello" * 100000
        assert await alpha.request(beta.id, "echo/1", b"hi") == b"hi"
        await listener.close()
        await serving
