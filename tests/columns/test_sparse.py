"""Columns of sparse arrays: in, out, nested, committed, merged, verified, and read by the independent reader."""

from __future__ import annotations

import pickle
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from hangar import Repository
from hangar.columns import FlatSparseReader, FlatSparseWriter, NestedSparseReader, NestedSparseWriter
from hangar.errors import InvalidInputError, SampleNotFoundError
from tests.compat import independent_reader as independent


def repository(path: Path) -> Repository:
    repo = Repository(path, exists=False)
    repo.init("Ada", "ada@example.com")
    return repo


def matrix(seed: int, shape: tuple[int, int] = (100, 50), density: float = 0.05) -> sparse.csr_array:
    return sparse.random_array(shape, density=density, dtype=np.float32, rng=np.random.default_rng(seed), format="csr")


def same(a: sparse.sparray, b: sparse.sparray) -> bool:
    return bool(a.shape == b.shape and a.dtype == b.dtype and (a != b).nnz == 0)


def test_in_and_out(tmp_path: Path) -> None:
    repo = repository(tmp_path)
    writer = repo.checkout(write=True)
    column = writer.add_sparse_column("ratings", np.float32, (100, 50))
    assert isinstance(column, FlatSparseWriter)
    column["a"] = matrix(1)
    column.write([3, 1, 2], [matrix(3).tocsc(), matrix(1).tocoo(), sparse.dok_array((100, 50), dtype=np.float32)])
    column["one"] = ([[7], [9]], np.array([2], np.float32), (100, 50))
    assert (column.column_type, column.schema_type, column.dtype) == ("sparse", "fixed_shape", np.float32)
    assert (column.shape, column.backend) == ((100, 50), "10")
    assert "sparse float32 (100, 50)" in repr(column)
    with pytest.raises(InvalidInputError, match="cannot hold sparse data"):
        column.change_backend("31")
    with pytest.raises(InvalidInputError, match="data shape"):
        column.write(["x", "y"], [matrix(1), matrix(1, (5, 5))])
    writer.commit("ratings")
    assert writer.diff.status() == "CLEAN"
    writer.close()
    reader = repo.checkout()
    column = reader["ratings"]
    assert isinstance(column, FlatSparseReader)
    assert list(column) == [1, 2, 3, "a", "one"]
    assert same(column["a"], matrix(1))
    assert same(column[1], matrix(1))
    assert all(same(*pair) for pair in zip(column.read([3, "a"]), [matrix(3), matrix(1)], strict=True))
    assert [value.nnz for value in column.values()] == [250, 0, 250, 250, 1]
    assert column.as_coo("one").coordinates.tolist() == [[7], [9]]
    assert [one.values.size for one in column.as_coo([2, "a"])] == [0, 250]
    with pytest.raises(SampleNotFoundError):
        column.as_coo("b")
    assert same(pickle.loads(pickle.dumps(column))["a"], matrix(1))
    assert repo.verify_repo_integrity()
    # "a" and 1 are one blob; what takes 64 bytes or less is in the tree.
    (file,) = (tmp_path / ".hangar" / "blobs").iterdir()
    assert file.stat().st_size == 64 + 2 * 250 * (1 + 1 + 4)


def test_nested_and_variable_shapes(tmp_path: Path) -> None:
    repo = repository(tmp_path)
    with closing(repo.checkout(write=True)) as writer:
        column = writer.add_sparse_column("grids", "int64", (9, 9, 9), True, True)
        assert isinstance(column, NestedSparseWriter)
        column["s"] = {1: ([[1], [2], [3]], np.array([5]), (2, 3, 4)), "b": ([[0]] * 3, np.array([0]), (9, 9, 9))}
        column["s"]["c"] = sparse.coo_array((np.array([4]), ([0], [0], [8])), shape=(1, 1, 9))
        with pytest.raises(InvalidInputError, match="exceeds schema max"):
            column["s"]["d"] = ([[0]] * 3, np.array([1]), (9, 9, 10))
        writer.commit("grids")
        column.widen((9, 9, 10))
        column["s"]["d"] = ([[0]] * 3, np.array([1]), (9, 9, 10))
        writer.commit("wider")
    column = repo.checkout()["grids"]
    assert isinstance(column, NestedSparseReader)
    assert column["s", 1].toarray()[1, 2, 3] == 5
    assert column.as_coo(("s", 1)).shape == (2, 3, 4)
    assert column["s"].as_coo("b").values.size == 0
    assert {key: value.shape for key, value in column["s"].items()} == {
        1: (2, 3, 4), "b": (9, 9, 9), "c": (1, 1, 9), "d": (9, 9, 10),
    }  # fmt: skip
    assert repo.fsck(data=True).problems == ()


def test_the_independent_reader_reads_them(tmp_path: Path) -> None:
    repo = repository(tmp_path)
    with closing(repo.checkout(write=True)) as writer:
        writer.add_sparse_column("fixed", "float64", (300, 5))
        writer.add_sparse_column("varied", "bool", (2**40, 70_000, 3), True)
        writer["fixed"]["many"] = sparse.csr_array(np.arange(1_500).reshape(300, 5) * 0.5)
        writer["fixed"]["few"] = ([[299], [4]], np.array([0.25]), (300, 5))
        where = [[2**39, 0], [65_536, 1], [2, 0]]
        writer["varied"][1] = (where, np.array([True, True]), (2**40, 65_537, 3))
        commit = writer.commit("sparse")
    repo.close()
    columns = independent.Repository(tmp_path / ".hangar").commits[bytes.fromhex(commit)].columns
    many = columns["fixed"].values["many"]
    found = independent.read_sparse(many.dtype, many.shape, many.data)
    assert len(found) == 1_499
    assert found[200, 3] == np.float64(501.5).tobytes()
    few = columns["fixed"].values["few"]
    assert independent.read_sparse(few.dtype, few.shape, few.data) == {(299, 4): np.float64(0.25).tobytes()}
    varied = columns["varied"].values[1]
    assert varied.shape == (2**40, 65_537, 3)
    assert list(independent.read_sparse(varied.dtype, varied.shape, varied.data)) == [(0, 1, 0), (2**39, 65_536, 2)]


def test_branches_merge_and_bits_that_flipped_are_found(tmp_path: Path) -> None:
    repo = repository(tmp_path)
    with closing(repo.checkout(write=True)) as writer:
        column = writer.add_sparse_column("m", "float32", (100, 50))
        column.write(range(4), [matrix(i) for i in range(4)])
        writer.commit("base")
    repo.create_branch("other")
    for branch, key in (("master", 0), ("other", 1)):
        with closing(repo.checkout(write=True, branch=branch)) as writer:
            writer["m"][key] = matrix(10 + key)
            writer.commit(branch)
    repo.merge("both", "master", "other")
    column = repo.checkout()["m"]
    assert [same(column[i], matrix(j)) for i, j in enumerate((10, 11, 2, 3))] == [True] * 4
    repo.close()
    (file,) = (tmp_path / ".hangar" / "blobs").iterdir()
    data = bytearray(file.read_bytes())
    data[64 + 777] ^= 4
    file.write_bytes(data)
    with Repository(tmp_path) as repo:
        assert len(repo.fsck(data=True).problems) == 1


def test_without_scipy_coordinates_come_and_go(tmp_path: Path) -> None:
    repository(tmp_path).close()
    script = """
import sys
sys.modules["scipy"] = None
import numpy as np
from hangar import Repository
repo = Repository(sys.argv[1])
writer = repo.checkout(write=True)
column = writer.add_sparse_column("m", "float32", (100, 50))
column["a"] = ([[1, 3], [2, 4]], np.array([5, 6], np.float32), (100, 50))
print(column.as_coo("a").coordinates.tolist(), column.needs)
try:
    column["a"]
except ImportError as error:
    print(error)
writer.commit("m")
writer.close()
print(repo.fsck(data=True).problems)
"""
    found = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    lines = found.stdout.splitlines()
    assert lines[0] == "[[1, 3], [2, 4]] "
    assert "hangar[sparse]" in lines[1]
    assert lines[2] == "()"
