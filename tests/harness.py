"""Real nodes for the end-to-end tests and the demo: starts the built binaries in their own homes, drives them by
the public command line, and finds what they leave behind. Standard library only.

`Node` is a daemon with its home. All waits poll a condition until a deadline (`until`).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, TypeVar

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(os.environ.get("POLYPEER_BIN") or ROOT / "target" / "release")
POLYPEER = BIN / "polypeer"

# Deadline of every wait; anything slower is broken, even on a busy machine.
DEADLINE_S = 30.0
# Interval between two polls of a condition.
LOOK_EVERY_S = 0.02

T = TypeVar("T")


class TimedOut(AssertionError):
    """A condition was not met in time; the text gives its last value."""


def until(what: str, look: Callable[[], Optional[T]], deadline_s: float = DEADLINE_S) -> T:
    """Polls `look` until it returns something true, and returns that.

    An exception of `look` other than AssertionError ends the wait. Raises TimedOut with the last value or error.
    """
    ends = time.monotonic() + deadline_s
    seen: object = None
    while True:
        try:
            found = look()
            if found:
                return found
            seen = found
        except AssertionError as error:
            seen = error
        if time.monotonic() > ends:
            raise TimedOut(f"{what}: not within {deadline_s:g} s; last seen: {seen!r}")
        time.sleep(LOOK_EVERY_S)


@dataclass
class Result:
    """Exit status and output of a command."""

    args: Sequence[str]
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document that a `--json` command printed."""
        return json.loads(self.out)

    def ok(self) -> Result:
        """Returns itself; fails unless the command succeeded."""
        assert self.code == 0, f"{' '.join(self.args)} ended with {self.code}\n{self.out}{self.err}"
        return self


class Node:
    """A node: a home, and a daemon on it while it runs."""

    def __init__(
        self,
        home: Path,
        *,
        listen: str = "127.0.0.1:0",
        lan: Optional[str] = None,
        bundled_apps: bool = False,
        config: str = "",
        program: Path = POLYPEER,
    ) -> None:
        """Makes the home with a `config.toml`, unless it exists already; starts nothing.

        `lan` names the network whose nodes find each other; without it local discovery is off. `config` is appended
        to `config.toml`. `program` is the binary to run.
        """
        self.home = home
        self.program = program
        self.log = home.with_name(home.name[:40] + ".log")
        self.daemon: Optional[subprocess.Popen[bytes]] = None
        if home.exists():
            return
        home.mkdir(parents=True, mode=0o700)
        lines = [f'listen = ["{listen}"]', f"lan = {str(lan is not None).lower()}"]
        if lan is not None:
            lines.append(f'network = "{lan}"')
        lines.append(f"bundled_apps = {str(bundled_apps).lower()}")
        (home / "config.toml").write_text("\n".join(lines) + "\n" + config)

    # The daemon.

    def spawn(self, *args: str, env: Optional[Mapping[str, str]] = None) -> subprocess.Popen[bytes]:
        """Starts the daemon without waiting for it. Its standard error goes to `self.log`."""
        with self.log.open("ab") as log:
            self.daemon = subprocess.Popen(
                self.command("run", *args),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **(env or {})},
            )
        return self.daemon

    def start(self, *args: str) -> Node:
        """Starts the daemon, and waits until it answers and netcore runs."""
        daemon = self.spawn(*args)

        def ready() -> bool:
            assert daemon.poll() is None or not self.fail(f"the daemon ended with {daemon.returncode}")
            return self.netcore_ready()

        until(f"{self.home.name} is ready", ready)
        return self

    def fail(self, why: str) -> bool:
        """Raises RuntimeError with the log of a daemon that has ended."""
        raise RuntimeError(f"{why}\n{self.log.read_text(errors='replace')[-4000:]}")

    def netcore_ready(self) -> bool:
        """Whether the daemon and its netcore answer."""
        result = self.cli("status", "--json")
        return result.code == 0 and result.json["netcore"]["state"] in ("running", "ready")

    def stop(self, *, force: bool = True) -> None:
        """Stops the daemon as an operator would; with `force` also kills what that leaves. Safe to call at any time."""
        if self.daemon is not None:
            if self.daemon.poll() is None:
                self.daemon.send_signal(signal.SIGTERM)
                try:
                    self.daemon.wait(20)
                except subprocess.TimeoutExpired:
                    self.daemon.kill()
            self.daemon.wait()
            self.daemon = None
        if force:
            self.sweep()

    def sweep(self) -> None:
        """Kills every remaining process of this node."""
        for pid in processes_of(self.home):
            kill(pid)

    def kill_supervisor(self) -> None:
        """Sends SIGKILL to the supervisor."""
        assert self.daemon is not None
        self.daemon.kill()
        self.daemon.wait()
        self.daemon = None

    # Its command line.

    def command(self, *args: str) -> list[str]:
        """Returns the arguments of a command on this home."""
        return [str(self.program), "--home", str(self.home), *args]

    def cli(self, *args: str, stdin: Optional[bytes] = None, timeout_s: float = 60) -> Result:
        """Runs a command on this home to its end."""
        done = subprocess.run(
            self.command(*args), input=stdin or b"", capture_output=True, timeout=timeout_s, check=False
        )
        return Result(args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def json(self, *args: str) -> Any:
        """Runs a command with `--json`, which must succeed, and returns its document."""
        return self.cli(*args, "--json").ok().json

    def json_of(self, *args: str, stdin: Optional[bytes] = None) -> Any:
        """As `json`, with an input."""
        return self.cli(*args, "--json", stdin=stdin).ok().json

    def start_cli(self, *args: str, **options: Any) -> subprocess.Popen[bytes]:
        """Starts a command whose standard streams are pipes."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen(self.command(*args), **pipes)

    @property
    def id(self) -> str:
        """The node id."""
        return str(self.json("status")["node_id"])

    @property
    def ticket(self) -> str:
        """The node's ticket."""
        return self.cli("ticket").ok().out.strip()

    def peers(self) -> list[dict[str, Any]]:
        """The document of `peers`."""
        found: list[dict[str, Any]] = self.json("peers")
        return found

    def connected_to(self, other: Node) -> Optional[dict[str, Any]]:
        """The entry of a peer while it is connected."""
        wanted = other.id
        entries = (peer for peer in self.peers() if peer["node_id"] == wanted and peer["state"] == "connected")
        return next(entries, None)

    def meet(self, other: Node) -> None:
        """Adds the other node by its ticket, and waits until both see the link."""
        self.cli("peers", "add", other.ticket).ok()
        until("the nodes are connected", lambda: self.connected_to(other) and other.connected_to(self))

    # Its plugins.

    def install(self, folder: Path, *args: str) -> None:
        """Installs a plugin and waits until it is ready."""
        self.cli("plugin", "install", str(folder), "--yes", *args).ok()
        if "--no-start" not in args:
            self.wait_plugin(folder.name)

    def plugin(self, plugin: str) -> dict[str, Any]:
        """The document of `plugin info`."""
        info: dict[str, Any] = self.json("plugin", "info", plugin)
        return info

    def wait_plugin(self, plugin: str, state: str = "ready", deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        """Waits until a plugin is in a state, and returns its `plugin info`."""

        def look() -> dict[str, Any]:
            info = self.plugin(plugin)
            assert info["state"] == state, f"{info['state']}: {info.get('exit_reason')}"
            return info

        return until(f"plugin {plugin} is {state}", look, deadline_s)


# The manifest of a plugin that only sleeps, ready at once.
SLEEPER = """[plugin]
id = "sleeper"
version = "0.1.0"
license = "MIT"
command = ["sleep", "1000"]
[health]
ready = "none"
"""


def write_plugin(folder: Path, manifest: str, files: Optional[Mapping[str, str]] = None) -> Path:
    """Writes a plugin's manifest and files, by name, into its folder, and returns the folder."""
    folder.mkdir(parents=True)
    (folder / "plugin.toml").write_text(manifest)
    for name, text in (files or {}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if text.startswith("#!"):
            path.chmod(0o755)
    return folder


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Sends a signal, unless the process is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def all_pids() -> Iterator[int]:
    """Yields every live process of the machine."""
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and alive(int(entry.name)))


def mentions(pid: int, text: str) -> bool:
    """Whether a process's command line or environment contains a text."""
    for name in ("cmdline", "environ"):
        try:
            if text.encode() in Path(f"/proc/{pid}/{name}").read_bytes():
                return True
        except OSError:
            continue
    return False


def processes_of(home: Path) -> list[int]:
    """Returns every process of a node, daemonised grandchildren included: command line or environment name the home."""
    own = {os.getpid(), os.getppid()}
    return [pid for pid in all_pids() if pid not in own and mentions(pid, str(home))]


def nothing_left(node: Node, *markers: str) -> bool:
    """Condition for `until`: no process of the node is left, and none that mentions a marker."""
    left = {*processes_of(node.home), *(pid for pid in all_pids() for marker in markers if mentions(pid, marker))}
    assert not left, [describe(pid) for pid in left]
    return True


def describe(pid: int) -> str:
    """Describes a process for an error text."""
    try:
        return f"{pid} " + Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return str(pid)


def rss_bytes(pid: int) -> int:
    """Resident memory of a process, bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
