"""What is installed, and the archive that runs wherever it is unpacked; the steps of docs/operating.md."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import MakeNode
from documents import Block, blocks, run_shell, words
from harness import BIN, ROOT, Node

PAGE = "docs/operating.md"


def package(*args: str, **variables: str) -> str:
    """Runs scripts/package on the binaries under test; returns what it printed."""
    environment = {**os.environ, "POLYPEER_BIN": str(BIN), **variables}
    command = [str(ROOT / "scripts" / "package"), *args]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def contents(folder: Path) -> set[str]:
    """All files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def both_apps_run(node: Node) -> None:
    """Waits until the bundled apps are ready."""
    for app in ("chat", "files"):
        node.wait_plugin(app)


def test_archive_runs_where_it_is_unpacked_and_after_it_was_moved(make_node: MakeNode, folder: Path) -> None:
    archive = package("archive", str(folder))
    run_shell("sha256sum --check --quiet *.sha256 && tar -xzf *.tar.gz", folder, os.environ)
    tree = folder / Path(archive).name.removesuffix(".tar.gz")
    node = make_node("a", bundled_apps=True, program=tree / "bin" / "polypeer").start()
    both_apps_run(node)
    pid = node.plugin("chat")["pid"]
    environment = Path(f"/proc/{pid}/environ").read_bytes().decode()
    assert f"PYTHONPATH={tree}/lib/polypeer/sdk-python" in environment
    (folder / "note").write_text("hello")
    assert node.cli("send", str(folder / "note")).ok().out.startswith("polypeer-file:")
    node.stop()

    elsewhere = folder / "moved"
    tree.rename(elsewhere)
    node.program = elsewhere / "bin" / "polypeer"
    node.start()
    both_apps_run(node)
    node.cli("plugin", "new", "--lang", "python", "hello", str(folder / "hello")).ok()
    node.install(folder / "hello")


def test_same_tree_gives_the_same_archive(folder: Path) -> None:
    first, second = (Path(package("archive", str(folder / name))) for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()


def test_installation_is_complete_and_is_removed_completely(folder: Path) -> None:
    others = folder / "root" / "usr" / "share" / "man" / "man1" / "polypeerage.1"
    others.parent.mkdir(parents=True)
    others.write_text("of another program")
    package("install", DESTDIR=str(folder / "root"), PREFIX="/usr")
    found = contents(folder / "root" / "usr")
    assert {
        "bin/polypeer",
        "bin/polypeer-netcore",
        "lib/polypeer/sdk-python/polypeer/__init__.py",
        "lib/polypeer/sdk-go/node.go",
        "lib/polypeer/contrib/apps/chat/main.py",
        "lib/polypeer/contrib/apps/files/files",
        "share/man/man1/polypeer.1",
        "share/man/man1/polypeer-plugin-install.1",
        "share/bash-completion/completions/polypeer",
        "share/zsh/site-functions/_polypeer",
        "share/fish/vendor_completions.d/polypeer.fish",
        "share/doc/polypeer/LICENSE-MIT",
        "share/doc/polypeer/docs/operating.md",
    } <= found
    assert not [name for name in found if "_test.go" in name or "__pycache__" in name or "/tests/" in name]
    # Over an older version that had one module more.
    (folder / "root/usr/lib/polypeer/sdk-python/polypeer/old.py").write_text("")
    package("install", DESTDIR=str(folder / "root"), PREFIX="/usr")
    assert contents(folder / "root" / "usr") == found
    package("uninstall", DESTDIR=str(folder / "root"), PREFIX="/usr")
    assert contents(folder) == {"root/usr/share/man/man1/polypeerage.1"}
    with pytest.raises(AssertionError, match="nothing is installed below"):
        package("uninstall", DESTDIR=str(folder / "root"), PREFIX="/usr")


def test_node_below_the_prefix_is_left_alone(make_node: MakeNode, folder: Path) -> None:
    prefix = folder / "local"
    (prefix / "share").mkdir(parents=True)
    node = make_node("local/share/polypeer", bundled_apps=True, program=prefix / "bin" / "polypeer")
    package("install", PREFIX=str(prefix))
    both_apps_run(node.start())
    package("install", PREFIX=str(prefix))
    before = node.id
    node.stop()
    package("uninstall", PREFIX=str(prefix))
    assert (node.home / "state.db").exists()
    assert (node.home / "identity.key").exists()
    node.program = BIN / "polypeer"
    assert node.start().id == before


def test_bash_completes_commands_and_options(folder: Path) -> None:
    bash = shutil.which("bash")
    assert bash
    script = f"""
        {BIN}/polypeer completions bash >script; source ./script
        complete_line() {{
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
            _polypeer polypeer "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD - 1]}}"; echo "${{COMPREPLY[*]}}"
        }}
        complete_line polypeer shut
        complete_line polypeer plugin inst
        complete_line polypeer plugin install --li
    """
    assert run_shell(script, folder, os.environ).split() == ["shutdown", "install", "--link"]


def of_page(word: str) -> list[Block]:
    """Blocks of the page that are a shell's and contain a word."""
    found = [block for block in blocks(PAGE) if block.language == "sh" and word in block.text and not block.note]
    assert found, word
    return found


def test_backup_is_restored_and_a_copy_becomes_another_node(make_node: MakeNode, folder: Path) -> None:
    node = make_node("first", bundled_apps=True).start()
    both_apps_run(node)
    before = node.id
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "POLYPEER_HOME": str(node.home)}
    run_shell(of_page("node-backup")[0].text, folder, environment)
    node.stop()
    run_shell(of_page("mkdir")[0].text, folder, environment)
    command = next(block for block in blocks(PAGE) if block.argument("in the background") == "restored")
    assert words(command.text) == ["polypeer", "--home", "restored", "run"]
    restored = make_node("restored").start()
    both_apps_run(restored)
    assert restored.id == before
    run_shell(of_page("cp -a")[0].text, folder, environment)
    second = make_node("second").start()
    both_apps_run(second)
    assert second.id != before


def test_bundled_apps_are_updated_with_the_program_unless_they_are_the_operators(
    make_node: MakeNode, folder: Path
) -> None:
    package("install", PREFIX=str(folder / "new"))
    app = folder / "new" / "lib" / "polypeer" / "contrib" / "apps" / "chat"
    node = make_node("a", bundled_apps=True).start()
    both_apps_run(node)
    first = node.plugin("chat")["digest"]
    node.cli("plugin", "disable", "files").ok()
    node.stop()

    (app / "main.py").write_text((app / "main.py").read_text() + "\n# of a later version\n")
    (folder / "new/lib/polypeer/contrib/apps/files/plugin.toml").open("a").write("\n# of a later version\n")
    node.program = folder / "new" / "bin" / "polypeer"
    node.start()
    node.wait_plugin("chat")
    second = node.plugin("chat")["digest"]
    assert second != first
    assert "updated the bundled app files" in node.log.read_text()
    assert node.plugin("files")["enabled"] is False

    mine = shutil.copytree(app, folder / "chat")
    (mine / "main.py").write_text((mine / "main.py").read_text() + "\n# of the operator\n")
    node.install(mine)
    third = node.plugin("chat")["digest"]
    node.cli("plugin", "remove", "files", "--yes").ok()
    node.stop()
    node.start()
    assert node.plugin("chat")["digest"] == third
    assert [plugin["id"] for plugin in node.json("plugin", "list")] == ["chat"]


def test_unit_of_the_page_is_valid(folder: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd-analyze here")
    unit = next(block for block in blocks(PAGE) if block.note == "unit").text
    (folder / "polypeer.service").write_text(unit.replace("%h/.local/bin/polypeer", str(BIN / "polypeer")))
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}
    run_shell("systemd-analyze --user --man=no verify ./polypeer.service", folder, environment)
