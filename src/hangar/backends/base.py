"""The contract of a backend: how blob bytes lie in files of this machine.

A backend is asked for batches, and for one sample only where a user asks for one. It *opens a writer* for one blob file, which *writes a batch* as
one contiguous append and *syncs* it; and it *reads a batch* of locations. It promises that what a location names reads back as the
logical bytes that were written, or raises an error of the tree; that nothing is read from beyond the recorded end; and
that bytes once synced are never written again. Digests, checksums, deduplication, file ids, recorded ends, leases and publishing are
``hangar.blobs``' affair, so a backend knows nothing of them.

To add one: subclass :class:`Backend` (or ``hangar.backends.append.RawBackend``, where blobs lie in the file as they are), name
it in the entry point group ``hangar.backends`` under its tag, and run ``hangar.testing.backends`` against it.
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
from hangar.digest import Header
from hangar.errors import CorruptionError, InvalidTypeError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Backend", "Blob", "Capabilities", "FileWriter", "Options", "Payload", "Rows"]

Rows: TypeAlias = npt.NDArray[np.uint8]
"""Logical bytes of n samples of one size: uint8, shape (n, size), C order."""
Blob: TypeAlias = "Rows | bytes"
"""Logical bytes of one sample: ``bytes`` of a str or bytes value, a fresh uint8 array of an ndarray."""
Options: TypeAlias = Mapping[str, Any]


class Capabilities(msgspec.Struct, frozen=True):
    """What a backend can do.

    Attributes
    ----------
    kinds
        Kinds of data it holds: ``NDARRAY``, ``STR``, ``BYTES`` of ``hangar.digest``.
    fixed, variable
        Whether it holds samples of one shape, and of many.
    raw
        Blobs lie in the file as their logical bytes, ``length`` of them from ``offset`` on. The blob store then gathers them itself.
    """

    kinds: frozenset[int]
    fixed: bool = True
    variable: bool = True
    raw: bool = False


class Payload(msgspec.Struct, frozen=True):
    """A batch of n samples to be written.

    Attributes
    ----------
    buffers
        Their logical bytes; the concatenation of the buffers is the concatenation of the samples.
    lengths
        Size of each sample, int64, shape (n,).
    headers
        Header of each sample, or the one of all.
    rows
        The same bytes as one array where all samples have one size and lie together, else None.
    """

    buffers: Sequence[Buffer]
    lengths: npt.NDArray[np.int64]
    headers: Header | Sequence[Header]
    rows: Rows | None = None

    @classmethod
    def of_rows(cls, rows: Rows, header: Header) -> Payload:
        """The batch of ``rows``, samples of one header."""
        return cls([rows.data], np.full(len(rows), rows.shape[1], np.int64), header, rows)

    @property
    def nbytes(self) -> int:
        """Bytes of the batch."""
        return int(self.lengths.sum())


class FileWriter(ABC):
    """One blob file that is open for appending, by one process.

    Attributes
    ----------
    path, file_id
        The file.
    end
        Where the next append goes. The owner records it when a batch is published, and sets it back to drop what was not.
    """

    path: Path
    file_id: int
    end: int

    @abstractmethod
    def write(self, payload: Payload, options: Options) -> Locations:
        """Append a batch contiguously at ``end``, which moves on; it is not durable yet.

        Returns
        -------
        Locations
            One for each sample, in the order of the payload, as :meth:`Locations.at` makes them.

        Raises
        ------
        DiskFullError, StorageError
            ``end`` has not moved, and writing may be tried again.
        """

    @abstractmethod
    def sync(self) -> None:
        """Bring what was written to disk. ``end`` may move on, over something that the file needs beside its blobs.

        Raises
        ------
        StorageError
            It may not be there. The writer is not used again.
        """

    def is_current(self) -> bool:
        """Whether the file is still the one under its name, with its header and everything up to ``end``.

        What is written to a file that was deleted, cut or replaced would be lost.
        """
        return True

    def seal(self) -> None:  # noqa: B027  (most backends have nothing to do)
        """Nothing more will be written: finish the file. :meth:`sync` is called afterwards."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file; calling it again does nothing."""


class Backend(ABC):
    """Where blob bytes lie.

    Attributes
    ----------
    tag
        Name of the backend in file names, locations and options; at most eight ASCII letters and digits.
    capabilities
        What it can hold.
    """

    tag: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    def holds(self, kind: int, *, variable: bool) -> bool:
        """Whether samples of this kind, of fixed or variable shape, can be stored."""
        capabilities = self.capabilities
        return kind in capabilities.kinds and (capabilities.variable if variable else capabilities.fixed)

    def check_options(self, options: Options) -> dict[str, Any]:
        """Complete options from those a user gave; this backend takes none unless it overrides the method.

        Raises
        ------
        InvalidTypeError
            An option is not known.
        InvalidInputError
            A value cannot be.
        """
        if options:
            raise InvalidTypeError(
                f"backend {self.tag!r} takes no options, and was given {', '.join(map(repr, options))}"
            )
        return {}

    def stored_as(self, file: BlobFile, locations: Locations, options: Options) -> npt.NDArray[np.bool_]:
        """Whether blobs of a file lie there as a writer with these options would put them: bool, shape (n,).

        A conversion writes those anew that do not. A backend that takes no options has nothing to compare.

        Parameters
        ----------
        options
            As :meth:`check_options` gave them.

        Raises
        ------
        CorruptionError
            It cannot be told.
        """
        return np.ones(len(locations), np.bool_)

    def verify(self, file: BlobFile, locations: Locations) -> npt.NDArray[np.bool_] | None:
        """Whether what is stored at some locations is what was written there, by checksums of the backend's own: bool, shape (n,).

        None where the backend has no such checksums, so that blobs must be read to tell. The locations are known to be right.
        """
        return None

    @abstractmethod
    def open_writer(self, path: Path, file_id: int, end: int | None) -> FileWriter:
        """Open a blob file for appending.

        Parameters
        ----------
        path
            The file. It begins with ``encode_file_header(tag, file_id)``.
        end
            Recorded end of an existing file, after which bytes of a crashed writer may lie; None: make a new file, which must
            not exist (``_fs.create_file``).

        Raises
        ------
        CorruptionError
            The existing file cannot be continued.
        StorageError
            With ``errno`` ``EEXIST``: the new file exists.
        """

    @abstractmethod
    def read_list(self, file: BlobFile, locations: Locations, headers: Sequence[Header]) -> list[Blob]:
        """Logical bytes of each location, in their order, in memory of its own. ``headers`` names the header of each.

        Raises
        ------
        CorruptionError
            A location lies outside the file, or what it names cannot be decoded.
        """

    def read_one(self, file: BlobFile, place: Location, header: Header) -> Blob:
        """Logical bytes of one location; as :meth:`read_list`, for a backend that can do it with less.

        Parameters
        ----------
        place
            The five words of the location (see ``hangar.backends.location``).
        """
        return self.read_list(file, Locations(np.array([place], np.uint64)), [header])[0]

    def read_pieces(self, file: BlobFile, place: Location, header: Header) -> Iterator[Blob]:
        """Logical bytes of one location, some megabytes at a time, so that a check of a large sample needs little memory.

        A piece is valid until the next one is asked for. Raises what :meth:`read_list` does.
        """
        yield self.read_one(file, place, header)

    def read_rows(self, file: BlobFile, locations: Locations, header: Header, out: Rows) -> None:
        """Logical bytes of locations that share one header, into ``out``, shape (n, size of each).

        Raises
        ------
        CorruptionError
            As :meth:`read_list`, or a blob has another size.
        """
        size = out.shape[1]
        for index, blob in enumerate(self.read_list(file, locations, [header] * len(locations))):
            if len(blob) != size:
                raise CorruptionError(f"a blob in {file.path} has {len(blob)} bytes instead of {size}")
            out[index] = blob if isinstance(blob, np.ndarray) else np.frombuffer(blob, np.uint8)
