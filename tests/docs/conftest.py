"""What the tests of the pages share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.commands import commands_on_path


@pytest.fixture(scope="session", params=["forked", pytest.param("installed", marks=pytest.mark.nightly)])
def path_with_hangar(request: pytest.FixtureRequest) -> Iterator[str]:
    """A value for ``PATH`` that has the program ``hangar``: in the quick suite one that starts quickly, and every night the installed one."""
    if request.param == "installed":
        yield os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return
    with commands_on_path() as path:
        yield path
