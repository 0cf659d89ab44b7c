"""What `import hangar` gives, and what it costs: the names of the public API, and no module that its user did not ask for."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hangar
from hangar import errors

# What each takes to import is more than all of Hangar. `importlib.metadata` is read when a backend is not built in, the rest by
# the rooms that need it, on first use.
HEAVY = ["torch", "tensorflow", "grpc", "h5py", "sklearn", "PIL", "click", "rich", "pytest", "importlib.metadata"]

# The rooms of data, which a look at branches, history and status does without.
UPPER = {"hangar.checkout", "hangar.columns", "hangar.blobs", "hangar.backends"}

PUBLIC = {
    "hangar": ["Repository", "BranchHead", "make_numpy_dataset", "make_tf_dataset", "__version__"],
    "hangar.bulk_importer": ["FailedItem", "ImportReport", "UDF_Return", "import_items", "run_bulk_import"],
    "hangar.checkout": ["ReaderCheckout", "WriterCheckout"],
    "hangar.columns": [
        "Columns",
        "FlatSampleReader",
        "FlatSampleWriter",
        "FlatSubsampleReader",
        "FlatSubsampleWriter",
        "NestedSampleReader",
        "NestedSampleWriter",
        "is_column",
        "is_writer_column",
    ],
    "hangar.dataset": [
        "Assignment",
        "Leak",
        "LeakReport",
        "Manifest",
        "NumpyDataset",
        "NumpyItems",
        "Split",
        "check_split",
        "delete_split",
        "hash_split",
        "list_splits",
        "load_split",
        "make_numpy_dataset",
        "make_tensorflow_dataset",
        "make_tf_dataset",
    ],
    "hangar.cli": ["main"],
    "hangar.interop": [
        "from_arrow",
        "from_huggingface",
        "from_pandas",
        "from_torch",
        "to_arrow",
        "to_pandas",
        "to_xarray",
    ],
}


def test_all_is_sorted_and_resolves() -> None:
    assert hangar.__all__ == sorted(set(hangar.__all__))
    assert [name for name in hangar.__all__ if not hasattr(hangar, name)] == []


def test_every_error_is_public() -> None:
    classes = {name for name in errors.__all__ if isinstance(getattr(errors, name), type)}
    assert classes <= set(hangar.__all__)


@pytest.mark.parametrize("module", PUBLIC)
def test_names_stand_where_the_documentation_says(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in PUBLIC[module] if name not in found.__all__ or not hasattr(found, name)] == []


def named_attribute(cls: type, name: str) -> bool:
    """Whether a field of a slotted record is in the list of attributes of its class."""
    listed = (cls.__doc__ or "").partition("Attributes\n")[2]
    return (
        inspect.ismemberdescriptor(getattr(cls, name)) and re.search(rf"^ *{name}$", listed, re.MULTILINE) is not None
    )


@pytest.mark.parametrize("module", PUBLIC)
def test_everything_public_says_what_it_is(module: str) -> None:
    """Each public class and each of its public methods and properties has a docstring, its own or that of its contract."""
    found = importlib.import_module(module)
    classes = [thing for name in PUBLIC[module] if isinstance(thing := getattr(found, name), type)]
    silent = [
        f"{cls.__name__}.{name}"
        for cls in classes
        for name in dir(cls)
        if not name.startswith("_") and not inspect.getdoc(getattr(cls, name)) and not named_attribute(cls, name)
    ]
    assert silent == []
    assert [cls.__name__ for cls in classes if not cls.__doc__] == []


def test_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|rc\d+)?", hangar.__version__)
    assert importlib.metadata.version("hangar") == hangar.__version__


def modules_after(statement: str) -> set[str]:
    """The modules that a fresh interpreter has after ``statement`` and had not before."""
    program = (
        "import json, sys; before = set(sys.modules)\n"
        f"{statement}\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_import_is_light() -> None:
    modules = modules_after("import hangar")
    assert "hangar" in modules
    assert [name for name in HEAVY if name in modules] == []


def test_import_brings_names_and_errors_alone() -> None:
    modules = modules_after("import hangar; hangar.CorruptionError; dir(hangar)")
    assert {name for name in modules if name.partition(".")[0] == "hangar"} == {
        "hangar",
        "hangar._version",
        "hangar.errors",
    }
    assert {"numpy", "msgspec", "dataclasses", "typing_extensions"}.isdisjoint(modules)


def test_a_repository_is_made_and_read_without_what_columns_need(tmp_path: Path) -> None:
    made = f"import hangar; repo = hangar.Repository({str(tmp_path)!r}, exists=False); repo.init('a', 'a@example.org', remove_old=True)"
    modules = modules_after(f"{made}; repo.list_branches(); repo.status(); repo.commit_info()")
    assert "hangar.history" in modules
    rooms = {".".join(name.split(".")[:2]) for name in modules if name.startswith("hangar.")}
    assert rooms.isdisjoint(UPPER)
    assert [name for name in ("html", *HEAVY) if name in modules] == []
    assert modules_after(f"{made}; repo.checkout(write=True).close()") >= UPPER


def test_the_light_import_test_can_fail() -> None:
    assert {"importlib.metadata", "click"} <= modules_after("import click, importlib.metadata, hangar")


@pytest.mark.parametrize("room", ["checkout", "columns", "dataset", "diff", "external"])
def test_public_modules_are_there_without_an_import_of_their_own(room: str) -> None:
    assert f"hangar.{room}" in modules_after(f"import hangar; hangar.{room}.__all__")
    assert room in dir(hangar)


def test_names_imported_on_first_use_are_the_real_ones() -> None:
    fresh = (
        "import hangar\n"
        "assert {'Repository', 'BranchHead', '__version__'} <= set(dir(hangar))\n"
        "from hangar.repository import Repository\n"
        "assert hangar.Repository is Repository and vars(hangar)['Repository'] is Repository\n"
        "names = {}\n"
        "exec('from hangar import *', names)\n"
        "assert set(hangar.__all__) <= set(names)\n"
    )
    assert "hangar.history" in modules_after(fresh)
    with pytest.raises(AttributeError, match="has no attribute 'Repositry'"):
        hangar.Repositry  # type: ignore[attr-defined]  # noqa: B018


def test_module_runs_as_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "hangar", "--version"], capture_output=True, text=True, check=True)
    assert hangar.__version__ in done.stdout
    assert done.stderr == ""


def test_the_installed_package_is_whole() -> None:
    """What was installed (in tox: the wheel) holds each file of the source tree, and the licence and typing marker."""
    source = Path(__file__).parent.parent / "src" / "hangar"
    written = {path.relative_to(source) for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    installed = Path(hangar.__file__).parent
    assert {path for path in written if not (installed / path).is_file()} == set()
    assert Path("py.typed") in written
    assert importlib.metadata.metadata("hangar")["License-Expression"] == "Apache-2.0"
