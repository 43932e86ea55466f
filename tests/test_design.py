"""docs/design.md, section 8, names the commands that there are, and no others."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from harness import POLYPEER, ROOT

WORD = re.compile(r"[a-z][a-z-]*")


def commands(folder: Path) -> set[tuple[str, ...]]:
    """Paths of all commands, from the names of their manual pages."""
    subprocess.run([str(POLYPEER), "--home", str(folder), "--quiet", "man", str(folder)], check=True)
    pages = {page.stem for page in folder.glob("polypeer-*.1")}
    top = {name for name in pages if not any(name.startswith(f"{other}-") for other in pages)}
    paths: set[tuple[str, ...]] = set()
    for name in pages:
        group = next((other for other in top if name.startswith(f"{other}-")), None)
        whole = name.removeprefix("polypeer-")
        paths.add((whole,) if group is None else (group.removeprefix("polypeer-"), name.removeprefix(f"{group}-")))
    return paths


def named(text: str) -> set[tuple[str, ...]]:
    """Paths of the commands in the block: `polypeer a b | c` is (a, b) and (a, c) if a has commands below it."""
    found: set[tuple[str, ...]] = set()
    for cell in re.split(r"\n|\s{3,}", text):
        if not cell.startswith("polypeer "):
            continue
        for segment in cell.removeprefix("polypeer ").split(" | "):
            words = segment.replace("[", "").replace("]", "").split()
            found.update((name,) for name in words[0].split("|"))
            if len(words) > 1 and all(map(WORD.fullmatch, words[1].split("|"))):
                found.update((words[0], name) for name in words[1].split("|"))
    return found


def test_commands_of_the_design_are_those_of_the_program(folder: Path) -> None:
    section = (ROOT / "docs" / "design.md").read_text().split("\n## 8. ")[1]
    block = section.split("```")[1]
    known = commands(folder)
    words = {word for path in known for word in path}
    missing = sorted(" ".join(path) for path in known if not re.search(rf"\b{re.escape(path[-1])}\b", block))
    assert missing == [], "the design does not name these commands"
    promised = {word for path in named(block) for word in path} - words
    assert promised == set(), "the design names commands that there are not"
