"""Bad input of every kind: it gives one clear error with a hint or is accepted, and no stored data is lost."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PLUGINS, MakeNode
from harness import POLYPEER, Node, Result, until, write_plugin
from toolbox import Toolbox

GOOD = """
[plugin]
id = "good"
version = "1.0.0"
license = "MIT"
command = ["python3", "main.py"]
"""
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def one_clear_error(result: Result, *fragments: str) -> None:
    """Asserts that a command failed with an error and a hint."""
    assert result.code in (1, 2, 4), result
    assert "panicked" not in result.err, result.err
    assert len(result.err.strip().splitlines()) <= 12, result.err
    assert "hint: " in result.err, result.err
    for fragment in fragments:
        assert fragment in result.err, result.err


def run_fails(node: Node, *args: str) -> Result:
    """Runs the daemon and waits for it to give up."""
    before = len(node.log.read_text()) if node.log.exists() else 0
    code = node.spawn(*args).wait(20)
    node.daemon = None
    return Result(["run", *args], code, "", node.log.read_text()[before:])


BAD_MANIFESTS = {
    "missing_manifest": (None, ["plugin.toml"]),
    "empty_manifest": ("", ["plugin.toml", "[plugin]"]),
    "not_toml": ("[plugin\nid=", ["plugin.toml:1"]),
    "not_text": ("\x00\x01\x02", ["plugin.toml"]),
    "unknown_key": (GOOD + 'colour = "red"\n', ["plugin.toml:7", "colour"]),
    "misspelt_key": (GOOD + "[permissions]\nserv = []\n", ["plugin.toml:8", "serv", '"serve"']),
    "unknown_table": (GOOD + "[permission]\nserve = []\n", ["permission"]),
    "wrong_type": (GOOD.replace('"1.0.0"', "1"), ["plugin.toml:4", "plugin.version: expected a text"]),
    "bad_version": (GOOD.replace("1.0.0", "one"), ["plugin.toml:4"]),
    "bad_id": (GOOD.replace('"good"', '"Not Good"'), ["plugin.toml:3", "a-z"]),
    "bad_protocol": (GOOD + '[permissions]\nserve = ["chat"]\npeers = "any"\n', ["plugin.toml:8"]),
    "bad_size": (GOOD + '[limits]\nmemory = "lots"\n', ["plugin.toml:8", "256MiB"]),
    "absolute_program": (GOOD.replace('"python3"', '"/bin/sh"'), ["plugin.toml:6", "/bin/sh"]),
    "program_above": (GOOD.replace('"python3"', '"../sh"'), ["plugin.toml:6", "../sh"]),
    "absolute_ui_path": (GOOD + '[ui]\npath = "/etc"\n', ["plugin.toml:8", "/etc"]),
    "ui_path_above": (GOOD + '[ui]\npath = "a/../../b"\n', ["plugin.toml:8"]),
    "no_command": (GOOD.replace('["python3", "main.py"]', "[]"), ["plugin.toml:6"]),
}


@pytest.fixture
def node(make_node: MakeNode) -> Node:
    """A running node."""
    return make_node("a").start()


@pytest.mark.parametrize("case", BAD_MANIFESTS)
def test_bad_manifest_is_refused_with_its_place(case: str, folder: Path) -> None:
    """Runs without a daemon: checking a manifest needs none."""
    manifest, fragments = BAD_MANIFESTS[case]
    plugin = write_plugin(folder / "plugin", manifest or "", {"main.py": ""})
    if manifest is None:
        (plugin / "plugin.toml").unlink()
    stopped = Node(folder / "home")
    result = stopped.cli("plugin", "install", str(plugin), "--yes")
    if result.code == 3:
        result = stopped.start().cli("plugin", "install", str(plugin), "--yes")
        assert stopped.json("plugin", "list") == []
        stopped.stop()
    one_clear_error(result, *fragments)


def test_folder_that_is_not_there_or_no_folder_is_refused(node: Node, folder: Path) -> None:
    one_clear_error(node.cli("plugin", "install", str(folder / "nowhere"), "--yes"), "nowhere")
    (folder / "file").write_text("")
    one_clear_error(node.cli("plugin", "install", str(folder / "file"), "--yes"), "file")


def test_plugin_whose_links_leave_its_folder_is_refused(node: Node, folder: Path) -> None:
    plugin = write_plugin(folder / "good", GOOD, {"main.py": ""})
    (plugin / "outside").symlink_to("/etc/passwd")
    one_clear_error(node.cli("plugin", "install", str(plugin), "--yes"), "outside")
    assert node.json("plugin", "list") == []


def test_install_of_something_bad_keeps_what_was_installed(node: Node, folder: Path) -> None:
    node.install(PLUGINS / "toolbox")
    before = node.plugin("toolbox")
    changed = shutil.copytree(PLUGINS / "toolbox", folder / "toolbox")
    (changed / "plugin.toml").write_text("nonsense")
    one_clear_error(node.cli("plugin", "install", str(changed), "--yes"))
    after = node.plugin("toolbox")
    assert (after["pid"], after["grants"]) == (before["pid"], before["grants"])


def test_install_without_a_terminal_asks_for_yes(node: Node) -> None:
    result = node.cli("plugin", "install", str(PLUGINS / "toolbox"))
    one_clear_error(result, "--yes")
    assert node.json("plugin", "list") == []


@NEEDS_ROOT
def test_unreadable_folder_is_refused_to_a_user(folder: Path) -> None:
    """Runs as a user other than root, who may read everything."""
    home = folder / "home"
    plugin = write_plugin(folder / "good", GOOD, {"main.py": ""})
    node = Node(home)
    folder.chmod(0o755)
    for path in (home, home / "config.toml"):
        os.chown(path, 65534, 65534)
    plugin.chmod(0o700)
    as_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    binary = shutil.copy(POLYPEER, folder)
    command = [*as_user, str(binary), "--home", str(home), "plugin", "install", str(plugin), "--yes"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    one_clear_error(Result(command, done.returncode, done.stdout, done.stderr), "good")
    assert not node.daemon


@NEEDS_ROOT
def test_root_who_asks_for_the_node_of_another_user_is_told_of_it(make_node: MakeNode, folder: Path) -> None:
    """Only this test's commands see its list of users."""
    node = make_node("ann/.local/share/polypeer").start()
    users = folder / "passwd"
    users.write_text(f"{Path('/etc/passwd').read_text()}ann:x:4242:4242::{folder / 'ann'}:/bin/sh\n")
    script = f'mount --bind {users} /etc/passwd && exec "$@"'

    def as_root(*args: str) -> Result:
        command = ["unshare", "--mount", "sh", "-c", script, "sh", str(POLYPEER), *args]
        environment = {**os.environ, "HOME": str(folder), "SUDO_UID": "4242"}
        for name in ("POLYPEER_HOME", "XDG_DATA_HOME"):
            environment.pop(name, None)
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment)
        return Result(args, done.returncode, done.stdout, done.stderr)

    if "mount" in as_root("status").err:
        pytest.skip("nothing can be mounted here")
    told = as_root("status")
    assert told.code == 3
    assert f"the daemon of ann runs on {node.home}: run the command without sudo" in told.err
    other = as_root("--home", str(folder / "other"), "status")
    assert other.code == 3
    assert "ann" not in other.err, "the home was named"
    os.chown(node.home / "run", 4242, 4242)
    one_clear_error(as_root("--home", str(node.home), "status"), "run belongs to ann", "run the command as ann")
    os.chown(node.home / "run", 0, 0)


def test_busy_port_is_said(make_node: MakeNode) -> None:
    node = make_node("a")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        one_clear_error(run_fails(node, "--listen", address), address, "in use")
    node.start("--listen", address)
    assert node.json("status")["listen"] == [address]


def test_second_daemon_on_one_home_is_refused(node: Node) -> None:
    before = node.json("status")["netcore"]["pid"]
    first = node.daemon
    one_clear_error(run_fails(node), "already runs")
    node.daemon = first
    assert node.json("status")["netcore"]["pid"] == before


BAD_KEYS = {
    "garbage": (b"\xff\x00 not a key", 0o600),
    "empty": (b"", 0o600),
    "cut": (b"polypeer-identity-1 0123", 0o600),
    "readable_by_others": (b"polypeer-identity-1 " + b"07" * 32 + b"\n", 0o644),
}


@pytest.mark.parametrize("case", BAD_KEYS)
def test_bad_identity_key_is_refused_and_never_overwritten(case: str, make_node: MakeNode) -> None:
    content, mode = BAD_KEYS[case]
    node = make_node("a")
    key = node.home / "identity.key"
    key.write_bytes(content)
    key.chmod(mode)
    one_clear_error(run_fails(node), "identity.key")
    assert key.read_bytes() == content


def test_identity_key_that_is_a_link_is_refused(make_node: MakeNode, folder: Path) -> None:
    node = make_node("a")
    real = folder / "real.key"
    real.write_text("polypeer-identity-1 " + "07" * 32 + "\n")
    real.chmod(0o600)
    (node.home / "identity.key").symlink_to(real)
    one_clear_error(run_fails(node), "identity.key")


def test_damaged_state_is_refused_and_kept(node: Node) -> None:
    node.install(PLUGINS / "toolbox")
    node.stop()
    database = node.home / "state.db"
    whole = database.read_bytes()
    database.write_bytes(b"garbage " * 100)
    one_clear_error(run_fails(node), "state.db")
    assert database.read_bytes() == b"garbage " * 100
    database.write_bytes(whole)
    node.start()
    node.wait_plugin("toolbox")


def test_damaged_peers_are_set_aside(make_node: MakeNode) -> None:
    a, b = make_node("a").start(), make_node("b").start()
    a.meet(b)
    a.stop()
    for file in a.home.glob("peers.db*"):
        file.unlink()  # with what is not yet in the file itself, which alone could repair it
    (a.home / "peers.db").write_bytes(b"garbage " * 100)
    a.start()
    assert (a.home / "peers.db.damaged-1").read_bytes() == b"garbage " * 100
    assert any("damaged" in warning for warning in a.json("status")["warnings"])
    a.meet(b)


def test_bad_configuration_is_refused_with_its_place(make_node: MakeNode) -> None:
    node = make_node("a", config="lam = true\n")
    one_clear_error(run_fails(node), "config.toml:4", "lam", '"lan"')


def test_home_that_is_a_file_or_something_else_is_refused(folder: Path) -> None:
    (folder / "file").write_text("")
    foreign = folder / "foreign"
    foreign.mkdir()
    (foreign / "letters.txt").write_text("dear")
    for home in (folder / "file", foreign):
        command = [str(POLYPEER), "--home", str(home), "run"]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20)
        one_clear_error(Result(command, done.returncode, done.stdout, done.stderr), home.name)
    assert (foreign / "letters.txt").read_text() == "dear"


@pytest.fixture
def long_home(folder: Path) -> Path:
    """A path of 200 characters."""
    path = folder / ("x" * 90)
    home = path / ("y" * (200 - len(str(path)) - 1))
    assert len(str(home)) == 200
    return home


def test_home_with_a_path_of_200_characters_works(long_home: Path) -> None:
    node = Node(long_home).start()
    try:
        node.install(PLUGINS / "toolbox")
        assert Toolbox(node).ready().do("pid")
        sockets = Path((long_home / "run" / "sockets.path").read_text())
        assert len(str(sockets)) < 60
    finally:
        node.stop()
    assert not sockets.exists()


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A mounted file system of 4 MiB."""
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@NEEDS_ROOT
def test_full_disk_loses_nothing_that_was_stored(small_disk: Path, folder: Path) -> None:
    node = Node(small_disk / "home").start()
    try:
        node.install(PLUGINS / "toolbox")
        identity, grants = node.id, node.plugin("toolbox")["grants"]
        filler = small_disk / "filler"
        fill(filler)

        big = write_plugin(folder / "good", GOOD, {"main.py": "#" * 100_000})
        one_clear_error(node.cli("plugin", "install", str(big), "--yes"), "space")
        assert [plugin["id"] for plugin in node.json("plugin", "list")] == ["toolbox"]
        assert node.plugin("toolbox")["state"] == "ready"

        node.stop()
        started = node.spawn()
        until("it runs or says why not", lambda: started.poll() is not None or node.netcore_ready())
        if started.poll() is not None:
            node.daemon = None
            assert "hint: " in node.log.read_text().splitlines()[-1]
        else:
            node.stop()

        filler.unlink()
        node.start()
        node.wait_plugin("toolbox")
        assert node.id == identity
        assert node.plugin("toolbox")["grants"] == grants
        node.install(big.rename(folder / "later"), "--no-start")
    finally:
        node.stop()


def fill(path: Path) -> None:
    """Fills the file system."""
    with path.open("wb", buffering=0) as file:
        for size in (65_536, 1024, 1):
            while True:
                try:
                    file.write(b"x" * size)
                except OSError:
                    break
