"""Checks the arrays of chunked columns: their records, and that their chunk maps are canonical."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hangar.columns.chunked.grid import grid_of, indices_of
from hangar.digest import Digest
from hangar.errors import NOT_DAMAGE, HangarError
from hangar.objects.arrays import ArrayRecord
from hangar.objects.children import array_digests
from hangar.objects.node import Node
from hangar.objects.scan import leaves
from hangar.objects.store import NodeStore
from hangar.objects.verify import TreeVerifier
from hangar.schema import ChunkedSchema

__all__ = ["ArrayCheck", "ArrayProblem"]


class ArrayProblem(NamedTuple):
    """One problem: of an ``'array'`` record, or of a ``'node'`` of a chunk map."""

    kind: str
    digest: Digest
    message: str


class ArrayCheck:
    """Check of the arrays of one schema. Arrays that several commits share are checked once.

    Parameters
    ----------
    store
        Has the records and nodes.
    schema
        Schema of the column.
    """

    def __init__(self, store: NodeStore, schema: ChunkedSchema) -> None:
        self._store = store
        self._schema = schema
        self._verifier = TreeVerifier(store, schema.chunk.form)
        self._known: set[Digest] = set()

    def problems(self, leaf: Node) -> Iterator[ArrayProblem]:
        """Check the arrays that a leaf names, without the chunks themselves."""
        return self.of(array_digests(leaf))

    def of(self, digests: Iterable[Digest]) -> Iterator[ArrayProblem]:
        """Check some arrays, without the chunks themselves."""
        for digest in digests:
            if digest not in self._known:
                self._known.add(digest)
                yield from self._check(digest)

    def _check(self, digest: Digest) -> Iterator[ArrayProblem]:
        try:
            record = self._schema.check_record(self._store.load_arrays([digest])[0])
        except NOT_DAMAGE:
            raise
        except HangarError as error:
            yield ArrayProblem("array", digest, str(error))
            return
        tree = record.tree
        if tree is None:
            return
        found = list(self._verifier.problems(tree))
        yield from (ArrayProblem("node", problem.digest, problem.message) for problem in found)
        if not found:
            yield from self._keys(digest, record, tree.digest)

    def _keys(self, digest: Digest, record: ArrayRecord, root: Digest) -> Iterator[ArrayProblem]:
        """Check that all chunks lie within the array."""
        grid = grid_of(record.shape, self._schema.chunks)
        try:
            for leaf, start, stop in leaves(self._store, root):
                indices_of(leaf.keys[start:stop], grid)
        except NOT_DAMAGE:
            raise
        except HangarError as error:
            yield ArrayProblem("array", digest, str(error))
