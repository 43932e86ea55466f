"""The tutorial, block by block, on two nodes."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from conftest import MakeNode
from documents import blocks, run_shell, transcript, words
from harness import BIN, until


def prints(command: str, pattern: re.Pattern[str], folder: Path, environment: Mapping[str, str]) -> bool:
    """Whether a command prints what a pattern describes, in one place of its output."""
    output = run_shell(command, folder, environment)
    assert pattern.search(output), output
    return True


def test_tutorial_holds(make_node: MakeNode, folder: Path) -> None:
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "CGO_ENABLED": "0"}
    ran = 0
    for block in blocks("docs/tutorial.md"):
        if name := block.argument("in the background"):
            node = make_node(name)
            command = words(block.text)
            assert command[:3] == ["polypeer", "--home", name], command
            with node.log.open("ab") as log:
                node.daemon = subprocess.Popen(
                    command,
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            until(f"{name} is ready", node.netcore_ready)
        elif file := block.argument("file"):
            assert (folder / file).exists(), f"line {block.line}: `plugin new` does not make {file}"
            (folder / file).write_text(block.text)
        elif block.note.startswith("prints"):
            command_line, pattern = transcript(block.text)
            deadline = 30 if block.note == "prints in the end" else 0
            until(command_line, partial(prints, command_line, pattern, folder, environment), deadline)
        else:
            assert block.language == "sh", f"line {block.line}"
            run_shell(block.text, folder, environment)
        ran += 1
    assert ran > 10
