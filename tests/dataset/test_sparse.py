"""Data sets over columns of sparse arrays."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from hangar import Repository, make_numpy_dataset
from hangar.checkout import ReaderCheckout

COUNT = 20


def matrix(seed: int) -> sparse.csr_array:
    return sparse.random_array((30, 40), density=0.1, dtype=np.float32, rng=np.random.default_rng(seed), format="csr")


@pytest.fixture
def reader(tmp_path: Path) -> ReaderCheckout:
    repo = Repository(tmp_path, exists=False)
    repo.init("Ada", "ada@example.com")
    with closing(repo.checkout(write=True)) as writer:
        writer.add_sparse_column("graph", "float32", (30, 40)).write(range(COUNT), [matrix(i) for i in range(COUNT)])
        writer.add_sparse_column("edges", "float32", (30, 40), True).write(
            range(COUNT), [matrix(i)[: i + 1] for i in range(COUNT)]
        )
        writer.add_ndarray_column("label", (), np.int64).write(range(COUNT), np.arange(COUNT))
        writer.commit("graphs")
    return repo.checkout()


def test_numpy(reader: ReaderCheckout) -> None:
    data = make_numpy_dataset([reader["graph"], reader["label"]], batch_size=5, seed=2)
    seen = []
    for graphs, labels in data:
        assert type(graphs) is list
        assert all((graph != matrix(int(label))).nnz == 0 for graph, label in zip(graphs, labels, strict=True))
        seen += labels.tolist()
    assert sorted(seen) == list(range(COUNT))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:This DataLoader will create", "ignore:Sparse invariant checks")
def test_torch_collates_sparse_tensors(reader: ReaderCheckout, workers: int) -> None:
    torch = pytest.importorskip("torch")
    from hangar import make_torch_dataset
    from hangar.dataset import collate

    data = make_torch_dataset([reader["graph"], reader["edges"], reader["label"]])
    loader: Any = torch.utils.data.DataLoader(
        data,
        batch_size=5,
        collate_fn=collate,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
    )
    count = 0
    for graphs, edges, labels in loader:
        assert graphs.layout is torch.sparse_coo
        assert graphs.shape == (5, 30, 40)
        assert graphs.dtype is torch.float32
        for i, label in enumerate(labels.tolist()):
            np.testing.assert_array_equal(graphs[i].to_dense().numpy(), matrix(label).toarray())
            np.testing.assert_array_equal(edges[i].to_dense().numpy(), matrix(label)[: label + 1].toarray())
            count += 1
    assert count == COUNT
