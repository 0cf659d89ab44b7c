"""Contract tests for backends, as a base class of tests.

Define a subclass with the tag of the backend in a file that pytest collects. Its name must begin with ``Test``::

    class TestMine(BackendContract):
        tag = "a0"

The suite writes and reads batches, appends to files, truncates and corrupts them, and reads from threads and forked
processes. A backend need not *detect* every damaged byte: the blob store has checksums for that. But damage must never
cause an exception other than a ``HangarError``.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import random
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from hangar.backends import Backend, BlobFile, FileWriter, Locations, Options, Payload, get_backend
from hangar.backends.base import Blob, Rows
from hangar.backends.file import FILE_HEADER_BYTES, decode_file_header
from hangar.backends.location import Location
from hangar.digest import NDARRAY, SPARSE, Header
from hangar.errors import CorruptionError, HangarError, InvalidTypeError, StorageError
from hangar.schema.dtypes import DTYPE_NAMES

__all__ = ["BackendContract", "Sample", "samples"]

_FILE_ID = 7
_SIZES = (0, 1, 2, 8, 31, 32, 784, 4_096, 40_000)
_UINT8 = 6


@dataclass(frozen=True, slots=True)
class Sample:
    """One blob: its header and logical bytes."""

    header: Header
    data: bytes


def samples(kind: int, sizes: Sequence[int], seed: int = 0) -> list[Sample]:
    """Samples of one kind with random content, one for each size in bytes."""
    source = random.Random(seed)
    blobs = [source.randbytes(size) for size in sizes]
    if kind in (NDARRAY, SPARSE):
        # A sparse array has at least one dimension, whose size its bytes do not tell.
        return [Sample(Header(kind, _UINT8, (len(blob),)), blob) for blob in blobs]
    return [Sample(Header(kind, 0, ()), blob) for blob in blobs]


def _of_every_type(seed: int) -> Iterator[tuple[Header, Rows]]:
    """Header and logical bytes of a few compressible arrays of each element type."""
    source = np.random.default_rng(seed)
    for code, name in DTYPE_NAMES.items():
        bits = re.search(r"[0-9]+", name)
        item = int(bits[0]) // 8 if bits else 1
        for shape in ((), (3, 0), (5, 4, 3)):
            yield Header(NDARRAY, code, shape), source.integers(0, 2, (4, item * math.prod(shape)), np.uint8)


def _payload(batch: Sequence[Sample]) -> Payload:
    lengths = np.array([len(sample.data) for sample in batch], np.int64)
    return Payload([sample.data for sample in batch], lengths, [sample.header for sample in batch])


class BackendContract:
    """Contract tests of a backend; see the docstring of the module."""

    tag: ClassVar[str]
    """Tag of the backend."""
    options: ClassVar[Options] = {}
    """Options as a user would give them."""
    choices: ClassVar[Sequence[Options]] = ()
    """More options; every element type is written and read with each of them."""

    # ------------------------------------------------------------------ tools

    @pytest.fixture
    def backend(self) -> Backend:
        """The backend, looked up by its tag."""
        return get_backend(self.tag)

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """A blob file that does not exist yet."""
        return tmp_path / f"{_FILE_ID:08x}.{self.tag}"

    def _write(self, writer: FileWriter, backend: Backend, batch: Sequence[Sample]) -> Locations:
        return writer.write(_payload(batch), backend.check_options(self.options))

    def _made(self, backend: Backend, path: Path, batch: Sequence[Sample]) -> Locations:
        """Write one batch to a new file, sync and close it."""
        writer = backend.open_writer(path, _FILE_ID, None)
        locations = self._write(writer, backend, batch)
        writer.sync()
        writer.close()
        return locations

    def _read(self, backend: Backend, path: Path, locations: Locations, batch: Sequence[Sample]) -> list[bytes]:
        """Read the blobs at the locations of ``batch``."""
        file = BlobFile(path, _FILE_ID, self.tag)
        headers = [sample.header for sample in batch]
        found = [bytes(blob) for blob in backend.read_list(file, locations, headers)]
        assert [bytes(blob) for blob in _singly(backend, file, locations, headers)] == found
        return found

    def _batch(self, backend: Backend, count: int = 20, seed: int = 0) -> list[Sample]:
        """A batch of a kind that the backend supports, of many sizes if it supports variable shapes."""
        kind = min(backend.capabilities.kinds)
        sizes = [_SIZES[i % len(_SIZES)] if backend.capabilities.variable else 784 for i in range(count)]
        return samples(kind, sizes, seed)

    # ------------------------------------------------------------------ tag, capabilities, options

    def test_tag_and_capabilities(self, backend: Backend) -> None:
        """The backend declares a valid tag and its capabilities."""
        assert backend.tag == self.tag
        assert self.tag.isascii()
        assert self.tag.isalnum()
        assert len(self.tag) <= 8
        assert backend.capabilities.kinds
        assert backend.capabilities.fixed or backend.capabilities.variable
        for kind in backend.capabilities.kinds:
            assert backend.holds(kind, variable=True) == backend.capabilities.variable
        assert not backend.holds(250, variable=False)

    def test_options_are_checked(self, backend: Backend) -> None:
        """Valid options are completed, and completing them again changes nothing. Unknown options are refused."""
        complete = backend.check_options(self.options)
        assert backend.check_options(complete) == complete
        with pytest.raises(InvalidTypeError):
            backend.check_options({**self.options, "no such option": 1})

    def test_stored_options_are_recognized(self, backend: Backend, path: Path) -> None:
        """``stored_as`` is True for blobs written with the same options: a conversion would skip them."""
        locations = self._made(backend, path, self._batch(backend))
        found = backend.stored_as(BlobFile(path, _FILE_ID, self.tag), locations, backend.check_options(self.options))
        assert found.dtype == np.bool_
        assert found.tolist() == [True] * len(locations)

    def test_file_header(self, backend: Backend, path: Path) -> None:
        """A file begins with the 64-byte header of all blob files."""
        self._made(backend, path, self._batch(backend))
        assert decode_file_header(path.read_bytes()[:FILE_HEADER_BYTES], path) == (self.tag, _FILE_ID)

    # ------------------------------------------------------------------ batches in and out

    @pytest.mark.parametrize("size", [*_SIZES, 300_000])
    def test_batch_of_one_size(self, backend: Backend, path: Path, size: int) -> None:
        """Samples of one header are read stacked and as a list, in any order and with repetitions."""
        for kind in sorted(backend.capabilities.kinds):
            source = np.random.default_rng(size)
            rows = source.integers(0, 256, (17, size), np.uint8)
            header = samples(kind, [size])[0].header
            writer = backend.open_writer(path, _FILE_ID, None)
            locations = writer.write(Payload.of_rows(rows, header), backend.check_options(self.options))
            writer.sync()
            wanted = source.integers(0, 17, 64)
            asked = locations.take(wanted)
            file = BlobFile(path, _FILE_ID, self.tag)
            out = np.full((64, size), 0xAA, np.uint8)
            backend.read_rows(file, asked, header, out)
            assert np.array_equal(out, rows[wanted])
            listed = backend.read_list(file, asked, [header] * 64)
            assert [bytes(blob) for blob in listed] == [rows[at].tobytes() for at in wanted.tolist()]
            writer.close()
            path.unlink()

    def test_every_type_with_every_choice(self, backend: Backend, path: Path) -> None:
        """Arrays of each element type and several ranks are read unchanged, for all options, from one file."""
        arrays = NDARRAY in backend.capabilities.kinds
        writer = backend.open_writer(path, _FILE_ID, None)
        written = []
        for number, options in enumerate((self.options, *self.choices)):
            complete = backend.check_options(options)
            for header, rows in _of_every_type(number) if arrays else ():
                written.append((header, rows, writer.write(Payload.of_rows(rows, header), complete)))
        writer.seal()
        writer.sync()
        writer.close()
        file = BlobFile(path, _FILE_ID, self.tag)
        for header, rows, locations in written:
            out = np.full(rows.shape, 0xAA, np.uint8)
            backend.read_rows(file, locations, header, out)
            assert np.array_equal(out, rows)
            listed = backend.read_list(file, locations, [header] * len(rows))
            assert [bytes(blob) for blob in listed] == [row.tobytes() for row in rows]
            alone = _singly(backend, file, locations, [header] * len(rows))
            assert [bytes(blob) for blob in alone] == [row.tobytes() for row in rows]

    def test_batch_of_many_sizes(self, backend: Backend, path: Path) -> None:
        """Samples of different sizes, including empty ones, are read in any order."""
        batch = self._batch(backend, 60)
        locations = self._made(backend, path, batch)
        assert len(locations) == 60
        assert set(locations.file.tolist()) == {_FILE_ID}
        order = random.Random(5).choices(range(60), k=100)
        asked = [batch[at] for at in order]
        found = self._read(backend, path, locations.take(np.array(order)), asked)
        assert found == [sample.data for sample in asked]

    def test_samples_in_pieces(self, backend: Backend, path: Path) -> None:
        """The boundaries of buffers need not be those of samples: only the concatenation counts."""
        batch = self._batch(backend)
        whole = b"".join(sample.data for sample in batch)
        cuts = [0, 1, len(whole) // 3, len(whole) // 2, len(whole)]
        pieces = [whole[start:stop] for start, stop in pairwise(cuts)]
        payload = Payload(pieces, _payload(batch).lengths, [sample.header for sample in batch])
        writer = backend.open_writer(path, _FILE_ID, None)
        locations = writer.write(payload, backend.check_options(self.options))
        writer.close()
        assert self._read(backend, path, locations, batch) == [sample.data for sample in batch]

    def test_read_arrays_are_independent_copies(self, backend: Backend, path: Path) -> None:
        """Arrays are writable, and writing to them changes nothing else."""
        batch = self._batch(backend)
        locations = self._made(backend, path, batch)
        file = BlobFile(path, _FILE_ID, self.tag)
        headers = [sample.header for sample in batch]
        for blob, sample in zip(backend.read_list(file, locations, headers), batch, strict=True):
            if sample.header.kind == NDARRAY:
                assert isinstance(blob, np.ndarray)
                assert blob.dtype == np.uint8
                blob[...] = 0x55
                alone = _singly(backend, file, locations.take(slice(0, 1)), headers[:1])[0]
                assert isinstance(alone, np.ndarray)
                alone[...] = 0x55
            else:
                assert type(blob) is bytes
        assert self._read(backend, path, locations, batch) == [sample.data for sample in batch]

    # ------------------------------------------------------------------ appending to a file

    def test_batches_follow_one_another(self, backend: Backend, path: Path) -> None:
        """Several batches are appended to one file, also by consecutive writers. Earlier batches stay unchanged."""
        batches = [self._batch(backend, 5, seed) for seed in range(6)]
        found = []
        end: int | None = None
        for first, second in zip(batches[::2], batches[1::2], strict=True):
            writer = backend.open_writer(path, _FILE_ID, end)
            found += [self._write(writer, backend, first), self._write(writer, backend, second)]
            writer.sync()
            end = writer.end
            writer.close()
            writer.close()
        for batch, locations in zip(batches, found, strict=True):
            assert self._read(backend, path, locations, batch) == [sample.data for sample in batch]

    def test_unrecorded_bytes_are_overwritten(self, backend: Backend, path: Path) -> None:
        """A writer appends at the recorded end, and overwrites bytes that a crashed writer left after it."""
        kept, lost, new = (self._batch(backend, 7, seed) for seed in range(3))
        writer = backend.open_writer(path, _FILE_ID, None)
        first = self._write(writer, backend, kept)
        writer.sync()
        end = writer.end
        self._write(writer, backend, lost)
        writer.sync()
        writer.close()
        writer = backend.open_writer(path, _FILE_ID, end)
        assert writer.end == end
        second = self._write(writer, backend, new)
        writer.end = end
        third = self._write(writer, backend, new)
        writer.seal()
        writer.sync()
        writer.close()
        assert third.offset.tolist() == second.offset.tolist()
        assert self._read(backend, path, first, kept) == [sample.data for sample in kept]
        assert self._read(backend, path, third, new) == [sample.data for sample in new]

    def test_a_reader_sees_appended_batches(self, backend: Backend, path: Path) -> None:
        """A file opened for reading before a batch was written can read that batch."""
        first, second = self._batch(backend, 5, 1), self._batch(backend, 5, 2)
        writer = backend.open_writer(path, _FILE_ID, None)
        self._write(writer, backend, first)
        file = BlobFile(path, _FILE_ID, self.tag)
        locations = self._write(writer, backend, second)
        found = backend.read_list(file, locations, [sample.header for sample in second])
        assert [bytes(blob) for blob in found] == [sample.data for sample in second]
        writer.close()

    def test_a_new_file_is_new(self, backend: Backend, path: Path) -> None:
        """Creating a file that exists is refused, and the file stays unchanged."""
        batch = self._batch(backend)
        locations = self._made(backend, path, batch)
        with pytest.raises(StorageError) as failure:
            backend.open_writer(path, _FILE_ID, None)
        assert failure.value.errno == errno.EEXIST
        assert self._read(backend, path, locations, batch) == [sample.data for sample in batch]

    # ------------------------------------------------------------------ damage

    def test_another_file_is_refused(self, backend: Backend, path: Path) -> None:
        """A file with another id, or with a missing or truncated header, is neither read nor appended to."""
        self._made(backend, path, self._batch(backend))
        size = path.stat().st_size
        with pytest.raises(CorruptionError):
            backend.open_writer(path, _FILE_ID + 1, size)
        with pytest.raises(CorruptionError):
            BlobFile(path, _FILE_ID + 1, self.tag)
        with pytest.raises(CorruptionError):
            backend.open_writer(path, _FILE_ID, size + 10**12)
        for damaged in (b"", b"x" * 20, b"x" * size):
            path.write_bytes(damaged)
            with pytest.raises(CorruptionError):
                backend.open_writer(path, _FILE_ID, size)
            with pytest.raises(CorruptionError):
                BlobFile(path, _FILE_ID, self.tag)

    def test_a_short_file_is_an_error(self, backend: Backend, path: Path) -> None:
        """Blobs beyond the end of a truncated file are errors, whether it was opened before or after."""
        batch = self._batch(backend, 40)
        locations = self._made(backend, path, batch)
        headers = [sample.header for sample in batch]
        early = BlobFile(path, _FILE_ID, self.tag)
        os.truncate(path, FILE_HEADER_BYTES + 100)
        for file in (early, BlobFile(path, _FILE_ID, self.tag)):
            with pytest.raises(CorruptionError):
                backend.read_list(file, locations, headers)
            with pytest.raises(CorruptionError):
                _singly(backend, file, locations, headers)

    def test_garbage_locations_are_errors(self, backend: Backend, path: Path) -> None:
        """Reading any invalid location gives bytes or a ``HangarError``."""
        batch = self._batch(backend, 30)
        made = self._made(backend, path, batch)
        file = BlobFile(path, _FILE_ID, self.tag)
        source = np.random.default_rng(3)
        refused = 0
        for _ in range(200):
            words = made.words.copy()
            at = source.integers(0, len(words)), source.integers(0, words.shape[1])
            words[at] ^= np.uint64(1) << np.uint64(source.integers(0, 64))
            if source.integers(0, 2):
                words[at] = source.integers(0, 2**64, dtype=np.uint64, endpoint=False)
            try:
                found = backend.read_list(file, Locations(words), [sample.header for sample in batch])
                assert len(found) == len(batch)
            except HangarError:
                refused += 1
            with contextlib.suppress(HangarError):
                _singly(backend, file, Locations(words[at[0] : at[0] + 1]), [batch[at[0]].header])
        assert refused

    def test_garbage_locations_of_rows_are_errors(self, backend: Backend, path: Path) -> None:
        """The same for stacked reads, with offsets that overflow when something is added to them."""
        kind = min(backend.capabilities.kinds)
        batch = samples(kind, [64] * 8)
        made = self._made(backend, path, batch)
        file = BlobFile(path, _FILE_ID, self.tag)
        out = np.empty((8, 64), np.uint8)
        for offset in (2**64 - 1, 2**64 - 64, 2**64 - 32, 2**63, 2**63 - 1, 2**62, 2**40):
            words = made.words.copy()
            words[3, 0] = offset
            with pytest.raises(HangarError):
                backend.read_rows(file, Locations(words), batch[0].header, out)
            with pytest.raises(HangarError):
                backend.read_list(file, Locations(words), [sample.header for sample in batch])

    def test_garbage_files_are_errors(self, backend: Backend, path: Path) -> None:
        """Reading a file with any content after its header gives bytes or a ``HangarError``."""
        batch = self._batch(backend, 30)
        locations = self._made(backend, path, batch)
        whole = path.read_bytes()
        source = random.Random(4)
        for _ in range(50):
            data = bytearray(whole)
            for _ in range(source.choice((1, 20, 2_000))):
                data[source.randrange(FILE_HEADER_BYTES, len(data))] = source.randrange(256)
            path.write_bytes(data)
            try:
                found = self._read(backend, path, locations, batch)
            except HangarError:
                continue
            assert len(found) == len(batch)

    def test_wrong_size_is_an_error(self, backend: Backend, path: Path) -> None:
        """A blob of another size than its header declares is an error, not a short row."""
        kind = min(backend.capabilities.kinds)
        batch = samples(kind, [100] * 5)
        locations = self._made(backend, path, batch)
        with pytest.raises(CorruptionError):
            backend.read_rows(
                BlobFile(path, _FILE_ID, self.tag), locations, batch[0].header, np.empty((5, 99), np.uint8)
            )

    # ------------------------------------------------------------------ compaction

    def test_blobs_are_stored_again_as_they_are(self, backend: Backend, path: Path) -> None:
        """``stored_options`` gives complete options, with which a writer stores the blobs in the same way."""
        chosen = [backend.check_options(options) for options in (self.options, *self.choices)]
        writer = backend.open_writer(path, _FILE_ID, None)
        batches = [self._batch(backend, 12, seed) for seed in range(len(chosen))]
        parts = [writer.write(_payload(batch), options) for batch, options in zip(batches, chosen, strict=True)]
        writer.sync()
        writer.close()
        file = BlobFile(path, _FILE_ID, self.tag)
        locations = Locations.concatenate(parts)
        groups = backend.stored_options(file, locations)
        assert sorted(at for _, part in groups for at in part.tolist()) == list(range(len(locations)))
        for options, part in groups:
            assert backend.check_options(options) == options
            assert backend.stored_as(file, locations.take(part), options).all()

    def test_the_shares_of_all_blobs_are_the_file(self, backend: Backend, path: Path) -> None:
        """Each blob takes a part of the file, and together they take no more than there is."""
        batch = self._batch(backend, 40)
        locations = self._made(backend, path, batch)
        file = BlobFile(path, _FILE_ID, self.tag)
        shares = backend.shares(file, locations)
        filled = np.array([bool(sample.data) for sample in batch])
        assert (shares[filled] > 0).all()
        assert shares.sum() <= path.stat().st_size
        assert shares.sum() >= np.unique(locations.offset[filled], return_index=True)[1].size

    def test_a_file_with_other_bytes_does_not_hold_only_some_blobs(self, backend: Backend, path: Path) -> None:
        """A file holds other samples too if one is not named, or if a writer that was killed left bytes behind the end."""
        batch = [sample for sample in self._batch(backend, 40) if sample.data]
        locations = self._made(backend, path, batch)
        everything = BlobFile(path, _FILE_ID, self.tag)
        known = backend.holds_only(everything, locations)
        for left_out in (0, len(batch) // 2, len(batch) - 1):
            named = np.arange(len(batch)) != left_out
            assert not backend.holds_only(everything, locations.take(named))
        with path.open("ab") as file:
            file.write(bytes(100))
        assert not backend.holds_only(BlobFile(path, _FILE_ID, self.tag), locations)
        assert isinstance(known, bool)

    # ------------------------------------------------------------------ threads and processes

    def test_threads_read_together(self, backend: Backend, path: Path) -> None:
        """Several threads read from one open file while it grows."""
        batch = self._batch(backend, 60)
        writer = backend.open_writer(path, _FILE_ID, None)
        locations = self._write(writer, backend, batch)
        file = BlobFile(path, _FILE_ID, self.tag)
        failures: list[object] = []

        def read(seed: int) -> None:
            source = random.Random(seed)
            for _ in range(40):
                order = source.choices(range(60), k=30)
                asked = [batch[at] for at in order]
                found = backend.read_list(file, locations.take(np.array(order)), [sample.header for sample in asked])
                if [bytes(blob) for blob in found] != [sample.data for sample in asked]:
                    failures.append(order)

        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for seed in range(10):
            more = self._batch(backend, 10, 100 + seed)
            added = self._write(writer, backend, more)
            found = backend.read_list(file, added, [sample.header for sample in more])
            assert [bytes(blob) for blob in found] == [sample.data for sample in more]
        for thread in threads:
            thread.join()
        writer.close()
        assert not failures

    def test_a_forked_child_reads(self, backend: Backend, path: Path) -> None:
        """A child reads from a file that its parent opened, and the parent can still read after the child exits."""
        batch = self._batch(backend, 30)
        locations = self._made(backend, path, batch)
        headers = [sample.header for sample in batch]
        file = BlobFile(path, _FILE_ID, self.tag)
        backend.read_list(file, locations, headers)
        child = os.fork()
        if child == 0:
            found: list[Any] = []
            try:
                found = backend.read_list(file, locations, headers)
            finally:
                os._exit([bytes(blob) for blob in found] != [sample.data for sample in batch])
        assert os.waitpid(child, 0)[1] == 0
        found = backend.read_list(file, locations, headers)
        assert [bytes(blob) for blob in found] == [sample.data for sample in batch]


def _singly(backend: Backend, file: BlobFile, locations: Locations, headers: Sequence[Header]) -> list[Blob]:
    """Read the blobs at the locations one by one."""
    places: list[Location] = list(map(tuple, locations.words.tolist()))
    return [backend.read_one(file, place, header) for place, header in zip(places, headers, strict=True)]
