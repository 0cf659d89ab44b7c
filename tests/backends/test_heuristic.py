"""The choice of a backend by schema: every choice can hold what it is made for."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.backends import get_backend
from hangar.backends.heuristic import LARGE_BYTES, VARIABLE_LARGE_BYTES, choose_backend
from hangar.schema import BytesSchema, ColumnSchema, NdarraySchema, StrSchema

BIT = {"complib": "blosc:lz4", "shuffle": "bit"}


def array(dtype: Any, *shape: int, variable: bool = False, nested: bool = False) -> NdarraySchema:
    return NdarraySchema(np.dtype(dtype), shape, variable=variable, nested=nested)


@pytest.mark.parametrize(
    ("schema", "tag", "options"),
    [
        (array("uint8", 28, 28), "10", {}),
        (array("int64"), "10", {}),
        (array("uint8", 224, 224, 3), "10", {}),
        (array("float32", 64, 64, 64), "10", {}),
        (array("float32", LARGE_BYTES // 4 - 1), "10", {}),
        (array("float32", LARGE_BYTES // 4), "01", {}),
        (array("float32", LARGE_BYTES // 4, nested=True), "01", {}),
        (array("int16", 64, 256, 256), "01", {}),
        (array("complex128", 512, 512), "01", {}),
        (array("uint8", 4000, 4000, 3), "10", {}),
        (array("bool", 2048, 2048), "01", BIT),
        (array("bool", 100, 100), "10", {}),
        (array("uint8", 4000, 4000, 3, variable=True), "10", {}),
        (array("float32", LARGE_BYTES // 4, variable=True), "10", {}),
        (array("float32", VARIABLE_LARGE_BYTES // 4, variable=True), "00", {}),
        (array("bool", 4096, 4096, variable=True), "00", BIT),
        (StrSchema(), "30", {}),
        (BytesSchema(), "31", {}),
    ],
)
def test_choices(schema: ColumnSchema, tag: str, options: dict[str, Any]) -> None:
    assert choose_backend(schema) == (tag, options)
    backend = get_backend(tag)
    assert backend.holds(schema.kind, variable=schema.variable)
    backend.check_options(options)


def test_the_choice_is_not_shared() -> None:
    choose_backend(array("bool", 4096, 4096))[1].clear()
    assert choose_backend(array("bool", 4096, 4096))[1] == BIT


def test_columns_say_what_was_chosen(repo: Repository) -> None:
    writer = repo.checkout(write=True)
    volumes = writer.add_ndarray_column("volumes", (4, 512, 512), np.float32)
    assert volumes.backend == "01"
    assert volumes.backend_options == {"complib": "blosc:lz4", "complevel": 5, "shuffle": "byte"}
    masks = writer.add_ndarray_column("masks", (2048, 2048), np.bool_)
    assert masks.backend_options["shuffle"] == "bit"
    raw = writer.add_ndarray_column("raw", (4, 512, 512), np.float32, backend="10")
    assert (raw.backend, raw.backend_options) == ("10", {})
    volumes.change_backend("00", {"complib": "gzip", "complevel": 1})
    assert (volumes.backend, volumes.backend_options["complib"]) == ("00", "gzip")
    writer.close()


def test_choosing_imports_no_library_of_hdf5() -> None:
    program = (
        "import sys, numpy as np; from hangar.backends.heuristic import choose_backend as c; from hangar.schema import NdarraySchema as S;"
        "from hangar.backends import get_backend as g; t, o = c(S(np.dtype('f4'), (2**22,))); g(t).check_options(o);"
        "assert t == '01' and not {'h5py', 'numcodecs', 'importlib.metadata'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
