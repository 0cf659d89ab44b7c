"""Backends ``00`` and ``01``: the contract, what h5py sees of the files, and what damage does to both."""

from __future__ import annotations

import itertools
import math
import os
import random
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import h5py
import hdf5plugin  # noqa: F401 - makes the filters known to h5py
import numpy as np
import pytest

from hangar.backends import Backend, BlobFile, FileWriter, Locations, Options, Payload, get_backend
from hangar.backends.hdf5 import frames, writer
from hangar.backends.hdf5.codecs import COMPLIBS, Encoding, decode
from hangar.digest import BYTES, NDARRAY, STR, Header
from hangar.errors import CorruptionError, HangarError, InvalidInputError, InvalidTypeError
from hangar.testing.backends import BackendContract

TAGS = ("00", "01")
BLOSC = [name for name in COMPLIBS if name and name.startswith("blosc")]
CHOICES: list[dict[str, Any]] = [
    {"complib": None},
    *({"complib": name, "shuffle": shuffle} for name in BLOSC for shuffle in ("none", "byte", "bit")),
    *({"complib": name, "shuffle": shuffle, "complevel": 1} for name in ("gzip", "lzf") for shuffle in (True, False)),
]
UINT8, UINT16, FLOAT32 = 6, 7, 11


class TestRows(BackendContract):
    tag: ClassVar[str] = "00"
    choices: ClassVar[Sequence[Options]] = CHOICES


class TestChunks(BackendContract):
    tag: ClassVar[str] = "01"
    choices: ClassVar[Sequence[Options]] = CHOICES


class TestGzip(BackendContract):
    tag: ClassVar[str] = "00"
    options: ClassVar[Options] = {"complib": "gzip"}


class TestUncompressed(BackendContract):
    tag: ClassVar[str] = "00"
    options: ClassVar[Options] = {"complib": None}


# ------------------------------------------------------------------------------------------------------------- tools


class Opened:
    """A file of one backend with batches in it."""

    def __init__(self, directory: Path, tag: str = "00") -> None:
        self.backend: Backend = get_backend(tag)
        self.path = directory / f"00000007.{tag}"
        self.writer: FileWriter = self.backend.open_writer(self.path, 7, None)
        self.batches: list[tuple[list[Header], list[bytes], Locations]] = []

    def add(self, headers: list[Header], data: list[bytes], **options: Any) -> Locations:
        payload = Payload(data, np.array([len(one) for one in data], np.int64), headers)
        locations = self.writer.write(payload, self.backend.check_options(options))
        self.batches.append((headers, data, locations))
        return locations

    def add_arrays(self, arrays: Sequence[np.ndarray[Any, Any]], code: int, **options: Any) -> Locations:
        headers = [Header(NDARRAY, code, array.shape) for array in arrays]
        return self.add(headers, [array.tobytes() for array in arrays], **options)

    def again(self) -> None:
        """Close the writer, and go on with another."""
        end = self.writer.end
        self.writer.close()
        self.writer = self.backend.open_writer(self.path, 7, end)

    def check(self) -> None:
        file = BlobFile(self.path, 7, self.backend.tag)
        for headers, data, locations in self.batches:
            assert [bytes(one) for one in self.backend.read_list(file, locations, headers)] == data


def smooth(seed: int, count: int, shape: tuple[int, ...], dtype: str = "<f4") -> np.ndarray[Any, Any]:
    source = np.random.default_rng(seed)
    return (
        np.cumsum(source.integers(-2, 3, (count, *shape)), axis=-1).astype(dtype)
        if shape
        else source.integers(0, 9, count).astype(dtype)
    )


def datasets(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Every dataset that h5py finds, read by HDF5."""
    found: dict[str, np.ndarray[Any, Any]] = {}
    with h5py.File(path, "r", locking=False) as file:
        file.visititems(lambda name, one: found.update({name: one[()]}) if isinstance(one, h5py.Dataset) else None)
    return found


# ----------------------------------------------------------------------------------------------------------- options


def test_options_are_completed() -> None:
    complete = get_backend("00").check_options
    assert complete({}) == {"complib": "blosc:lz4", "complevel": 5, "shuffle": "byte"}
    assert complete({"shuffle": None})["shuffle"] == "none"
    assert complete({"complib": None}) == {"complib": None, "complevel": 5, "shuffle": "none"}
    assert complete({"complib": "gzip"})["shuffle"] is True
    assert complete({"complib": "lzf", "shuffle": False})["shuffle"] is False
    for choice in CHOICES:
        assert complete(complete(choice)) == complete(choice)


@pytest.mark.parametrize(
    "options",
    [
        {"complib": "blosc"},
        {"complib": "zstd"},
        {"complib": 5},
        {"complib": ["gzip"]},
        {"complevel": 10},
        {"complevel": -1},
        {"complevel": True},
        {"complevel": "5"},
        {"shuffle": "bits"},
        {"shuffle": 1},
        {"shuffle": True},
        {"complib": "gzip", "shuffle": "bit"},
        {"complib": "lzf", "shuffle": 1},
        {"complib": None, "shuffle": "byte"},
    ],
)
def test_bad_values_are_refused(options: Options) -> None:
    with pytest.raises(InvalidInputError):
        get_backend("01").check_options(options)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(InvalidTypeError, match="complevel"):
        get_backend("00").check_options({"level": 3})


def test_what_they_hold() -> None:
    for tag in TAGS:
        backend = get_backend(tag)
        assert backend.holds(NDARRAY, variable=False)
        assert backend.holds(NDARRAY, variable=True) == (tag == "00")
        assert not backend.holds(STR, variable=False)
        assert not backend.holds(BYTES, variable=True)


# --------------------------------------------------------------------------------------------------- what h5py finds


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("options", CHOICES, ids=lambda options: "-".join(map(str, options.values())))
def test_h5py_reads_every_codec(tmp_path: Path, tag: str, options: dict[str, Any]) -> None:
    """HDF5 decodes each chunk to what was written: one chunk, several, and one that is cut."""
    opened = Opened(tmp_path, tag)
    small, large = smooth(1, 250, (28, 28)), smooth(2, 2, (3, 700_001), "<u2")
    opened.add_arrays(list(small), FLOAT32, **options)
    opened.add_arrays(list(small[:1] + 1), FLOAT32, **options)
    opened.add_arrays(list(large), UINT16, **options)
    opened.add_arrays([np.random.default_rng(0).integers(0, 256, (50_000,), np.uint8)], UINT8, **options)
    opened.writer.sync()
    opened.check()
    found = datasets(opened.path)
    of_small = [array for name, array in found.items() if name.startswith("float32_28x28/")]
    rows = np.concatenate(of_small)
    assert {row.tobytes() for row in rows} == {row.tobytes() for row in [*small, small[0] + 1]}
    assert len(rows) == 251
    assert any(np.array_equal(array[: len(small)], small[: len(array)]) for array in of_small)
    (of_large,) = [array for name, array in found.items() if name.startswith("uint16_3x700001/")]
    assert np.array_equal(of_large, large)


def test_h5py_names_every_type(tmp_path: Path) -> None:
    """Values are what they are in numpy; types that HDF5 has no name for are whole numbers of their size."""
    from hangar.schema.dtypes import DTYPE_NAMES, dtype_of

    opened = Opened(tmp_path)
    arrays = {}
    for code, name in DTYPE_NAMES.items():
        # Not where the conversion of a few types has no exact value: small whole numbers.
        arrays[name] = np.array([[1, 0, 2], [1, 1, 0.5]]).astype(dtype_of(code))
        opened.add_arrays([arrays[name]], code)
    opened.writer.sync()
    with h5py.File(opened.path, "r") as file:
        assert file.attrs["hangar backend"] == b"00"
        for name, array in arrays.items():
            (dataset,) = file[f"{name}_2x3"].values()
            assert dataset.attrs["dtype"] == name.encode()
            if name.startswith("float8"):
                assert dataset.dtype == np.uint8
                assert dataset[0].tobytes() == array.tobytes()
            else:
                if name != "bfloat16":
                    assert dataset.dtype == array.dtype
                assert np.array_equal(dataset[0], array.astype(dataset.dtype))


def test_h5py_finds_many_shapes(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    arrays = [smooth(n, n % 7 + 1, (n % 11 + 2, 5)) for n in range(120)]
    opened.add_arrays(arrays, FLOAT32)
    opened.writer.sync()
    opened.check()
    found = datasets(opened.path)
    parts = sorted(name for name in found if name.startswith("float32_of_many_shapes/") and "shapes" not in name[23:])
    back = []
    for name in parts:
        ends = np.cumsum(found[f"{name}_shapes"].prod(axis=1))
        for shape, end in zip(found[f"{name}_shapes"].tolist(), ends.tolist(), strict=True):
            back.append(found[name][end - math.prod(shape) : end].reshape(shape).tobytes())
    assert back == [array.tobytes() for array in arrays]


def test_many_chunks_of_one_dataset(tmp_path: Path) -> None:
    """More chunks than two levels of HDF5's tree hold."""
    opened = Opened(tmp_path, "01")
    rows = np.arange(5_000 * 4, dtype="<u2").reshape(-1, 4)
    opened.add_arrays(list(rows), UINT16, complib=None)
    opened.writer.sync()
    (found,) = datasets(opened.path).values()
    assert np.array_equal(found, rows)


def test_arrays_of_the_highest_rank(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    array = smooth(0, 1, (*[1] * 27, 3, 1, 1, 2), "u1")[0]
    opened.add_arrays([array] * 2, UINT8)
    opened.writer.sync()
    opened.check()
    (found,) = datasets(opened.path).values()
    assert np.array_equal(found, [array, array])


def test_the_file_always_opens(tmp_path: Path) -> None:
    """Before the first sync, between two, with a listing that is behind, and when the end was set back."""
    opened = Opened(tmp_path)
    assert datasets(opened.path) == {}
    rows = list(smooth(1, 40, (32, 32)))
    opened.add_arrays(rows, FLOAT32)
    assert datasets(opened.path) == {}
    opened.writer.sync()
    assert len(next(iter(datasets(opened.path).values()))) == 32
    end = opened.writer.end
    opened.add_arrays(rows, FLOAT32)
    opened.writer.sync()
    assert len(next(iter(datasets(opened.path).values()))) == 64
    opened.writer.end = end
    opened.add_arrays(list(smooth(2, 40, (32, 32))), FLOAT32)
    del opened.batches[1]
    assert len(next(iter(datasets(opened.path).values()))) == 32
    opened.again()
    opened.add_arrays(rows[:1], FLOAT32)
    opened.writer.sync()
    opened.writer.seal()
    opened.writer.sync()
    assert sum(map(len, datasets(opened.path).values())) == 81
    opened.check()


def test_a_listing_lost_with_its_transaction(tmp_path: Path) -> None:
    """A crash between sync and publishing: the next writer goes on below the listing that is shown."""
    opened = Opened(tmp_path)
    end = opened.writer.end
    opened.add_arrays(list(smooth(1, 40, (32, 32))), FLOAT32)
    opened.writer.sync()
    opened.writer.close()
    opened.batches.clear()
    opened.writer = opened.backend.open_writer(opened.path, 7, end)
    opened.add_arrays(list(smooth(2, 400, (32, 32))), FLOAT32)
    assert datasets(opened.path) == {}
    opened.writer.sync()
    assert sum(map(len, datasets(opened.path).values())) == 400
    opened.check()


def test_little_is_spent_on_listings(tmp_path: Path) -> None:
    """A thousand batches of one small sample, each synced by a writer of its own: little more than the chunks."""
    opened = Opened(tmp_path)
    rows = np.random.default_rng(0).integers(0, 256, (300, 28, 28), np.uint8)
    for row in rows:
        opened.add_arrays([row], UINT8)
        opened.writer.sync()
        opened.again()
    assert opened.writer.end - writer.DATA_START < 1.35 * rows.nbytes
    opened.check()
    assert sum(map(len, datasets(opened.path).values())) > 200


def test_what_lies_as_it_should(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    arrays = [*smooth(1, 3, (20, 20)), np.zeros((0, 4), "<f4")]
    encoded = {"complib": "blosc:zstd", "complevel": 3, "shuffle": "bit"}
    locations = opened.add_arrays(arrays, FLOAT32, **encoded)
    file = BlobFile(opened.path, 7, "00")
    for options in (
        encoded,
        {**encoded, "complevel": 4},
        {**encoded, "complib": "blosc:lz4"},
        {**encoded, "shuffle": "byte"},
    ):
        same = opened.backend.stored_as(file, locations, opened.backend.check_options(options))
        assert same.tolist() == [options == encoded] * 3 + [True]
    plain = opened.add_arrays(arrays, FLOAT32, complib=None)
    same = opened.backend.stored_as(file, plain, opened.backend.check_options({"complib": None, "complevel": 9}))
    assert same.all()


def test_a_batch_of_small_samples_has_few_chunks(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    locations = opened.add_arrays(list(smooth(3, 1_000, (28, 28), "u1")), UINT8)
    assert len(set(locations.offset.tolist())) == 6
    opened.check()


# ------------------------------------------------------------------------------------------------------------ damage


@pytest.mark.parametrize("options", CHOICES, ids=lambda options: "-".join(map(str, options.values())))
def test_a_flipped_bit_is_found(tmp_path: Path, options: dict[str, Any]) -> None:
    """Anywhere in a frame: no codec is given what is damaged."""
    opened = Opened(tmp_path, "01")
    opened.add_arrays([smooth(4, 1, (40, 50))[0]], FLOAT32, **options)
    opened.add_arrays([smooth(5, 1, (3, 300_000))[0]], FLOAT32, **options)
    source = random.Random(0)
    for headers, _, locations in opened.batches:
        start, length = int(locations.offset[0]), int(locations.length[0])
        file = BlobFile(opened.path, 7, "01")
        with opened.path.open("r+b", buffering=0) as raw:
            for at in {*range(start, start + 100, 3), *(source.randrange(start, start + length) for _ in range(20))}:
                byte = os.pread(raw.fileno(), 1, at)[0]
                os.pwrite(raw.fileno(), bytes([byte ^ 1 << source.randrange(8)]), at)
                with pytest.raises(HangarError):
                    opened.backend.read_list(file, locations, headers)
                os.pwrite(raw.fileno(), bytes([byte]), at)
    opened.check()


@pytest.mark.parametrize("complib", [name for name in COMPLIBS if name])
def test_hostile_chunks_are_errors(complib: str) -> None:
    """Chunks that somebody made, with checksums that match: an error, or some bytes."""
    from hangar.backends.hdf5.codecs import encode

    encoding = Encoding(COMPLIBS[complib], 5, 1)
    data = smooth(6, 1, (3_000,))[0].view(np.uint8)
    stored = np.frombuffer(bytes(encode(data, encoding, 4)), np.uint8)
    source = random.Random(1)
    refused = 0
    count = 30 if complib == "lzf" else 300
    for _ in range(count):
        bad = stored.copy()
        for _ in range(source.choice((1, 3, 30))):
            bad[source.randrange(len(bad) if source.random() < 0.5 else 40)] = source.randrange(256)
        bad = bad[: source.choice((len(bad), len(bad), source.randrange(len(bad))))]
        out = np.zeros(len(data), np.uint8)
        try:
            decode(bad, encoding.codec, 1, 4, out)
        except CorruptionError:
            refused += 1
    assert refused > count // 5


def hostile_heads(content: frames.Content) -> Iterator[frames.Content]:
    """What the head of a frame could claim."""
    numbers = (0, 1, 3, 2**31, 2**40, 2**63, 2**64 - 1)
    for field, number in itertools.product(("piece", "slab"), numbers):
        yield content._replace(piece_bytes=number) if field == "piece" else content._replace(slab_bytes=number)
    for number in numbers:
        yield content._replace(piece_bytes=number, slab_bytes=number)
    for item in (0, 3, 255):
        yield content._replace(item_bytes=item)


@pytest.mark.parametrize("shape", [(40, 50), (3, 300_000)])
def test_hostile_heads_are_errors(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """A head with the right checksum and impossible sizes: nothing is allocated on its word."""
    opened = Opened(tmp_path, "01")
    locations = opened.add_arrays([smooth(4, 1, shape)[0]], FLOAT32)
    whole = opened.path.read_bytes()
    start, length = int(locations.offset[0]), int(locations.length[0])
    frame = frames.Frame.find(whole, start, len(whole))
    for content in hostile_heads(frame.content):
        head = frames.encode_head(content, frame.encoding, frame.stored, frame.checks)
        opened.path.write_bytes(whole[:start] + head + whole[start + len(head) :])
        if content == frame.content:
            continue
        with pytest.raises(CorruptionError):
            opened.backend.read_list(BlobFile(opened.path, 7, "01"), locations, opened.batches[0][0])
    opened.path.write_bytes(whole)
    opened.check()
    assert length > 0


def test_a_damaged_frame_costs_the_listing_alone(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    locations = opened.add_arrays(list(smooth(1, 40, (32, 32))), FLOAT32)
    with opened.path.open("r+b") as file:
        file.seek(int(locations.offset[0]))
        file.write(b"????")
    more = opened.add_arrays(list(smooth(2, 40, (32, 32))), FLOAT32)
    opened.writer.sync()
    assert datasets(opened.path) == {}
    headers, data, _ = opened.batches[1]
    found = opened.backend.read_list(BlobFile(opened.path, 7, "00"), more, headers)
    assert [bytes(one) for one in found] == data


# ------------------------------------------------------------------------------------------------------- crash, fork


def test_a_killed_writer_loses_nothing(tmp_path: Path) -> None:
    """kill -9 at random moments: what was synced reads back, h5py opens the file, and the next writer goes on."""
    source = random.Random(0)
    for attempt in range(6):
        directory = tmp_path / str(attempt)
        directory.mkdir()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                opened = Opened(directory)
                for seed in itertools.count():
                    opened.add_arrays(list(smooth(seed, 30, (30, 30))), FLOAT32)
                    opened.writer.sync()
                    os.write(writing, f"{opened.writer.end}\n".encode())
            finally:
                os._exit(1)
        os.close(writing)
        with os.fdopen(reading) as told:
            lines = [told.readline() for _ in range(source.randrange(1, 12))]
            os.kill(child, signal.SIGKILL)
            lines += told.readlines()
        os.waitpid(child, 0)
        again = Opened.__new__(Opened)
        again.backend, again.path, again.batches = get_backend("00"), directory / "00000007.00", []
        datasets(again.path)
        again.writer = again.backend.open_writer(again.path, 7, int(lines[-1]))
        again.add_arrays(list(smooth(10**6, 30, (30, 30))), FLOAT32)
        again.writer.seal()
        again.writer.sync()
        again.check()
        want = [row for seed in (*range(len(lines)), 10**6) for row in smooth(seed, 30, (30, 30))]
        assert np.array_equal(np.concatenate(list(datasets(again.path).values())), want)


def test_a_forked_child_leaves_the_file_alone(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    opened.add_arrays(list(smooth(1, 30, (30, 30))), FLOAT32)
    before = opened.path.read_bytes()
    child = os.fork()
    if child == 0:
        del opened
        os._exit(0)
    os.waitpid(child, 0)
    assert opened.path.read_bytes() == before
    opened.writer.sync()
    opened.check()
