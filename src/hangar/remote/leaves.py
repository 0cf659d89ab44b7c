"""Checks of what received leaves and array records hold: keys, inline values, arrays and their chunk maps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt

from hangar.columns.chunked.grid import grid_of, indices_of
from hangar.digest import STR
from hangar.errors import CorruptionError
from hangar.objects.arrays import ArrayRecord, decode_array
from hangar.objects.node import ARRAYS, BY_DIGEST, DIGEST_TAG, FIXED_INLINE, MIXED, Node
from hangar.objects.samples import split_samples
from hangar.objects.verify import Nodes, TreeVerifier
from hangar.schema import ChunkedSchema, ColumnSchema
from hangar.schema.keys import check_encoded, decode_prefixes

__all__ = ["ArrayCheck", "check_leaves", "check_rows"]

_BOOL: Final = 1
"""Code of the element type whose bytes are 0 and 1 only."""


def check_leaves(schema: ColumnSchema, leaves: Sequence[Node]) -> list[bool]:
    """Check what leaves of a column, or of its chunk maps, hold; returns which of them name blobs.

    Raises
    ------
    CorruptionError
        A key or an inline value is not canonical.
    """
    chunked = schema.form.kind == ARRAYS
    # The keys of a chunk map depend on the array.
    keys = list(chain.from_iterable([leaf.keys for leaf in leaves if not chunked or leaf.kind == ARRAYS]))
    if schema.nested and keys:
        stops, rests = split_samples(sorted(keys))
        decode_prefixes(list(stops))
        check_encoded(rests)
    else:
        check_encoded(keys)
    for leaf in leaves:
        _check_inline(schema, leaf)
    return list(map(_names_blobs, leaves))


def check_rows(schema: ColumnSchema, rows: npt.NDArray[np.uint8]) -> bool:
    """As :func:`check_leaves`, of leaves of fixed width with integer keys: their entries, uint8, shape (n, width)."""
    form = schema.chunk.form if isinstance(schema, ChunkedSchema) else schema.form
    if form.kind == FIXED_INLINE:
        _check_bools(schema, rows)
    return form.kind == BY_DIGEST


def _names_blobs(leaf: Node) -> bool:
    return leaf.kind == BY_DIGEST or (leaf.kind == MIXED and DIGEST_TAG in leaf.sizes)


def _check_inline(schema: ColumnSchema, node: Node) -> None:
    if node.kind == FIXED_INLINE:
        _check_bools(schema, node.rows)
    elif node.kind == MIXED and schema.kind == STR:
        for cell in node.cells():
            if cell[0] != DIGEST_TAG:
                try:
                    cell[1:].decode()
                except UnicodeDecodeError as error:
                    raise CorruptionError(f"a str in a leaf is not UTF-8: {error}") from None


def _check_bools(schema: ColumnSchema, rows: npt.NDArray[np.uint8]) -> None:
    header = getattr(schema.blob_schema, "header", None)
    if header is not None and header.dtype == _BOOL and rows.size and rows.max() > 1:
        raise CorruptionError("a leaf holds bools other than 0 and 1")


class ArrayCheck:
    """Check of the array records of a column, and of their chunk maps.

    Parameters
    ----------
    nodes
        Loads nodes.
    trees
        Verifies chunk maps.
    """

    def __init__(self, schema: ChunkedSchema, nodes: Nodes, trees: TreeVerifier) -> None:
        self._schema = schema
        self._nodes = nodes
        self._trees = trees

    def check(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Check array records, each with its digest.

        Raises
        ------
        CorruptionError
            One of them, or a chunk map, is wrong.
        """
        for digest, data in records:
            self._check_array(digest, self._schema.check_record(decode_array(data)))

    def _check_array(self, digest: bytes, record: ArrayRecord) -> None:
        tree = record.tree
        if tree is None:
            return
        for problem in self._trees.problems(tree):
            raise CorruptionError(f"array {digest.hex()[:12]}: node {problem.digest.hex()[:12]}: {problem.message}")
        grid = grid_of(record.shape, self._schema.chunks)
        waiting = [tree.digest]
        while waiting:
            node = self._nodes.load(waiting.pop())
            indices_of(node.keys, grid)
            waiting += node.children() if node.level else []
