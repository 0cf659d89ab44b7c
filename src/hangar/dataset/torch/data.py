"""The map-style data set of torch over a selection of columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset, get_worker_info

from hangar.dataset.batch import Batch, ItemForm, Transform
from hangar.dataset.selection import Selection
from hangar.errors import InvalidTypeError, PositionNotFoundError
from hangar.flags import check_flag
from hangar.threads import share_cores

__all__ = ["TorchDataset"]

_HINT: Final = (
    "a DataLoader takes a hangar.dataset.Sampler with a batch_size as batch_sampler=, and one without as sampler="
)


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
        except (AttributeError, TypeError):  # an array of several numbers has the method, and raises
            raise InvalidTypeError(f"an item is selected by an int, not {type(index).__name__}: {_HINT}") from None
        if not -count <= number < count:
            raise PositionNotFoundError(f"the data set has items: {count:,}, and none at position {number}")
        number %= count
        return Batch(self.selection, self.form, range(number, number + 1)).items[0]

    def __getitems__(self, indices: Sequence[int] | npt.NDArray[np.integer[Any]]) -> Sequence[Any]:
        """A batch of items, read as one; torch calls it for each batch. Unless items may be texts, it is read when it is used."""
        worker = get_worker_info()
        if worker is not None:
            share_cores(worker.num_workers)
        try:
            numbers = self.selection.items(indices)
        except InvalidTypeError as error:
            raise InvalidTypeError(f"{error}: {_HINT}") from None
        batch = Batch(self.selection, self.form, numbers)
        # torch's collate hands out a batch of texts as it is, and users expect a list.
        return batch.items if self._may_be_texts() else batch

    def _may_be_texts(self) -> bool:
        form = self.form
        if form.item_transform is not None or len(form.names) > 1:
            return form.item_transform is not None
        return form.column_transforms[0] is not None or self.selection.columns[0].schema.python_type is not None

    def __repr__(self) -> str:
        return f"<TorchDataset: {len(self):,} items of {', '.join(self.selection.names)}>"
