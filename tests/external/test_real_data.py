"""Real data all the way: photographs, digits and volumes come from files, are committed, half rewritten, committed, moved between backends.

After every step each commit is read back and compared with the files that went in, and everything on disk is checked. The photographs are cut out
of those that scikit-learn brings; what is expected comes from the files themselves, read by pillow and numpy, not by what is tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from hangar import Repository
from hangar.external.exporter import FolderExport
from hangar.external.importer import ImportReport, import_files
from hangar.external.loading import plan_import
from hangar.external.naming import find_files
from hangar.external.safe_io import OutputDirectory

BACKENDS = ("01", "00", "10")
"""Where everything goes in turn; it begins in the last."""
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Counts:
    photographs: int
    digits: int
    volumes: int
    shape: tuple[int, int, int]


QUICK = Counts(80, 200, 6, (8, 32, 32))
FULL = Counts(2_000, 1_797, 64, (64, 256, 256))


def photograph(scenes: list[Array], i: int) -> Array:
    """A cut of 224 x 224 pixels, turned over and about: another for each ``i``."""
    rng = np.random.default_rng(i)
    scene = scenes[i % len(scenes)]
    top, left = (int(rng.integers(0, extent - 224)) for extent in scene.shape[:2])
    cut = scene[top : top + 224, left : left + 224]
    turned: Array = cut[:: 1 - 2 * (i >> 1 & 1), :: 1 - 2 * (i >> 2 & 1)]
    return np.ascontiguousarray(turned)


def volume(shape: tuple[int, int, int], i: int) -> Array:
    """Something smooth with noise on it, as a scanner gives."""
    rng = np.random.default_rng(i)
    z, y, x = (np.linspace(-1, 1, extent, dtype="float32") for extent in shape)
    body = np.exp(-(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2) * (2 + i % 5))
    noise = rng.standard_normal(shape, dtype="float32")
    made: Array = body * 1000 + np.round(noise * 8)
    return made.astype("float32")


def save_photograph(path: Path, pixels: Array, i: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if i % 10 == 3:
        Image.fromarray(pixels).save(path.with_suffix(".jpg"), quality=92)
    else:
        Image.fromarray(pixels).save(path.with_suffix(".png"), compress_level=1)


def make_files(folder: Path, counts: Counts, *, half: bool) -> None:
    """The files of the first commit; or of the second: every other one, with another content."""
    scenes = [np.asarray(image) for image in load_sample_images().images]
    flat, labels = load_digits(return_X_y=True)
    step, other = (2, 100_000) if half else (1, 0)
    for i in range(0, counts.photographs, step):
        save_photograph(folder / "photographs" / f"{i % 7}" / f"{i:05}", photograph(scenes, i + other), i)
    for i in range(0, counts.digits, step):
        digit = flat[i].reshape(8, 8).astype("uint8")
        path = folder / "digits" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(16 - digit if half else digit).save(path)
        (folder / "labels").mkdir(exist_ok=True)
        (folder / "labels" / f"{i}.txt").write_text(f"{(labels[i] + half) % 10}")
    (folder / "volumes").mkdir()
    for i in range(0, counts.volumes, step):
        np.save(folder / "volumes" / f"{i:03}.npy", volume(counts.shape, i + other))


def read_file(path: Path) -> Any:
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".txt":
        return path.read_text()
    with Image.open(path) as image:
        return np.asarray(image)


Wanted = dict[str, dict[int | str, Path]]
"""For each column the file that each sample came from."""


def wanted(*folders: Path) -> Wanted:
    """What the columns hold after the files of these folders went in, one after the other."""
    columns: Wanted = {}
    for folder in folders:
        for path in folder.rglob("*.*"):
            name, _, inner = path.relative_to(folder).with_suffix("").as_posix().partition("/")
            key = int(inner) if name in ("digits", "labels") else inner
            columns.setdefault(name, {})[key] = path
    return columns


def import_all(writer: Any, folder: Path, *, overwrite: bool) -> dict[str, ImportReport]:
    reports = {}
    for name in writer:
        jobs, skipped = plan_import(find_files(folder / name), writer[name].column_type)
        assert not skipped
        integers = name in ("digits", "labels")
        reports[name] = import_files(
            writer[name], jobs, overwrite=overwrite, integers=integers, batch_context=lambda: writer, progress=False
        )
    return reports


def check(repo: Repository, commits: dict[str, Wanted]) -> None:
    """Everything in every commit equals its file, nothing else is there, and what lies on disk is whole."""
    for commit, columns in commits.items():
        with repo.checkout(commit=commit) as reader:
            assert set(reader) == set(columns)
            for name, files in columns.items():
                column = reader[name]
                assert set(column) == set(files)
                for keys in pieces(sorted(files, key=str)):
                    for key, value in zip(keys, column[keys], strict=True):
                        expected = read_file(files[key])
                        assert same(value, expected), (commit, name, key)
    report = repo.fsck(data=True, progress=False)
    assert not report.problems


def pieces(keys: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(keys), 16):
        yield keys[start : start + 16]


def same(value: Any, expected: Any) -> bool:
    if isinstance(expected, str):
        return isinstance(value, str) and value == expected
    facts = [(array.dtype, array.shape, array.tobytes()) for array in (value, expected)]
    return facts[0] == facts[1]


def fill(repo: Repository, counts: Counts, folders: tuple[Path, Path]) -> dict[str, Wanted]:
    """Two commits; what each holds."""
    writer: Any = repo.checkout(write=True)
    writer.add_ndarray_column("photographs", shape=(224, 224, 3), dtype="uint8", backend=BACKENDS[-1])
    writer.add_ndarray_column("digits", shape=(8, 8), dtype="uint8", backend=BACKENDS[-1])
    writer.add_ndarray_column("volumes", shape=counts.shape, dtype="float32", backend=BACKENDS[-1])
    writer.add_str_column("labels")
    first = import_all(writer, folders[0], overwrite=False)
    assert [first[name].samples for name in ("photographs", "digits", "volumes")] == [
        counts.photographs,
        counts.digits,
        counts.volumes,
    ]
    commits = {writer.commit("as they came"): wanted(folders[0])}
    second = import_all(writer, folders[1], overwrite=True)
    assert second["photographs"].overwritten == (counts.photographs + 1) // 2
    commits[writer.commit("half of it anew")] = wanted(*folders)
    writer.close()
    return commits


@pytest.mark.parametrize("counts", [QUICK, pytest.param(FULL, marks=pytest.mark.nightly)], ids=["quick", "full"])
def test_real_data(tmp_path: Path, counts: Counts, request: pytest.FixtureRequest) -> None:
    folders = tmp_path / "first", tmp_path / "second"
    make_files(folders[0], counts, half=False)
    make_files(folders[1], counts, half=True)
    (tmp_path / "repository").mkdir()
    repo = Repository(tmp_path / "repository", exists=False)
    repo.init("Ada", "ada@example.org")
    request.addfinalizer(repo.close)
    commits = fill(repo, counts, folders)
    digests = [repo.commit_info(commit).tree for commit in commits]
    check(repo, commits)
    for tag in BACKENDS:
        for name in ("photographs", "digits", "volumes"):
            report = repo.convert_backend(name, tag, progress=False)
            assert report.converted
            assert not report.damaged
        check(repo, commits)
    assert [repo.commit_info(commit).tree for commit in commits] == digests
    go_round(repo, tmp_path / "out", list(commits.values())[-1])


def go_round(repo: Repository, out: Path, files: Wanted) -> None:
    """Out into files, and in again: the same keys, the same content, nothing to write."""
    writer: Any = repo.checkout(write=True)
    for name in writer:
        column = writer[name]
        with OutputDirectory(out / name) as directory:
            report = FolderExport(column, directory).run(list(column), progress=False)
        assert {one.sample for one in report.files} == set(files[name])
        jobs, _ = plan_import(find_files(out / name), column.column_type)
        again = import_files(column, jobs, progress=False)
        assert (again.samples, again.unchanged) == (0, len(files[name]))
    assert writer.diff.status() == "CLEAN"
    writer.close()
