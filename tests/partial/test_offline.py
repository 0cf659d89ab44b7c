"""Row 22: reading without the remote names a command, and that command works, whatever the column and the key."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import sparse

from hangar import NotLocalError, Repository
from hangar.cli.main import main

pytestmark = pytest.mark.filterwarnings("ignore:.*reference-only")
VALUE = np.arange(60)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    place = tmp_path_factory.mktemp("offline")
    (place / "origin").mkdir()
    (place / "clone").mkdir()
    with Repository(place / "origin", exists=False) as origin:
        origin.init("Ada", "ada@example.org")
        with closing(origin.checkout(write=True)) as writer:
            flat = writer.add_ndarray_column("flat", (60,), np.int64)
            for key in (5, 6, "5", "a/b", "plain"):
                flat[key] = VALUE + len(str(key))
            nested = writer.add_ndarray_column("nested", (60,), np.int64, contains_subsamples=True)
            for sample in (5, "5", "a/b", "a"):
                nested[sample] = {7: VALUE, "7": VALUE + 1, "b/c": VALUE + 2}
            volumes = writer.add_chunked_column("volumes", "float32", (16, 16))
            photos = writer.add_image_column("photos")
            spots = writer.add_sparse_column("spots", "float32", (200, 300))
            for key in (5, "a/b"):
                volumes[key] = np.full((32, 32), len(str(key)), np.float32)
                photos[key] = np.full((20, 20, 3), len(str(key)), np.uint8)
                spots[key] = sparse.random(200, 300, 0.05, format="csr", dtype=np.float32, random_state=len(str(key)))
            writer.commit("all kinds")
    repository = Repository(place / "clone", exists=False)
    repository.clone("Bob", "bob@example.org", str(place / "origin"))
    return repository


def index(column: Any, key: Any) -> Any:
    return column[key]


def get(column: Any, key: Any) -> Any:
    return column.get(key, "a default")


def whole(column: Any, key: Any) -> Any:
    return column[key][...]


def part(column: Any, key: Any) -> Any:
    return column[key][3:5, 17]


def converted(column: Any, key: Any) -> Any:
    return np.asarray(column[key])


def encoded(column: Any, key: Any) -> Any:
    return column.encoded(key)


def info(column: Any, key: Any) -> Any:
    return column.info(key)


CASES: list[tuple[str, Any, Callable[[Any, Any], Any]]] = [
    *(("flat", key, index) for key in (5, "5", "a/b", "plain")),
    ("flat", 6, get),
    *(("nested", (sample, sub), index) for sample in (5, "5", "a/b", "a") for sub in (7, "7", "b/c")),
    ("volumes", 5, whole),
    ("volumes", "a/b", part),
    ("volumes", 5, converted),
    ("photos", 5, index),
    ("photos", "a/b", encoded),
    ("photos", 5, info),
    ("spots", 5, index),
    ("spots", "a/b", get),
]


@pytest.mark.parametrize(("column", "key", "read"), CASES, ids=lambda one: getattr(one, "__name__", repr(one)))
def test_the_command_that_an_error_names_brings_the_sample(
    clone: Repository, column: str, key: Any, read: Callable[[Any, Any], Any]
) -> None:
    with closing(clone.checkout()) as reader:
        with pytest.raises(NotLocalError) as caught:
            read(reader[column], key)
        commit = reader.commit_hash[:12]
    command = str(caught.value).split("`")[1]
    assert command.startswith(f"hangar fetch-data origin {commit} -d {column} -s ")
    result = CliRunner().invoke(main, ["-C", str(clone.path), *shlex.split(command)[1:]])
    assert (result.exit_code, result.stdout.split(",")[0]) == (0, "Fetched 1 value"), result.output
    with closing(clone.checkout()) as reader:
        read(reader[column], key)
    assert clone.evict(column).blobs == 1
