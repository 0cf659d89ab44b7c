"""Run manifests of torch's loaders: they count what was delivered, not what was read ahead."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch.utils.data import Subset

from hangar import InvalidTypeError, make_torch_dataset
from hangar.checkout import ReaderCheckout
from hangar.dataset import Loader, Manifest, Sampler
from tests.dataset.content import COUNT


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_that_reads_ahead(workers: int, reader: ReaderCheckout, tmp_path: Path) -> None:
    data = make_torch_dataset([reader["image"], reader["label"]], as_dict=True)
    loader = Loader(data, Sampler(data, 7, seed=3), num_workers=workers, prefetch=4)
    delivered = []
    for batch in loader:
        delivered.append(batch)
        if len(delivered) == 4:
            Manifest.of(loader).save(tmp_path / "run.json")
            break
    manifest = Manifest.load(tmp_path / "run.json")
    assert len(list(manifest.seen())) == 28
    for number, batch in enumerate(delivered):
        again = manifest.batch(number)
        assert again["image"].tolist() == batch["image"].tolist()
        assert again["label"].tolist() == batch["label"].tolist()
    rest = Loader(data, manifest.sampler)
    seen = [int(one) for batch in [*delivered, *rest] for one in batch["image"][:, 0, 0]]
    assert sorted(seen) == list(range(100, 100 + COUNT))


def test_a_loader_of_a_subset_has_none(reader: ReaderCheckout) -> None:
    subset = Subset(make_torch_dataset(reader["image"]), [1, 2, 3])
    with pytest.raises(InvalidTypeError, match="not of Loader of Subset: choose items by keys="):
        Manifest.of(Loader(subset, batch_size=2))
