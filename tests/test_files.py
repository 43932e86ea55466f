"""`send`, `get` and `files`: nothing is mixed, replaced or lost, whatever comes in between."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from conftest import MakeNode
from harness import POLYPEER, Node, Result, kill, until

MIB = 1 << 20
Nodes = tuple[Node, Node]


def with_files(node: Node) -> Node:
    """Starts a node and waits for its app."""
    node.start()
    node.wait_plugin("files")
    return node


@pytest.fixture
def node(make_node: MakeNode) -> Node:
    """One node with the bundled apps."""
    return with_files(make_node("a", bundled_apps=True))


@pytest.fixture
def nodes(node: Node, make_node: MakeNode) -> Nodes:
    """Two connected nodes with the bundled apps."""
    other = with_files(make_node("b", bundled_apps=True))
    node.meet(other)
    return node, other


def written(path: Path, size: int) -> bytes:
    """Writes random bytes and returns them."""
    content = os.urandom(size)
    path.write_bytes(content)
    return content


def send(node: Node, path: Path, *args: str) -> str:
    """Sends a file or folder and returns its link."""
    return node.cli("send", str(path), *args, timeout_s=120).ok().out.strip()


def get_in(node: Node, folder: Path, link: str, **options: object) -> subprocess.Popen[bytes]:
    """Starts a `get` into a folder."""
    return node.start_cli("get", link, cwd=folder, **options)


def ended(getting: subprocess.Popen[bytes]) -> Result:
    """Waits for a command that was started."""
    out, err = getting.communicate(timeout=120)
    return Result([], getting.returncode, out.decode(), err.decode())


def arrived(folder: Path) -> int:
    """Bytes of a download that have arrived in its part. A clone comes and goes within a moment."""
    return sum(
        path.stat().st_size for path in folder.glob("*.part/*") if path.name != "get.lock" and path.suffix != ".clone"
    )


def arrived_or_ended(folder: Path, least: int, getting: subprocess.Popen[bytes]) -> bool:
    """Whether this much has arrived, or the command has ended."""
    return arrived(folder) >= least or getting.poll() is not None


def incoming(node: Node) -> list[Path]:
    """What the app is receiving from a `send`."""
    return list((node.home / "data/files/store/incoming").glob("*"))


@pytest.fixture
def out(folder: Path) -> Path:
    """An empty folder to download into."""
    made = folder / "out"
    made.mkdir()
    return made


# Names.


def test_name_wanted_twice_at_once_goes_to_one(nodes: Nodes, folder: Path, out: Path) -> None:
    a, b = nodes
    links = {}
    for name in ("x", "y"):
        (folder / name).mkdir()
        links[name] = written(folder / name / "data.bin", 8 * MIB), send(a, folder / name / "data.bin")
    first = get_in(b, out, links["x"][1])
    until("the first has the name", lambda: (out / "data.bin.part" / "get.lock").exists())
    os.kill(first.pid, signal.SIGSTOP)
    second = ended(get_in(b, out, links["y"][1]))
    os.kill(first.pid, signal.SIGCONT)
    assert second.code == 4
    assert "data.bin" in second.err
    assert "--output" in second.err
    assert ended(first).code == 0
    assert (out / "data.bin").read_bytes() == links["x"][0]
    b.cli("get", links["y"][1], "--output", str(out / "other")).ok()
    assert (out / "other").read_bytes() == links["y"][0]


def test_file_that_came_up_meanwhile_stays(nodes: Nodes, folder: Path, out: Path) -> None:
    a, b = nodes
    content = written(folder / "big", 64 * MIB)
    link = send(a, folder / "big")
    getting = get_in(b, out, link)
    until("some has arrived", lambda: arrived(out) > 0)
    os.kill(getting.pid, signal.SIGSTOP)
    (out / "big").write_text("mine, not yours")
    os.kill(getting.pid, signal.SIGCONT)
    refused = ended(getting)
    assert refused.code == 4
    assert (out / "big").read_text() == "mine, not yours"
    assert "kept" not in refused.err or arrived(out) > 0
    b.cli("get", link, "--output", str(out / "big"), "--force").ok()
    assert (out / "big").read_bytes() == content
    assert list(out.iterdir()) == [out / "big"]


def test_paths_that_are_not_utf_8_work_or_are_refused(nodes: Nodes, folder: Path, out: Path) -> None:
    a, b = nodes
    content = written(folder / "one", 10)
    link = send(a, folder / "one")
    odd = out / os.fsdecode(b"bad\xff")
    for args in ([], ["--json", "--force"]):
        b.cli("get", link, "--output", str(odd), *args).ok()
        assert odd.read_bytes() == content
    refused = a.cli("send", str(odd))
    assert refused.code == 2
    assert "--name" in refused.err
    a.cli("send", str(odd), "--name", "good").ok()
    home = subprocess.run([str(POLYPEER), "--home", str(odd), "config", "check"], capture_output=True, timeout=20)
    assert home.returncode == 2
    assert b"UTF-8" in home.stderr


@pytest.mark.parametrize("old", [False, True])
def test_link_that_was_cut_says_so(old: bool, nodes: Nodes, folder: Path, out: Path) -> None:
    a, b = nodes
    written(folder / "x", 10)
    link = send(a, folder / "x")
    assert not set(link) & set("?&;|<>()[]{}$`\\\"'*~!# \t")
    if old:
        link = link.replace("/size=", "?size=").replace("/from=", "&from=")
    cut = ended(get_in(b, out, link.split("&")[0].split("/from")[0]))
    assert cut.code != 0
    assert "whole link" in cut.err
    assert ended(get_in(b, out, link)).code == 0


# What is sent.


def test_folder_arrives_as_it_was(nodes: Nodes, folder: Path, out: Path) -> None:
    a, b = nodes
    made = folder / "photos"
    (made / "sub" / "empty").mkdir(parents=True)
    content = written(made / "sub" / "big.bin", 3 * MIB)
    (made / "run.sh").write_text("#!/bin/sh\n")
    (made / "run.sh").chmod(0o755)
    (made / "link").symlink_to("sub/big.bin")
    link = send(a, made)
    document = b.cli("get", link, "--json", "--output", str(out)).ok().json
    got = out / "photos"
    assert document["path"] == str(got)
    assert (got / "link").read_bytes() == content
    assert (got / "sub" / "empty").is_dir()
    assert os.access(got / "run.sh", os.X_OK)
    assert not os.access(got / "sub" / "big.bin", os.X_OK)
    assert list(out.iterdir()) == [got]
    again = b.cli("get", link, "--output", str(out))
    assert again.code == 4


def test_standard_input_is_sent(nodes: Nodes, out: Path) -> None:
    a, b = nodes
    link = a.cli("send", "-", "--name", "notes.txt", stdin=b"hello").ok().out.strip()
    assert b.cli("get", link, "--output", str(out)).ok().out.strip() == str(out / "notes.txt")
    assert (out / "notes.txt").read_bytes() == b"hello"
    assert a.json("files", "list")[0]["name"] == "notes.txt"


def test_what_is_no_file_is_refused_at_once(node: Node, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    for path in (folder / "pipe", Path("/dev/zero"), Path("/proc/cpuinfo")):
        refused = node.cli("send", str(path), timeout_s=20)
        assert refused.code == 2, path
        assert " send - --name " in refused.err
    assert node.json("files", "list") == []


def test_links_of_what_was_sent_are_printed_when_more_fails(node: Node, folder: Path) -> None:
    written(folder / "one", 10)
    written(folder / "two", 11)
    paths = [str(folder / name) for name in ("one", "none", "two")]
    text = node.cli("send", *paths)
    assert text.code == 2
    assert text.out.count("polypeer-file:") == 2
    assert "none" in text.err
    done = node.cli("send", "--json", *paths)
    assert done.code == 2
    one, none, two = done.json
    assert [one["name"], two["name"]] == ["one", "two"]
    assert none["path"] == paths[1]
    assert none["error"]["exit_code"] == 2
    assert none["error"]["hint"]


# The store.


def test_files_are_listed_stopped_and_removed(nodes: Nodes, folder: Path, out: Path) -> None:
    a, b = nodes
    for name in ("one", "two"):
        written(folder / name, 100)
    link = send(a, folder / "one")
    send(a, folder / "two", "--expires", "7d")
    kept = {file["name"]: file for file in a.json("files", "list")}
    assert set(kept["one"]) == {"hash", "name", "size_bytes", "have_bytes", "offered", "expires_s"}
    assert (kept["one"]["offered"], kept["one"]["expires_s"]) == (True, None)
    assert 6 * 86_400 < kept["two"]["expires_s"] <= 7 * 86_400

    a.cli("files", "stop", "one").ok()
    refused = b.cli("get", link, "--output", str(out))
    assert refused.code == 1
    assert "no such file" in refused.err
    assert not list(out.iterdir()), "nothing is left of it"
    assert b.json("files", "list") == [], "nor in the store"
    a.cli("send", str(folder / "one")).ok()
    b.cli("get", link, "--output", str(out)).ok()
    (fetched,) = b.json("files", "list")
    assert 0 < fetched["expires_s"] <= 86_400, "a download is not kept for ever"

    a.cli("files", "remove", kept["one"]["hash"][:8], "two").ok()
    assert a.json("files") == []
    assert list((a.home / "data/files/store/files").iterdir()) == []
    unknown = a.cli("files", "remove", "one")
    assert unknown.code == 2
    assert "files list" in unknown.err
    b.cli("files", "remove", "--all").ok()
    assert b.json("files", "list") == []


def test_limit_of_the_disk_holds(node: Node, folder: Path) -> None:
    node.cli("plugin", "limit", "files", "disk=2MiB").ok()
    node.cli("plugin", "restart", "files").ok()
    written(folder / "one", MIB)
    written(folder / "two", MIB + 1)
    send(node, folder / "one")
    for refused in (node.cli("send", str(folder / "two")), node.cli("send", "-", stdin=bytes(2 * MIB))):
        assert refused.code == 4
        assert "files list" in refused.err
    node.cli("files", "remove", "one").ok()
    send(node, folder / "two")


# What comes in between.


def test_sender_that_is_away_is_told_as_such(nodes: Nodes, folder: Path, out: Path) -> None:
    a, b = nodes
    written(folder / "x", 10)
    link = send(a, folder / "x")
    a.stop()
    away = b.cli("get", link, "--output", str(out))
    assert away.code == 5
    assert "online" in away.err
    assert not list(out.iterdir())


def test_get_that_is_killed_goes_on(nodes: Nodes, folder: Path, out: Path) -> None:
    a, b = nodes
    size = 48 * MIB
    content = written(folder / "big", size)
    link = send(a, folder / "big")
    for least in (1, size // 3, 2 * size // 3, size):
        getting = get_in(b, out, link)
        until(
            f"{least} bytes have arrived",
            partial(arrived_or_ended, out, least, getting),
        )
        kill(getting.pid)
        ended(getting)
        assert not (out / "big").exists() or (out / "big").read_bytes() == content
        assert (out / "big").exists() or arrived(out) >= least
    assert ended(get_in(b, out, link)).code == 0
    assert (out / "big").read_bytes() == content
    assert list(out.iterdir()) == [out / "big"]


def test_interrupted_get_says_what_is_kept(nodes: Nodes, folder: Path, out: Path) -> None:
    a, b = nodes
    content = written(folder / "big", 64 * MIB)
    link = send(a, folder / "big")
    getting = get_in(b, out, link)
    until("some has arrived", lambda: arrived(out) > 0)
    getting.send_signal(signal.SIGINT)
    interrupted = ended(getting)
    if interrupted.code != 0:  # It may just have ended.
        assert interrupted.code == 1
        assert "kept in big.part" in interrupted.err
        assert "same command" in interrupted.err
    assert ended(get_in(b, out, link)).code == 0
    assert (out / "big").read_bytes() == content


def test_part_that_was_changed_is_noticed(nodes: Nodes, folder: Path, out: Path) -> None:
    a, b = nodes
    content = written(folder / "big", 2 * MIB)
    link = send(a, folder / "big")
    (out / "big.part").mkdir()
    (out / "big.part" / a.json("files", "list")[0]["hash"]).write_bytes(b"x" * MIB)
    done = ended(get_in(b, out, link))
    assert done.code == 0
    assert "starting over" in done.err
    assert "verified" in done.err
    assert (out / "big").read_bytes() == content


@pytest.mark.parametrize("victim", ["command", "app"])
def test_send_that_is_killed_leaves_nothing(victim: str, node: Node, folder: Path) -> None:
    content = written(folder / "x", 3 * MIB)
    sending = node.start_cli("send", "-", "--name", "x")
    assert sending.stdin is not None
    sending.stdin.write(content)
    sending.stdin.flush()
    until("the app receives it", lambda: any((path / "data").exists() for path in incoming(node)))
    kill(sending.pid if victim == "command" else node.plugin("files")["pid"])
    failed = ended(sending)
    assert failed.code != 0
    assert failed.out == ""
    node.wait_plugin("files")
    until("nothing of it is left", lambda: not incoming(node))
    assert node.json("files", "list") == []
    send(node, folder / "x")


def test_full_disk_keeps_what_arrived(nodes: Nodes, folder: Path, out: Path) -> None:
    a, b = nodes
    content = written(folder / "big", 4 * MIB)
    link = send(a, folder / "big")

    def small_files() -> None:
        """Makes writing beyond 1 MiB fail, as on a full disk."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, MIB))

    full = ended(get_in(b, out, link, preexec_fn=small_files, restore_signals=False))
    assert full.code == 1
    assert "make room" in full.err
    assert "kept in big.part" in full.err
    assert arrived(out) == MIB
    assert ended(get_in(b, out, link)).code == 0
    assert (out / "big").read_bytes() == content


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 40 MiB."""
    made = folder / "disk"
    made.mkdir()
    mounted = os.geteuid() == 0 and shutil.which("mount")
    if not mounted or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", str(made)]).returncode != 0:
        pytest.skip("a small file system needs the rights to mount one")
    yield made
    subprocess.run(["umount", "-l", str(made)], check=True)


def test_full_disk_of_the_node_is_named(node: Node, small_disk: Path, folder: Path, out: Path) -> None:
    other = Node(small_disk / "b", bundled_apps=True)
    try:
        with_files(other)
        content = written(folder / "small", MIB)
        written(folder / "big", 60 * MIB)
        kept = send(other, folder / "small")
        failed = [
            other.cli("send", str(folder / "big")),
            other.cli("get", send(node, folder / "big"), "--output", str(out), timeout_s=120),
        ]
        for result in failed:
            assert result.code == 1
            hint = result.err[result.err.index("hint: ") :]
            assert "make room on the disk" in hint
            assert "files remove" in hint
        names = [file["name"] for file in other.json("files", "list")]
        assert sorted(names) == ["big", "small"], "what was sent, and the part of the download"
        other.cli("files", "remove", "big").ok()
        other.cli("get", kept, "--output", str(out)).ok()
        assert (out / "small").read_bytes() == content
    finally:
        other.stop()


@pytest.fixture
def sharing_disk(folder: Path) -> Iterator[Path]:
    """A file system that can share blocks between files."""
    image, made = folder / "image", folder / "disk"
    made.mkdir()
    if os.geteuid() != 0 or not shutil.which("mkfs.xfs"):
        pytest.skip("making a file system needs root and mkfs.xfs")
    with image.open("wb") as file:
        file.truncate(400 * MIB)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(image)], check=True)
    if subprocess.run(["mount", "-o", "loop", str(image), str(made)]).returncode != 0:
        pytest.skip("mounting the file system failed")
    yield made
    subprocess.run(["umount", "-l", str(made)], check=True)


def test_nothing_is_stored_twice_where_blocks_can_be_shared(sharing_disk: Path) -> None:
    def used() -> int:
        """MiB that are taken on the disk."""
        os.sync()
        disk = os.statvfs(sharing_disk)
        return (disk.f_blocks - disk.f_bfree) * disk.f_frsize // MIB

    a, b = Node(sharing_disk / "a", bundled_apps=True), Node(sharing_disk / "b", bundled_apps=True)
    try:
        with_files(a)
        with_files(b)
        content = written(sharing_disk / "big", 64 * MIB)
        before = used()
        link = send(a, sharing_disk / "big")
        until("the stored copy is one with the original", lambda: used() < before + 16)
        b.cli("get", link, "--output", str(sharing_disk / "got")).ok()
        # The file system frees blocks some time after they were given back.
        until("the stored copy is one with the file", lambda: used() < before + 64 + 16)
        with (sharing_disk / "big").open("r+b") as original:
            original.write(b"edited")
        a.cli("get", link, "--output", str(sharing_disk / "again")).ok()
        for name in ("got", "again"):
            assert (sharing_disk / name).read_bytes() == content, "an edit of the original changes nothing"
        until("the third copy is one with them", lambda: used() < before + 64 + 16)
    finally:
        a.stop()
        b.stop()
