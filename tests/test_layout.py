"""The shape of the source: short files, short functions, every module opened by what it is for."""

from __future__ import annotations

import ast
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
