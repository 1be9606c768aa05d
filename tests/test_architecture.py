"""The architecture (docs/explanation/architecture.md): imports point one way, and modules stay small."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import dcacodec

ROOT = Path(dcacodec.__file__).parent

RANKS = (
    {"errors", "_version"},
    {"files", "processes"},
    {"format"},
    {"images"},
    {"tiling"},
    {"coding"},
    {"network"},
    {"metrics"},
    {"plotting"},
    {"weights"},
    {"codec"},
    {"api", "ratecontrol", "pillow_plugin", "compressai_model"},
    {""},  # dcacodec/__init__.py
    {"batch", "bench", "training"},
    {"cli"},
    {"__main__"},
)
"""Subpackages and modules, from the lowest up. Each imports from itself and from below; those of one rank do not import
each other, except for the public modules."""

RANK_OF = {name: rank for rank, names in enumerate(RANKS) for name in names}
PUBLIC = {"api", "ratecontrol", "pillow_plugin", "compressai_model"}


def name_of(path: Path) -> str:
    """The name of a module inside the package: "coding.streams", "coding" for its __init__.py, "" for the package's."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports(path: Path) -> Iterator[str]:
    """The modules of the package that a module imports anywhere, for types alone too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, inner = name.partition(".")
            if package == ROOT.name:
                yield inner if inner in MODULES else inner.rpartition(".")[0]


GRAPH = {name: set(imports(path)) - {name} for name, path in MODULES.items()}


def room_of(module: str) -> str:
    return module.partition(".")[0]


def test_every_import_is_of_a_module_that_is_there() -> None:
    assert {module for found in GRAPH.values() for module in found} <= set(MODULES)
    assert sum(map(len, GRAPH.values())) > len(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    here = room_of(module)
    for imported in GRAPH[module]:
        there = room_of(imported)
        allowed = RANK_OF[there] < RANK_OF[here] or there == here or {here, there} <= PUBLIC
        assert allowed, f"{module} imports {imported}"


def test_no_module_imports_itself_by_way_of_others() -> None:
    list(TopologicalSorter(GRAPH).static_order())  # raises CycleError


def test_the_coder_knows_nothing_of_the_container() -> None:
    coding = {imported for module in MODULES if room_of(module) == "coding" for imported in GRAPH[module]}
    assert {module for module in coding if room_of(module) == "format"} <= {"format.varint"}


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_small_and_names_are_their_own(module: str) -> None:
    path = MODULES[module]
    assert len(path.read_text("utf-8").splitlines()) <= 400
    assert path.name == "__init__.py" or not path.with_suffix("").is_dir()
