"""Nodes of one level side by side: what a batch reaches from them, and what it takes out of them.

A *spot* is the place of an entry among those of several nodes laid end to end.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hangar.digest import DIGEST_BYTES, Digest
from hangar.objects.node import Node

__all__ = ["gather_rows", "reached_children", "split_spots"]

Spots = npt.NDArray[np.intp]

_SLICE_BYTES = 2_000
"""Copying so many bytes takes as long as one slice of a bytes object."""


def reached_children(nodes: Sequence[Node], spots: Spots) -> list[Digest]:
    """Digests of the children at ``spots`` (beyond the end: none), each once, in order."""
    refs = nodes[0].refs if len(nodes) == 1 else b"".join([node.refs for node in nodes])
    children = np.frombuffer(refs, f"V{DIGEST_BYTES}")
    flags = np.zeros(len(children) + 1, np.bool_)
    flags[spots] = True
    reached: list[Digest] = children[flags[:-1]].tolist()
    return reached


def split_spots(nodes: Sequence[Node], spots: Spots) -> tuple[list[int], Spots]:
    """Of each spot the index of its node, and its place in that node."""
    ends = np.array([len(node.keys) for node in nodes]).cumsum()
    which = ends.searchsorted(spots, side="right")
    starts = np.concatenate((np.zeros(1, np.intp), ends))
    places: Spots = spots - starts[which]
    return which.tolist(), places


def gather_rows(nodes: Sequence[Node], spots: Spots, width: int) -> npt.NDArray[np.uint8]:
    """The entries at ``spots`` of leaves that are ``width`` bytes wide: uint8, shape (n, width)."""
    count = len(spots)
    if not width:
        return np.zeros((count, 0), np.uint8)
    if sum([len(node.refs) for node in nodes]) < count * _SLICE_BYTES:
        joined = np.frombuffer(b"".join([node.refs for node in nodes]), f"V{width}")
        return joined[spots].view(np.uint8).reshape(count, width)
    which, places = split_spots(nodes, spots)
    refs = [node.refs for node in nodes]
    offsets = (places * width).tolist()
    pieces = b"".join([refs[i][start : start + width] for i, start in zip(which, offsets, strict=True)])
    return np.frombuffer(pieces, np.uint8).reshape(count, width)
