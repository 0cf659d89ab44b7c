"""Rebuild lost inner nodes from their children.

The digest of a node is known from its parent (or from the commit, if it is a root), and so is how many entries are below it. Its
children are stored on their own. Those of the right level, in the right range of keys, are put together in all ways that
give the right number of entries, until the digest matches. Children that no other node names come first, because they are those
that only the lost node named.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, combinations, islice
from typing import TYPE_CHECKING, Final, NamedTuple

from hangar.db.tables import NODES
from hangar.digest import Digest, record_digest
from hangar.errors import CorruptionError, HangarError
from hangar.objects.node import BY_DIGEST, MAX_LEVEL, NODE_VERSION, Node, decode_node, encode_node
from hangar.objects.samples import sample_of, samples_below

if TYPE_CHECKING:
    from hangar.db import Database

__all__ = ["rebuild_nodes"]

_TRIALS: Final = 100_000
"""Ways to put children together that are tried for each node."""
_OTHERS: Final = 60
"""Other versions of children that are tried in place of those of another commit."""
_STEPS: Final = 50_000
"""Steps of the search for these ways."""


class _Child(NamedTuple):
    """A stored node as a possible child. ``first`` is its first key, which in an inner node is the last key of its first child."""

    last: bytes
    first: bytes
    entries: int
    digest: Digest


class _Gap(NamedTuple):
    """Constraints on a lost node; level and last key of a root are unknown."""

    digest: Digest
    level: int | None
    after: bytes
    last: bytes | None
    entries: int

    def holds(self, level: int, child: _Child) -> bool:
        """Whether a node may be a child of the lost one."""
        return (
            self.level in (None, level + 1)
            and child.first > self.after
            and (self.last is None or child.last <= self.last)
            and child.entries <= self.entries
        )


def rebuild_nodes(db: Database, wanted: Iterable[Digest], roots: Iterable[tuple[Digest, int]]) -> dict[Digest, bytes]:
    """The encodings of lost inner nodes that can be built again.

    Parameters
    ----------
    wanted
        Digests of the lost nodes.
    roots
        Roots of trees that records name, and their numbers of entries.
    """
    lost = set(wanted)
    gaps = {digest: _Gap(digest, None, b"", None, entries) for digest, entries in roots if digest in lost}
    found: dict[Digest, bytes] = {}
    # A node that was built again may be a child of another lost one.
    for _ in range(MAX_LEVEL):
        more, named = _gaps_below(db, found, lost)
        gaps = {digest: gap for digest, gap in (gaps | more).items() if digest not in found}
        fresh = {}
        for gap, level, children in _candidates(db, found, gaps):
            data = None if gap.digest in fresh else _build(db, found, gap, level, children, named)
            if data is not None:
                fresh[gap.digest] = data
        if not fresh:
            break
        found |= fresh
        lost -= fresh.keys()
    return found


def _stored(db: Database, found: dict[Digest, bytes]) -> Iterator[tuple[Digest, Node]]:
    """Every stored node that is intact, and those that were built again."""
    with db.read() as transaction:
        for key, data in chain(transaction.scan(NODES), found.items()):
            try:
                node = decode_node(data)
            except HangarError:
                continue
            if record_digest("node", data) == key:
                yield Digest(key), node


def _gaps_below(db: Database, found: dict[Digest, bytes], lost: set[Digest]) -> tuple[dict[Digest, _Gap], set[Digest]]:
    """Constraints on lost nodes from the inner nodes that name them, and all digests that inner nodes name."""
    gaps: dict[Digest, _Gap] = {}
    named: set[Digest] = set()
    for _, node in _stored(db, found):
        if not node.level:
            continue
        children = node.children()
        named.update(children)
        if node.level > 1 and not lost.isdisjoint(children):
            for at, child in enumerate(children):
                if child in lost:
                    after = node.keys[at - 1] if at else b""
                    gaps[child] = _Gap(child, node.level - 1, after, node.keys[at], node.counts[at])
    return gaps, named


def _candidates(
    db: Database, found: dict[Digest, bytes], gaps: dict[Digest, _Gap]
) -> Iterator[tuple[_Gap, int, list[_Child]]]:
    """For each lost node, level and form of entries, the nodes that may be its children, in the order of keys."""
    near: dict[tuple[Digest, int, int, int], list[_Child]] = {}
    for digest, node in _stored(db, found):
        child = _Child(node.keys[-1], node.keys[0], node.entries, digest)
        for gap in gaps.values():
            if gap.holds(node.level, child):
                near.setdefault((gap.digest, node.level, node.kind, node.width), []).append(child)
    for (digest, level, _, _), children in near.items():
        yield gaps[digest], level, sorted(children)


def _build(
    db: Database, found: dict[Digest, bytes], gap: _Gap, level: int, near: list[_Child], named: set[Digest]
) -> bytes | None:
    own = [child for child in near if child.digest not in named]
    attempts = [_rows(own, gap)] if len(own) < len(near) else []
    for rows in (*attempts, _variants(db, found, gap, level, near, own), _rows(near, gap)):
        for row in islice(rows, _TRIALS):
            for data in _encodings(db, found, level + 1, row):
                if record_digest("node", data) == gap.digest:
                    return data
    return None


def _variants(
    db: Database, found: dict[Digest, bytes], gap: _Gap, level: int, near: list[_Child], own: list[_Child]
) -> Iterator[list[_Child]]:
    """The children of the same node in other commits, with those that only the lost node named, and up to two others."""
    by_last: dict[bytes, list[_Child]] = {}
    for child in near:
        by_last.setdefault(child.last, []).append(child)
    for _, node in _stored(db, found):
        if node.level != level + 1 or (gap.last is not None and node.keys[-1] != gap.last):
            continue
        # A child may be lost itself: its digest, last key and count in the other node are enough.
        row = [
            _Child(last, last, count, child)
            for last, count, child in zip(node.keys, node.counts, node.children(), strict=True)
        ]
        slots = {child.last: at for at, child in enumerate(row)}
        for child in own:
            if child.last in slots:
                row[slots[child.last]] = child
        others = [
            (at, other)
            for at, child in enumerate(row)
            for other in by_last.get(child.last, ())
            if other.digest != child.digest
        ]
        for number in range(3):
            for some in combinations(others[:_OTHERS], number):
                tried = row.copy()
                for at, other in some:
                    tried[at] = other
                if sum(child.entries for child in tried) == gap.entries:
                    yield tried


def _rows(children: Sequence[_Child], gap: _Gap) -> Iterator[list[_Child]]:
    """Rows of children without overlap that have the right number of entries and end where the node ends."""
    left = [*accumulate((child.entries for child in reversed(children)), initial=0)][::-1]
    stack: list[tuple[int, list[_Child], int]] = [(0, [], 0)]
    for _ in range(_STEPS):
        if not stack:
            return
        at, row, entries = stack.pop()
        if entries == gap.entries and row and (gap.last is None or row[-1].last == gap.last):
            yield row
            continue
        if at == len(children) or entries >= gap.entries or entries + left[at] < gap.entries:
            continue
        child = children[at]
        stack.append((at + 1, row, entries))
        if (not row or child.first > row[-1].last) and child.entries + entries <= gap.entries:
            stack.append((at + 1, [*row, child], entries + child.entries))


def _encodings(db: Database, found: dict[Digest, bytes], level: int, row: Sequence[_Child]) -> Iterator[bytes]:
    """The node with these children, of a flat and of a nested column."""
    keys = [child.last for child in row]
    refs = b"".join(child.digest for child in row)
    counts = [child.entries for child in row]
    yield encode_node(Node(NODE_VERSION, level, BY_DIGEST, keys, refs, b"", counts, []))
    with contextlib.suppress(HangarError):
        samples = []
        before = b""
        for child in row:
            first, number = _samples(db, found, child.digest)
            samples.append(number - (first == before))
            before = sample_of(child.last)
        yield encode_node(Node(NODE_VERSION, level, BY_DIGEST, keys, refs, b"", counts, samples))


def _samples(db: Database, found: dict[Digest, bytes], digest: Digest) -> tuple[bytes, int]:
    """First sample below a node of a nested column, and the number of samples."""
    node = _load(db, found, digest)
    number = samples_below(node)
    while node.level:
        node = _load(db, found, node.child(0))
    return sample_of(node.keys[0]), number


def _load(db: Database, found: dict[Digest, bytes], digest: Digest) -> Node:
    data = found.get(digest)
    if data is None:
        with db.read() as transaction:
            data = transaction.get(NODES, digest)
    if data is None:
        raise CorruptionError(f"tree node {digest.hex()} is missing")
    return decode_node(data)
