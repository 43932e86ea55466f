"""The modules of each crate form no ring, each crate's own documentation names all its folders, and commands in hints
are written so that they keep `--home`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import ROOT

CRATES = sorted(path.parent for path in ROOT.glob("**/src/lib.rs") if "target" not in path.parts)
# What is compiled for tests only may look at everything.
TEST_ONLY = {"tests", "testing", "examples"}

Module = tuple[str, ...]
Graph = dict[str, set[str]]


def code_of(file: Path) -> str:
    """The text of a file without its comments, strings, tests, and imports that only documentation uses."""
    text = re.sub(r'"(?:\\.|[^"\\])*"|//[^\n]*', "", file.read_text(), flags=re.S)
    text = re.sub(r"#\[cfg\((test|doc)\)\]\s*use [^;]+;", "", text)
    # rustfmt ends a module where a line is a brace alone.
    return re.sub(r"#\[cfg\(test\)\]\s*(pub )?mod \w+ \{\n.*?\n\}", "", text, flags=re.S)


def module_of(file: Path, source: Path) -> Module:
    """The path of the module that a file holds; the crate's root is empty."""
    parts = file.relative_to(source).with_suffix("").parts
    return parts[:-1] if parts[-1] in ("mod", "lib") else parts


def leaves(tree: str) -> Iterator[str]:
    """The paths in a `use` tree: `a::{b, c::{d, e}}` holds a::b, a::c::d and a::c::e."""
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    if not brace:
        yield re.split(r"\s+as\s+", tree)[0]
        return
    depth, start, inner = 0, 0, rest.rpartition("}")[0]
    for at, char in enumerate(inner + ","):
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            yield from (head + leaf for leaf in leaves(inner[start:at]) if leaf)
            start = at + 1


def references(code: str, here: Module) -> Iterator[Module]:
    """Absolute paths, inside the crate, of what the code of the module `here` names."""
    paths = [leaf for tree in re.findall(r"\buse\s+([^;]+);", code) for leaf in leaves(tree)]
    paths += re.findall(r"\b(?:crate|self|super)(?:::\w+)+", code)
    for path in paths:
        parts = [part for part in path.replace(" ", "").replace("\n", "").split("::") if part]
        if not parts or parts[0] not in ("crate", "self", "super"):
            continue
        base = () if parts[0] == "crate" else here
        while parts and parts[0] in ("crate", "self", "super"):
            base = base[:-1] if parts.pop(0) == "super" else base
        yield base + tuple(parts)


def modules(source: Path) -> dict[Module, list[Module]]:
    """Each module of a crate that is no test, with the paths that it names."""
    found: dict[Module, list[Module]] = {}
    for file in sorted(source.rglob("*.rs")):
        here = module_of(file, source)
        if not TEST_ONLY & set(here) and here != ("main",):
            found[here] = list(references(code_of(file), here))
    return found


def siblings(found: dict[Module, list[Module]], parent: Module) -> Graph:
    """Who imports whom among the modules directly in `parent`, each with all that lies below it."""
    depth = len(parent)
    names = {here[depth] for here in found if len(here) > depth and here[:depth] == parent}
    graph: Graph = {name: set() for name in names}
    for here, paths in found.items():
        if len(here) > depth and here[:depth] == parent:
            targets = {path[depth] for path in paths if len(path) > depth and path[:depth] == parent}
            graph[here[depth]] |= (targets & names) - {here[depth]}
    return graph


def rings(graph: Graph) -> list[list[str]]:
    """Groups of modules that reach each other."""

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        todo = [start]
        while todo:
            new = graph[todo.pop()] - seen
            seen |= new
            todo += new
        return seen

    reached = {name: reach(name) for name in graph}
    groups = {
        frozenset(other for other in graph if name in reached[other] and other in reached[name]) for name in graph
    }
    return sorted(sorted(group) for group in groups if group)


def documentation(source: Path, module: Module) -> str:
    """The documentation of a module of a crate: the `//!` lines of its file."""
    places = [source.joinpath(*module, name) for name in ("lib.rs", "mod.rs")]
    if module:
        places.append(source.joinpath(*module).with_suffix(".rs"))
    text = next(place for place in places if place.exists()).read_text()
    return "\n".join(line for line in text.splitlines() if line.startswith("//!"))


@pytest.mark.parametrize("source", CRATES, ids=lambda source: str(source.parent.relative_to(ROOT)))
def test_modules_form_no_ring(source: Path) -> None:
    """Looks at the modules of each folder by themselves: with a ring, none of them can be read or tested alone."""
    found = modules(source)
    assert found
    parents = {here[:depth] for here in found for depth in range(len(here))}
    groups = {"::".join(("crate", *parent)): rings(siblings(found, parent)) for parent in sorted(parents)}
    assert {name: group for name, group in groups.items() if group} == {}


@pytest.mark.parametrize("source", CRATES, ids=lambda source: str(source.parent.relative_to(ROOT)))
def test_every_folder_is_named_in_the_documentation_of_the_module_it_lies_in(source: Path) -> None:
    """Folders at the top are named in the crate's documentation."""
    folders = {file.parent.relative_to(source).parts for file in source.rglob("*.rs")} - {()}
    shown = {here for here in folders if not TEST_ONLY & set(here)}
    missing = [here for here in sorted(shown) if not re.search(rf"\b{here[-1]}\b", documentation(source, here[:-1]))]
    assert ["/".join(here) for here in missing] == []


def test_modules_of_the_supervisor_are_listed_above_those_they_depend_on() -> None:
    """As its documentation says: a module uses those of its own line and below it."""
    source = ROOT / "supervisor" / "src"
    lines = [re.findall(r"(?:- |; )\[?`(\w+)`\]?:", line) for line in documentation(source, ()).splitlines()]
    place = {name: number for number, names in enumerate(lines) for name in names}
    graph = siblings(modules(source), ())
    assert set(place) == set(graph)
    upwards = [(name, used) for name, all_used in graph.items() for used in all_used if place[used] < place[name]]
    assert sorted(upwards) == []


def test_rings_are_found_through_every_form_of_a_path(tmp_path: Path) -> None:
    """Three modules that import each other by a tree, by `super` and by a path in the code; a fourth is in no ring."""
    (tmp_path / "lib.rs").write_text("mod one;\nmod two;\nmod three;\nmod four;\n")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "mod.rs").write_text("mod inner;\nuse crate::four::Four;\n")
    (tmp_path / "one" / "inner.rs").write_text(
        "use super::super::{\n    four::{Four, Five as Six},\n    two::Two,\n};\n"
    )
    (tmp_path / "two.rs").write_text("fn two() { crate::three::three() }\n")
    (tmp_path / "three.rs").write_text("// use crate::four::Four;\nuse crate::one;\n")
    (tmp_path / "four.rs").write_text(
        '#[cfg(test)]\nmod tests {\n    use crate::one;\n}\nconst TEXT: &str = "crate::one";\n'
    )
    assert rings(siblings(modules(tmp_path), ())) == [["one", "three", "two"]]


def test_commands_in_messages_are_quoted_and_so_keep_the_home() -> None:
    """`Printer::hint` finds a command of this node by the backquote before it."""
    help_texts = ROOT / "supervisor/src/cli/help.rs"
    others = re.compile(r"its operator|ask the other operator|usage: polypeer|dropped: nobody read")
    faults = []
    for folder in ("supervisor/src", "netcore/src", "netcore/engine/src"):
        for file in sorted((ROOT / folder).rglob("*.rs")):
            text = file.read_text().partition("#[cfg(test)]\nmod tests {")[0]
            for number, line in enumerate(text.splitlines(), 1):
                named = re.search(r"(?<!`)\bpolypeer (peers|plugin|status|logs|run|send|doctor|shutdown)\b", line)
                is_message = not line.lstrip().startswith(("//", "#")) and file != help_texts and file.stem != "tests"
                if named and is_message and not others.search(line):
                    faults.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()}")
    assert faults == []
