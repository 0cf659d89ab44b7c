"""The shape of the source: short files, short functions, no import cycle, every module opened by what it is for."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src" / "hangar").rglob("*.py"))
LONGEST_FILE = 500
LONGEST_FUNCTION = 80


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_file_and_its_functions_are_short(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") <= LONGEST_FILE
    functions = [
        node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_annotations_are_never_run(path: Path) -> None:
    """`from __future__ import annotations` stands in each module that has code."""
    tree = ast.parse(path.read_text("utf-8"))
    code = [node for node in tree.body if not isinstance(node, (ast.Expr, ast.Assign))]
    futures = [node for node in code if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    assert bool(futures) or not code


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_sizes_are_integers_of_python(path: Path) -> None:
    """A product by numpy wraps around: the size of a hostile shape would pass for a small one. ``math.prod`` does not."""
    attributes = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Attribute)]
    products = [node for node in attributes if node.attr in {"prod", "product", "cumprod", "nanprod"}]
    assert [
        node.lineno for node in products if not (isinstance(node.value, ast.Name) and node.value.id == "math")
    ] == []


# ---------------------------------------------------------------------------------------------------- import cycles


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(text: str, modules: Collection[str]) -> set[str]:
    """The modules that a module imports, anywhere in it: at the top, in functions, and under ``TYPE_CHECKING``."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names
            if not names <= set(modules):
                found.add(str(node.module))
    return found & set(modules)


def cycles(graph: Mapping[str, Collection[str]]) -> set[frozenset[str]]:
    """Groups of modules that import each other, directly or through others (strongly connected components)."""

    def reachable(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += graph[name]
        return seen

    below = {name: reachable(name) for name in graph}
    return {frozenset(other for other in below[name] if name in below[other]) for name in graph if name in below[name]}


def test_no_module_imports_itself_through_others() -> None:
    """Imports for types alone count: modules that name each other can only be understood together."""
    modules = {module_of(path): path for path in [*SOURCES, *(ROOT / "src" / "hangar").rglob("*.pyi")]}
    graph = {name: imports_of(path.read_text("utf-8"), modules) for name, path in modules.items()}
    assert sum(map(len, graph.values())) > 5 * len(graph)
    assert cycles(graph) == set()


def test_cycles_are_found() -> None:
    modules = ["p", "p.a", "p.b", "p.c"]
    texts = {
        "p": "from p.a import x",
        "p.a": "if TYPE_CHECKING:\n    from p.b import Y",
        "p.b": "def f():\n    from p import c",
        "p.c": "import p.a",
    }
    graph = {name: imports_of(text, modules) for name, text in texts.items()}
    assert graph == {"p": {"p.a"}, "p.a": {"p.b"}, "p.b": {"p.c"}, "p.c": {"p.a"}}
    assert cycles(graph) == {frozenset({"p.a", "p.b", "p.c"})}
    assert imports_of("from p import a, x", modules) == {"p", "p.a"}
    assert cycles({"p": {"p.a"}, "p.a": set()}) == set()
