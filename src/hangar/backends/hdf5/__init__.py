"""Backends ``00`` and ``01``: arrays in compressed chunks, in files that h5py can open.

``options`` and ``codecs`` define how a chunk is encoded, ``chunks`` which samples go into one, ``frames`` the layout of
chunks in a file. ``writer`` and ``reading`` use them. ``listing`` and ``structure`` create the HDF5 metadata for other
programs; Hangar does not read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from hangar.backends.base import Backend, Blob, Capabilities, FileWriter, Options, Rows
from hangar.backends.file import BlobFile
from hangar.backends.hdf5.chunks import Policy
from hangar.backends.hdf5.options import complete_options, encoding_of, options_of
from hangar.backends.hdf5.parts import parts_of
from hangar.backends.hdf5.reading import encoded_as, read_chunks, read_into, read_sample, read_samples
from hangar.backends.hdf5.stored import form_at, keeps, read_pieces_of
from hangar.backends.hdf5.usage import by_encoding, holds_only, shares
from hangar.backends.hdf5.verify import verify_chunks
from hangar.backends.hdf5.writer import DATA_START, HDF5Writer
from hangar.backends.location import Location, Locations
from hangar.backends.parts import Parts
from hangar.backends.stored import StoredForm
from hangar.digest import NDARRAY, Header

__all__ = ["HDF5Chunks", "HDF5Rows"]


class _HDF5(Backend):
    """Shared base of both backends. They differ in the sizes of chunks only."""

    policy: ClassVar[Policy]

    def check_options(self, options: Options) -> dict[str, Any]:
        """Check the options and fill in defaults: ``complib``, ``complevel`` and ``shuffle``."""
        return complete_options(options)

    def stored_as(self, file: BlobFile, locations: Locations, options: Options) -> npt.NDArray[np.bool_]:
        """Mask of the blobs whose chunks have the codec, level and shuffle of the options."""
        return encoded_as(file, locations, encoding_of(options))

    def stored_options(self, file: BlobFile, locations: Locations) -> list[tuple[Options, npt.NDArray[np.intp]]]:
        """Group blobs by codec, level and shuffle of their chunks."""
        return [(options_of(encoding), part) for encoding, part in by_encoding(file, locations)]

    def shares(self, file: BlobFile, locations: Locations) -> npt.NDArray[np.float64]:
        """Bytes of each chunk, divided by the number of its samples."""
        return shares(file, locations)

    def holds_only(self, file: BlobFile, locations: Locations) -> bool:
        """Whether ``locations`` name every sample of every chunk."""
        return holds_only(file, locations, DATA_START)

    def verify(self, file: BlobFile, locations: Locations) -> npt.NDArray[np.bool_] | None:
        """Whether the stored chunks at some locations are undamaged; nothing is decoded."""
        return verify_chunks(file, locations)

    def open_writer(self, path: Path, file_id: int, end: int | None) -> FileWriter:
        """Open a blob file for appending."""
        return HDF5Writer(path, file_id, self.tag, end, self.policy)

    def read_list(self, file: BlobFile, locations: Locations, headers: Sequence[Header]) -> list[Blob]:
        """Logical bytes of each location."""
        return list(read_samples(file, locations, headers))

    def read_one(self, file: BlobFile, place: Location, header: Header) -> Blob:
        """Logical bytes of one location."""
        return read_sample(file, place, header)

    def read_pieces(self, file: BlobFile, place: Location, header: Header) -> Iterator[Blob]:
        """Logical bytes of one location, a chunk at a time."""
        return read_chunks(file, place, header)

    def parts(self, file: BlobFile, place: Location, nbytes: int) -> Parts | None:
        """The chunks of a sample that has chunks of its own."""
        return parts_of(file, place, nbytes)

    def form(self, file: BlobFile, place: Location, nbytes: int) -> StoredForm | None:
        """The frame of a sample that has chunks of its own."""
        return form_at(file, place, nbytes)

    def read_form(self, file: BlobFile, form: StoredForm, first: int, last: int) -> bytes:
        """Stored chunks of a frame."""
        return read_pieces_of(file, form, first, last)

    def keeps(self, form: StoredForm, header: Header, options: Options | None) -> bool:
        """Whether a frame has the chunks of this backend, and the codec, level and shuffle of the options."""
        return keeps(form, header, options, self.policy)

    def read_rows(self, file: BlobFile, locations: Locations, header: Header, out: Rows) -> None:
        """Read the logical bytes of locations of one header into ``out``."""
        read_into(file, locations, header, out)


class HDF5Rows(_HDF5):
    """Arrays of fixed and variable shape; small ones share chunks."""

    tag: ClassVar[str] = "00"
    capabilities: ClassVar[Capabilities] = Capabilities(frozenset({NDARRAY}))
    policy: ClassVar[Policy] = Policy(shared_bytes=2**17, whole_bytes=2**22, piece_bytes=2**20)


class HDF5Chunks(_HDF5):
    """Large arrays of fixed shape, each in chunks of its own."""

    tag: ClassVar[str] = "01"
    capabilities: ClassVar[Capabilities] = Capabilities(frozenset({NDARRAY}), variable=False)
    policy: ClassVar[Policy] = Policy(shared_bytes=0, whole_bytes=2**19, piece_bytes=2**19)
