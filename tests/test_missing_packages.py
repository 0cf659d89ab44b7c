"""One column whose package is not installed does not take the repository with it.

Packages are missing for real: the work is done in a process that cannot import them, or after the only provider of a backend is gone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from hangar import MissingPackageError, Repository, UnsupportedVersionError
from hangar.backends import registry
from tests.backends.toy import Toy
from tests.cli.shell import Shell
from tests.compat.rewriting import encode, rewriting


def fill(path: Path, *, staged: bool = True, **feature: Any) -> Repository:
    """A repository with a column ``odd`` that something will be missing for, and one that nothing is missing for."""
    path.mkdir()
    repo = Repository(path, exists=False)
    repo.init("Ada", "ada@example.org")
    writer = repo.checkout(write=True)
    options = {"backend": feature.pop("backend", None), "backend_options": feature.pop("backend_options", None)}
    odd: Any = writer.add_ndarray_column(
        "odd", feature.pop("shape", (3, 40)), feature.pop("dtype"), **feature, **options
    )
    plain = writer.add_ndarray_column("plain", (4,), np.int32)
    one = np.arange(int(np.prod(odd.shape))).reshape(odd.shape).astype(odd.dtype)
    if odd.contains_subsamples:
        odd.update({sample: {0: one, "x": one} for sample in ("a", 5)})
    else:
        odd.update({"a": one, 5: one + one})
    plain["k"] = np.arange(4, dtype=np.int32)
    writer.commit("with all packages")
    if staged:
        odd.attributes["unit"] = "mm"
    writer.close()
    return repo


def without(package: str, program: str, path: Path) -> Any:
    """What a program prints as JSON in a process that cannot import a package."""
    prelude = f"""
import json, sys, warnings
sys.modules[{package!r}] = None
import numpy as np
from hangar import Repository
from hangar.errors import *
repo = Repository({str(path)!r})
def refused(call):
    try:
        call()
    except MissingPackageError as error:
        assert isinstance(error, ImportError)
        return str(error)
    raise AssertionError("it was not refused")
"""
    done = subprocess.run([sys.executable, "-c", prelude + program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def command_without(package: str, path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    program = (
        f"import sys; sys.modules[{package!r}] = None; from hangar.cli import main; main({['-C', str(path), *words]!r})"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


EVERYTHING = """
facts = {}
reader = repo.checkout()
odd, plain = reader["odd"], reader["plain"]
facts["needs"] = [odd.needs, plain.needs]
facts["listed"] = [reader.keys(), len(odd), list(odd), "a" in odd, "zz" in odd, odd.column_layout, odd.column_type, list(odd.shape)]
facts["texts"] = [repr(odd), str(odd), odd._repr_html_(), str(reader), str(reader.columns), reader._repr_html_()]
facts["plain"] = plain["k"].tolist()
key = ("a", 0) if odd.contains_subsamples else "a"
facts["reads"] = [refused(call) for call in (
    lambda: odd[key], lambda: odd.read([key]), lambda: odd.read([key, key]), lambda: odd[[key]], lambda: odd.get(key),
    lambda: [dict(v) if odd.contains_subsamples else v for v in odd.values()],
    lambda: [dict(v.items()) if odd.contains_subsamples else v for _, v in odd.items()], lambda: odd.read_slice(key, 0))]
reader.close()
status = repo.status()
facts["status"] = {one.name: [one.state, one.needs] for one in status.columns}
found = repo.fsck(data=True)
facts["fsck"] = [found.sound, list(found.unchecked), repo.fsck().sound]
facts["info"] = [[one.name, one.samples, one.dtype, one.needs] for one in repo.commit_info().columns]
writer = repo.checkout(write=True)
w = writer["odd"]
facts["texts"].append(repr(w))
one = np.zeros((3, 40), np.float32)
facts["writes"] = [refused(call) for call in CALLS]
writer["plain"]["l"] = np.ones(4, np.int32)
w.attributes["more"] = 1
del w["a"]
writer.rename_column("odd", "strange")
first = writer.commit("carried along")
writer["plain"]["m"] = np.ones(4, np.int32)
second = writer.commit("again")
facts["fsck after"] = repo.fsck(data=True).sound
facts["kept"] = [writer["strange"].column, list(writer["strange"]), dict(writer["strange"].attributes)]
writer.columns.delete("strange")
writer.commit("removed")
writer.restore("strange", commit=second)
third = writer.commit("back")
writer.close()
repo.create_branch("other", first)
facts["log"] = len(repo.log(return_contents=True)["order"])
facts["diff"] = [[one.name, one.state] for one in repo.status().columns]
print(json.dumps(facts))
"""
FLAT_CALLS = "(lambda: w.__setitem__('z', one), lambda: w.write(['z'], [one]), lambda: w.update({'z': one}), lambda: w.append(one))"
NESTED_CALLS = (
    "(lambda: w.__setitem__('z', {0: one}), lambda: w.write([('z', 0)], [one]), lambda: w['a'].update({9: one}))"
)
BFLOAT16 = "bfloat16 needs the package ml_dtypes: run `pip install ml_dtypes`"


@pytest.mark.parametrize(
    "feature",
    [
        {"dtype": ml_dtypes.bfloat16},
        {"dtype": ml_dtypes.bfloat16, "shape": ()},  # its values lie in the tree
        {"dtype": ml_dtypes.bfloat16, "variable_shape": True, "contains_subsamples": True},
        {"dtype": ml_dtypes.bfloat16, "backend": "00", "contains_subsamples": True},
    ],
    ids=["raw", "inline", "nested variable", "nested hdf5"],
)
def test_a_dtype_whose_package_is_missing(feature: dict[str, Any], tmp_path: Path) -> None:
    repo = fill(tmp_path / "r", **feature)
    nested = "contains_subsamples" in feature
    shape = list(feature.get("shape", (3, 40)))
    before = {key: repo.checkout()["odd"][key] for key in ("a", 5)} if not nested else {}
    repo.close()
    calls = NESTED_CALLS if nested else FLAT_CALLS
    facts = without("ml_dtypes", EVERYTHING.replace("CALLS", calls), tmp_path / "r")
    assert facts["needs"] == [BFLOAT16, ""]
    layout = "nested" if nested else "flat"
    assert facts["listed"] == [["odd", "plain"], 2, [5, "a"], True, False, layout, "ndarray", shape]
    assert all("bfloat16" in text for text in facts["texts"])
    assert all(BFLOAT16.replace("'", "&#x27;") in text for text in facts["texts"])
    assert facts["plain"] == [0, 1, 2, 3]
    assert set(facts["reads"]) == set(facts["writes"]) == {BFLOAT16}
    assert facts["status"] == {"odd": ["changed", BFLOAT16], "plain": ["unchanged", ""]}
    assert facts["fsck"] == [True, [f"values of column 'odd': {BFLOAT16}"], True]
    assert facts["fsck after"] is True
    assert [one[0::2] for one in facts["info"]] == [["odd", "bfloat16"], ["plain", "int32"]]
    assert facts["kept"] == ["strange", [5], {"more": 1, "unit": "mm"}]
    assert facts["log"] == 5
    # With the package everything is as it was.
    assert repo.verify_repo_integrity()
    reader = repo.checkout()
    assert reader["strange"].needs == ""
    assert list(reader["strange"]) == [5]
    for key, value in list(before.items())[1:]:
        assert reader["strange"][key].tobytes() == value.tobytes()
    assert reader["plain"].read(["k", "l", "m"]).shape == (3, 4)


def test_the_command_line_without_it(tmp_path: Path) -> None:
    fill(tmp_path / "r", dtype=ml_dtypes.bfloat16).close()
    path = tmp_path / "r"
    for words in (("ls",), ("column", "list"), ("summary",), ("status",), ("fsck", "--data")):
        done = command_without("ml_dtypes", path, *words)
        assert (done.returncode, done.stderr) == (0, ""), words
        assert BFLOAT16 in done.stdout, words
        assert "plain" in done.stdout or words[0] in ("status", "fsck"), words
    listed = json.loads(command_without("ml_dtypes", path, "ls", "--json").stdout)["columns"]
    assert [(one["name"], one["dtype"], one.get("needs")) for one in listed] == [
        ("odd", "bfloat16", BFLOAT16),
        ("plain", "int32", None),
    ]
    assert json.loads(command_without("ml_dtypes", path, "fsck", "--json").stdout)["unchecked"]
    assert json.loads(command_without("ml_dtypes", path, "status", "--json").stdout)["needs"] == {"odd": BFLOAT16}
    assert command_without("ml_dtypes", path, "ls", "odd").stdout.split() == ["5", "a"]
    assert command_without("ml_dtypes", path, "export", "plain", "-o", str(tmp_path / "out")).returncode == 0
    assert (tmp_path / "out" / "k.npy").is_file()
    done = command_without("ml_dtypes", path, "export", "odd", "-o", str(tmp_path / "odd"))
    assert done.returncode == 1
    assert BFLOAT16 in done.stderr
    assert "Traceback" not in done.stderr
    assert command_without("ml_dtypes", path, "column", "create", "c", "bfloat16", "3").returncode == 2
    assert command_without("ml_dtypes", path, "column", "rename", "odd", "even").returncode == 0
    assert command_without("ml_dtypes", path, "commit", "-m", "renamed").returncode == 0
    assert command_without("ml_dtypes", path, "column", "remove", "even").returncode == 0


def test_the_log_with_changes_goes_past_it(tmp_path: Path) -> None:
    """``log -p`` shows small values, and no value of a column that cannot be read."""
    fill(tmp_path / "r", dtype=ml_dtypes.bfloat16, shape=(3,)).close()
    done = command_without("ml_dtypes", tmp_path / "r", "log", "-p")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-4:] == ["+ odd/5", "+ odd/a", "+ plain/k  [0, 1, 2, 3]", ""]


def test_a_codec_whose_package_is_missing(tmp_path: Path) -> None:
    repo = fill(tmp_path / "r", dtype=np.float32, backend="00", backend_options={"complib": "blosc:lz4"})
    value = repo.checkout()["odd"]["a"]
    repo.close()
    facts = without("numcodecs", EVERYTHING.replace("CALLS", FLAT_CALLS), tmp_path / "r")
    assert facts["needs"] == ["backend '00' needs the package numcodecs: run `pip install numcodecs`", ""]
    assert all("numcodecs" in text for text in [*facts["texts"], *facts["reads"], *facts["writes"]])
    assert facts["status"]["odd"][1] == facts["needs"][0]
    assert facts["fsck"][0] is facts["fsck"][2] is facts["fsck after"] is True
    assert all("numcodecs" in one for one in facts["fsck"][1])
    assert facts["fsck"][1]
    assert facts["kept"][1] == [5]
    assert repo.verify_repo_integrity()
    assert np.array_equal(repo.checkout()["strange"][5], value + value)


@pytest.fixture
def toys(tmp_path: Path) -> Iterator[Path]:
    """A repository with data in a backend that is gone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_loaded", {**registry._loaded, "toy": Toy()})
        fill(tmp_path / "r", dtype=np.float32, backend="toy").close()
    with pytest.MonkeyPatch.context() as patch:
        # Other tests of this process may have left it installed.
        patch.setattr(registry, "_loaded", {tag: known for tag, known in registry._loaded.items() if tag != "toy"})
        yield tmp_path / "r"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_loaded", {**registry._loaded, "toy": Toy()})
        assert Repository(tmp_path / "r").verify_repo_integrity()


def test_a_backend_that_nothing_installed_provides(toys: Path) -> None:
    repo, shell = Repository(toys), Shell(toys)
    gone = "backend 'toy' is not installed: install the package that provides it"
    reader = repo.checkout()
    assert (reader["odd"].needs, reader["plain"].needs) == (gone, "")
    assert gone in str(reader)
    assert list(reader["odd"]) == [5, "a"]
    for read in (
        lambda: reader["odd"]["a"],
        lambda: reader["odd"].read(["a", 5]),
        lambda: list(reader["odd"].values()),
    ):
        with pytest.raises(MissingPackageError, match="stored data needs backend 'toy'"):
            read()
    assert reader["plain"]["k"].tolist() == [0, 1, 2, 3]
    reader.close()
    report = repo.fsck(data=True)
    assert report.sound
    assert any("data of backend 'toy'" in one for one in report.unchecked)
    assert gone in shell.ok("ls")
    assert gone in shell.ok("status")
    assert "not checked" in shell.ok("fsck")
    writer = repo.checkout(write=True)
    value = np.ones((3, 40), np.float32)
    with pytest.raises((MissingPackageError, ValueError), match="toy"):
        writer["odd"]["z"] = value
    writer["plain"]["l"] = np.ones(4, np.int32)
    writer.rename_column("odd", "strange")
    writer.commit("goes on")
    # New data may go elsewhere; what is stored already, and cannot be looked at, is stored anew there.
    writer["strange"].change_backend("10")
    stored = np.arange(120).reshape(3, 40).astype(np.float32)
    # No data is lost, so there is no RepairedWarning: pytest makes warnings errors.
    writer["strange"]["again"] = stored
    assert np.array_equal(writer["strange"]["again"], stored)
    writer.commit("stored anew")
    writer.close()
    assert repo.fsck(data=True).sound
    repo.close()


@pytest.mark.parametrize(
    "record",
    [[0, 9, 0, True, [], False, False], [0, 1, 99, False, [3, 40], False, False], [0, 1, 99, False, [], False, True], [1, "?"]],
    ids=["kind", "dtype", "inline dtype", "version"],
)  # fmt: skip
def test_a_column_that_only_a_newer_hangar_knows(record: list[Any], tmp_path: Path) -> None:
    fill(tmp_path / "r", staged=False, dtype=np.float32).close()
    with rewriting(tmp_path / "r") as rows:
        rows.replace_column("odd", schema=rows.store("schema", encode(record)))
    repo = Repository(tmp_path / "r")
    reader = repo.checkout()
    assert reader.keys() == ["odd", "plain"]
    assert "newer" in reader["odd"].needs
    assert "newer" in repr(reader["odd"])
    assert len(reader["odd"]) == 2
    assert reader["plain"]["k"].tolist() == [0, 1, 2, 3]
    odd = reader["odd"]
    for read in (lambda: odd["a"], lambda: odd.read(["a"]), lambda: list(odd.values()), lambda: odd.dtype):
        with pytest.raises(UnsupportedVersionError, match="newer"):
            read()
    assert "newer" in Shell(tmp_path / "r").ok("ls")
    assert "plain/k" in Shell(tmp_path / "r").ok("log", "-p")
    report = repo.fsck(data=True)
    assert report.sound, report.problems
    assert "newer" in report.unchecked[0]
    writer = repo.checkout(write=True)
    writer["plain"]["l"] = np.ones(4, np.int32)
    writer.rename_column("odd", "strange")
    writer.commit("carried along")
    with pytest.raises(UnsupportedVersionError, match="newer"):
        writer["strange"]["z"] = np.ones(1)
    writer.columns.delete("strange")
    writer.commit("removed")
    assert repo.fsck(data=True).sound
    repo.close()


def test_diffs_go_past_it(tmp_path: Path) -> None:
    """``diff`` lists what changed in such a column, says once what is missing, and compares the others."""
    fill(tmp_path / "r", dtype=ml_dtypes.bfloat16, shape=(30,)).close()
    with Repository(tmp_path / "r") as repo:
        writer = repo.checkout(write=True)
        writer["odd"][5] = np.zeros(30, ml_dtypes.bfloat16)
        writer["plain"]["k"] = writer["plain"]["k"] + 1
        writer.close()
    done = command_without("ml_dtypes", tmp_path / "r", "diff")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("changed: odd  1 changed")
    assert "ml_dtypes" in lines[1]
    assert lines[-4:-1] == ["~ odd/5", "", "changed: plain  1 changed"]
    done = command_without("ml_dtypes", tmp_path / "r", "diff", "--html", "page.html")
    assert done.returncode == 0
    assert "ml_dtypes" in (tmp_path / "r" / "page.html").read_text("utf-8")
