"""The format specification as tests see it: its titled tables, and the names that its examples define."""

from __future__ import annotations

from tests.compat.pages import list_tables, run_examples

PAGE = "docs/format.rst"
TABLES_OF_PAGE = list_tables(PAGE)
PAGE_NAMES, EXAMPLES, REPORT = run_examples(PAGE)


def column(table: str, heading: str) -> list[str]:
    """The cells below ``heading`` of the table that is named ``spec-TABLE``."""
    return [row[heading] for row in TABLES_OF_PAGE[f"spec-{table}"]]
