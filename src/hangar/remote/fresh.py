"""What a tree has that other trees do not have: the nodes and array records to send, to store or to check.

Two trees are walked down together, level by level. A node that both have is dropped on both sides, with all below it. Of
the other trees only those nodes are read whose range of keys overlaps that of a new node. So the cost is that of the
change. A node that the other trees have somewhere else may be given nevertheless; a new one is never left out.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple

from hangar.digest import RecordClass
from hangar.objects.arrays import decode_array
from hangar.objects.children import array_digests, names_records
from hangar.objects.node import Node, decode_node
from hangar.remote.source import ObjectSource

__all__ = ["FreshRecords", "FreshWalk"]

_TOGETHER: Final = 512
"""Maximum number of nodes that are loaded together."""

FreshRecords = tuple[RecordClass, list[tuple[bytes, bytes]]]
"""Records of one class, each with its digest."""


class _Item(NamedTuple):
    """A node to visit: its digest and level, and the range of its keys: above ``low``, up to ``high`` (None: no bound)."""

    digest: bytes
    level: int
    low: bytes | None
    high: bytes | None


class FreshWalk:
    """Walk over the new records of several trees; each record is given once.

    Parameters
    ----------
    source
        Has the nodes.
    """

    def __init__(self, source: ObjectSource) -> None:
        self._source = source
        self._seen: set[bytes] = set()

    def below(self, root: bytes, bases: Iterable[bytes]) -> Iterator[FreshRecords]:
        """The records of the tree ``root`` that the trees ``bases`` do not have, parents before children.

        Raises
        ------
        CorruptionError
            A node is missing or damaged.
        """
        others = list(dict.fromkeys(bases))
        if root in self._seen or root in others:
            return
        items = self._roots([root, *others])
        stack = [(items[:1], items[1:])]
        while stack:
            wanted, near = stack.pop()
            near = self._lower(near, wanted)
            shared = {item.digest for item in near}
            new = [item for item in wanted if item.digest not in shared and item.digest not in self._seen]
            if len(new) > _TOGETHER:
                stack.append((new[_TOGETHER:], near))
                new = new[:_TOGETHER]
            if not new:
                continue
            named = {item.digest for item in wanted}
            near = _overlapping([item for item in near if item.digest not in named], new)
            yield from self._visit(new, near, stack)

    def _visit(
        self, new: list[_Item], near: list[_Item], stack: list[tuple[list[_Item], list[_Item]]]
    ) -> Iterator[FreshRecords]:
        digests = list(dict.fromkeys([item.digest for item in new]))
        self._seen.update(digests)
        datas = self._source.get("node", digests)
        yield "node", list(zip(digests, datas, strict=True))
        loaded = {digest: decode_node(data) for digest, data in zip(digests, datas, strict=True) if names_records(data)}
        if not loaded:
            return
        if new[0].level:
            stack.append(([child for item in new for child in _children(item, loaded[item.digest])], near))
            return
        yield from self._arrays(_array_cells(loaded.values()), near)

    def _arrays(self, cells: dict[bytes, bytes], near: list[_Item]) -> Iterator[FreshRecords]:
        """The records of the arrays that new leaves name: by key, compared with the array of the same key before."""
        nodes = map(decode_node, self._source.get("node", [item.digest for item in near if not item.level]))
        before = _array_cells(nodes)
        shared = set(before.values()) | self._seen
        fresh = {key: digest for key, digest in cells.items() if digest not in shared}
        digests = list(dict.fromkeys(fresh.values()))
        self._seen.update(digests)
        for start in range(0, len(digests), _TOGETHER):
            part = digests[start : start + _TOGETHER]
            yield "array", list(zip(part, self._source.get("array", part), strict=True))
        for key, digest in fresh.items():
            root = self._chunk_map(digest)
            old = self._chunk_map(before[key]) if key in before else None
            if root is not None:
                yield from self.below(root, () if old is None else (old,))

    def _chunk_map(self, array: bytes) -> bytes | None:
        return decode_array(self._source.get("array", [array])[0]).root

    def _roots(self, digests: Sequence[bytes]) -> list[_Item]:
        datas = self._source.get("node", digests)
        return [_Item(digest, decode_node(data).level, None, None) for digest, data in zip(digests, datas, strict=True)]

    def _lower(self, near: list[_Item], wanted: list[_Item]) -> list[_Item]:
        """Replace nodes of other trees that are above the level of the wanted ones by their children, as far as those overlap."""
        level = wanted[0].level
        while any(item.level > level for item in near):
            tall = _overlapping([item for item in near if item.level > level], wanted)
            datas = self._source.get("node", [item.digest for item in tall])
            lower = [_children(item, decode_node(data)) for item, data in zip(tall, datas, strict=True)]
            near = list(dict.fromkeys([*(item for item in near if item.level <= level), *chain(*lower)]))
        return near


def _children(item: _Item, node: Node) -> list[_Item]:
    lows = [item.low, *node.keys[:-1]]
    level = item.level - 1
    return [_Item(digest, level, low, high) for digest, low, high in zip(node.children(), lows, node.keys, strict=True)]


def _overlapping(items: list[_Item], new: list[_Item]) -> list[_Item]:
    """Those of ``items`` that may have keys in the range of one of ``new``, which ascend."""
    if new[0].high is None:
        return items  # a root
    highs = [item.high or b"" for item in new]
    found = []
    for item in items:
        at = 0 if item.low is None else bisect_right(highs, item.low)
        if at < len(new):
            low = new[at].low
            if item.high is None or low is None or low < item.high:
                found.append(item)
    return found


def _array_cells(leaves: Iterable[Node]) -> dict[bytes, bytes]:
    """Array records by key, of leaves of chunked columns; other leaves have none."""
    return {key: digest for leaf in leaves for key, digest in zip(leaf.keys, array_digests(leaf), strict=False)}
