"""Consistency check of the pages of LMDB's data file, without LMDB, which trusts them.

A flipped bit in a page can send LMDB to other rows, to free pages of an older state, or beyond the end of its map,
which crashes the process. :func:`check_roots` checks, at every opening, the pages that lead to the tables.
:func:`check_pages` checks every page of every table and the free list, so that ``fsck`` can report pages that would
crash a reader. The content of rows is not checked here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from operator import ge
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from hangar import _fs
from hangar.db.pages import (
    BRANCH,
    HEAD,
    HEAD_LARGE,
    INTEGER_KEYS,
    IS_LARGE,
    IS_TABLE,
    LARGE,
    LEAF,
    NO_PAGE,
    PAGE,
    TREE,
    DamageError,
    Meta,
    PageFile,
    Row,
    Tree,
    read_nodes,
)
from hangar.errors import CorruptionError

__all__ = ["check_pages", "check_roots"]

_Take: TypeAlias = Callable[[int, int], None]
"""Called with the first page and the number of pages, for all pages of the walk."""
_Pages: TypeAlias = npt.NDArray[np.uint64]

_DEEPEST: Final = 32
_MOST_FREE_PAGES: Final = 128
"""The free list is checked on opening only if it has at most this many pages."""
_ATTEMPTS: Final = 5
_POLL_SECONDS: Final = 0.001


def check_roots(path: Path) -> None:
    """Check the pages of ``path`` that LMDB reads to open its tables. Needs no lock: retries after concurrent commits.

    The two meta pages have the last two commits, even ones in the first. LMDB uses the one with the higher number, so
    a flipped bit there would silently show the state before the last commit; so would a table whose root is a page
    that is free now.

    Raises
    ------
    CorruptionError
        These pages are damaged.
    """
    with PageFile(path) as file:
        for attempt in range(_ATTEMPTS):
            try:
                metas = file.metas()
                if metas is None:
                    return  # another format: LMDB reports it
                _compare_metas(metas)
                _Walk(file, max(metas, key=_number)).roots()
            except (DamageError, OSError) as error:
                _raise_shortage(error, path)
                # Retry: another process may have committed between two reads.
                if attempt == _ATTEMPTS - 1:
                    raise CorruptionError(
                        f"{path} is damaged in its first pages ({error}): restore it from a copy or a remote"
                    ) from None
            else:
                return
            time.sleep(_POLL_SECONDS)


def check_pages(path: Path, number: int | None = None, only: str = "") -> list[str] | None:
    """Check all pages of one snapshot of the data file ``path``, which a read transaction must keep alive.

    Parameters
    ----------
    path
        The data file.
    number
        Transaction number of the snapshot; None: the last one, if nobody writes to the database.
    only
        Name of a table: check the main table and this one only.

    Returns
    -------
    list of str or None
        Problems, one line per table; None if two later commits have overwritten the meta page of the snapshot: try a
        newer one.
    """
    with PageFile(path) as file:
        try:
            metas = file.metas()
        except DamageError as error:
            return [f"the first pages: {error}"]
        if metas is None:
            return ["the first page is not a meta page of LMDB"]
        for meta in sorted(metas, key=_number, reverse=True):
            if number is None or meta.number == number:
                return list(_Walk(file, meta).problems(only))
    return None


def _raise_shortage(error: Exception, path: Path) -> None:
    """Raise a ResourceLimitError if ``error`` means that memory or descriptors ran out, not that pages are damaged."""
    if isinstance(error, OSError) and error.errno in _fs.SHORTAGES:
        _fs.raise_for(error, "read", path)


def _number(meta: Meta) -> int:
    return meta.number


def _compare_metas(metas: tuple[Meta, Meta]) -> None:
    even, odd = metas
    older, newer = sorted(metas, key=_number)
    if (even.number or odd.number) and (even.number % 2 or newer.number - older.number != 1):
        raise DamageError("the transaction numbers are not consecutive")
    if newer.last_page < older.last_page:
        raise DamageError("the last page is lower than that of an earlier commit")


class _Walk:
    """Walk of the trees of one snapshot."""

    def __init__(self, file: PageFile, meta: Meta) -> None:
        self._file = file
        self._meta = meta

    def roots(self) -> None:
        """Check the main table, the header of each root page, and that none of these pages is free."""
        claimed = _Claims(self._meta.last_page)
        for name, tree in self._tables(claimed.take):
            if tree.root != NO_PAGE:
                claimed.take(tree.root, 1)
                kind = BRANCH if tree.depth > 1 else LEAF
                if HEAD.unpack(self._file.read(tree.root, HEAD.size))[:3:2] != (tree.root, kind):
                    raise DamageError(f"page {tree.root} is not a valid root of table '{name}'")
        # Pages that a commit allocated at the end and freed again were never written.
        missing = range(self._file.pages(), self._meta.last_page + 1)
        if missing or self._meta.free.leaf_pages + self._meta.free.large_pages <= _MOST_FREE_PAGES:
            unwritten = 0
            for pages in self._free(claimed.take):
                claimed.refuse(pages)
                unwritten += int(np.count_nonzero(pages >= missing.start))
            if unwritten < len(missing):
                raise DamageError(f"it was truncated: it has {missing.start} pages of {missing.stop}")

    def problems(self, only: str = "") -> Iterator[str]:
        """Problems of all pages, one line per tree; of one table only if its name is given."""
        seen = np.zeros(self._meta.last_page + 1, bool)

        def take(page: int, count: int) -> None:
            if not 2 <= page <= page + count - 1 <= self._meta.last_page or seen[page : page + count].any():
                raise DamageError(f"page {page} is used twice, or is none")
            seen[page : page + count] = True

        tables: list[tuple[str, Tree]] = []
        try:
            tables += self._tables(take)
        except (DamageError, OSError) as error:
            _raise_shortage(error, self._file.path)
            yield f"the main table: {error}"
        for name, tree in tables:
            if only and name != only:
                continue
            try:
                for row in self._rows(tree, take):
                    if row.flags & ~IS_LARGE or not 1 <= len(row.key) <= 511:
                        raise DamageError("a row is malformed")
            except (DamageError, OSError) as error:
                _raise_shortage(error, self._file.path)
                yield f"table '{name}': {error}"
        if only:
            return
        try:
            for pages in self._free(take):
                if pages.max(initial=0) > self._meta.last_page or seen[pages].any():
                    raise DamageError("it has pages that are in use or do not exist: a commit would overwrite rows")
                seen[pages] = True
        except (DamageError, OSError) as error:
            _raise_shortage(error, self._file.path)
            yield f"the free list: {error}"

    # ------------------------------------------------------------------ the three kinds of trees

    def _tables(self, take: _Take) -> Iterator[tuple[str, Tree]]:
        for row in self._rows(self._meta.main, take):
            if row.flags != IS_TABLE or row.size != TREE.size:
                raise DamageError("it has a row that is not a table")
            tree = Tree(*TREE.unpack(row.data))
            # Other flags mean another key order, or several values per key, which Hangar does not use.
            if tree.flags or tree.pad:
                raise DamageError(f"table {row.key!r} has unexpected flags")
            yield row.key.decode("ascii", "replace"), tree

    def _free(self, take: _Take) -> Iterator[_Pages]:
        """The free pages, by the transaction that freed them."""
        for row in self._rows(self._meta.free, take, integer_keys=True):
            if len(row.key) != 8 or row.flags & ~IS_LARGE or row.size % 8 or not row.size:
                raise DamageError("it has a malformed row")
            data = row.data
            if row.flags & IS_LARGE:
                data = self._file.read(PAGE.unpack(data)[0], row.size, HEAD.size)
            words = np.frombuffer(data, np.uint64)
            count = int(words[0])
            if count >= len(words) or PAGE.unpack(row.key)[0] > self._meta.number:
                raise DamageError("it has a malformed row")
            pages = words[1 : count + 1]
            if (pages[1:] >= pages[:-1]).any() or pages.min(initial=2) < 2:
                raise DamageError("its page numbers are not in descending order")
            yield pages

    def _rows(self, tree: Tree, take: _Take, integer_keys: bool = False) -> Iterator[Row]:
        """The rows of a tree; its pages are checked on the way."""
        if tree.flags != (INTEGER_KEYS if integer_keys else 0) or (tree.pad and not integer_keys):
            raise DamageError("it has unexpected flags")
        found = _Counts()
        if tree.root != NO_PAGE:
            if not 1 <= tree.depth <= _DEEPEST:
                raise DamageError(f"it is {tree.depth} pages deep")
            order = _integer if integer_keys else bytes
            yield from self._below(tree.root, tree.depth, found, take, order, None, None)
        elif tree.depth:
            raise DamageError("it is empty but has a depth")
        if (found.branch, found.leaf, found.large, found.entries) != tree[3:7]:
            raise DamageError("its numbers of pages or rows differ from the recorded ones")

    def _below(
        self, page: int, depth: int, found: _Counts, take: _Take, order: Callable[[bytes], Any], *bounds: Any
    ) -> Iterator[Row]:
        """Rows below a page; all keys must be within ``bounds`` (first inclusive, second exclusive; None: no bound)."""
        take(page, 1)
        nodes = list(read_nodes(self._file.read(page, self._file.page_size), page, leaf=depth == 1))
        keys = list(map(order, (key for key, _, _, _ in nodes)))
        if depth == 1:
            _check_order(keys, bounds, page)
            found.leaf += 1
            found.entries += len(nodes)
            for row in nodes:
                if row.flags & IS_LARGE:
                    found.large += self._take_large(row, take)
                yield row
            return
        found.branch += 1
        _check_order(keys[1:], bounds, page)  # LMDB ignores the first key of a branch page
        cuts = [bounds[0], *keys[1:], bounds[1]]
        for node, first, beyond in zip(nodes, cuts, cuts[1:], strict=False):
            yield from self._below(PAGE.unpack(node.data)[0], depth - 1, found, take, order, first, beyond)

    def _take_large(self, row: Row, take: _Take) -> int:
        page = PAGE.unpack(row.data)[0]
        if not 2 <= page <= self._meta.last_page:
            raise DamageError(f"page {page} does not exist")
        number, _, flags, pages = HEAD_LARGE.unpack(self._file.read(page, HEAD_LARGE.size))
        # A value that was replaced by a smaller one may keep its pages.
        if number != page or flags != LARGE or pages * self._file.page_size < row.size + HEAD.size:
            raise DamageError(f"page {page} is not the first page of a large value")
        take(page, pages)
        return int(pages)


class _Counts:
    """Numbers of pages and rows found in a tree."""

    branch = leaf = large = entries = 0


class _Claims:
    """Set of the pages visited when opening."""

    def __init__(self, last_page: int) -> None:
        self._last_page = last_page
        self._pages: set[int] = set()

    def take(self, page: int, count: int) -> None:
        """Add pages; they must exist and must not have been added before."""
        pages = range(page, page + count)
        if not 2 <= page <= pages[-1] <= self._last_page or not self._pages.isdisjoint(pages):
            raise DamageError(f"page {page} is used twice, or is none")
        self._pages.update(pages)

    def refuse(self, pages: _Pages) -> None:
        """Raise DamageError if one of ``pages`` was added."""
        if not self._pages.isdisjoint(pages.tolist()):
            raise DamageError("a page that is in use is listed as free")


def _check_order(keys: list[Any], bounds: tuple[Any, ...], page: int) -> None:
    first, beyond = bounds
    outside = keys and ((first is not None and keys[0] < first) or (beyond is not None and keys[-1] >= beyond))
    if outside or any(map(ge, keys, keys[1:])):
        raise DamageError(f"the keys of page {page} are out of order")


def _integer(key: bytes) -> int:
    return int.from_bytes(key, sys.byteorder)
