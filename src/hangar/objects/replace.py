"""Nodes in which values change and keys do not.

Cuts depend on keys alone. So a node whose keys stay the same stays a node, and is made anew by writing over the entries that change:
nothing of it is taken apart, and nothing is cut.
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
    """``node`` with other values under some of its keys; itself where they are the same, None where that is not all that changes.

    Parameters
    ----------
    node
        Not a mixed leaf, whose entries differ in length, nor an inner node of a nested column, whose samples depend on neighbours.
    form
        Of the tree.
    keys
        Ascending, each once.
    values
        With each key a cell at level 0, an entry of ``build`` above; None deletes.
    """
    if form.kind == MIXED and not node.level:
        return None
    if None in values or (form.nested if node.level else (node.kind, node.width) != (form.kind, form.width)):
        return None
    own = node.keys
    spots = [bisect_left(own, key) for key in keys]
    # Slices, because the last of these may lie behind the end.
    if [own[spot : spot + 1] for spot in spots] != [[key] for key in keys]:
        return None
    refs = bytearray(node.refs)
    width = node.width
    counts = node.counts
    cells: Sequence[bytes] = values
    if node.level:
        cells = [entry[0] for entry in values]
        counts = counts.copy()
        for spot, entry in zip(spots, values, strict=True):
            counts[spot] = entry[1]
    for spot, cell in zip(spots, cells, strict=True):
        if len(cell) != width:
            raise InvalidInputError(f"the entries are not of the form {form}")
        refs[spot * width : spot * width + width] = cell
    if refs == node.refs and counts == node.counts:
        return node
    return msgspec.structs.replace(node, refs=bytes(refs), counts=counts)
