"""Batch lookup of whole samples of a nested column. Each sample is a key range; all ranges descend the tree together.

On each level the nodes that any range touches are loaded in one batch, whatever the number of samples.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, chain
from typing import NamedTuple

from hangar.errors import CorruptionError, InvalidInputError
from hangar.objects.descend import load_level
from hangar.objects.gather import SEARCH_BATCH
from hangar.objects.node import Node
from hangar.objects.samples import distinct_samples, samples_below
from hangar.objects.store import NodeStore
from hangar.wording import plural

__all__ = ["SampleEntries", "entries_of_samples", "select_samples"]

_TOGETHER = SEARCH_BATCH // 64
"""Number of samples that are searched together; bounds memory, as all their leaves are loaded at once."""


class SampleEntries(NamedTuple):
    """The entries of one sample.

    Attributes
    ----------
    start
        Position of the first entry in the tree.
    keys, cells
        Key and cell of each entry, in key order; empty if the sample does not exist.
    """

    start: int
    keys: list[bytes]
    cells: list[bytes]


def entries_of_samples(store: NodeStore, root: bytes, prefixes: Sequence[bytes]) -> list[SampleEntries]:
    """The entries of each sample.

    Parameters
    ----------
    store
        Has the nodes.
    root
        Digest of the root.
    prefixes
        Key prefix of each sample; in any order; duplicates are allowed.
    """
    found: dict[bytes, SampleEntries] = {}
    wanted = sorted(set(prefixes))
    for at in range(0, len(wanted), _TOGETHER):
        part = wanted[at : at + _TOGETHER]
        found.update(zip(part, _entries(store, root, part), strict=True))
    return [found[prefix] for prefix in prefixes]


def _entries(store: NodeStore, root: bytes, prefixes: list[bytes]) -> list[SampleEntries]:
    nodes, starts = [store.load(root)], [0]
    ends = [prefix + b"\xff" for prefix in prefixes]
    for level in reversed(range(nodes[0].level)):
        keys = list(chain.from_iterable([node.keys for node in nodes]))
        reached: dict[int, None] = {}
        for prefix, end in zip(prefixes, ends, strict=True):
            # The children from the one in which the range begins to the one in which it ends.
            reached.update(dict.fromkeys(range(bisect_left(keys, prefix), min(bisect_left(keys, end) + 1, len(keys)))))
        counts = list(chain.from_iterable([node.counts for node in nodes]))
        bases = list(
            chain.from_iterable(
                accumulate(node.counts[:-1], initial=start) for node, start in zip(nodes, starts, strict=True)
            )
        )
        digests = list(chain.from_iterable([node.children() for node in nodes]))
        chosen = sorted(reached)
        if not chosen:
            return [SampleEntries(0, [], []) for _ in prefixes]
        nodes, starts = load_level(store, [digests[at] for at in chosen], level), [bases[at] for at in chosen]
        if [node.entries for node in nodes] != [counts[at] for at in chosen]:
            raise CorruptionError(f"the tree of root {root.hex()} counts entries that are not there: run `hangar fsck`")
    return _slices(nodes, starts, prefixes, ends)


def _slices(nodes: list[Node], starts: list[int], prefixes: list[bytes], ends: list[bytes]) -> list[SampleEntries]:
    """The entries of each key range, from consecutive or separate leaves in key order."""
    keys = list(chain.from_iterable([leaf.keys for leaf in nodes]))
    cells = list(chain.from_iterable([leaf.cells() for leaf in nodes]))
    firsts = list(accumulate([len(leaf.keys) for leaf in nodes[:-1]], initial=0))
    found = []
    for prefix, end in zip(prefixes, ends, strict=True):
        first = bisect_left(keys, prefix)
        last = bisect_left(keys, end, first)
        leaf = bisect_right(firsts, first) - 1
        found.append(SampleEntries(starts[leaf] + first - firsts[leaf], keys[first:last], cells[first:last]))
    return found


def select_samples(store: NodeStore, root: bytes, positions: Sequence[int]) -> list[bytes]:
    """Key prefixes of the samples at ``positions`` among the distinct samples of a nested column.

    Raises
    ------
    InvalidInputError
        The tree has no such position.
    """
    top = store.load(root)
    total = samples_below(top)
    for position in positions:
        if not 0 <= position < total:
            raise InvalidInputError(f"position {position} is not among the {plural(total, 'sample')}")
    left = list(positions)
    nodes = [top] * len(left)
    samples = {} if top.level else {id(top): distinct_samples(top.keys)}
    for level in reversed(range(top.level)):
        chosen = [bisect_right(node.sample_ends, at) for node, at in zip(nodes, left, strict=True)]
        children = load_level(store, [node.child(at) for node, at in zip(nodes, chosen, strict=True)], level)
        reached = {id(child): child for child in children}
        if not level:
            samples = {key: distinct_samples(leaf.keys) for key, leaf in reached.items()}
        below = {key: samples_below(child) if level else len(samples[key]) for key, child in reached.items()}
        # A child's own count includes a sample that it shares with its left sibling; the count in the parent does not.
        left = [
            at - node.sample_ends[index] + below[id(child)]
            for at, node, index, child in zip(left, nodes, chosen, children, strict=True)
        ]
        nodes = children
    found = [samples[id(leaf)][at : at + 1] for leaf, at in zip(nodes, left, strict=True)]
    if [] in found:
        raise CorruptionError(f"the tree of root {root.hex()} counts samples that are not there: run `hangar fsck`")
    return list(chain.from_iterable(found))
