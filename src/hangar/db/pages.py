"""The pages of LMDB's data file: its layout, and reading it without LMDB.

The layout is that of LMDB 0.9 on 64-bit machines, in the machine's byte order (its ``MDB_meta``, ``MDB_db``, ``MDB_page`` and ``MDB_node``).
A page is read by ``pread``, so that one which is not there is an error and not the end of the process. Whether pages hang together is
for ``structure`` to say.
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
"""Of a meta page: number, pad, flags, two unused, magic, version, address, size of the map; the two trees follow."""
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
"""Kinds of pages: of separators, of rows, and the run of pages of one large value."""
IS_LARGE, IS_TABLE = 1, 2
"""Flags of a row."""
INTEGER_KEYS: Final = 8
NO_PAGE: Final = 2**64 - 1


class Tree(NamedTuple):
    """A tree of pages, as the meta page or the table of tables records it."""

    pad: int
    flags: int
    depth: int
    branch_pages: int
    leaf_pages: int
    large_pages: int
    entries: int
    root: int


class Meta(NamedTuple):
    """One committed state: its list of free pages, its table of tables, its last page and the number of the commit."""

    free: Tree
    main: Tree
    last_page: int
    number: int


class Row(NamedTuple):
    """A row of a page; of a branch page, a separator and the page below it."""

    key: bytes
    flags: int
    data: bytes
    """The value; of a large one, the number of its first page."""
    size: int


class DamageError(Exception):
    """What is wrong with the pages of one tree. Never seen outside this module."""


class PageFile:
    """The data file: pages by number."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = _fs.open_file(path)
        self.page_size = 0

    def metas(self) -> tuple[Meta, Meta] | None:
        """The last two commits, even ones first; None where it is the file of another program, or version, than ours."""
        first = os.pread(self._descriptor, _META_BYTES, 0)
        if len(first) < _META_BYTES or _META.unpack_from(first)[5:7] != (_MAGIC, _VERSION):
            return None
        self.page_size = TREE.unpack_from(first, _META.size)[0]
        if self.page_size.bit_count() != 1 or not 512 <= self.page_size <= 65_536:
            raise DamageError(f"pages of {self.page_size} bytes cannot be")
        second = self.read(1, _META_BYTES)
        if (
            _META.unpack_from(second)[5:7] != (_MAGIC, _VERSION)
            or TREE.unpack_from(second, _META.size)[0] != self.page_size
        ):
            raise DamageError("the second page is none of LMDB's")
        return _decode_meta(first), _decode_meta(second)

    def pages(self) -> int:
        """How many pages the file has."""
        return os.fstat(self._descriptor).st_size // self.page_size

    def read(self, page: int, size: int, offset: int = 0) -> bytes:
        """Bytes of a page, and of those that follow it."""
        data = os.pread(self._descriptor, size, page * self.page_size + offset)
        if len(data) < size:
            raise DamageError(f"page {page} is beyond its end: it was cut short")
        return data

    def __enter__(self) -> PageFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _decode_meta(page: bytes) -> Meta:
    trees = [Tree(*TREE.unpack_from(page, _META.size + i * TREE.size)) for i in range(2)]
    return Meta(trees[0], trees[1], *_META_END.unpack_from(page, _META.size + 2 * TREE.size))


def read_nodes(data: bytes, page: int, *, leaf: bool) -> Iterator[Row]:
    """What is on a page, which its nodes fill without gaps from ``upper`` to its end."""
    number, _, flags, lower, upper = HEAD.unpack_from(data)
    count = (lower - HEAD.size) // 2
    if (
        number != page
        or flags != (LEAF if leaf else BRANCH)
        or lower % 2
        or count < 1
        or not lower <= upper <= len(data)
    ):
        raise DamageError(f"the head of page {page} is damaged")
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
        raise DamageError(f"the rows of page {page} overlap, or leave gaps")
