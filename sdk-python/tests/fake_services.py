"""The topics, records and datagrams of the fake network core: all nodes of a world share one table and one set of
subscribers. Its hashes are not BLAKE3, and it checks no signatures."""

from __future__ import annotations

import hashlib
import itertools
import time
from typing import TYPE_CHECKING

from polypeer import ErrorCode
from polypeer import _messages as m
from polypeer._feed import allows
from polypeer._ids import node_text

if TYPE_CHECKING:
    from fake_netcore import FakeNetcore, Launch


class FakeServices:
    """Answers what `fake_netcore.py` does not."""

    def __init__(self, world: FakeNetcore) -> None:
        self.world = world
        self.values: dict[bytes, bytes] = {}
        self.records: dict[tuple[bytes, str], m.SignedRecord] = {}
        self.providers: dict[str, set[bytes]] = {}
        self.numbers = itertools.count(1)
        self.no_dht = 0
        """So many requests of the DHT fail: no node of it is known."""
        self.never_provides = False
        """Whether a name is provided, and the answer to that never comes."""
        self.unprovided: list[str] = []
        self.reach: m.Reach = m.ReachUnknown()
        """Of every node, for those who begin to watch."""

    def answer(self, launch: Launch, request: m.Request) -> m.Response | None:
        if isinstance(request, (m.RequestPublish, m.RequestSubscribe)):
            if not granted(launch.grants.topics, request.topic):
                return failed(ErrorCode.NOT_GRANTED, f"topics {request.topic}")
            if isinstance(request, m.RequestPublish):
                return self.publish(launch, request)
            launch.topics[request.topic] = request.validation
        elif isinstance(request, m.RequestUnsubscribe):
            launch.topics.pop(request.topic, None)
        elif isinstance(request, m.RequestJudge):
            launch.verdicts.append(request)
        elif isinstance(request, m.RequestTopic):
            if request.topic not in launch.topics:
                return failed(ErrorCode.BAD_ARGUMENT, "not subscribed")
            return m.ResponseTopic(m.TopicInfo(5, 4, 3, 2, 1))
        elif isinstance(request, m.RequestWatchNetwork):
            launch.network = request.on
            if request.on and launch.session is not None:
                launch.session.event(m.EventNetwork(m.NetworkChangeReach(self.reach)))
                ticket = f"polypeer:{node_text(launch.node)}"
                launch.session.event(m.EventNetwork(m.NetworkChangeAddresses(ticket)))
        elif isinstance(request, (m.RequestReceiveDatagrams, m.RequestSendDatagram)):
            return self.datagram(launch, request)
        else:
            return self.table(launch, request)
        return m.ResponseDone()

    def publish(self, launch: Launch, request: m.RequestPublish) -> m.Response:
        number = next(self.numbers).to_bytes(8, "little")
        message = hashlib.sha256(launch.node + number + request.payload).digest()
        peers = 0
        for other in self.world.launches:
            if other is not launch and other.session is not None and request.topic in other.topics:
                peers += 1
                other.session.event(m.EventMessage(request.topic, message, launch.node, request.payload))
        return m.ResponsePublished(message, peers)

    def datagram(self, launch: Launch, request: m.RequestReceiveDatagrams | m.RequestSendDatagram) -> m.Response:
        if isinstance(request, m.RequestReceiveDatagrams):
            if not granted(launch.grants.serve, request.protocol):
                return failed(ErrorCode.NOT_GRANTED, f"serve {request.protocol}")
            (launch.datagrams.add if request.on else launch.datagrams.discard)(request.protocol)
            return m.ResponseDone()
        found = [other for other in self.world.launches if other.node == request.node and other.node != launch.node]
        if not found:
            return failed(ErrorCode.UNREACHABLE, "the peer is not connected")
        for other in found:
            if other.session is not None and request.protocol in other.datagrams:
                other.session.event(m.EventDatagram(launch.node, request.protocol, request.payload))
        return m.ResponseDone()

    def table(self, launch: Launch, request: m.Request) -> m.Response | None:
        name = getattr(request, "name", None)
        if name is not None and not granted(launch.grants.dht, name):
            return failed(ErrorCode.NOT_GRANTED, f"dht {name}")
        if self.no_dht:
            self.no_dht -= 1
            return failed(ErrorCode.UNREACHABLE, "no node of the DHT is known")
        if isinstance(request, m.RequestPutImmutable):
            key = hashlib.sha256(request.name.encode() + request.value).digest()
            self.values[key] = request.value
            return m.ResponseStored(key, 0, 20)
        if isinstance(request, m.RequestGetImmutable):
            return m.ResponseValue(self.values.get(request.hash))
        if isinstance(request, m.RequestPutOwn):
            before = self.records.get((launch.node, request.name))
            sequence = 1 if before is None else before.sequence + 1
            expires = int(time.time()) + (request.lifetime_s or 86400)
            record = m.SignedRecord(launch.node, request.name, sequence, expires, request.value, bytes(64))
            self.records[launch.node, request.name] = record
            return m.ResponseStored(bytes(32), sequence, 20)
        if isinstance(request, m.RequestPutSigned):
            self.records[request.record.key, request.record.name] = request.record
            return m.ResponseStored(bytes(32), request.record.sequence, 20)
        if isinstance(request, m.RequestGetSigned):
            return m.ResponseRecord(self.records.get((request.key, request.name)))
        if isinstance(request, m.RequestProvide):
            self.providers.setdefault(request.name, set()).add(launch.node)
            if self.never_provides:
                return None
            return m.ResponseStored(bytes(32), 0, 20)
        if isinstance(request, m.RequestUnprovide):
            self.providers.get(request.name, set()).discard(launch.node)
            self.unprovided.append(request.name)
            return m.ResponseDone()
        if isinstance(request, m.RequestFindProviders):
            return m.ResponseProviders(tuple(sorted(self.providers.get(request.name, set()))[: request.limit]))
        assert isinstance(request, m.RequestFindPeer), request
        if all(other.node != request.node for other in self.world.launches):
            return failed(ErrorCode.UNKNOWN_PEER, "nothing was found")
        return m.ResponseFound(f"polypeer:{node_text(request.node)}@127.0.0.1:1")


def granted(patterns: tuple[str, ...], name: str) -> bool:
    return any(allows(pattern, name) for pattern in patterns)


def failed(code: ErrorCode, message: str) -> m.Response:
    return m.ResponseFailed(m.Failure(int(code), message))
