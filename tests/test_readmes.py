"""The READMEs of the SDKs: the first plugin of each runs as it says, and every other block compiles."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import MakeNode
from documents import blocks, run_shell
from harness import BIN, ROOT, until

# What the blocks of each README take for granted.
PYTHON_PRELUDE = """\
import asyncio
import time
from typing import Any

import polypeer

"""
PYTHON_GIVEN = (
    "node: polypeer.Node, peer: str, connected: Any, data: bytes, public_key: bytes, secret_key: Any, sequence: int"
)
GO_PRELUDE = """\
package main

import (
	"context"
	"net/http"
	"time"

	"polypeer"
)

var _ = time.Hour
var _ http.Handler

func main() {}

"""
GO_GIVEN = "ctx context.Context, node *polypeer.Node, peer string, ada polypeer.NodeID, buf []byte"


@pytest.mark.parametrize("sdk", ["python", "go"])
def test_first_plugin_runs_as_the_readme_says(sdk: str, make_node: MakeNode, folder: Path) -> None:
    node = make_node("node").start()
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "POLYPEER_HOME": str(node.home)}
    for block in blocks(f"sdk-{sdk}/README.md"):
        if file := block.argument("file"):
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(block.text.replace("../polypeer/sdk-go", str(ROOT / "sdk-go")))
        elif block.language == "sh" and not block.note.startswith("not run"):
            printed = run_shell(block.text, folder, environment)
            if "pipe" in block.text:
                assert printed == "hello\n"
    until("it is ready", lambda: node.plugin("my-echo")["state"] == "ready")


def test_plugin_of_the_main_readme_runs(make_node: MakeNode, folder: Path) -> None:
    node = make_node("node").start()
    (folder / "echo").mkdir()
    for block in blocks("README.md"):
        if file := block.argument("file"):
            (folder / file).write_text(block.text)
    node.install(folder / "echo")
    assert node.plugin("echo")["grants"]["serve"] == ["echo/1"]


def test_other_blocks_in_python_are_what_the_sdk_takes(folder: Path) -> None:
    code = PYTHON_PRELUDE
    for number, block in enumerate(blocks("sdk-python/README.md")):
        if block.language == "python" and not block.note:
            code += f"# line {block.line}\nasync def block_{number}({PYTHON_GIVEN}) -> None:\n"
            code += textwrap.indent(block.text, "    ") + "\n\n"
    (folder / "readme.py").write_text(code)
    check = [sys.executable, "-m", "mypy", "--check-untyped-defs", f"--cache-dir={folder / 'cache'}", "readme.py"]
    environment = {**os.environ, "MYPYPATH": str(ROOT / "sdk-python")}
    done = subprocess.run(check, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{code}"


def test_other_blocks_in_go_compile(folder: Path) -> None:
    code = GO_PRELUDE
    for number, block in enumerate(blocks("sdk-go/README.md")):
        if block.language == "go" and not block.note:
            names = {name for line in re.findall(r"^(.+?) :=", block.text, re.M) for name in line.split(", ")} - {"_"}
            used = "".join(f"\t_ = {name}\n" for name in sorted(names))
            code += f"// line {block.line}\nfunc block{number}({GO_GIVEN}) {{\n{{\n{block.text}{used}}}\n}}\n\n"
    (folder / "main.go").write_text(code)
    module = f"module readme\n\ngo 1.22\n\nrequire polypeer v0.0.0\n\nreplace polypeer => {ROOT / 'sdk-go'}\n"
    (folder / "go.mod").write_text(module)
    done = subprocess.run(["go", "vet", "."], cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{done.stderr}\n{code}"
