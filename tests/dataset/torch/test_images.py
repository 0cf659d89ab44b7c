"""Images as tensors: in this process, with a thread that reads ahead, and in worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from hangar import Repository, make_torch_dataset
from hangar.checkout import ReaderCheckout
from hangar.dataset import Loader, collate
from tests.columns.pictures import jpeg

COUNT = 48


@pytest.fixture
def checkout(repo: Repository) -> Iterator[ReaderCheckout]:
    with closing(repo.checkout(write=True)) as writer:
        writer.add_image_column("photos").write(range(COUNT), [jpeg(at) for at in range(COUNT)])
        turned = writer.add_image_column("turned")
        turned.write(range(COUNT), [jpeg(at, orientation=1 + 5 * (at % 2)) for at in range(COUNT)])
        writer.add_ndarray_column("labels", (), np.int64).write(range(COUNT), np.arange(COUNT))
        writer.commit("photos")
    with closing(repo.checkout()) as reader:
        yield reader


@pytest.mark.parametrize("workers", [0, 2])
def test_a_shuffled_epoch(checkout: ReaderCheckout, workers: int) -> None:
    data = make_torch_dataset([checkout["photos"], checkout["labels"]])
    seen = []
    for pixels, labels in Loader(data, batch_size=10, shuffle=True, num_workers=workers):
        assert isinstance(pixels, torch.Tensor)
        assert (pixels.dtype, pixels.shape[1:]) == (torch.uint8, (48, 70, 3))
        seen += labels.tolist()
        np.testing.assert_array_equal(pixels[0].numpy(), checkout["photos"][int(labels[0])])
    assert sorted(seen) == list(range(COUNT))


def test_images_of_several_shapes_are_a_list(checkout: ReaderCheckout) -> None:
    batch = next(iter(DataLoader(make_torch_dataset(checkout["turned"]), batch_size=4, collate_fn=collate)))
    assert [tuple(pixels.shape) for pixels in batch] == [(48, 70, 3), (70, 48, 3)] * 2
    upright = make_torch_dataset(checkout["turned"].decoding(orient=False, mode="L"))
    batch = next(iter(DataLoader(upright, batch_size=4, num_workers=1)))
    assert batch.shape == (4, 48, 70)
    assert upright[3].shape == (48, 70)
