"""Files that hold named arrays (HDF5, zarr, npz): each array is a sample, or each row of one array.

An export writes one layout into all of them, and a header that says so:

- ``data``: the samples stacked along the first axis. Arrays of variable shape are flattened and concatenated, and
  ``shapes`` has one row for each. Texts (UTF-8) and bytes are concatenated as uint8, and ``lengths`` has their sizes.
- ``keys``: the sample keys as UTF-8 bytes of fixed width; ``subkeys`` in a nested column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from math import prod
from typing import Any, ClassVar, Protocol

import numpy as np

from hangar import limits
from hangar.errors import HangarError, InvalidInputError
from hangar.external.expansion import check_declared
from hangar.external.fit import ColumnRequirements, is_added
from hangar.external.keysfile import Key
from hangar.external.plugins._blocks import BlockPlugin
from hangar.external.plugins._files import SizeLimit
from hangar.external.records import Block, FileHeader, Probe

__all__ = ["BLOCK_BYTES", "LazyArray", "Tree", "TreePlugin"]

Array = np.ndarray[Any, Any]

BLOCK_BYTES = 16 * 2**20
"""Approximate size of a block."""
BLOCK_ROWS = 65_536


class LazyArray(Protocol):
    """An array in a file that is not read yet."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def stored(self) -> int:
        """Bytes of the file that hold the array."""
        ...

    def read(self, start: int, stop: int) -> Any:
        """Rows along the first axis; calls come in ascending order. Texts are a list of str."""
        ...

    def read_all(self) -> Any: ...


@dataclass(slots=True)
class Tree:
    """The arrays of an open file, by name, in the order of names.

    Attributes
    ----------
    faults
        Names of what is not read, with the errors.
    header
        The header of an export.
    """

    arrays: dict[str, LazyArray]
    faults: list[tuple[str, HangarError]] = field(default_factory=list)
    header: FileHeader | None = None


class TreePlugin(BlockPlugin):
    """Reads files of named arrays."""

    format: ClassVar[str] = ""
    column_types = frozenset(("ndarray", "str", "bytes"))

    def open_tree(self, fpath: str) -> AbstractContextManager[Tree]:
        """The arrays in a file, which is open in the context."""
        raise NotImplementedError

    def header(self, fpath: str) -> FileHeader | None:
        """As in the base class."""
        with self.open_tree(fpath) as tree:
            return tree.header

    def blocks(
        self,
        fpath: str,
        requirements: ColumnRequirements | None,
        dataset: str = "",
        rows: bool = False,
        keys: str = "",
    ) -> Iterator[Block]:
        """Read the samples of a file.

        Parameters
        ----------
        fpath
            The file.
        requirements
            Schema of the column.
        dataset
            Read only the array of this name.
        rows
            Each row of an array, along its first axis, is a sample; its key is its number.
        keys
            Name of an array of texts or integers, the keys of the rows.
        """
        with self.open_tree(fpath) as tree:
            if tree.header is not None and not dataset:
                yield from _exported(tree, tree.header, fpath, requirements)
                return
            failures = [] if dataset else tree.faults
            arrays = {name: one for name, one in tree.arrays.items() if not dataset or name == dataset.strip("/")}
            if dataset and not arrays:
                faults = [error for name, error in tree.faults if name == dataset.strip("/")]
                raise (
                    faults[0]
                    if faults
                    else InvalidInputError(
                        f"{fpath} has no array {dataset!r}: it has {', '.join(list(tree.arrays)[:20]) or 'none'}"
                    )
                )
            if failures:
                yield Block([], [], failures=failures)
            if rows or keys:
                yield from _rows(tree, arrays, keys, fpath, requirements)
                return
            only = len(arrays) == 1
            for name, array in arrays.items():
                yield _whole(array, name, self.sample_name(fpath), only, fpath, requirements)

    def probe(self, fpath: str, **options: Any) -> Iterator[Probe]:
        """Describe the arrays in a file."""
        with self.open_tree(fpath) as tree:
            head = tree.header
            if head is not None:
                samples = int(tree.arrays["keys"].shape[0]) if "keys" in tree.arrays else 0
                yield Probe(self.format, head.kind, head.dtype, head.shape or (), samples=samples)
                return
            for array in tree.arrays.values():
                kind = "str" if array.dtype.kind in "OSUT" else "ndarray"
                yield Probe(self.format, kind, array.dtype.name, tuple(array.shape))


def _limit(requirements: ColumnRequirements | None) -> SizeLimit | None:
    if requirements is None or requirements.kind != "ndarray":
        return None
    return SizeLimit(prod(requirements.shape), requirements.holds)


def _whole(
    array: LazyArray, name: str, stem: str, only: bool, fpath: str, requirements: ColumnRequirements | None
) -> Block:
    """One array as one sample, or the reason why it cannot be read."""
    where = f"{fpath} ({name})"
    try:
        if not _is_text(array):
            check_declared(array.shape, array.dtype, array.stored, where, _limit(requirements))
        elif array.shape != ():
            raise InvalidInputError(f"{where} holds an array of texts: --rows true imports each of them as a sample")
        value = array.read_all()
    except HangarError as error:
        return Block([], [], failures=[(name, error)])
    return Block([stem if only else f"{stem}/{name}"], [value], exact=False)


def _is_text(array: LazyArray) -> bool:
    return array.dtype.kind in "OSUT"


# ---------------------------------------------------------------------------------------------------------------- rows


def _rows(
    tree: Tree, arrays: dict[str, LazyArray], keys: str, fpath: str, requirements: ColumnRequirements | None
) -> Iterator[Block]:
    """Each row of the only array as a sample."""
    key_name = keys.strip("/")
    found = {name: one for name, one in arrays.items() if name != key_name}
    if len(found) != 1:
        raise InvalidInputError(
            f"{fpath} holds {len(found)} arrays: choose the one whose rows are samples with --dataset, one of "
            f"{', '.join(list(found)[:20])}"
        )
    ((name, array),) = found.items()
    where = f"{fpath} ({name})"
    if not array.shape:
        raise InvalidInputError(f"{where} is one number: it has no rows")
    count = int(array.shape[0])
    names: Sequence[Any] = range(count)
    if keys:
        if key_name not in tree.arrays:
            raise InvalidInputError(f"{fpath} has no array {keys!r}: it has {', '.join(list(tree.arrays)[:20])}")
        names = _keys_of(tree.arrays[key_name], f"{fpath} ({key_name})")
        if len(names) != count:
            raise InvalidInputError(f"{where} has {count:,} rows, and {key_name} has {len(names):,} keys")
    yield from _stacked(array, names, where, requirements, keyed=bool(keys))


def _keys_of(array: LazyArray, where: str) -> list[Any]:
    if len(array.shape) != 1 or array.dtype.kind not in "iuOSUT":
        raise InvalidInputError(f"{where} is no list of texts or integers, so its values cannot be keys")
    if array.dtype.kind in "iuSU":
        check_declared(array.shape, array.dtype, array.stored, where)
    values = array.read_all()
    return values if isinstance(values, list) else list(values.tolist())


def _stacked(
    array: LazyArray, names: Sequence[Any], where: str, requirements: ColumnRequirements | None, *, keyed: bool
) -> Iterator[Block]:
    """Rows of an array in blocks."""
    if _is_text(array):
        row = 1024
    else:
        row = check_declared(array.shape[1:], array.dtype, array.stored, where, _limit(requirements))
        if not keyed:
            check_declared(array.shape, array.dtype, array.stored, where)
    step = max(1, min(BLOCK_ROWS, BLOCK_BYTES // max(1, row)))
    for start in range(0, len(names), step):
        some = names[start : start + step]
        yield Block(list(some), array.read(start, start + len(some)))


# ---------------------------------------------------------------------------------------------------------------- exports


def _exported(tree: Tree, header: FileHeader, fpath: str, requirements: ColumnRequirements | None) -> Iterator[Block]:
    """The samples of a file that an export wrote."""
    missing = {"data", "keys"}.difference(tree.arrays)
    if missing:
        raise InvalidInputError(f"{fpath} is an incomplete export: it has no {' and '.join(sorted(missing))}")
    keys = _exported_keys(tree, header, fpath)
    data = tree.arrays["data"]
    where = f"{fpath} (data)"
    if header.kind in ("str", "bytes"):
        yield from _exported_texts(tree, header.kind, keys, where)
    elif header.variable:
        yield from _exported_shapes(tree, header, keys, where, requirements)
    else:
        if not data.shape or data.shape[0] != len(keys):
            raise InvalidInputError(f"{where} has {data.shape[:1]} rows, and there are {len(keys):,} keys")
        for block in _stacked(data, keys, where, requirements, keyed=True):
            block.values = _typed(block.values, header)
            yield block


def _exported_keys(tree: Tree, header: FileHeader, fpath: str) -> list[Key]:
    try:
        samples = _texts_of(tree.arrays["keys"], f"{fpath} (keys)")
        subsamples = _texts_of(tree.arrays["subkeys"], f"{fpath} (subkeys)") if header.nested else None
        return header.pair_keys(samples, subsamples)
    except (KeyError, ValueError, UnicodeDecodeError) as error:
        if isinstance(error, HangarError):
            raise
        raise InvalidInputError(f"{fpath} is a damaged export: its keys cannot be read: {error}") from None


def _texts_of(array: LazyArray, where: str) -> list[str]:
    """Texts of fixed width: bytes (``S``), or rows of uint8."""
    check_declared(array.shape, array.dtype, array.stored, where)
    if array.dtype.kind in "SUOT":
        return list(array.read_all())
    table: Array = np.ascontiguousarray(array.read_all())
    if table.dtype != np.uint8 or table.ndim != 2:
        raise ValueError(f"{where} is no table of texts")
    width = table.shape[1]
    return [one.decode("utf-8") for one in table.view(f"S{width}").ravel().tolist()] if width else [""] * len(table)


def _typed(values: Any, header: FileHeader) -> Any:
    """Values of a type that the file stores as integers (bfloat16, float8), as raw bytes; the import converts them."""
    if values.dtype.name == header.dtype or values.dtype.kind != "u":
        return values
    from hangar.schema.dtypes import as_dtype

    added = is_added(np.dtype(as_dtype(header.dtype)))
    return values.view(f"V{values.dtype.itemsize}") if added else values


def _exported_shapes(
    tree: Tree, header: FileHeader, keys: Sequence[Any], where: str, requirements: ColumnRequirements | None
) -> Iterator[Block]:
    data, table = tree.arrays["data"], tree.arrays.get("shapes")
    if table is None or len(table.shape) != 2 or table.shape[0] != len(keys) or table.dtype.kind not in "iu":
        raise InvalidInputError(f"{where} is a damaged export: its shapes cannot be read")
    check_declared(table.shape, table.dtype, table.stored, where)
    shapes = [tuple(shape) for shape in table.read_all().tolist()]
    for shape in shapes:
        check_declared(shape, data.dtype, data.stored, where, _limit(requirements))
    for (first, last), flat in _pieces(data, [prod(shape) for shape in shapes], where):
        values, at = [], 0
        for shape in shapes[first:last]:
            values.append(_typed(flat[at : at + prod(shape)].reshape(shape), header))
            at += prod(shape)
        yield Block(list(keys[first:last]), values)


def _exported_texts(tree: Tree, kind: str, keys: Sequence[Any], where: str) -> Iterator[Block]:
    data, table = tree.arrays["data"], tree.arrays.get("lengths")
    if table is None or table.shape != (len(keys),) or table.dtype.kind not in "iu" or data.dtype != np.uint8:
        raise InvalidInputError(f"{where} is a damaged export: its lengths cannot be read")
    check_declared(table.shape, table.dtype, table.stored, where)
    lengths = table.read_all().tolist()
    if any(not 0 <= length <= limits.MAX_TEXT_BYTES for length in lengths):
        raise InvalidInputError(f"{where} is a damaged export: it declares an impossible length")
    for (first, last), flat in _pieces(data, lengths, where):
        whole, at, block = flat.tobytes(), 0, Block([], [])
        for key, length in zip(keys[first:last], lengths[first:last], strict=True):
            raw = whole[at : at + length]
            at += length
            try:
                value: Any = raw.decode("utf-8") if kind == "str" else raw
            except UnicodeDecodeError:
                block.failures.append((str(key), InvalidInputError(f"{where}: the text of {key!r} is not UTF-8")))
                continue
            block.names.append(key)  # type: ignore[attr-defined]
            block.values.append(value)
        yield block


def _pieces(data: LazyArray, sizes: Sequence[int], where: str) -> Iterator[tuple[tuple[int, int], Array]]:
    """Cut concatenated samples of ``sizes`` elements into blocks: the range of samples, and their elements."""
    if data.shape != (sum(sizes),):
        raise InvalidInputError(f"{where} has shape {tuple(data.shape)}, and its samples have {sum(sizes):,} elements")
    check_declared(data.shape, data.dtype, data.stored, where)
    most = max(1, BLOCK_BYTES // max(1, data.dtype.itemsize))
    first = start = 0
    while first < len(sizes):
        last, held = first, 0
        while last < len(sizes) and (last == first or held + sizes[last] <= most) and last - first < BLOCK_ROWS:
            held += sizes[last]
            last += 1
        yield (first, last), data.read(start, start + held)
        first, start = last, start + held
