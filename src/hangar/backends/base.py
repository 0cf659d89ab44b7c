"""Interface of a storage backend: how the bytes of blobs are stored in files.

Calls work on batches; single samples have calls of their own only where users read single samples. A backend *opens a
writer* for one blob file, which *writes a batch* as one contiguous append and *syncs* it. A backend *reads a batch* of
locations. It guarantees:

- a location reads back as the logical bytes that were written, or an error from ``hangar.errors`` is raised;
- nothing is read from beyond the recorded end of a file;
- synced bytes are never overwritten.

The package ``hangar.blobs`` handles digests, checksums, deduplication, file ids, recorded ends, leases and publishing.

To add a backend: subclass :class:`Backend` (or ``hangar.backends.append.RawBackend``, if blobs are stored unencoded),
register it in the entry point group ``hangar.backends`` under its tag, and run the test suite
``hangar.testing.backends`` on it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from hangar.backends.file import BlobFile
from hangar.backends.location import Location, Locations
from hangar.backends.parts import Parts
from hangar.backends.stored import StoredForm
from hangar.digest import Header
from hangar.errors import CorruptionError, InvalidTypeError
from hangar.gathering import Rows
from hangar.wording import plural

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Backend", "Blob", "Capabilities", "FileWriter", "Options", "Payload", "Rows"]

Blob: TypeAlias = "Rows | bytes"
"""Logical bytes of one sample: ``bytes`` for a str or bytes value, a new uint8 array for an ndarray."""
Options: TypeAlias = Mapping[str, Any]


class Capabilities(msgspec.Struct, frozen=True):
    """Kinds of data that a backend can hold.

    Attributes
    ----------
    kinds
        Kinds of data: ``NDARRAY``, ``STR``, ``BYTES`` of ``hangar.digest``.
    fixed, variable
        Whether it holds columns of fixed shape, and of variable shape.
    raw
        Blobs are stored unencoded: ``length`` logical bytes from ``offset`` on. The blob store then copies them itself.
    """

    kinds: frozenset[int]
    fixed: bool = True
    variable: bool = True
    raw: bool = False


class Payload(msgspec.Struct, frozen=True):
    """Batch of n samples to be written.

    Attributes
    ----------
    buffers
        Logical bytes of all samples, one after the other. A buffer may hold several samples or a part of one.
    lengths
        Size of each sample, int64, shape (n,).
    headers
        Header of each sample, or the one of all.
    rows
        The same bytes as one array, if all samples have one size and are contiguous in memory; else None.
    form
        Of a single sample that is written in the form in which it came, and ``buffers`` are its stored bytes; else None.
        Only a backend that :meth:`Backend.keeps` such a form gets one.
    """

    buffers: Sequence[Buffer]
    lengths: npt.NDArray[np.int64]
    headers: Header | Sequence[Header]
    rows: Rows | None = None
    form: StoredForm | None = None

    @classmethod
    def of_rows(cls, rows: Rows, header: Header) -> Payload:
        """Batch of samples of one header, a row each."""
        return cls([rows.data], np.full(len(rows), rows.shape[1], np.int64), header, rows)

    @property
    def nbytes(self) -> int:
        """Bytes of the batch."""
        return int(self.lengths.sum())


class FileWriter(ABC):
    """A blob file open for appending, in one process.

    Attributes
    ----------
    path, file_id
        The file.
    end
        Offset of the next append. The owner records it when a batch is published, and sets it back to drop an
        unpublished batch.
    """

    path: Path
    file_id: int
    end: int

    @abstractmethod
    def write(self, payload: Payload, options: Options) -> Locations:
        """Append a batch contiguously at ``end`` and advance ``end``. The batch is not durable yet.

        Returns
        -------
        Locations
            A location for each sample, in the order of the payload, made by :meth:`Locations.at`.

        Raises
        ------
        DiskFullError, StorageError
            ``end`` is unchanged, and the write may be repeated.
        """

    @abstractmethod
    def sync(self) -> None:
        """Sync all writes to disk. ``end`` may advance over metadata that the file needs.

        Raises
        ------
        StorageError
            The bytes may be lost. Do not use the writer again.
        """

    def is_current(self) -> bool:
        """Whether the path still names this file, with its header and all bytes up to ``end``.

        Writes to a file that was deleted, truncated or replaced would be lost.
        """
        return True

    def seal(self) -> None:  # noqa: B027  (most backends have nothing to do)
        """Finish the file; nothing more will be written. :meth:`sync` is called afterwards."""

    @abstractmethod
    def close(self) -> None:
        """Close the file. Calling it again does nothing."""


class Backend(ABC):
    """Storage backend of blobs.

    Attributes
    ----------
    tag
        Name of the backend in file names, locations and options; at most eight ASCII letters and digits.
    capabilities
        Kinds of data it can hold.
    """

    tag: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    def holds(self, kind: int, *, variable: bool) -> bool:
        """Whether the backend can store samples of this kind, of fixed or variable shape."""
        capabilities = self.capabilities
        return kind in capabilities.kinds and (capabilities.variable if variable else capabilities.fixed)

    def check_options(self, options: Options) -> dict[str, Any]:
        """Check the options of a user and fill in defaults. A backend without options need not override this.

        Raises
        ------
        InvalidTypeError
            Unknown option.
        InvalidInputError
            Invalid value.
        """
        if options:
            raise InvalidTypeError(f"backend {self.tag!r} takes no options, but got {', '.join(map(repr, options))}")
        return {}

    def stored_as(self, file: BlobFile, locations: Locations, options: Options) -> npt.NDArray[np.bool_]:
        """Mask of the blobs that are stored as a writer with these options would store them: bool, shape (n,).

        A conversion rewrites the others. A backend without options need not override this.

        Parameters
        ----------
        options
            As :meth:`check_options` returned them.

        Raises
        ------
        CorruptionError
            The stored form cannot be read.
        """
        return np.ones(len(locations), np.bool_)

    def stored_options(self, file: BlobFile, locations: Locations) -> list[tuple[Options, npt.NDArray[np.intp]]]:
        """Group blobs by the options with which they were stored: options, complete, and positions of each group.

        Compaction stores blobs again as they are. A backend without options need not override this.

        Raises
        ------
        CorruptionError
            The stored form cannot be read.
        """
        return [(self.check_options({}), np.arange(len(locations)))]

    def shares(self, file: BlobFile, locations: Locations) -> npt.NDArray[np.float64]:
        """Bytes of the file that would be free without each blob: float64, shape (n,). Blobs of one chunk share its bytes.

        The default divides the bytes of a chunk among the given blobs; override it if it is known how many a chunk holds.

        Raises
        ------
        CorruptionError
            The stored form cannot be read.
        """
        _, chunk_of, counts = np.unique(locations.offset, return_inverse=True, return_counts=True)
        lengths: npt.NDArray[np.float64] = locations.length.astype(np.float64)
        return lengths / counts[chunk_of.reshape(-1)]

    def holds_only(self, file: BlobFile, locations: Locations) -> bool:
        """Whether the file surely holds no bytes of samples but those at ``locations``.

        False where it is not known, as here. Then erasing a blob rewrites the file, because it may hold another copy.
        """
        return False

    def verify(self, file: BlobFile, locations: Locations) -> npt.NDArray[np.bool_] | None:
        """Mask of the blobs whose stored bytes are intact, by checksums of the backend's own: bool, shape (n,).

        None if the backend has no such checksums; then blobs must be read to verify them. The caller guarantees correct
        locations.
        """
        return None

    @abstractmethod
    def open_writer(self, path: Path, file_id: int, end: int | None) -> FileWriter:
        """Open a blob file for appending.

        Parameters
        ----------
        path
            Path of the file. It begins with ``encode_file_header(tag, file_id)``.
        end
            Recorded end of an existing file. Bytes of a crashed writer may follow it. None: create a new file, which
            must not exist (``_fs.create_file``).

        Raises
        ------
        CorruptionError
            The existing file cannot be continued.
        StorageError
            With ``errno`` ``EEXIST``: the new file exists.
        """

    @abstractmethod
    def read_list(self, file: BlobFile, locations: Locations, headers: Sequence[Header]) -> list[Blob]:
        """Logical bytes of each location, in order, in new memory. ``headers`` has the header of each.

        Raises
        ------
        CorruptionError
            A location is outside the file, or its bytes cannot be decoded.
        """

    def read_one(self, file: BlobFile, place: Location, header: Header) -> Blob:
        """Logical bytes of one location. Like :meth:`read_list`; override it if a single read can be faster.

        Parameters
        ----------
        place
            The five words of the location (see ``hangar.backends.location``).
        """
        return self.read_list(file, Locations(np.array([place], np.uint64)), [header])[0]

    def read_pieces(self, file: BlobFile, place: Location, header: Header) -> Iterator[Blob]:
        """Logical bytes of one location, a few megabytes at a time, so that checking a large sample needs little memory.

        A piece is valid until the next one is requested. Raises the same errors as :meth:`read_list`.
        """
        yield self.read_one(file, place, header)

    def parts(self, file: BlobFile, place: Location, nbytes: int) -> Parts | None:
        """The parts of the blob of ``nbytes`` at a location; None if it cannot be read in parts. Override it if it can.

        Raises
        ------
        CorruptionError
            As :meth:`read_list`.
        """
        return None

    def form(self, file: BlobFile, place: Location, nbytes: int) -> StoredForm | None:
        """The form in which the blob of ``nbytes`` at a location is stored; None if it can only be read decoded.

        Raises
        ------
        CorruptionError
            As :meth:`read_list`.
        """
        return None

    def read_form(self, file: BlobFile, form: StoredForm, first: int, last: int) -> bytes:
        """Stored bytes of some pieces of a :meth:`form`: from ``first`` to ``last``, exclusive. Verified as :meth:`verify` does.

        Raises
        ------
        CorruptionError
            They are damaged.
        """
        raise NotImplementedError

    def keeps(self, form: StoredForm, header: Header, options: Options | None) -> bool:
        """Whether a writer could have stored a sample in a form that came from elsewhere, with these options or, if None, with any. See :class:`Payload`."""
        return False

    def read_rows(self, file: BlobFile, locations: Locations, header: Header, out: Rows) -> None:
        """Read the logical bytes of locations that share one header into ``out``, shape (n, size of a sample).

        Raises
        ------
        CorruptionError
            As :meth:`read_list`, or a blob has another size.
        """
        size = out.shape[1]
        for index, blob in enumerate(self.read_list(file, locations, [header] * len(locations))):
            if len(blob) != size:
                raise CorruptionError(f"a blob in {file.path} has {plural(len(blob), 'byte')} instead of {size}")
            out[index] = blob if isinstance(blob, np.ndarray) else np.frombuffer(blob, np.uint8)
