"""The loop of somebody who writes a plugin: `plugin new`, `install --link`, edits, packages of others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import MakeNode
from harness import ROOT, Node, until, write_plugin

MANIFEST = """
[plugin]
id = "hello"
version = "0.1.0"
command = ["{program}", "main.py"]

[permissions]
serve = ["hello/1"]
peers = "any"
"""
# Says what a module of others says, and whether it may write to its own folder.
PROGRAM = """
import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "vendor"))

import other
import polypeer

try:
    Path("written").write_text("x")
    print("wrote to its folder")
except OSError:
    print("cannot write to its folder")


async def main():
    async with polypeer.connect() as node:
        print(other.WORDS, flush=True)
        await node.wait_closed()


asyncio.run(main())
"""


def said(node: Node, plugin: str, words: str) -> bool:
    """Whether a plugin's log contains `words`."""
    return words in node.cli("plugin", "logs", plugin).ok().out


def build(folder: Path, name: str) -> None:
    """Builds a plugin in Go."""
    command = ["go", "build", "-o", name, "."]
    subprocess.run(command, cwd=folder, check=True, env={**os.environ, "CGO_ENABLED": "0"})


@pytest.mark.parametrize("language", ["python", "go"])
def test_new_plugin_runs_at_once_and_answers(language: str, make_node: MakeNode, folder: Path) -> None:
    a, b = make_node("a").start(), make_node("b").start()
    a.meet(b)
    made = folder / "hello"
    shown = a.cli("plugin", "new", "--lang", language, "hello", str(made)).ok().out
    assert f"polypeer --home {a.home} plugin install --link {made}" in shown
    if language == "go":
        build(made, "hello")
        assert not subprocess.run(["gofmt", "-l", "."], cwd=made, capture_output=True, check=True).stdout
        subprocess.run(["go", "vet", "."], cwd=made, check=True)
    else:
        check = [sys.executable, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml"), str(made)]
        subprocess.run(check, check=True)
    a.cli("plugin", "install", "--link", str(made), "--yes").ok()
    a.wait_plugin("hello")
    for node, target in ((a, "local"), (b, a.id)):
        assert node.cli("request", target, "hello/1", stdin=b"Ada").ok().out == "hello Ada\n"
    until("it is in the log", lambda: said(a, "hello", "Ada"))


def test_new_plugin_needs_an_empty_folder_and_a_valid_id(make_node: MakeNode, folder: Path) -> None:
    node = make_node("a")
    (folder / "notes").write_text("mine")
    refused = node.cli("plugin", "new", "--lang", "python", "hello", str(folder))
    assert (refused.code, "is not empty" in refused.err) == (2, True)
    assert node.cli("plugin", "new", "--lang", "python", "Hello!", str(folder / "x")).code == 2
    assert node.cli("plugin", "new", "--lang", "cobol", "hello", str(folder / "x")).code == 2
    assert not (folder / "x").exists()


def test_edits_of_a_linked_plugin_take_effect_at_restart(make_node: MakeNode, folder: Path) -> None:
    node = make_node("a").start()
    source = write_plugin(
        folder / "hello",
        MANIFEST.format(program="python3"),
        {"main.py": PROGRAM, "vendor/other.py": "WORDS = 'good morning'"},
    )
    node.install(source, "--link")
    info = node.plugin("hello")
    assert (info["linked"], info["source"]) == (True, str(source))
    until("it says the first words", lambda: said(node, "hello", "good morning"))
    assert said(node, "hello", "cannot write to its folder")
    assert not (source / "written").exists()

    (source / "vendor/other.py").write_text("WORDS = 'good evening'")
    node.cli("plugin", "restart", "hello").ok()
    until("it says the new words", lambda: said(node, "hello", "good evening"))

    # The manifest counts as it was approved, also after a restart of the daemon.
    (source / "plugin.toml").write_text(MANIFEST.format(program="python3").replace('["hello/1"]', '["other/1"]'))
    restarted = node.cli("plugin", "restart", "hello").ok()
    assert "was changed since you approved it" in restarted.err
    node.stop()
    node.start()
    info = node.wait_plugin("hello")
    assert info["grants"]["serve"] == ["hello/1"]
    assert "was changed since you approved it" in info["warnings"][0]
    node.install(source, "--link")
    info = node.plugin("hello")
    assert (info["grants"]["serve"], "warnings" in info) == (["other/1"], False)

    node.cli("plugin", "remove", "hello", "--yes").ok()
    assert (source / "main.py").exists()


def test_linked_folder_that_is_gone_is_named(make_node: MakeNode, folder: Path) -> None:
    node = make_node("a").start()
    files = {"main.py": PROGRAM, "vendor/other.py": "WORDS = 'good morning'"}
    source = write_plugin(folder / "hello", MANIFEST.format(program="python3"), files)
    node.install(source, "--link")
    source.rename(folder / "elsewhere")
    failed = node.cli("plugin", "restart", "hello")
    assert failed.code == 1, failed
    assert str(source) in node.plugin("hello")["warnings"][0]
    node.install(folder / "elsewhere", "--link", "--no-start")
    node.cli("plugin", "start", "hello").ok()
    node.wait_plugin("hello")


def test_folder_that_everybody_may_write_to_is_not_linked(make_node: MakeNode, folder: Path) -> None:
    node = make_node("a").start()
    files = {"main.py": PROGRAM, "vendor/other.py": "WORDS = ''"}
    source = write_plugin(folder / "hello", MANIFEST.format(program="python3"), files)
    (source / "main.py").chmod(0o666)
    refused = node.cli("plugin", "install", "--link", str(source), "--yes")
    assert (refused.code, "is writable by every user" in refused.err) == (2, True)
    (source / "main.py").chmod(0o644)
    node.install(source, "--link")
    (source / "main.py").chmod(0o666)
    assert node.cli("plugin", "restart", "hello").code == 1
    assert "is writable by every user" in node.plugin("hello")["exit_reason"], "each start looks again"


@pytest.mark.parametrize("way", [[], ["--link"]], ids=["copied", "linked"])
def test_vendored_module_is_found_under_confinement(way: list[str], make_node: MakeNode, folder: Path) -> None:
    node = make_node("a").start()
    files = {"main.py": PROGRAM, "vendor/other.py": "WORDS = 'from a vendored module'"}
    node.install(write_plugin(folder / "hello", MANIFEST.format(program="python3"), files), *way)
    until("it imports the module", lambda: said(node, "hello", "from a vendored module"))


@pytest.mark.parametrize("way", [[], ["--link"]], ids=["copied", "linked"])
def test_python_environment_in_the_folder_runs_under_confinement(
    way: list[str], make_node: MakeNode, folder: Path
) -> None:
    node = make_node("a").start()
    source = write_plugin(folder / "hello", MANIFEST.format(program=".venv/bin/python"), {"main.py": PROGRAM})
    linked = source / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(linked)], check=True)
    refused = node.cli("plugin", "install", str(source), "--yes", *way)
    assert (refused.code, "venv --copies" in refused.err) == (2, True)

    subprocess.run([sys.executable, "-m", "venv", "--clear", "--copies", "--without-pip", str(linked)], check=True)
    packages = next((linked / "lib").glob("python3*/site-packages"))
    (packages / "other.py").write_text("WORDS = 'from an environment'")
    node.install(source, *way)
    until("it imports the module", lambda: said(node, "hello", "from an environment"))


def test_vendored_module_in_go_is_built_and_runs(make_node: MakeNode, folder: Path) -> None:
    node = make_node("a").start()
    made = folder / "hello"
    node.cli("plugin", "new", "--lang", "go", "hello", str(made)).ok()
    subprocess.run(["go", "mod", "vendor"], cwd=made, check=True)
    # The folder stands alone then: it builds without the SDK's folder.
    (made / "go.mod").write_text((made / "go.mod").read_text().replace(str(ROOT), str(folder / "nowhere")))
    listed = made / "vendor" / "modules.txt"
    listed.write_text(listed.read_text().replace(str(ROOT), str(folder / "nowhere")))
    build(made, "hello")
    node.install(made)
    until("it runs", lambda: said(node, "hello", "serves hello/1"))


def test_plugin_that_no_peer_can_reach_is_pointed_out(make_node: MakeNode, folder: Path) -> None:
    node = make_node("a").start()
    manifest = MANIFEST.format(program="python3").replace('peers = "any"', "")
    files = {"main.py": PROGRAM, "vendor/other.py": "WORDS = 'nobody hears this'"}
    source = write_plugin(folder / "hello", manifest, files)
    installed = node.cli("plugin", "install", str(source), "--yes").ok()
    assert "no peer can reach it" in installed.err
    assert "no peer can reach it" in node.plugin("hello")["warnings"][0]
    assert "no peer can reach it" in node.cli("plugin", "info", "hello").ok().out


def test_program_started_by_hand_finds_the_sdk_where_plugin_new_says(make_node: MakeNode, folder: Path) -> None:
    made = make_node("a").cli("plugin", "new", "--lang", "python", "hello", str(folder / "hello"), "--json").ok().json
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": made["sdk"]}
    command = [sys.executable, "main.py"]
    done = subprocess.run(command, cwd=made["folder"], env=environment, capture_output=True, text=True, check=False)
    assert "NotStartedByPolypeer" in done.stderr
