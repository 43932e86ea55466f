"""Answers requests with a greeting."""

import asyncio

import polypeer

PROTOCOL = "my-plugin/1"


async def greet(call: polypeer.Call) -> bytes:
    """Returns the reply to one request; `call.peer` is the node that asks."""
    name = call.payload.decode(errors="replace").strip() or "stranger"
    print(f"{name!r} says hello")
    return f"hello {name}\n".encode()


async def main() -> None:
    """Serves until Polypeer stops this plugin."""
    async with polypeer.connect() as node:
        print(f"serves {PROTOCOL} on node {node.id}")
        await node.handle(PROTOCOL, greet)


if __name__ == "__main__":
    asyncio.run(main())
