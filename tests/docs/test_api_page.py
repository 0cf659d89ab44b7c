"""Every object that a page takes its documentation from exists. The build of the pages says it too, but later."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
NAMED = sorted(
    {
        match[1]
        for page in DOCS.rglob("*.rst")
        for match in re.finditer(
            r"^\.\. auto(?:class|function|module|exception|data):: (\S+)", page.read_text("utf-8"), re.MULTILINE
        )
    }
)


@pytest.mark.parametrize("name", NAMED)
def test_object_of_a_page_exists(name: str) -> None:
    try:
        found = pkgutil.resolve_name(name if name.startswith("hangar") else f"hangar.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("hangar"):
            raise
        pytest.skip(f"{error.name} is not installed")
    assert found.__doc__
