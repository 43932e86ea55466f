#!/usr/bin/env python3
"""A network core without a network: enough of the admin session for tests of the supervisor.

Answers what asks for the state with an empty one, every other admin command with Done. Once started, it accepts on
every launch's listener, reports a session, and tells
each caller in one line which launch it is and which process this is.
"""

import json
import os
import socket
import struct
import sys
import threading

home = sys.argv[sys.argv.index("--home") + 1]
session = socket.socket(fileno=3)
sending = threading.Lock()
launches = {}
started = False


def send(body):
    with sending:
        session.sendall(struct.pack("<I", len(body)) + body)


def record(event, **values):
    with open(os.path.join(home, "netcore.events"), "a", encoding="utf-8") as file:
        file.write(json.dumps({"event": event, "pid": os.getpid(), **values}) + "\n")


def accept(launch, listener):
    while True:
        connection, _ = listener.accept()
        send(struct.pack("<IIQ", 1, 0, launch))  # Event, SessionUp
        connection.sendall(f"launch {launch} pid {os.getpid()}\n".encode())
        threading.Thread(target=connection.recv, args=(1,), daemon=True).start()
        launches[launch].append(connection)


def serve(launch):
    listener = launches[launch][0]
    listener.setblocking(True)
    threading.Thread(target=accept, args=(launch, listener), daemon=True).start()


def text(value):
    return struct.pack("<Q", len(value)) + value.encode()


def configured(body):
    """Records the settings: addresses to listen on, the network's name, whether the local network is used."""
    position = 0

    def take(layout):
        nonlocal position
        values = struct.unpack_from(layout, body, position)
        position += struct.calcsize(layout)
        return values[0]

    def name():
        return take(f"<{take('<Q')}s").decode()

    listen = [name() for _ in range(take("<Q"))]
    network, seed_only = name(), take("<?")
    low, high = (take("<Q") if take("<?") else None for _ in range(2))
    _remembered, lan = take("<?"), take("<?")
    record("configure", listen=listen, network=network, seed_only=seed_only, low=low, high=high, lan=lan)


def status():
    """NetStatus of a node whose id is all zeros, listening on one address, with no peers, sources or warnings, and with
    one peer that lied three times."""
    listen = struct.pack("<Q", 1) + text("127.0.0.1:7470")
    offender = b"\x01" + bytes(32) + b"\x01" + text("192.0.2.9:7470") + text("lie") + struct.pack("<QQ", 3, 60)
    offenders = struct.pack("<Q", 1) + offender
    return bytes(32) + listen + text("unknown") + struct.pack("<QQQQQQQ", 0, 0, 0, 5, 7, 0, 0) + offenders


def main():
    global started
    if os.path.exists(os.path.join(home, "netcore.broken")):
        print("the port is taken", file=sys.stderr)
        sys.exit(4)
    record("begin", arguments=sys.argv[1:], descriptors=sorted(int(name) for name in os.listdir("/proc/self/fd")))
    buffer, descriptors = b"", []
    while True:
        data, received, _, _ = socket.recv_fds(session, 65536, 4)
        if not data:
            return
        buffer += data
        descriptors += received
        while len(buffer) >= 4 and len(buffer) >= 4 + struct.unpack("<I", buffer[:4])[0]:
            length = struct.unpack("<I", buffer[:4])[0]
            body, buffer = buffer[4 : 4 + length], buffer[4 + length :]
            identifier, tag = struct.unpack("<QI", body[:12])
            answer = struct.pack("<I", 1)  # Done
            if tag == 0:  # AddLaunch
                launch = struct.unpack("<Q", body[12:20])[0]
                launches[launch] = [socket.socket(fileno=descriptors.pop(0))]
                record("add", launch=launch)
                if started:
                    serve(launch)
            elif tag == 1:  # RemoveLaunch
                record("remove", launch=struct.unpack("<Q", body[12:20])[0])
            elif tag == 3:  # Start
                started = True
                record("start")
                for launch in list(launches):
                    serve(launch)
            elif tag == 4:  # Status
                answer = struct.pack("<I", 2) + status()
            elif tag == 5:  # Peers
                answer = struct.pack("<IQ", 3, 0)
            elif tag == 6:  # Ticket
                answer = struct.pack("<I", 4) + text("polypeer:" + "y" * 52)
            elif tag == 16:  # Configure
                configured(body[12:])
            elif tag == 13:  # Traffic
                answer = struct.pack("<IQ", 7, 0)
            send(struct.pack("<IQ", 0, identifier) + answer)
            if tag == 14:  # Shutdown
                record("shutdown")
                return


main()
os._exit(0)
