"""The map-style data set of torch over a selection of columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from hangar.dataset.batch import Batch, ItemForm, Transform
from hangar.dataset.selection import Selection
from hangar.errors import InvalidTypeError, PositionNotFoundError
from hangar.flags import check_flag

__all__ = ["TorchDataset"]


class TorchDataset(Dataset):  # type: ignore[misc]  # torch is optional
    """Items of columns by number; ``hangar.make_torch_dataset`` makes it.

    It is pickled as repository, commit, columns and positions. Each worker process opens the columns at its first read. ``Subset``, ``random_split`` and ``ConcatDataset`` of torch work on it.

    Attributes
    ----------
    selection
        Its columns and items.
    form
        Form of an item.
    """

    def __init__(self, selection: Selection, *, as_dict: bool = False, transform: Transform = None) -> None:
        check_flag(as_dict, "as_dict")
        self.selection = selection
        self.form = ItemForm(selection.names, as_dict, transform)

    def __len__(self) -> int:
        return len(self.selection)

    def __getitem__(self, index: int) -> Any:
        """The item at ``index``; negative ones count from the end. PositionNotFoundError (an ``IndexError``) if there is none."""
        count = len(self.selection)
        try:
            number = index.__index__()
        except AttributeError:
            raise InvalidTypeError(f"an item is selected by an int, not {type(index).__name__}") from None
        if not -count <= number < count:
            raise PositionNotFoundError(f"the data set has items: {count:,}, and none at position {number}")
        number %= count
        return self.form.items(self.selection.gather(range(number, number + 1)))[0]

    def __getitems__(self, indices: Sequence[int] | npt.NDArray[np.integer[Any]]) -> Batch:
        """A batch of items, read as one; torch calls it for each batch. The batch is read when it is used."""
        return Batch(self.selection, self.form, self.selection.items(indices))

    def __repr__(self) -> str:
        return f"<TorchDataset: {len(self):,} items of {', '.join(self.selection.names)}>"
