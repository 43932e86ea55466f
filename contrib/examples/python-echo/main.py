"""The smallest useful plugin: every stream and every request on `echo/1` gets back what it sent."""

import asyncio

import polypeer


async def echo(stream: polypeer.Stream) -> None:
    """One stream: what comes goes back, up to the end."""
    async for chunk in stream:
        await stream.write(chunk)


async def main() -> None:
    """Serves until Polypeer stops the plugin."""
    async with polypeer.connect() as node:
        listener = await node.listen("echo/1")
        print(f"{node.plugin} serves echo/1 on {node.id}")
        await listener.serve(echo)


if __name__ == "__main__":
    asyncio.run(main())
