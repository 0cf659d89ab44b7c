"""What a page of the documentation says, in a form that tests can use: its titled tables, and what its ``>>>`` lines define."""

from __future__ import annotations

import doctest
import io
import re
from contextlib import redirect_stdout
from typing import Any

from tests.docs.blocks import ROOT

Row = dict[str, str]

_TABLE = re.compile(r"^\.\. list-table::.*\n((?:   :.*\n)+)\n((?:(?:   .*)?\n)+)", re.MULTILINE)
_NAME = re.compile(r":name: (\S+)")
_CELL = re.compile(r"^   (\* -|  -) ?(.*)$")


def list_tables(page: str) -> dict[str, list[Row]]:
    """The named list-tables of ``page``: a row is its cells by the heading of their column, without markup of literals."""
    text = (ROOT / page).read_text("utf-8") + "\n"
    tables: dict[str, list[Row]] = {}
    for options, body in _TABLE.findall(text):
        name = _NAME.search(options)
        if name is not None:
            assert name[1] not in tables, f"two tables are named {name[1]}"
            heading, *rows = _rows(body)
            tables[name[1]] = [dict(zip(heading, row, strict=True)) for row in rows]
    return tables


def _rows(body: str) -> list[list[str]]:
    rows: list[list[str]] = []
    for line in body.splitlines():
        cell = _CELL.match(line)
        if cell is None:
            if line.strip():
                rows[-1][-1] += f" {line.strip()}"
        elif cell[1].startswith("*"):
            rows.append([cell[2]])
        else:
            rows[-1].append(cell[2])
    return [[cell.replace("``", "") for cell in row] for row in rows]


def run_examples(page: str) -> tuple[dict[str, Any], int, str]:
    """Run the ``>>>`` lines of ``page``: the names they leave, how many there were, and what went wrong."""
    text = (ROOT / page).read_text("utf-8")
    test = doctest.DocTestParser().get_doctest(text, {}, page, page, 0)
    report = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    with redirect_stdout(report):
        runner.run(test, clear_globs=False)
    return test.globs, len(test.examples), report.getvalue()
