"""Topics, records, providers and datagrams between plugins in Python and Go on real nodes, and the grants they need."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import PLUGINS, MakeNode
from harness import Node, kill, until
from toolbox import OrderFailed, Toolbox

Three = tuple[Toolbox, Toolbox, Toolbox]


@pytest.fixture
def three(make_node: MakeNode, go_plugin: Path) -> Iterator[Three]:
    """Three nodes in a row, with toolboxes in Python, Go and Python: the outer ones know only the middle one."""
    boxes = []
    for name, folder in (("a", PLUGINS / "toolbox"), ("b", go_plugin), ("c", PLUGINS / "toolbox")):
        node = make_node(name).start()
        node.install(folder)
        boxes.append(Toolbox(node, folder.name).ready())
    a, b, c = boxes
    a.node.meet(b.node)
    c.node.meet(b.node)
    yield a, b, c


def works(box: Toolbox, op: str, **arguments: Any) -> object:
    """Repeats an order until it succeeds, and returns its result: a new node does not know the DHT yet."""

    def look() -> list[object]:
        return [box.do(op, **arguments)]

    return until(f"{op} works", look)[0]


def texts(box: Toolbox, topic: str) -> Counter[str]:
    """Returns how often each message arrived."""
    return Counter(message["text"] for message in box.do("messages", topic=topic))


def has_all(box: Toolbox, topic: str, expected: Counter[str]) -> bool:
    """Whether exactly these messages arrived."""
    return texts(box, topic) == expected


def has_neighbour(box: Toolbox, topic: str) -> None:
    """Waits until the node has a neighbour in the topic."""
    until("it has a neighbour", lambda: box.do("topic_info", topic=topic)["neighbours"])


def test_messages_reach_all_subscribers_once(three: Three) -> None:
    for box in three:
        box.do("subscribe", topic="tool/news")
    for number, box in enumerate(three):
        has_neighbour(box, "tool/news")
        box.do("publish", topic="tool/news", text=f"hello {number}")
    for number, box in enumerate(three):
        expected = Counter(f"hello {other}" for other in range(3) if other != number)
        until("all messages are there", partial(has_all, box, "tool/news", expected))
    for message in three[0].do("messages", topic="tool/news"):
        number = int(message["text"].split()[1])
        assert message["author"] == three[number].node.id
        others = [found for box in three for found in box.do("messages", topic="tool/news")]
        assert {other["id"] for other in others if other["text"] == message["text"]} == {message["id"]}
    three[2].do("unsubscribe", topic="tool/news")
    with pytest.raises(OrderFailed, match="not subscribed"):
        three[2].do("topic_info", topic="tool/news")


def test_publisher_needs_no_subscription(three: Three) -> None:
    a, b, _ = three
    b.do("subscribe", topic="tool/quiet")
    a.do("publish", topic="tool/quiet", text="from outside")
    until("the message is there", lambda: texts(b, "tool/quiet")["from outside"] == 1)


def test_validator_stops_what_it_does_not_accept(three: Three) -> None:
    """The middle node validates: messages that its plugin ignores or rejects are not passed on."""
    a, b, c = three
    b.do("subscribe", topic="tool/checked", validate=True)
    for box in (a, c):
        box.do("subscribe", topic="tool/checked")
        has_neighbour(box, "tool/checked")
    for text in ("dull", "good", "better"):
        a.do("publish", topic="tool/checked", text=text)
    until("the good ones are there", lambda: texts(b, "tool/checked") == Counter(("good", "better")))
    c.do("publish", topic="tool/checked", text="bad")
    c.do("publish", topic="tool/checked", text="last")
    until("the last one is there", lambda: texts(b, "tool/checked")["last"])
    assert set(texts(b, "tool/checked")) == {"good", "better", "last"}


def test_subscriptions_come_back_when_netcore_is_killed(three: Three) -> None:
    a, b, _ = three
    for box in (a, b):
        box.do("subscribe", topic="tool/again")
        box.do("receive", protocol="tool/game" if box is a else "gotool/game")
    for box in (a, b):
        before = box.node.json("status")["netcore"]["pid"]
        kill(before)
        until("netcore is another", partial(new_netcore, box, before))
    until("the nodes are connected", lambda: a.node.connected_to(b.node) and b.node.connected_to(a.node))
    sent = 0

    def arrives() -> bool:
        nonlocal sent
        sent += 1
        a.do("publish", topic="tool/again", text=f"again {sent}")
        b.do("send_datagram", peer=a.node.id, protocol="tool/game", text="again")
        return bool(texts(b, "tool/again") and a.do("datagrams", protocol="tool/game"))

    until("messages and datagrams arrive again", arrives)


def new_netcore(box: Toolbox, before: int) -> bool:
    """Whether another netcore runs and the plugin is connected to it."""
    status = box.node.json("status")
    return bool(status["netcore"].get("pid") not in (None, before) and box.do("pid"))


def test_records_are_found_by_other_nodes(three: Three) -> None:
    a, b, c = three
    first = works(a, "put_record", name="tool/motd", text="one")
    second = works(a, "put_record", name="tool/motd", text="two")
    assert isinstance(first, int) and isinstance(second, int) and second > first
    works(b, "put_record", name="tool/motd", text="of the other")
    for box in (b, c):
        found = until("the record is found", partial(box.do, "get_record", name="tool/motd", key=a.node.id))
        assert found == "two"
    until("the other's is another", lambda: c.do("get_record", name="tool/motd", key=b.node.id) == "of the other")
    assert c.do("get_record", name="tool/none", key=a.node.id) is None

    hash = works(b, "put_immutable", name="tool/value", text="never changes")
    for box in (a, c):
        until("the value is found", partial(box.do, "get_immutable", name="tool/value", hash=hash))
    assert a.do("get_immutable", name="tool/other", hash=hash) is None


def test_record_of_a_plugins_own_key_is_found_and_a_forged_one_refused(three: Three) -> None:
    a, b, _ = three
    key = works(b, "put_signed", name="tool/own", text="signed by the plugin", sequence=5)
    assert key not in {box.node.id for box in three}
    found = until("the record is found", lambda: a.do("get_record", name="tool/own", key=key))
    assert found == "signed by the plugin"
    for box in (a, b):
        with pytest.raises(OrderFailed, match=r"(?i)bad ?argument"):
            box.do("put_forged", name="tool/own")
    assert a.do("get_record", name="tool/own", key=key) == "signed by the plugin"


def test_providers_and_peers_are_found(three: Three) -> None:
    a, b, c = three
    works(a, "provide", name="tool/files")
    works(b, "provide", name="tool/files")
    wanted = {a.node.id, b.node.id}
    until("both are found", lambda: set(c.do("find_providers", name="tool/files")) == wanted)
    ticket = works(c, "find_peer", peer=a.node.id)
    assert str(ticket).startswith(f"polypeer:{a.node.id}@127.0.0.1:")
    a.do("unprovide", name="tool/files")
    assert c.do("find_providers", name="tool/none") == []


def test_datagrams_reach_the_plugin_that_receives_them(three: Three) -> None:
    a, b, _ = three
    a.do("receive", protocol="tool/game")
    b.do("receive", protocol="gotool/game")
    for sender, receiver, protocol in ((a, b, "gotool/game"), (b, a, "tool/game")):

        def arrives(sender: Toolbox = sender, receiver: Toolbox = receiver, protocol: str = protocol) -> object:
            sender.do("send_datagram", peer=receiver.node.id, protocol=protocol, text="move")
            return receiver.do("datagrams", protocol=protocol)

        came = until("a datagram arrives", arrives)
        assert came[0] == {"peer": sender.node.id, "text": "move"}  # type: ignore[index]
    with pytest.raises(OrderFailed, match=r"(?i)unreachable"):
        a.do("send_datagram", peer="y" * 52, protocol="tool/game", text="to nobody")
    with pytest.raises(OrderFailed, match=r"(?i)too ?large"):
        a.do("send_datagram", peer=b.node.id, protocol="gotool/game", text="x" * 1025)


@pytest.mark.parametrize(
    ("grant", "order"),
    [
        ("topics", {"op": "publish", "topic": "other", "text": "hi"}),
        ("topics", {"op": "subscribe", "topic": "other"}),
        ("dht", {"op": "put_record", "name": "other", "text": "hi"}),
        ("dht", {"op": "get_immutable", "name": "other", "hash": "00" * 32}),
        ("dht", {"op": "provide", "name": "other"}),
        ("dht", {"op": "find_providers", "name": "other"}),
        ("serve", {"op": "receive", "protocol": "other/game"}),
        ("dial", {"op": "send_datagram", "protocol": "other/game", "peer": "y" * 52, "text": "hi"}),
    ],
)
@pytest.mark.parametrize("plugin", ["toolbox", "toolbox-go"])
def test_what_is_not_granted_is_refused_by_name(
    alone: dict[str, Toolbox], plugin: str, grant: str, order: dict[str, Any]
) -> None:
    with pytest.raises(OrderFailed, match="not granted") as caught:
        alone[plugin].do(**order)
    assert grant in str(caught.value), "the error names the grant"


@pytest.fixture(scope="module")
def alone(go_plugin: Path) -> Iterator[dict[str, Toolbox]]:
    """A node with both toolboxes, for tests that change nothing."""
    with tempfile.TemporaryDirectory(prefix="pp-") as folder:
        node = Node(Path(folder) / "a").start()
        try:
            node.install(PLUGINS / "toolbox")
            node.install(go_plugin)
            yield {plugin: Toolbox(node, plugin).ready() for plugin in ("toolbox", "toolbox-go")}
        finally:
            node.stop()
