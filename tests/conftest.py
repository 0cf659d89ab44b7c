"""What every test stands on: the Hypothesis profiles, and a home directory that is nobody's own.

The profile is chosen by the environment variable ``HYPOTHESIS_PROFILE``. ``quick`` (the default) tries the same examples in
each run, so that a red build is red for a reason in the change; ``nightly`` tries many more, and new ones each time.
"""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from hangar import Repository

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hangar.checkout import WriterCheckout

# Where torch is not installed its tests are not collected; tests/columns/test_interop.py says where it must be.
collect_ignore = [] if find_spec("torch") else ["columns/test_torch.py", "dataset/torch"]

settings.register_profile("quick", max_examples=60, stateful_step_count=25, derandomize=True, deadline=None)
settings.register_profile(
    "nightly",
    max_examples=2_000,
    stateful_step_count=60,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(scope="session", autouse=True)
def _no_ones_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither the tests nor the processes they start see, or write, the configuration of whoever runs them."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.delenv("XDG_CONFIG_HOME", raising=False)
        yield


@pytest.fixture
def default_interrupts() -> Iterator[None]:
    """Ctrl-C interrupts this process and those it starts, also where the tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Repository]:
    """An empty repository of Ada's."""
    repository = Repository(tmp_path, exists=False)
    repository.init("Ada", "ada@example.org")
    yield repository
    repository.close()


@pytest.fixture
def writer(repo: Repository) -> WriterCheckout:
    """The writer of ``repo``, on ``master``."""
    return repo.checkout(write=True)
