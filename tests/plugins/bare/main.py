"""A plugin without an SDK, written from `ipc-protocol/SPEC.md` with sockets and `struct`. It handles one event at a
time, which is enough for a test.

bare/1   stream: the data in upper case, after its end
         request `ask NODE`: opens tool/echo on that node, sends a word, replies with what it echoed
         any other request: the same bytes
"""

from __future__ import annotations

import os
import socket
import struct

VERSION = 1
DATA, FIN, RESET = range(3)
ALPHABET = "ybndrfg8ejkmcpqxot1uwisza345h769"


def u32(value: int) -> bytes:
    """An enum tag or a small number."""
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    """A length or an id."""
    return struct.pack("<Q", value)


def text(value: bytes) -> bytes:
    """Text or bytes of any length."""
    return u64(len(value)) + value


class Reader:
    """Decoder of a message."""

    def __init__(self, body: bytes) -> None:
        """Starts at the first byte of `body`."""
        self.body = body

    def take(self, size: int) -> bytes:
        """Takes `size` bytes."""
        taken, self.body = self.body[:size], self.body[size:]
        assert len(taken) == size, "a message is cut short"
        return taken

    def u32(self) -> int:
        """An enum tag or a small number."""
        return int(struct.unpack("<I", self.take(4))[0])

    def u64(self) -> int:
        """A length or an id."""
        return int(struct.unpack("<Q", self.take(8))[0])

    def text(self) -> bytes:
        """Text or bytes of any length."""
        return self.take(self.u64())

    def origin(self) -> bytes:
        """The sender: a node id or a plugin's name."""
        return self.take(32) if self.u32() == 0 else self.text()


def read_exactly(connection: socket.socket, size: int) -> bytes:
    """Reads exactly `size` bytes from a socket; an earlier end is an error."""
    got = b""
    while len(got) < size:
        piece = connection.recv(size - len(got))
        if not piece:
            raise ConnectionError("connection lost")
        got += piece
    return got


def read_frame(connection: socket.socket) -> Reader:
    """Reads the next message."""
    (size,) = struct.unpack("<I", read_exactly(connection, 4))
    return Reader(read_exactly(connection, size))


def write_frame(connection: socket.socket, body: bytes) -> None:
    """Sends a message."""
    connection.sendall(u32(len(body)) + body)


def connect(opening: bytes) -> tuple[socket.socket, Reader]:
    """Opens a connection with its first message. Returns it with the answer, which must not be a refusal."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.environ["POLYPEER_GATEWAY"])
    write_frame(connection, opening)
    reply = read_frame(connection)
    if reply.u32() == 0:
        code, why = reply.u32(), reply.text()
        raise ConnectionError(f"refused with {code}: {why.decode()}")
    return connection, reply


def write_data(connection: socket.socket, data: bytes) -> None:
    """Sends bytes on a stream, and ends it."""
    if data:
        connection.sendall(u32(len(data) | DATA << 24) + data)
    connection.sendall(u32(FIN << 24))


def read_data(connection: socket.socket) -> bytes:
    """Reads a stream to its end."""
    got = b""
    while True:
        (word,) = struct.unpack("<I", read_exactly(connection, 4))
        kind, value = word >> 24, word & 0xFFFFFF
        if kind == FIN:
            return got
        if kind == RESET:
            raise ConnectionError(f"reset with {value}")
        if kind == DATA:
            got += read_exactly(connection, value)


class Plugin:
    """The control session."""

    def __init__(self) -> None:
        """Opens the session and listens."""
        self.session, welcome = connect(u32(0) + u64(1) + u32(VERSION) + bytes.fromhex(os.environ["POLYPEER_TOKEN"]))
        assert welcome.u32() == VERSION
        self.secret = welcome.body[-32:]
        listen = u32(0) + text(b"bare/1") + u32(0) + u32(1)
        write_frame(self.session, u32(0) + u64(1) + listen)

    def run(self) -> None:
        """Handles events without end."""
        while True:
            frame = read_frame(self.session)
            if frame.u32() == 0:
                assert frame.u64() == 1
                assert frame.u32() == 1, "listening failed"
                continue
            event = frame.u32()
            if event == 0:
                self.answer_stream(frame.u64())
            elif event == 2:
                call = frame.u64()
                frame.origin()
                frame.text()
                answer = self.answer_call(frame.text())
                write_frame(self.session, u32(2) + u64(call) + text(answer))

    def answer_stream(self, stream: int) -> None:
        """Accepts an announced stream and replies on it."""
        connection, _ = connect(u32(2) + self.secret + u64(stream))
        with connection:
            write_data(connection, read_data(connection).upper())
            wait_for_end(connection)

    def answer_call(self, asked: bytes) -> bytes:
        """Carries out `ask NODE`, or returns the request's payload."""
        word, _, node = asked.partition(b" ")
        if word != b"ask":
            return asked
        target = u32(0) + node_bytes(node.decode())
        connection, _ = connect(u32(1) + self.secret + target + text(b"tool/echo") + u32(10_000))
        with connection:
            write_data(connection, b"from bare")
            return read_data(connection)


def wait_for_end(connection: socket.socket) -> None:
    """Waits until netcore closes the connection, which it does when everything has arrived at the other end."""
    while connection.recv(4096):
        pass


def node_bytes(node: str) -> bytes:
    """Decodes a node id's text (z-base-32) to its 32 bytes."""
    value = 0
    for letter in node:
        value = value << 5 | ALPHABET.index(letter)
    return (value >> (len(node) * 5 - 256)).to_bytes(32, "big")


if __name__ == "__main__":
    Plugin().run()
