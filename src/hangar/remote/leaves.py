"""Checks of what received leaves and array records hold: keys, inline values, arrays and their chunk maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hangar.columns.chunked.grid import grid_of, indices_of
from hangar.digest import STR, Digest, RecordClass
from hangar.errors import CorruptionError
from hangar.objects.arrays import ArrayRecord, decode_array
from hangar.objects.node import ARRAYS, DIGEST_TAG, FIXED_INLINE, MIXED, Node, decode_node
from hangar.objects.samples import split_samples
from hangar.objects.verify import Nodes, TreeVerifier
from hangar.schema import ChunkedSchema, ColumnSchema
from hangar.schema.keys import decode_keys, decode_prefixes

__all__ = ["ArrayCheck", "check_leaf"]

_BOOL: Final = 1
"""Code of the element type whose bytes are 0 and 1 only."""


def check_leaf(schema: ColumnSchema, data: bytes) -> bool:
    """Check what an encoded node holds, if it is a leaf; returns whether it names blobs.

    Raises
    ------
    CorruptionError
        A key or an inline value is not canonical.
    """
    node = decode_node(data)
    if node.level or node.kind == ARRAYS:
        _check_keys(schema, node)
        return False
    if schema.form.kind != ARRAYS:
        _check_keys(schema, node)
    _check_inline(schema, node)
    return bool(len(node.blobs()))


def _check_keys(schema: ColumnSchema, node: Node) -> None:
    if node.level:
        return
    if schema.nested:
        stops, rests = split_samples(node.keys)
        decode_prefixes(list(stops))
        decode_keys(rests)
    else:
        decode_keys(node.keys)


def _check_inline(schema: ColumnSchema, node: Node) -> None:
    if node.kind == FIXED_INLINE:
        header = getattr(schema.blob_schema, "header", None)
        if header is not None and header.dtype == _BOOL and node.refs and max(node.refs) > 1:
            raise CorruptionError("a leaf holds bools other than 0 and 1")
    elif node.kind == MIXED and schema.kind == STR:
        for cell in node.cells():
            if cell[0] != DIGEST_TAG:
                try:
                    cell[1:].decode()
                except UnicodeDecodeError as error:
                    raise CorruptionError(f"a str in a leaf is not UTF-8: {error}") from None


class ArrayCheck:
    """Check of array records and their chunk maps.

    Parameters
    ----------
    nodes
        Loads nodes.
    trusted
        As in :class:`TreeVerifier`.
    """

    def __init__(self, nodes: Nodes, trusted: Callable[[Digest], bool]) -> None:
        self._nodes = nodes
        self._trusted = trusted
        self._verifiers: dict[bytes, TreeVerifier] = {}

    def check(self, schema: ColumnSchema, kind: RecordClass, records: list[tuple[bytes, bytes]]) -> None:
        """Check those records that are array records of a column.

        Raises
        ------
        CorruptionError
            One of them, or a chunk map, is wrong.
        """
        if kind != "array":
            return
        if not isinstance(schema, ChunkedSchema):
            raise CorruptionError("the column does not hold chunked arrays")
        for digest, data in records:
            self._check_array(schema, digest, schema.check_record(decode_array(data)))

    def _check_array(self, schema: ChunkedSchema, digest: bytes, record: ArrayRecord) -> None:
        tree = record.tree
        if tree is None:
            return
        verifier = self._verifiers.get(schema.digest)
        if verifier is None:
            verifier = self._verifiers[schema.digest] = TreeVerifier(self._nodes, schema.chunk.form, self._trusted)
        for problem in verifier.problems(tree):
            raise CorruptionError(f"array {digest.hex()[:12]}: node {problem.digest.hex()[:12]}: {problem.message}")
        grid = grid_of(record.shape, schema.chunks)
        waiting = [tree.digest]
        while waiting:
            node = self._nodes.load(waiting.pop())
            indices_of(node.keys, grid)
            waiting += node.children() if node.level else []
