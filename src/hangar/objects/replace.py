"""Fast path of ``apply``: replace values of a node whose keys do not change.

Node boundaries depend on keys alone, so such a node keeps its boundaries. Its new version is made by overwriting the
changed entries in a copy of ``refs``, without splitting.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import msgspec

from hangar.errors import InvalidInputError
from hangar.objects.node import MIXED, Node, TreeForm

__all__ = ["replaced"]


def replaced(node: Node, form: TreeForm, keys: Sequence[bytes], values: Sequence[Any]) -> Node | None:
    """``node`` with new values for some of its keys; itself if they are equal, None if this fast path does not apply.

    Parameters
    ----------
    node
        The fast path does not apply to a mixed leaf, whose entries differ in length, or to an inner node of a nested
        column, whose sample counts depend on neighbours.
    form
        Form of the tree.
    keys
        Ascending, each once.
    values
        For each key a cell (at level 0) or an entry of ``build`` (on higher levels); None deletes.
    """
    if form.kind == MIXED and not node.level:
        return None
    if None in values or (form.nested if node.level else (node.kind, node.width) != (form.kind, form.width)):
        return None
    own = node.keys
    indices = [bisect_left(own, key) for key in keys]
    # Slices, because the last index may be past the end.
    if [own[index : index + 1] for index in indices] != [[key] for key in keys]:
        return None
    refs = bytearray(node.refs)
    width = node.width
    counts = node.counts
    cells: Sequence[bytes] = values
    if node.level:
        cells = [entry[0] for entry in values]
        counts = counts.copy()
        for index, entry in zip(indices, values, strict=True):
            counts[index] = entry[1]
    for index, cell in zip(indices, cells, strict=True):
        if len(cell) != width:
            raise InvalidInputError(f"the entries are not of the form {form}")
        refs[index * width : index * width + width] = cell
    if refs == node.refs and counts == node.counts:
        return node
    return msgspec.structs.replace(node, refs=bytes(refs), counts=counts)
