"""Metrics: what the page holds, where it is read, and that Prometheus understands it and the dashboard's queries."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import pytest
from conftest import PLUGINS, MakeNode
from harness import ROOT, Node, until

LOOPBACK = '[metrics]\nlisten = "127.0.0.1:0"\n'
# Where `make test-metrics` unpacks Debian's package; nothing is installed.
UNPACKED = ROOT / "target" / "prometheus" / "usr" / "bin"
DOCUMENTED = set(re.findall(r"^\| `(polypeer_\w+)`", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))


class Local(http.client.HTTPConnection):
    """HTTP over a local socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("node", timeout=30)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(self.path))


def get(connection: http.client.HTTPConnection, path: str = "/metrics", method: str = "GET") -> tuple[int, str, str]:
    """Returns status, content type and body of an answer."""
    connection.request(method, path)
    answer = connection.getresponse()
    return answer.status, answer.getheader("Content-Type", ""), answer.read().decode()


def local(node: Node) -> Local:
    return Local(node.home / "run" / "metrics.sock")


def loopback(node: Node) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(node.json("status")["metrics"], timeout=30)


def is_refused(connection: http.client.HTTPConnection) -> bool:
    """Whether a question is not answered."""
    connection.close()
    try:
        get(connection)
    except (ConnectionError, http.client.HTTPException):
        return True
    return False


def names(page: str) -> set[str]:
    """The metrics that have a value."""
    return {re.split(r"[{ ]", line)[0] for line in page.splitlines() if line and not line.startswith("#")}


def expressions() -> Iterator[str]:
    """The dashboard's queries."""
    board: dict[str, Any] = json.loads((ROOT / "contrib" / "grafana" / "polypeer.json").read_text())
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


def program(name: str) -> Path:
    """A program of Debian's package `prometheus`, installed or unpacked; skips the test without it."""
    found: Optional[str] = shutil.which(name)
    path = Path(found) if found else UNPACKED / name
    if not path.exists():
        pytest.skip(f"{name} is not installed; `make test-metrics` fetches Debian's package and runs this")
    return path


def test_metrics_are_those_that_are_documented(make_node: MakeNode) -> None:
    a, b = make_node("a", config=LOOPBACK).start(), make_node("b").start()
    a.install(PLUGINS / "toolbox")
    a.meet(b)
    until("its use is measured", lambda: {"memory_bytes", "cpu_percent"} <= set(a.plugin("toolbox")["usage"]))
    status, kind, page = get(local(a))
    assert (status, kind) == (200, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert page.endswith("# EOF\n")
    assert names(page) <= DOCUMENTED
    # Depends on what a stream holds at the moment.
    assert DOCUMENTED - names(page) <= {"polypeer_netcore_window_bytes", "polypeer_plugin_disk_bytes"}
    for line in (
        'polypeer_peers{state="connected"} 1.0',
        'polypeer_plugin_up{plugin="toolbox"} 1.0',
        "polypeer_problems{} 0.0",
    ):
        assert line in page.splitlines()
    assert names(get(loopback(a))[2]) == names(page)
    counted = set(re.findall(r'^polypeer_netcore_statistic\{name="(\w+)"\}', page, re.MULTILINE))
    listed = {name for name in a.json("status")["counters"] if "." not in name}
    assert counted <= listed


def test_other_requests_are_told_what_is_wrong(make_node: MakeNode) -> None:
    node = make_node("a", config=LOOPBACK).start()
    assert get(loopback(node), "/")[0] == 404
    assert get(loopback(node), "/metrics", "POST")[0] == 405
    assert get(local(node), "/metrics?x=1")[0] == 200
    for name, expected in (("localhost", 200), ("LOCALHOST:1", 200), ("[::1]:1", 200), ("example.org", 421), ("", 421)):
        connection = loopback(node)
        connection.request("GET", "/metrics", headers={"Host": name})
        assert connection.getresponse().status == expected, name
    host, _, port = node.json("status")["metrics"].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as raw:
        try:
            raw.sendall(b"GET /metrics HTTP/1.1\r\n" + b"X: " + b"y" * 40000 + b"\r\n\r\n")
            answer = raw.recv(64)
        except ConnectionError:  # It is closed before all of it was read.
            answer = b""
    assert not answer.startswith(b"HTTP/1.1 200"), "a head of 40,000 bytes is too long"
    assert get(local(node))[0] == 200


def test_connections_beyond_the_limit_are_closed_and_those_that_end_make_room(make_node: MakeNode) -> None:
    node = make_node("a").start()
    silent = [local(node) for _ in range(16)]
    for connection in silent:
        connection.connect()

    until("one more is refused", lambda: is_refused(local(node)))
    assert node.cli("status").code == 0
    for connection in silent:
        connection.close()
    until("there is room again", lambda: not is_refused(local(node)))


def test_address_that_is_taken_is_a_problem_and_not_the_end(make_node: MakeNode) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        node = make_node("a", config=f'[metrics]\nlisten = "127.0.0.1:{port}"\n').start()
        (problem,) = node.json("status")["problems"]
        assert f"metrics cannot be read at 127.0.0.1:{port}" in problem["problem"]
        first = node.cli("status").ok().out.splitlines()[0]
        assert first.startswith("1 problem: metrics cannot be read")
        assert get(local(node))[0] == 200, "the socket in the home is served all the same"


def test_reload_changes_the_address_and_tries_a_taken_one_again(make_node: MakeNode) -> None:
    node = make_node("a").start()
    file = node.home / "config.toml"
    before = file.read_text()
    assert "metrics" not in node.json("status")
    file.write_text(before + LOOPBACK)
    assert node.json("reload") == {"applied": ["metrics.listen"], "needs_restart": []}
    first = loopback(node)
    assert get(first)[0] == 200
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        file.write_text(f'{before}[metrics]\nlisten = "{address}"\n')
        (warning,) = node.json("reload")["warnings"]
        assert f"metrics cannot be read at {address}" in warning
        assert node.json("status")["problems"]
    assert node.json("reload") == {"applied": [], "needs_restart": []}
    assert (node.json("status")["metrics"], get(loopback(node))[0]) == (address, 200)
    until("the first address is closed", lambda: is_refused(first))
    last = loopback(node)
    file.write_text(before)
    assert node.json("reload")["applied"] == ["metrics.listen"]
    until("nothing is open", lambda: is_refused(last))


def test_address_that_others_can_reach_is_refused(make_node: MakeNode) -> None:
    node = make_node("a", config='[metrics]\nlisten = "0.0.0.0:9470"\n')
    result = node.cli("run")
    assert result.code == 2
    assert "is not a loopback address" in result.err


def test_dashboard_asks_for_documented_metrics_only() -> None:
    asked = {name for expression in expressions() for name in re.findall(r"\bpolypeer_\w+", expression)}
    assert asked
    assert asked <= DOCUMENTED


def test_page_passes_prometheus_own_check(make_node: MakeNode) -> None:
    promtool = program("promtool")
    node = make_node("a", config=LOOPBACK).start()
    page = get(loopback(node))[2]
    checked = subprocess.run([promtool, "check", "metrics"], input=page.encode(), capture_output=True, timeout=60)
    # It reads the older text form, in which a counter's help stands under the name of its samples.
    lints = [line for line in checked.stderr.decode().splitlines() if not re.match(r"\w+_total no help text$", line)]
    assert lints == []


def test_prometheus_collects_and_answers_the_dashboard(make_node: MakeNode, tmp_path: Path) -> None:
    prometheus = program("prometheus")
    node = make_node("a", config=LOOPBACK).start()
    node.install(PLUGINS / "toolbox")
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "polypeer", "static_configs": [{"targets": [node.json("status")["metrics"]]}]}],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        str(prometheus),
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=os.environ) as server,
    ):
        try:

            def ask(query: str) -> list[Any]:
                path = "/api/v1/query?" + urllib.parse.urlencode({"query": query})
                try:
                    status, _, body = get(http.client.HTTPConnection(address, timeout=10), path)
                except OSError:
                    return []
                assert status in (200, 503), body
                return list(json.loads(body)["data"]["result"]) if status == 200 else []

            until("it has collected", lambda: ask("polypeer_netcore_up == 1"))
            until("it has collected twice", lambda: ask("rate(polypeer_process_cpu_seconds_total[10s])"))
            for expression in expressions():
                query = expression.replace("$job", "polypeer").replace('instance="$instance"', 'instance=~".+"')
                ask(query.replace("$__rate_interval", "10s"))
            assert ask("scrape_samples_scraped > 10")
        finally:
            server.terminate()
            server.wait(30)
