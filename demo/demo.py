"""Demo: two nodes on this machine at work, step by step. Ends with figures; the status is 0 only if every step passed.

It uses only the public command line (`polypeer … --json`), on homes in a temporary folder, over loopback.
`make demo` builds the programs and runs it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import sys
import tempfile
import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from harness import POLYPEER, Node, nothing_left, rss_bytes, until  # noqa: E402

FILE_MIB = 256
MIB = 1 << 20
STARTED = time.monotonic()


def say(text: str) -> None:
    """Prints a line with the time since the start."""
    print(f"{time.monotonic() - STARTED:5.1f} s  {text}", flush=True)


class Demo:
    """The two nodes and the figures measured."""

    def __init__(self, folder: Path) -> None:
        """Makes the homes; starts nothing."""
        network = "demo-" + uuid.uuid4().hex[:12]
        self.folder = folder
        self.alice = Node(folder / "alice", lan=network, bundled_apps=True)
        self.bob = Node(folder / "bob", lan=network, bundled_apps=True)
        self.figures: list[tuple[str, str]] = []

    def note(self, name: str, value: str) -> None:
        """Adds a line to the summary."""
        self.figures.append((name, value))

    def run(self) -> None:
        """Runs all steps in order. Raises AssertionError for the step that failed."""
        self.find_each_other()
        self.talk()
        self.move_a_file()
        self.stop_a_hog()
        self.sum_up()

    def find_each_other(self) -> None:
        """Lets the nodes find each other on the local network."""
        say("two nodes start, each with its own home and key")
        self.alice.start()
        started = time.monotonic()
        self.bob.start()
        alice, bob = self.alice.id, self.bob.id
        until(
            "the nodes find each other", lambda: self.alice.connected_to(self.bob) and self.bob.connected_to(self.alice)
        )
        took = time.monotonic() - started
        say("they found each other on the local network; their operators name them alice and bob")
        self.alice.cli("peers", "name", bob, "bob").ok()
        self.bob.cli("peers", "name", alice, "alice").ok()
        for peer in self.alice.peers():
            say(f"  alice's peers: {peer['name']}, {peer['state']} {peer['path']}, {peer['rtt_ms']} ms away")
        self.note("found on the local network", f"{took * 1000:.0f} ms after the second node's start")

    def talk(self) -> None:
        """Lets a Python plugin talk to its twin on the other node."""
        for node in (self.alice, self.bob):
            node.install(HERE / "plugins" / "twins")
        say("a Python plugin runs on both; it looks for its twin")
        for line in until("the twins greet each other", self.greetings):
            say(f"  alice's plugin: {line}")
        until("the twins have asked each other", lambda: self.report()["answered"] > 50)
        report = self.report()
        say(f"they keep asking each other: {report['answered']} questions, {report['median_ms']} ms each")
        self.note("request and answer, Python to Python", f"{report['median_ms']} ms (median)")

    def greetings(self) -> list[str]:
        """Returns alice's log lines of both greetings; empty until both are there."""
        lines = self.alice.cli("plugin", "logs", "-n", "10000", "twins").ok().out.splitlines()
        said = [line[line.index(word) :] for word in ("my twin says", "I said") for line in lines if word in line]
        return said if len(said) == 2 else []

    def report(self) -> dict[str, Any]:
        """Returns the newest report of alice's twin."""
        lines = self.alice.cli("plugin", "logs", "-n", "10000", "twins").ok().out.splitlines()
        reports = [line[line.index("{") :] for line in lines if '"asked"' in line]
        assert reports, "the twins have not reported yet"
        newest: dict[str, Any] = json.loads(reports[-1])
        return newest

    def move_a_file(self) -> None:
        """Transfers a file by the bundled Go plugin, and compares digests that the demo computes itself."""
        source, target = self.folder / "film.bin", self.folder / "fetched.bin"
        digest = hashlib.sha256()
        with source.open("wb") as file:
            for _ in range(FILE_MIB):
                piece = os.urandom(MIB)
                digest.update(piece)
                file.write(piece)
        for node in (self.alice, self.bob):
            node.wait_plugin("files")
        started = time.monotonic()
        link = self.alice.cli("send", str(source)).ok().out.strip().splitlines()[-1]
        added = time.monotonic() - started
        say(f"alice offers {FILE_MIB} MiB of random bytes through the Go plugin: {link[:44]}…")
        started = time.monotonic()
        self.bob.cli("get", link, "--output", str(target), timeout_s=120).ok()
        took = time.monotonic() - started
        say(f"bob has it after {took:.1f} s, every chunk verified by BLAKE3 on arrival")
        assert digest_of(target) == digest.hexdigest(), "the fetched file differs"
        say(f"sha256 of both files, computed by neither plugin: {digest.hexdigest()[:16]}… is the same")
        speed = FILE_MIB * MIB / 1e6
        self.note(f"file of {FILE_MIB} MiB, node to node", f"{speed / took:.0f} MB/s (offered in {added:.1f} s)")

    def stop_a_hog(self) -> None:
        """Runs a plugin that exceeds its memory limit: it is stopped, and the other plugins go on."""
        before, pids = self.report(), self.pids()
        say("a plugin on alice's node takes all the memory it can; its limit is 64 MiB")
        started = time.monotonic()
        installed = self.alice.cli("plugin", "install", str(HERE / "plugins" / "hog"), "--yes")
        # It may reach its limit before or after the installation looks whether it runs.
        assert installed.code == 0 or "limit 64 MiB" in installed.err, installed.err
        info = until("the hog is stopped", self.hog_stopped)
        took = time.monotonic() - started
        reason = info["exit_reason"]
        say(f"  it is stopped: {reason}")
        assert "out of memory" in reason, reason
        assert "64 MiB" in reason, reason
        until("the twins go on asking", lambda: self.report()["answered"] > before["answered"] + 50)
        after = self.report()
        assert after["asked"] - after["answered"] == 0, f"questions without an answer: {after}"
        assert self.pids() == pids, "another process was restarted"
        say(f"  the twins went on meanwhile: {after['answered']} questions, none without an answer")
        self.note("plugin over its memory limit", f"stopped {took * 1000:.0f} ms after its installation began")
        self.note(
            "questions between the twins", f"{after['answered']}, none lost, worst {after['worst_ms']} ms at the end"
        )

    def hog_stopped(self) -> dict[str, Any]:
        """Returns the hog's info; fails while it runs."""
        info = self.alice.plugin("hog")
        assert info["state"] in ("stopped", "failed") and info.get("exit_reason"), info["state"]
        return info

    def pids(self) -> dict[str, int]:
        """Returns the pids of the processes that must not change."""
        status = self.alice.json("status")
        found = {name: self.alice.plugin(name)["pid"] for name in ("twins", "files", "chat")}
        return {**found, "netcore": status["netcore"]["pid"]}

    def sum_up(self) -> None:
        """Adds figures of memory, traffic and restarts."""
        status = self.alice.json("status")
        assert self.alice.daemon is not None
        self.note("memory: supervisor", f"{rss_bytes(self.alice.daemon.pid) / MIB:.1f} MiB")
        self.note("memory: network core", f"{status['netcore']['rss_bytes'] / MIB:.1f} MiB")
        for plugin in ("twins", "chat", "files"):
            info = self.alice.plugin(plugin)
            assert info["restarts"] == 0, f"{plugin} was restarted: {info['exit_reason']}"
            self.note(f"memory: plugin {plugin}", f"{info['usage']['memory_bytes'] / MIB:.1f} MiB")
        traffic = status["traffic"]
        self.note(
            "traffic of alice",
            f"{traffic['sent_bytes'] / MIB:.0f} MiB out, {traffic['received_bytes'] / MIB:.0f} MiB in",
        )
        self.note("restarts", f"network core {status['netcore']['restarts']}, plugins 0")
        assert status["netcore"]["restarts"] == 0


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(MIB):
            digest.update(piece)
    return digest.hexdigest()


def stop(*_: object) -> NoReturn:
    """Handles a signal: ends the demo with its cleanup."""
    raise KeyboardInterrupt


def main() -> int:
    """Runs the demo and always cleans up."""
    if not POLYPEER.exists():
        print(f"{POLYPEER} is not built; run `make demo`", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    with tempfile.TemporaryDirectory(prefix="polypeer-demo-") as folder:
        demo = Demo(Path(folder))
        try:
            demo.run()
            for node in (demo.alice, demo.bob):
                node.stop(force=False)
                until(f"nothing of {node.home.name} is left", partial(nothing_left, node), 5)
        except KeyboardInterrupt:
            print("\nstopped", file=sys.stderr)
            return 130
        except Exception as error:
            print(f"\nfailed: {error}", file=sys.stderr)
            for node in (demo.alice, demo.bob):
                with contextlib.suppress(OSError):
                    print(
                        f"--- log of {node.home.name}\n{node.log.read_text(errors='replace')[-3000:]}", file=sys.stderr
                    )
            return 1
        finally:
            # A second Ctrl-C must not leave anything behind.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            for node in (demo.alice, demo.bob):
                node.stop()
    say("both nodes stopped, no process left")
    width = max(len(name) for name, _ in demo.figures)
    print("\nSummary\n-------")
    for name, value in demo.figures:
        print(f"{name:<{width}}  {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
