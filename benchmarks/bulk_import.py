"""Bulk import of JPEG files: many processes beside one, and beside decoding alone on the same processors.

python -m benchmarks.bulk_import [--count 20000] [--workers 2] [--rounds 3] [--directory DIR] [--kind arrays resized files]

The pictures are parts of scikit-learn's two photographs. ``arrays`` stores 256 x 256 pixels as decoded, ``resized`` decodes
500 x 375 pixels and stores 224 x 224, as training on ImageNet does, ``files`` keeps the files in an image column. Rounds
take turns; the best wall time counts. Processor seconds (user and system, with all children) are in brackets: on a machine
with other work they tell more than the wall time. An import ends with a commit, everything synced.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from hangar import Repository
from hangar.bulk_importer import import_items
from hangar.progress import format_bytes

__all__ = ["main"]

SIZES = {"arrays": (256, 256), "resized": (375, 500), "files": (256, 256)}


def decode(path: str) -> np.ndarray[Any, Any]:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image)


def resize(path: str) -> np.ndarray[Any, Any]:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))


def keep(path: str) -> Path:
    return Path(path)


LOADS: dict[str, Callable[[str], Any]] = {"arrays": decode, "resized": resize, "files": keep}


def alone(load: Callable[[str], Any], paths: Sequence[str]) -> int:
    """The work of the function without an import; the files are read where it does not read them."""
    total = 0
    for path in paths:
        value = load(path)
        total += len(value.read_bytes()) if isinstance(value, Path) else value.nbytes
    return total


def make_files(directory: Path, count: int, size: tuple[int, int]) -> list[str]:
    from PIL import Image
    from sklearn.datasets import load_sample_images

    directory.mkdir(parents=True, exist_ok=True)
    photographs = load_sample_images().images
    random = np.random.default_rng(0)
    paths = []
    for number in range(count):
        path = directory / f"{number:06}.jpg"
        paths.append(str(path))
        if not path.exists():
            photograph = photographs[number % 2]
            y, x = (
                int(random.integers(0, have - want + 1)) for have, want in zip(photograph.shape, size, strict=False)
            )
            part = photograph[y : y + size[0], x : x + size[1]]
            Image.fromarray(part[:, :: 1 if number % 3 else -1]).save(path, quality=90)
    return paths


def bulk_import(kind: str, paths: Sequence[str], workers: int, directory: Path) -> None:
    with tempfile.TemporaryDirectory(dir=directory) as place, Repository(place, exists=False) as repo:
        repo.init("Ada", "ada@example.org")
        writer = repo.checkout(write=True)
        if kind == "files":
            writer.add_image_column("image")
        else:
            writer.add_ndarray_column("image", (256, 256, 3) if kind == "arrays" else (224, 224, 3), np.uint8)
        items = {Path(path).stem: path for path in paths}
        report = import_items(writer, "image", items, LOADS[kind], workers=workers, progress=False)
        writer.commit("imported")
        writer.close()
        assert report.imported == len(paths)


def processor_seconds() -> float:
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def timed(call: Callable[[], Any]) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, used = time.perf_counter(), processor_seconds()
    call()
    return time.perf_counter() - wall, processor_seconds() - used


def in_processes(load: Callable[[str], Any], paths: Sequence[str], workers: int) -> tuple[float, float]:
    """Decoding alone in processes that are started before the clock; their processor time is that of one process."""
    pieces = [paths[at : at + 50] for at in range(0, len(paths), 50)]
    with get_context("spawn").Pool(workers) as pool:
        pool.map(partial(alone, load), [paths[:2]] * workers, chunksize=1)
        wall = time.perf_counter()
        pool.map(partial(alone, load), pieces, chunksize=1)
        return time.perf_counter() - wall, 0.0


def measure(kind: str, paths: Sequence[str], workers: int, rounds: int, directory: Path) -> None:
    load = LOADS[kind]
    ways: dict[str, Callable[[], tuple[float, float]]] = {
        "alone, 1 process": lambda: timed(partial(alone, load, paths)),
        f"alone, {workers} processes": lambda: in_processes(load, paths, workers),
        "import, this process": lambda: timed(partial(bulk_import, kind, paths, 0, directory)),
        f"import, {workers} workers": lambda: timed(partial(bulk_import, kind, paths, workers, directory)),
    }
    best = {name: (float("inf"), float("inf")) for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            wall, used = way()
            best[name] = min(best[name][0], wall), min(best[name][1], used)
    nbytes = alone(load, paths[:100]) / 100
    print(f"{kind}: {len(paths):,} files, {format_bytes(nbytes)} each as stored")
    for name, (wall, used) in best.items():
        print(f"  {name:24} {len(paths) / wall:8,.0f} files/s  {wall:6.1f} s  [{used:.1f}]")
    single, several, here, there = (best[name][0] for name in ways)
    print(
        f"  {workers} workers are {here / there:.2f}x this process, and {several / there:.2f}x of decoding alone in {workers}"
    )
    print(
        f"  processor seconds of decoding alone / of the import: {best['alone, 1 process'][1] / best[list(ways)[3]][1]:.2f}"
    )
    print(f"  (decoding alone itself: {single / several:.2f}x)", flush=True)


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bulk_import")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--kind", nargs="+", choices=list(LOADS), default=list(LOADS))
    options = parser.parse_args(given)
    for kind in options.kind:
        size = SIZES[kind]
        files = options.directory / f"hangar-jpeg-{size[0]}x{size[1]}"
        measure(kind, make_files(files, options.count, size), options.workers, options.rounds, options.directory)


if __name__ == "__main__":
    main()
