"""Converts keys and positions that a user gives into look-ups in a tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from hangar.columns.sampletable import SampleTable
from hangar.errors import InvalidInputError, InvalidTypeError, PositionNotFoundError
from hangar.objects.gather import SEARCH_BATCH
from hangar.objects.lookup import find_ints, find_keys, find_pairs, key_positions, pair_positions
from hangar.objects.node import EXACT_INTEGER, TreeForm
from hangar.objects.store import NodeStore
from hangar.schema.cells import Rows
from hangar.schema.keys import MASK_HINT, encode_int_array, int_array, lookup_key

__all__ = ["NO_SUCH_KEY", "KeyBatch", "check_position", "position_batch"]

NO_SUCH_KEY = b"\xff"
"""An encoded key that no sample has."""


class KeyBatch(msgspec.Struct, frozen=True):
    """Batch of keys to look up: an array, if all are ints, shape (n,), or pairs of ints, shape (n, 2); else encoded keys."""

    ints: npt.NDArray[np.uint64] | None
    texts: list[bytes]

    def __len__(self) -> int:
        return len(self.texts) if self.ints is None else len(self.ints)

    def encoded(self) -> list[bytes]:
        """The keys in encoded form."""
        return self.texts if self.ints is None else encode_int_array(self.ints)

    def find(self, nodes: NodeStore, form: TreeForm, root: bytes) -> tuple[npt.NDArray[np.bool_], Rows]:
        """Look up the keys in a tree of fixed width: a mask of those found, and their cells, uint8, shape (n, width)."""
        if self.ints is None:
            return find_keys(nodes, form, root, self.texts)
        if self.ints.ndim == 1:
            return find_ints(nodes, form, root, self.ints)
        if int(self.ints.max()) < EXACT_INTEGER:
            found = find_pairs(nodes, form, root, _as_complex(self.ints))
            if found is not None:
                return found
        return find_keys(nodes, form, root, self.encoded())

    def positions(self, table: SampleTable, nodes: NodeStore, root: bytes) -> npt.NDArray[np.int64] | None:
        """Positions of the keys in key order, from the table if it has the keys, else from the tree; None if one is missing."""
        ints = self.ints
        if not len(self):
            return None
        if ints is None:
            return key_positions(nodes, root, self.texts) if len(self) <= SEARCH_BATCH else None
        if ints.ndim == 1:
            found = table.positions(ints)
            return found if found is not None or table.knows_keys else key_positions(nodes, root, self.encoded())
        if int(ints.max()) < EXACT_INTEGER and len(ints) <= SEARCH_BATCH:
            return pair_positions(nodes, root, _as_complex(ints))
        return None

    @classmethod
    def of(cls, keys: Sequence[Any] | npt.NDArray[Any]) -> KeyBatch:
        """Prepare ``keys``. An impossible key becomes :data:`NO_SUCH_KEY`, which is not found.

        Raises
        ------
        InvalidTypeError
            ``keys`` is not a sequence, or contains a value that can never be a key.
        """
        if isinstance(keys, np.ndarray):
            if keys.ndim != 1:
                raise InvalidTypeError(f"an array of keys has one dimension, not {keys.ndim}")
            if keys.dtype == np.bool_:
                raise InvalidTypeError(f"a mask selects positions and no keys: use {MASK_HINT}")
        else:
            keys = cls.checked(keys)
        ints = int_array(keys)
        if ints is not None:
            return cls(ints, [])
        if isinstance(keys, np.ndarray):
            keys = keys.tolist()
        if set(map(type, keys)) == {str}:
            try:
                return cls(None, [b"\x20" + text for text in map(str.encode, keys)])
            except UnicodeEncodeError:
                pass
        encoded = [lookup_key(key) for key in keys]
        return cls(None, [NO_SUCH_KEY if key is None else key for key in encoded])

    @staticmethod
    def checked(keys: Any) -> Any:
        """``keys`` as a sequence; for a mapping (dict, column) its keys. Raises InvalidTypeError if they have no order.

        A generator is consumed: use the returned list afterwards.
        """
        if isinstance(keys, (str, bytes, set, frozenset, np.generic)) or not (
            hasattr(keys, "__iter__") or hasattr(keys, "__getitem__")
        ):
            raise InvalidTypeError(f"a batch of keys is a sequence, not {type(keys).__name__}")
        # As a list, for numpy would take the values of a column for keys.
        return keys if isinstance(keys, (list, tuple, range)) else list(keys)


def _as_complex(pairs: npt.NDArray[np.uint64]) -> npt.NDArray[np.complex128]:
    return pairs.astype(np.float64).view(np.complex128)[:, 0]


def position_batch(positions: Any, entries: int, holder: str = "the column holds") -> range | npt.NDArray[np.int64]:
    """Positions in key order, all of 0 to ``entries`` - 1; a ``range`` where they are contiguous.

    Raises
    ------
    PositionNotFoundError
        (an ``IndexError``) a position does not exist.
    InvalidTypeError
        They are no integers.
    """
    if isinstance(positions, slice):
        try:
            start, stop, step = positions.indices(entries)
        except TypeError:
            raise InvalidTypeError(f"{positions!r} selects no positions: its bounds are integers or None") from None
        except ValueError as error:
            raise InvalidInputError(f"{positions!r} selects no positions: {error}") from None
        if step == 1:
            return range(start, max(start, stop))
        return np.arange(start, stop, step, dtype=np.int64)
    try:
        array = np.asarray(positions)
    except ValueError:
        array = np.empty((0, 0))
    if array.dtype == np.bool_ and array.size:
        raise InvalidTypeError(f"positions are integers: of a mask, {MASK_HINT} takes those that it selects")
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise InvalidTypeError("positions are a slice or a one-dimensional sequence of integers")
    # Looked at before the cast, which makes negative positions of the largest unsigned ones.
    low, high = (int(array.min()), int(array.max())) if array.size else (0, -1)
    if low < -entries or high >= entries:
        raise PositionNotFoundError(f"{holder} {entries:,}, and none at position {low if low < -entries else high}")
    chosen = array.astype(np.int64, copy=False)
    return np.where(chosen < 0, chosen + entries, chosen) if low < 0 else chosen


def check_position(position: Any, entries: int) -> int | None:
    """``position``, negative ones counted from the end, as one of 0 to ``entries`` - 1; None where it is not.

    Raises
    ------
    InvalidTypeError
        It is no integer.
    """
    if isinstance(position, bool) or not isinstance(position, (int, np.integer)):
        raise InvalidTypeError(f"a position is an int, not {type(position).__name__}: {position!r}")
    index = int(position) + entries if position < 0 else int(position)
    return index if 0 <= index < entries else None
