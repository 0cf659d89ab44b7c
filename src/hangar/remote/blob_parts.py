"""A large blob of which parts come: decoded into memory or a file, or kept as the sender stores it.

Pieces that the receiver would store in the same form are kept as they came, and decoded once into a small buffer, to be
verified and hashed. What is kept are the bytes that were verified.
"""

from __future__ import annotations

import mmap
import weakref
from bisect import bisect_left
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

import numpy as np
import numpy.typing as npt
from blake3 import blake3
from xxhash import xxh3_64

from hangar import _fs
from hangar.backends.hdf5.stored import parse_form
from hangar.backends.stored import StoredForm
from hangar.blobs.spilled import unnamed_file
from hangar.digest import NDARRAY, STR, Header
from hangar.errors import CorruptionError, InvalidInputError
from hangar.remote.parts import PartFile
from hangar.remote.peer import BlobFrame

__all__ = ["MEMORY_BYTES", "DecodedParts", "KeptParts", "check_content", "decoded_pieces", "received_form"]

MEMORY_BYTES: Final = 32 * 2**20
"""A blob in parts that is larger than this is gathered in a file."""
_KEPT_BYTES: Final = 2**18
"""Average size of the pieces that are kept as they come."""
_BOOL: Final = 1


class DecodedParts:
    """A large blob whose logical bytes are gathered; the smaller ones of these in ``memory``."""

    def __init__(
        self,
        digest: bytes | None,
        header: Header,
        total: int,
        group: int,
        directory: Path,
        memory: npt.NDArray[np.uint8] | None,
        kept: PartFile | None,
    ) -> None:
        self.digest, self.header, self.total, self.group = digest, header, total, group
        self.resumed = kept.done if kept is not None else 0
        self.done = self.resumed
        # Where the parts stay if the transfer is interrupted.
        self.kept = kept
        self._memory = None if memory is None else memory[:total].data
        self.memory = memory
        self._file: IO[bytes] | None = None
        if memory is None and kept is None:
            _fs.make_directory(directory)
            self._file = unnamed_file(directory)
            weakref.finalize(self, self._file.close)

    def add(self, data: bytes | memoryview) -> None:
        end = self.done + len(data)
        if self._memory is not None:
            self._memory[self.done : end] = data
        elif self.kept is not None:
            self.kept.add(data)
        else:
            assert self._file is not None
            _fs.write_at(self._file.fileno(), [data], self.done, "a received blob")
        self.done = end

    def whole(self) -> memoryview:
        if self._memory is not None:
            return self._memory
        if self.kept is not None:
            return self.kept.whole()
        assert self._file is not None
        return memoryview(mmap.mmap(self._file.fileno(), self.total, access=mmap.ACCESS_READ))

    @property
    def held(self) -> int:
        """Bytes that are in memory."""
        return self.total

    def leave(self, keep: Callable[[], PartFile | None]) -> None:
        """Leave what came to a later transfer; ``keep`` makes a file for what is in memory."""
        kept = self.kept
        if kept is None and self._memory is not None:
            kept = keep()
            if kept is not None:
                kept.add(self._memory[: self.done])
        if kept is not None:
            kept.close(remove=False)

    def close(self) -> None:
        """The blob is stored, or it is wrong."""
        if self.kept is not None:
            self.kept.close(remove=True)


class KeptParts:
    """A large blob whose pieces are kept in memory as they came: of its stored form or, where that is None, of its logical bytes."""

    def __init__(self, digest: bytes | None, header: Header, form: StoredForm | None, total: int, group: int) -> None:
        self.digest, self.header, self.form, self.total, self.group = digest, header, form, total, group
        self.done = 0
        self.held = total if form is None else sum(form.sizes)
        self.pieces: list[memoryview] = []
        self._most = total // _KEPT_BYTES + 2
        self._hash = blake3(key=header.key)
        self._sum = xxh3_64(seed=header.id)

    def takes(self, frame: BlobFrame) -> bool:
        """Whether the pieces of a frame can be kept: not if the sender has moved the blob, or sends it in crumbs."""
        if self.form is None:
            return not frame.form and len(self.pieces) < self._most
        return frame.form == self.form.description

    def add(self, stored: memoryview, decoded: memoryview) -> None:
        """Add the next piece, which was decoded."""
        self._hash.update(decoded)
        self._sum.update(decoded)
        self.pieces.append(stored)
        self.done += len(decoded)

    def computed(self) -> bytes:
        """Digest of the blob, when all has come."""
        return self._hash.digest()

    def checksum(self) -> int:
        """Checksum of its location."""
        return self._sum.intdigest()

    def decoded(self, memory: npt.NDArray[np.uint8]) -> Iterator[memoryview]:
        """The pieces that have come, decoded again one after the other in the same memory."""
        for number, stored in enumerate(self.pieces):
            if self.form is None:
                yield stored
            else:
                yield self.form.decode(number, np.frombuffer(stored, np.uint8), memory).data


def received_form(description: bytes, header: Header, total: int) -> StoredForm:
    """The form of a received blob.

    Raises
    ------
    InvalidInputError
        It is not that of such a blob, or one that is not accepted.
    """
    try:
        return parse_form(description, header, total)
    except CorruptionError as error:
        raise InvalidInputError(f"a received blob has a form that is not valid: {error}") from None


def decoded_pieces(
    form: StoredForm, data: bytes | memoryview, start: int, memory: npt.NDArray[np.uint8]
) -> Iterator[tuple[memoryview, npt.NDArray[np.uint8]]]:
    """The pieces in the data of a frame: stored bytes, and logical ones in ``memory``, which the next piece uses again.

    Parameters
    ----------
    start
        Where in its blob the first piece begins.

    Raises
    ------
    InvalidInputError
        The data is not that of whole pieces from there on, or cannot be decoded.
    """
    view = memoryview(data)
    number, at = bisect_left(range(len(form.sizes)), start, key=lambda one: form.span(one)[0]), 0
    if number == len(form.sizes) or form.span(number)[0] != start:
        raise InvalidInputError("the stored parts of a large blob do not follow each other")
    while at < len(view):
        end = at + form.sizes[number] if number < len(form.sizes) else 0
        if not at < end <= len(view):
            raise InvalidInputError("a frame does not hold whole pieces of a stored blob")
        piece = view[at:end]
        try:
            decoded = form.decode(number, np.frombuffer(piece, np.uint8), memory)
        except CorruptionError as error:
            raise InvalidInputError(f"a received blob cannot be decoded: {error}") from None
        yield piece, decoded
        number, at = number + 1, end


def check_content(header: Header, data: memoryview) -> None:
    """Refuse bytes that are not the canonical form of a value."""
    if header.kind == STR:
        try:
            str(data, "utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInputError(f"a received str is not UTF-8: {error}") from None
    elif (
        header.kind == NDARRAY and header.dtype == _BOOL and len(data) and int(np.frombuffer(data, np.uint8).max()) > 1
    ):
        raise InvalidInputError("a received array of bools has bytes other than 0 and 1")
