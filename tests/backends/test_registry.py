from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from hangar.backends import backend_tags, get_backend, registry
from hangar.errors import InvalidInputError
from hangar.testing.backends import BackendContract
from tests.backends import toy


def install(site: Path, tag: str, value: str) -> None:
    """What pip leaves of a package that provides a backend."""
    info = site / "hangar_toy-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hangar-toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[hangar.backends]\n{tag} = {value}\n")


@pytest.fixture
def fresh_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_loaded", {})


@pytest.fixture
def _toy_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_registry: None) -> None:
    install(tmp_path / "site", "toy", "tests.backends.toy:Toy")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


@pytest.mark.usefixtures("_toy_installed")
class TestToy(BackendContract):
    """A backend that an entry point alone makes known holds the contract."""

    tag: ClassVar[str] = "toy"

    def test_it_is_listed(self) -> None:
        assert backend_tags() == ["00", "01", "10", "30", "31", "toy"]


def test_a_backend_is_short() -> None:
    assert len(Path(toy.__file__).read_text().splitlines()) < 60


def test_built_in_ones_are_found_without_entry_points(fresh_registry: None) -> None:
    program = (
        "import sys, hangar.backends as b; [b.get_backend(t) for t in ('10', '30', '31')];"
        "assert 'importlib.metadata' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_same_object_each_time() -> None:
    assert get_backend("10") is get_backend("10")


@pytest.mark.parametrize("tag", ["", "99", "../10", "10 "])
def test_unknown_tags_are_refused(tag: str) -> None:
    with pytest.raises(InvalidInputError, match="there is no backend"):
        get_backend(tag)


@pytest.mark.parametrize(
    "value",
    [
        "no_such_module:Backend",
        "tests.backends.toy:NoSuchClass",
        "tests.backends.toy:zlib",
        "hangar.backends.memmap:Memmap",
    ],
)
def test_broken_packages_are_named(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_registry: None
) -> None:
    install(tmp_path, "zz", value)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InvalidInputError, match="zz"):
        get_backend("zz")
