"""Every test that the page on reliability names exists, in the file that it names."""

from __future__ import annotations

import ast
import re

import pytest

from tests.compat.pages import list_tables
from tests.docs.blocks import ROOT

ROWS = list_tables("docs/reliability.rst")["reliability"]


@pytest.mark.parametrize("row", ROWS, ids=[f"row {row['row']}" for row in ROWS])
def test_named_tests_exist(row: dict[str, str]) -> None:
    named = row["tests, below tests/"].split()
    assert named
    for name in named:
        path, _, test = name.partition("::")
        tree = ast.parse((ROOT / "tests" / path).read_text("utf-8"))
        assert test in {getattr(step, "name", None) for step in tree.body}, name


def test_rows_are_in_order_and_each_once() -> None:
    numbers = [int(row["row"]) for row in ROWS]
    assert numbers == sorted(set(numbers))


def test_the_scripts_it_names_are_there() -> None:
    text = (ROOT / "docs" / "reliability.rst").read_text("utf-8")
    modules = re.findall(r"python -m (\S+)", text)
    assert len(modules) >= 3
    assert all((ROOT / f"{module.replace('.', '/')}.py").exists() for module in modules)
