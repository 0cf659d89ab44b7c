"""Data sets of images, audio and video: decoded in batches, with the options of the column, in this process and pickled."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from hangar import Repository, make_numpy_dataset
from hangar.checkout import ReaderCheckout
from hangar.dataset import Manifest
from hangar.dataset.selection import select
from hangar.errors import InvalidInputError
from hangar.imaging import memory
from hangar.imaging import reading as decoders
from tests.columns.pictures import encoded, gray, jpeg, photo

COUNT = 60


@pytest.fixture
def checkout(repo: Repository) -> Iterator[ReaderCheckout]:
    with closing(repo.checkout(write=True)) as writer:
        writer.add_image_column("photos").write(range(COUNT), [jpeg(at) for at in range(COUNT)])
        writer.add_ndarray_column("labels", (), np.int64).write(range(COUNT), np.arange(COUNT))
        mixed = writer.add_image_column("mixed")
        mixed.write(
            range(COUNT), [jpeg(at, orientation=at % 8 + 1) for at in range(COUNT - 1)] + [encoded(gray(), "PNG")]
        )
        nested = writer.add_image_column("nested", contains_subsamples=True, mode="L")
        nested.update({at: {"a": jpeg(at), "b": photo(at)} for at in range(5)})
        writer.commit("photos")
    with closing(repo.checkout()) as reader:
        yield reader


def test_batches_of_equal_images_are_arrays(checkout: ReaderCheckout) -> None:
    data = make_numpy_dataset([checkout["photos"], checkout["labels"]], batch_size=16, shuffle=True, seed=3)
    seen = []
    for pixels, labels in data:
        assert pixels.shape[1:] == (48, 70, 3)
        assert pixels.dtype == np.uint8
        seen += labels.tolist()
        for one, label in zip(pixels, labels, strict=True):
            np.testing.assert_array_equal(one, checkout["photos"][int(label)])
    assert sorted(seen) == list(range(COUNT))


def test_other_batches_are_lists(checkout: ReaderCheckout) -> None:
    batches = list(make_numpy_dataset(checkout["mixed"], batch_size=COUNT, shuffle=False))
    assert isinstance(batches[0], list)
    for at, pixels in enumerate(batches[0]):
        np.testing.assert_array_equal(pixels, checkout["mixed"][at])
    stored = checkout["mixed"].decoding(mode="RGB", orient=False)
    (pixels,) = make_numpy_dataset(stored, batch_size=COUNT, shuffle=False)
    assert pixels.shape == (COUNT, 48, 70, 3)


def test_an_image_of_another_size_late_in_a_batch(repo: Repository) -> None:
    """The first headers agree; the others are parsed while the first images are decoded."""
    files = [jpeg(at) for at in range(20)]
    files[13] = encoded(photo(13)[:30, :40], "JPEG")
    with closing(repo.checkout(write=True)) as writer:
        writer.add_image_column("photos").write(range(20), files)
        writer.commit("photos")
    with closing(repo.checkout()) as reader:
        (batch,) = make_numpy_dataset(reader["photos"], batch_size=20, shuffle=False)
        assert [one.shape for one in batch] == [(30, 40, 3) if at == 13 else (48, 70, 3) for at in range(20)]
        for at, pixels in enumerate(batch):
            np.testing.assert_array_equal(pixels, reader["photos"][at])


def test_batches_that_are_kept_stay_as_they_are(checkout: ReaderCheckout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their memory is used again only when they are gone."""
    monkeypatch.setattr(memory, "_LEAST", 1)
    data = make_numpy_dataset([checkout["photos"], checkout["labels"]], batch_size=10, shuffle=True)
    kept = [(pixels, labels) for at, (pixels, labels) in enumerate(data) if at % 2]
    for _ in range(2):
        for pixels, labels in data:
            kept.append((pixels[3:4], labels[3:4]))
    for pixels, labels in kept:
        for one, label in zip(pixels, labels, strict=True):
            np.testing.assert_array_equal(one, checkout["photos"][int(label)])


def test_options_of_decoding_travel_with_a_data_set(checkout: ReaderCheckout) -> None:
    column = checkout["mixed"].decoding(mode="L", orient=False)
    data = pickle.loads(pickle.dumps(make_numpy_dataset(column, batch_size=8, shuffle=False)))
    for at, pixels in enumerate(next(iter(data))):
        np.testing.assert_array_equal(pixels, column[at])
    assert select(column).take([3]).gather(range(1))[0].shape == (1, 48, 70)


@pytest.mark.parametrize("mode", [None, "L", "RGB"])
@pytest.mark.parametrize("grays", [False, True])
def test_decoding_into_a_batch_gives_the_same_pixels(
    repo: Repository, monkeypatch: pytest.MonkeyPatch, mode: Any, grays: bool
) -> None:
    files = [encoded(photo(at)[:, :, 0] if grays else photo(at), "JPEG", progressive=at % 2 == 0) for at in range(9)]
    with closing(repo.checkout(write=True)) as writer:
        writer.add_image_column("photos", mode=mode).write(range(9), files)
        writer.commit("photos")
    with closing(repo.checkout()) as reader:
        (fast,) = make_numpy_dataset(reader["photos"], batch_size=9, shuffle=False)
        monkeypatch.setattr(decoders, "_simplejpeg", lambda: None)
        (slow,) = make_numpy_dataset(reader["photos"], batch_size=9, shuffle=False)
        np.testing.assert_array_equal(fast, slow)
        np.testing.assert_array_equal(fast, np.stack(list(reader["photos"].values())))


def test_a_file_that_only_pillow_decodes_in_a_batch(repo: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """simplejpeg refuses files with warnings; the batch is whole all the same."""
    with closing(repo.checkout(write=True)) as writer:
        writer.add_image_column("photos").write(range(4), [jpeg(at) for at in range(4)])
        writer.commit("photos")
    real = decoders._simplejpeg()
    assert real is not None

    def picky(data: bytes, *arguments: Any, **options: Any) -> Any:
        if data == jpeg(2):
            raise ValueError("a warning")
        return real(data, *arguments, **options)

    monkeypatch.setattr(decoders, "_simplejpeg", lambda: picky)
    with closing(repo.checkout()) as reader:
        (batch,) = make_numpy_dataset(reader["photos"], batch_size=4, shuffle=False)
        np.testing.assert_array_equal(batch[2], reader["photos"][2])


def test_a_manifest_does_not_forget_how_images_were_decoded(checkout: ReaderCheckout) -> None:
    Manifest.of(make_numpy_dataset(checkout["mixed"], batch_size=8))
    with pytest.raises(InvalidInputError, match="options of decoding of column 'mixed'"):
        Manifest.of(make_numpy_dataset(checkout["mixed"].decoding(orient=False), batch_size=8))


def test_nested_and_transforms(checkout: ReaderCheckout) -> None:
    (items,) = make_numpy_dataset(checkout["nested"], batch_size=5, shuffle=False)
    assert [sorted(item) for item in items] == [["a", "b"]] * 5
    assert items[3]["a"].shape == (48, 70)
    pairs = [(at, "b") for at in range(5)]
    (pixels,) = make_numpy_dataset(checkout["nested"], pairs, batch_size=5, shuffle=False)
    assert pixels.shape == (5, 48, 70)
    half = make_numpy_dataset(checkout["mixed"], batch_size=10, shuffle=False, transform=lambda p: p[:10, :10])
    assert isinstance(next(iter(half)), np.ndarray)
