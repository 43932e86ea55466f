"""asyncio's own streams over the overlay: code written for TCP works unchanged."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

import polypeer
from conftest import World, join_two, soon

BODY = bytes(range(256)) * 4096  # 1 MiB


async def serve_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A small HTTP server with keep-alive, as one would write it for `asyncio.start_server`."""
    while True:
        request = await reader.readline()
        if not request:
            break
        method, path, _ = request.split()
        headers = {}
        while (line := await reader.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            headers[name.strip().lower()] = value.strip()
        if method == b"PUT":
            digest, left = hashlib.blake2b(), int(headers[b"content-length"])
            while left:
                chunk = await reader.read(min(left, 1 << 20))
                digest.update(chunk)
                left -= len(chunk)
            answer = digest.hexdigest().encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer)
        else:
            blocks = int(path[1:])
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (blocks * len(BODY)))
            for _ in range(blocks):
                writer.write(BODY)
                await writer.drain()
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def response(reader: asyncio.StreamReader) -> str:
    """The hash of a response's body."""
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    left = int((await reader.readline()).split(b":")[1])
    await reader.readline()
    digest = hashlib.blake2b()
    while left:
        chunk = await reader.read(min(left, 1 << 20))
        assert chunk, "the body ended early"
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest()


async def test_http_with_keep_alive_and_large_bodies_both_ways(any_world: World) -> None:
    blocks = 100
    expected = hashlib.blake2b(BODY * blocks).hexdigest()
    async with join_two(any_world) as (alpha, beta):
        async with await beta.start_server(serve_http, "http/1"):
            reader, writer = await alpha.open_connection((await beta.info()).ticket, "http/1")
            assert writer.get_extra_info("peername") == beta.id
            for _ in range(3):
                writer.write(b"GET /1 HTTP/1.1\r\nHost: peer\r\n\r\n")
                assert await response(reader) == hashlib.blake2b(BODY).hexdigest()
            writer.write(b"GET /%d HTTP/1.1\r\n\r\n" % blocks)
            assert await response(reader) == expected
            writer.write(b"PUT / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (blocks * len(BODY)))
            for _ in range(blocks):
                writer.write(BODY)
                await writer.drain()
            size = int((await headers_of(reader))[b"content-length"])
            assert (await reader.readexactly(size)).decode() == expected
            writer.write_eof()
            assert await soon(reader.read()) == b""
            writer.close()
            await soon(writer.wait_closed())


async def headers_of(reader: asyncio.StreamReader) -> dict[bytes, bytes]:
    await reader.readline()
    headers = {}
    while (line := await reader.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip()
    return headers


async def test_cut_connection_is_an_exception_at_the_reader(any_world: World) -> None:
    accepted: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
    accepted = asyncio.get_running_loop().create_future()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set_result((reader, writer))

    async with join_two(any_world) as (alpha, beta):
        async with await beta.start_server(connected, "raw/1"):
            _, writer = await alpha.open_connection((await beta.info()).ticket, "raw/1")
            writer.write(b"part")
            there, there_writer = await soon(accepted)
            assert await soon(there.readexactly(4)) == b"part"
            reading = asyncio.ensure_future(there.read())
            writer.transport.abort()
            with pytest.raises(ConnectionResetError):
                await soon(reading)
            with pytest.raises((ConnectionError, polypeer.PolypeerError)):
                for _ in range(1000):
                    there_writer.write(BODY)
                    await there_writer.drain()


async def test_writer_learns_that_its_reader_is_gone(any_world: World) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.close()

    async with join_two(any_world) as (alpha, beta):
        async with await beta.start_server(connected, "raw/1"):
            reader, writer = await alpha.open_connection((await beta.info()).ticket, "raw/1")
            writer.write(b"x")
            assert await soon(reader.read()) == b""
            with pytest.raises((ConnectionError, polypeer.PolypeerError)):
                for _ in range(1000):
                    writer.write(BODY)
                    await soon(writer.drain())
            with pytest.raises((ConnectionError, polypeer.PolypeerError)):
                await soon(writer.wait_closed())


class Buffered(asyncio.BufferedProtocol):
    """A protocol with a small buffer of its own."""

    def __init__(self) -> None:
        self.buffer = bytearray(1000)
        self.received = b""
        self.ended = False
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received += self.buffer[:nbytes]

    def eof_received(self) -> bool:
        self.ended = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


async def test_protocols_with_buffers_of_their_own_work_and_close_at_the_end(any_world: World) -> None:
    async with join_two(any_world) as (alpha, beta):
        listener = await beta.listen("raw/1")
        opening = asyncio.ensure_future(alpha.open_stream((await beta.info()).ticket, "raw/1"))
        session, event = await soon(listener._streams.get())
        protocol = Buffered()
        await beta.claim_transport(session, event, protocol)
        async with await opening as stream:
            await stream.write(BODY)
            await stream.finish()
            assert await soon(stream.read()) == b""
        assert await soon(protocol.lost) is None
        assert protocol.ended
        assert protocol.received == BODY
