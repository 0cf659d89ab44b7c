"""Parser of the pages of LMDB's data file, independent of LMDB.

The layout is that of LMDB 0.9 on 64-bit machines, in native byte order (``MDB_meta``, ``MDB_db``, ``MDB_page`` and
``MDB_node`` in its source). Pages are read with ``pread``, so a missing page is an error and not a SIGBUS.
``structure`` checks that pages are consistent with each other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from hangar import _fs

__all__ = [
    "BRANCH",
    "HEAD",
    "HEAD_LARGE",
    "INTEGER_KEYS",
    "IS_LARGE",
    "IS_TABLE",
    "LARGE",
    "LEAF",
    "NO_PAGE",
    "PAGE",
    "TREE",
    "DamageError",
    "Meta",
    "PageFile",
    "Row",
    "Tree",
    "read_nodes",
]

_META: Final = Struct("=QHHHHIIQQ")
"""Header of a meta page: number, pad, flags, two unused, magic, version, address, size of the map; then two trees."""
TREE: Final = Struct("=IHHQQQQQ")
_META_END: Final = Struct("=QQ")
_META_BYTES: Final = _META.size + 2 * TREE.size + _META_END.size
HEAD: Final = Struct("=QHHHH")
HEAD_LARGE: Final = Struct("=QHHI")
_NODE: Final = Struct("=IHH")
PAGE: Final = Struct("=Q")


_MAGIC: Final = 0xBEEFC0DE
_VERSION: Final = 1
BRANCH, LEAF, LARGE = 1, 2, 4
"""Kinds of pages: branch, leaf, and overflow (the consecutive pages of one large value)."""
IS_LARGE, IS_TABLE = 1, 2
"""Flags of a row."""
INTEGER_KEYS: Final = 8
NO_PAGE: Final = 2**64 - 1


class Tree(NamedTuple):
    """A B+ tree of pages, as recorded in a meta page or in the main table."""

    pad: int
    flags: int
    depth: int
    branch_pages: int
    leaf_pages: int
    large_pages: int
    entries: int
    root: int


class Meta(NamedTuple):
    """One committed state: its free list, its main table (of tables), its last page and the transaction number."""

    free: Tree
    main: Tree
    last_page: int
    number: int


class Row(NamedTuple):
    """A row of a leaf page, or a separator key and child page of a branch page."""

    key: bytes
    flags: int
    data: bytes
    """The value; for a large value, the number of its first overflow page."""
    size: int


class DamageError(Exception):
    """A defect in the pages of one tree. Not raised outside of ``db``."""


class PageFile:
    """The data file, as pages by number."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = _fs.open_file(path)
        self.page_size = 0

    def metas(self) -> tuple[Meta, Meta] | None:
        """The two meta pages, the one of even transactions first; None if the file has another format."""
        first = os.pread(self._descriptor, _META_BYTES, 0)
        if len(first) < _META_BYTES or _META.unpack_from(first)[5:7] != (_MAGIC, _VERSION):
            return None
        self.page_size = TREE.unpack_from(first, _META.size)[0]
        if self.page_size.bit_count() != 1 or not 512 <= self.page_size <= 65_536:
            raise DamageError(f"the page size of {self.page_size} bytes is not valid")
        second = self.read(1, _META_BYTES)
        if (
            _META.unpack_from(second)[5:7] != (_MAGIC, _VERSION)
            or TREE.unpack_from(second, _META.size)[0] != self.page_size
        ):
            raise DamageError("the second page is not a meta page of LMDB")
        return _decode_meta(first), _decode_meta(second)

    def pages(self) -> int:
        """Number of pages of the file."""
        return os.fstat(self._descriptor).st_size // self.page_size

    def read(self, page: int, size: int, offset: int = 0) -> bytes:
        """Read bytes from a page and the following pages."""
        data = os.pread(self._descriptor, size, page * self.page_size + offset)
        if len(data) < size:
            raise DamageError(f"page {page} is beyond its end: it was truncated")
        return data

    def __enter__(self) -> PageFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _decode_meta(page: bytes) -> Meta:
    trees = [Tree(*TREE.unpack_from(page, _META.size + i * TREE.size)) for i in range(2)]
    return Meta(trees[0], trees[1], *_META_END.unpack_from(page, _META.size + 2 * TREE.size))


def read_nodes(data: bytes, page: int, *, leaf: bool) -> Iterator[Row]:
    """The rows of a page; checks that they fill it without gaps from ``upper`` to the end."""
    number, _, flags, lower, upper = HEAD.unpack_from(data)
    count = (lower - HEAD.size) // 2
    if (
        number != page
        or flags != (LEAF if leaf else BRANCH)
        or lower % 2
        or count < 1
        or not lower <= upper <= len(data)
    ):
        raise DamageError(f"the header of page {page} is damaged")
    filled = []
    for (offset,) in Struct("=H").iter_unpack(data[HEAD.size : lower]):
        if not upper <= offset <= len(data) - _NODE.size:
            raise DamageError(f"page {page} has a row outside of it")
        low, high, key_size = _NODE.unpack_from(data, offset)
        start = offset + _NODE.size + key_size
        size = (8 if high & IS_LARGE else low) if leaf else 0
        filled.append((offset, (start + size + 1) & ~1))
        key = data[offset + _NODE.size : start]
        yield (Row(key, high, data[start : start + size], low) if leaf else Row(key, 0, PAGE.pack(low | high << 32), 0))
    filled.sort()
    ends = [upper, *(end for _, end in filled)]
    if [start for start, _ in filled] != ends[:-1] or ends[-1] != len(data):
        raise DamageError(f"the rows of page {page} overlap or have gaps")
