"""Shuffled epochs over JPEGs: Hangar beside the same bytes in memory, an image folder, WebDataset and MosaicML Streaming.

    python -m benchmarks.images [--count 20000] [--rounds 3] [--batch 64]

The files are crops of 256 x 256 of scikit-learn's photographs, quality 90, made from a fixed seed. Everybody decodes with
simplejpeg and two threads of one process, into arrays of uint8 of shape (batch, 256, 256, 3); *pillow* rows decode with pillow.
*memory* is the baseline: all bytes in a list, each batch decoded into one new array. The rows take turns within a round, in
another order in each, so that other load on the machine meets all of them. Of each row the best round counts; seconds of
processor time an image are printed beside it, because they hardly depend on other load.

WebDataset shuffles within 1,000 samples; all others over everything. A peer that is not installed is left out.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image
from sklearn.datasets import load_sample_images

from hangar import Repository, make_numpy_dataset, make_torch_dataset
from hangar.threads import run_parallel

SIDE = 256
THREADS = 2
Pixels = npt.NDArray[np.uint8]
Epoch = Callable[[int], Iterator[Any]]


def make_files(count: int) -> list[bytes]:
    """The JPEGs, from a fixed seed."""
    photos, random = load_sample_images().images, np.random.default_rng(0)
    files = []
    for at in range(count):
        top, left = int(random.integers(0, 427 - SIDE)), int(random.integers(0, 640 - SIDE))
        file = io.BytesIO()
        Image.fromarray(photos[at % 2][top : top + SIDE, left : left + SIDE]).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def by_pillow(data: bytes, pixels: Pixels) -> None:
    with Image.open(io.BytesIO(data)) as image:
        pixels[...] = np.asarray(image)


def by_simplejpeg(data: bytes, pixels: Pixels) -> None:
    simplejpeg.decode_jpeg(data, "RGB", buffer=pixels)


def decode(files: Sequence[bytes], how: Callable[[bytes, Pixels], None] = by_simplejpeg) -> Pixels:
    """Decode a batch into one new array, on threads."""
    batch = np.empty((len(files), SIDE, SIDE, 3), np.uint8)
    left = iter(range(len(files)))

    def work() -> None:
        for at in left:
            how(files[at], batch[at])

    run_parallel([work] * THREADS)
    return batch


def batches(count: int, size: int, seed: int) -> Iterator[list[int]]:
    order = np.random.default_rng(seed).permutation(count).tolist()
    return (order[at : at + size] for at in range(0, count, size))


# ---------------------------------------------------------------------------------------------------- the rows


def memory(files: list[bytes], size: int, how: Callable[[bytes, Pixels], None] = by_simplejpeg) -> Epoch:
    return lambda seed: (decode([files[at] for at in some], how) for some in batches(len(files), size, seed))


def folder(files: list[bytes], size: int, path: Path, how: Callable[[bytes, Pixels], None] = by_simplejpeg) -> Epoch:
    path.mkdir(exist_ok=True)
    paths = [path / f"{at:06d}.jpg" for at in range(len(files))]
    for one, data in zip(paths, files, strict=True):
        one.write_bytes(data)
    return lambda seed: (
        decode([paths[at].read_bytes() for at in some], how) for some in batches(len(paths), size, seed)
    )


def hangar(files: list[bytes], size: int, path: Path) -> dict[str, Epoch]:
    path.mkdir()
    repo = Repository(path, exists=False)
    repo.init("Ann", "ann@example.org")
    with closing(repo.checkout(write=True)) as writer:
        before = repo.size_nbytes
        writer.add_image_column("photos").write(range(len(files)), files)
        writer.commit("photos")
    # Some crops are equal, and such files are stored once.
    extra = (repo.size_nbytes - before - sum(map(len, set(files)))) / len(files)
    print(f"disk of Hangar: the different files and {extra:.0f} bytes for each")
    column = repo.checkout()["photos"]
    found: dict[str, Epoch] = {
        "hangar, make_numpy_dataset": lambda seed: iter(make_numpy_dataset(column, batch_size=size, seed=seed))
    }
    if find_spec("torch"):
        from hangar.dataset import Loader

        data = make_torch_dataset(column)
        found["hangar, Loader"] = lambda seed: iter(Loader(data, batch_size=size, shuffle=True, seed=seed))
    return found


def web_dataset(files: list[bytes], size: int, path: Path) -> Epoch:
    import webdataset

    path.mkdir()
    with webdataset.ShardWriter(str(path / "%04d.tar"), maxcount=1_000, verbose=0) as writer:
        for at, data in enumerate(files):
            writer.write({"__key__": f"{at:06d}", "jpg": data})
    shards = sorted(map(str, path.glob("*.tar")))

    def epoch(seed: int) -> Iterator[Any]:
        data = webdataset.WebDataset(shards, shardshuffle=len(shards), seed=seed, empty_check=False)
        return (decode(batch) for (batch,) in data.shuffle(1_000).to_tuple("jpg").batched(size, collation_fn=_columns))

    return epoch


def _columns(samples: list[tuple[bytes]]) -> tuple[list[bytes]]:
    return ([data for (data,) in samples],)


def streaming(files: list[bytes], size: int, path: Path) -> Epoch:
    import_module("benchmarks.peers.streaming")  # It makes the package importable without torchvision.
    from streaming import LocalDataset, MDSWriter

    with MDSWriter(columns={"jpg": "bytes"}, out=str(path)) as writer:
        for data in files:
            writer.write({"jpg": data})
    found = LocalDataset(str(path))
    return lambda seed: (decode([found[at]["jpg"] for at in some]) for some in batches(len(files), size, seed))


# ---------------------------------------------------------------------------------------------------- measuring


def rows(files: list[bytes], size: int, directory: Path) -> dict[str, Epoch]:
    found: dict[str, Epoch] = {"memory": memory(files, size)}
    found |= hangar(files, size, directory / "hangar")
    found["image folder"] = folder(files, size, directory / "folder")
    if find_spec("webdataset"):
        found["WebDataset"] = web_dataset(files, size, directory / "web")
    if find_spec("streaming"):
        found["MosaicML Streaming"] = streaming(files, size, directory / "mds")
    found["memory, pillow"] = memory(files, size, by_pillow)
    found["image folder, pillow"] = folder(files, size, directory / "folder", by_pillow)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    files = make_files(options.count)
    print(f"{options.count:,} JPEGs of {SIDE} x {SIDE}, {sum(map(len, files)) / 1e6:.0f} MB")
    with tempfile.TemporaryDirectory() as directory:
        epochs = rows(files, options.batch, Path(directory))
        wall = dict.fromkeys(epochs, 1e9)
        cpu = dict.fromkeys(epochs, 1e9)
        for turn in range(options.rounds):
            order = list(epochs)[:: -1 if turn % 2 else 1]
            for name in order:
                begun, used, seen = time.perf_counter(), time.process_time(), 0
                for batch in epochs[name](turn):
                    seen += len(batch)
                assert seen == options.count, (name, seen)
                wall[name] = min(wall[name], time.perf_counter() - begun)
                cpu[name] = min(cpu[name], time.process_time() - used)
        for name in epochs:
            print(
                f"{name:28} {options.count / wall[name]:8,.0f} images/s ({wall['memory'] / wall[name]:.2f}x)  "
                f"{cpu[name] / options.count * 1e6:6.0f} us of processor time an image ({cpu['memory'] / cpu[name]:.2f}x)"
            )


if __name__ == "__main__":
    main()
