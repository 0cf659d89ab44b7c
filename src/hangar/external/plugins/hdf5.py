"""Plugin for HDF5 files: each data set is a sample, or each row of one.

A file can make a reader open other files: through external and soft links, external storage and virtual data sets. All
of them are refused, wherever they are in the file; only hard links are followed, and each object is read once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any, Final

import numpy as np

from hangar.errors import HangarError, InvalidInputError
from hangar.external.expansion import MAX_RATIO, SMALL_BYTES
from hangar.external.plugins._blocks import need_package
from hangar.external.plugins._trees import LazyArray, Tree, TreePlugin
from hangar.external.records import FileHeader
from hangar.external.safe_io import open_input
from hangar.progress import format_bytes

__all__ = ["HEADER_ATTRIBUTE", "HDF5Plugin"]

HEADER_ATTRIBUTE: Final = "hangar"


class HDF5Plugin(TreePlugin):
    """Reads arrays, texts and bytes from HDF5 files."""

    format = "HDF5"

    @contextmanager
    def open_tree(self, fpath: str) -> Iterator[Tree]:
        """As in the base class."""
        h5py = need_package("h5py", "hdf5")
        with open_input(fpath):
            pass  # refuses what is no regular file
        try:
            file = h5py.File(fpath, "r", locking=False)
        except OSError as error:
            raise InvalidInputError(f"{fpath} is not a readable HDF5 file: {error}") from None
        with file:
            try:
                yield _tree(h5py, file, fpath)
            except HangarError:
                raise
            except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
                raise InvalidInputError(f"{fpath} cannot be read: {error}") from error


def _tree(h5py: Any, file: Any, fpath: str) -> Tree:
    arrays: dict[str, LazyArray] = {}
    faults: list[tuple[str, HangarError]] = []
    seen: set[Any] = {h5py.h5o.get_info(file.id).addr}
    groups: list[tuple[Any, str]] = [(file.id, "")]
    while groups:
        group, prefix = groups.pop()
        for raw in sorted(group):
            name = prefix + raw.decode("utf-8", "replace")
            try:
                found = _hard_link(h5py, group, raw, f"{fpath} ({name})")
                address = h5py.h5o.get_info(found).addr
                if address in seen:
                    continue
                seen.add(address)
                if isinstance(found, h5py.h5g.GroupID):
                    groups.append((found, f"{name}/"))
                elif isinstance(found, h5py.h5d.DatasetID):
                    arrays[name] = _DataSet(h5py, found, f"{fpath} ({name})")
            except HangarError as error:
                faults.append((name, error))
            except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
                faults.append((name, InvalidInputError(f"{fpath} ({name}) cannot be read: {error}")))
    header = None
    if HEADER_ATTRIBUTE in file.attrs:
        header = FileHeader.decode(str(file.attrs[HEADER_ATTRIBUTE]), fpath)
    return Tree(dict(sorted(arrays.items())), faults, header)


def _hard_link(h5py: Any, group: Any, name: bytes, where: str) -> Any:
    """The object that a link names; links to other files, and by path, are refused."""
    kind = group.links.get_info(name).type
    if kind != h5py.h5l.TYPE_HARD:
        kinds = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "a link to another file"}
        raise InvalidInputError(f"{where} is {kinds.get(kind, 'a link of an unknown kind')}, which is not followed")
    return h5py.h5o.open(group, name)


class _DataSet:
    """A data set, checked to be stored in this file."""

    def __init__(self, h5py: Any, found: Any, where: str) -> None:
        created = found.get_create_plist()
        if created.get_layout() == h5py.h5d.VIRTUAL:
            raise InvalidInputError(f"{where} is a virtual data set, which reads other files: it is refused")
        if created.get_external_count():
            raise InvalidInputError(f"{where} is stored in another file (external storage): it is refused")
        self._found = h5py.Dataset(found)
        self._where = where
        self._text = h5py.check_string_dtype(self._found.dtype)
        self.dtype = np.dtype(self._found.dtype)
        if self._text is None and (self.dtype.hasobject or self.dtype.kind not in "biufcV" or self.dtype.names):
            raise InvalidInputError(f"{where} holds values of type {self.dtype}, which are not read")
        if self._found.shape is None:
            raise InvalidInputError(f"{where} is empty: it has no value")
        self.shape: tuple[int, ...] = self._found.shape
        self.stored: int = found.get_storage_size()
        chunk = prod(int(extent) for extent in self._found.chunks or ()) * max(1, self.dtype.itemsize)
        if chunk > SMALL_BYTES and chunk > MAX_RATIO * self.stored:
            raise InvalidInputError(
                f"{where} has chunks of {format_bytes(chunk)} and stores {format_bytes(self.stored)}: it is not read, "
                "as protection against decompression bombs"
            )

    def read(self, start: int, stop: int) -> Any:
        return self._decoded(self._found[start:stop])

    def read_part(self, part: tuple[slice, ...]) -> Any:
        """The elements of a box."""
        if self._text is not None:
            raise InvalidInputError(f"{self._where} holds text, not numbers")
        return np.asarray(self._found[part])

    def read_all(self) -> Any:
        return self._decoded(self._found[()])

    def _decoded(self, values: Any) -> Any:
        if self._text is None:
            # An h5py scalar is a numpy scalar, not an array.
            return np.asarray(values)
        try:
            if isinstance(values, (bytes, np.bytes_)):
                return bytes(values).decode("utf-8")
            return [one.decode("utf-8") for one in values.ravel().tolist()]
        except (UnicodeDecodeError, AttributeError) as error:
            raise InvalidInputError(f"{self._where} holds text that is not UTF-8: {error}") from None
