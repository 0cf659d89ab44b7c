"""``make_torch_dataset``, with a clear error if torch is not installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hangar.errors import MissingPackageError

if TYPE_CHECKING:
    from hangar.dataset.batch import Transform
    from hangar.dataset.torch import TorchDataset

__all__ = ["make_torch_dataset", "require_torch"]


def require_torch() -> None:
    """Raise MissingPackageError (an ``ImportError``) if torch is not installed."""
    try:
        import torch.utils.data  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(f"data sets for torch need it ({error}): run `pip install hangar[torch]`") from None


def make_torch_dataset(
    columns: Any,
    keys: Any = None,
    as_dict: bool = False,
    *,
    index_range: slice | None = None,
    slices: Any = None,
    transform: Transform = None,
) -> TorchDataset:
    """Make a ``torch.utils.data.Dataset`` of columns.

    Parameters
    ----------
    columns
        One column of a reader checkout, or a sequence of them, of any kind and layout.
    keys
        Keys of the items in their order; None for all samples, in key order. For one column a sequence of keys: of
        samples, or in a nested column pairs ``(sample, subsample)`` or ``(sample, ...)``. For several columns a
        sequence of tuples, one key for each column.
    as_dict
        Whether an item is ``{column name: value}``. Else it is the value of the only column, or a tuple of values.
    index_range
        Slice of positions in key order, instead of ``keys``.
    slices
        Part of each item of chunked and sparse columns, of which only the chunks that it touches are read: an index
        expression for all items (``np.s_[0:2, :64]``); a sequence of one for each item; an integer array of shape (items,
        axes, 2) with start and stop along each axis; or a function of key and shape that returns one, called at each read.
        ``{column name: ...}`` slices these columns, also those of arrays. Without it an item is the whole array.
    transform
        A callable on an item, or ``{column name: callable on its value}``. It is called for each item; for work on
        whole batches use ``collate_fn`` of the loader.

    Returns
    -------
    hangar.dataset.torch.TorchDataset
        Values are numpy arrays, str, bytes, or for samples of a nested column dicts of subsamples. A batch is read as a
        batch: give ``hangar.dataset.collate`` as ``collate_fn`` of a ``DataLoader``, so that nothing is done for each
        sample. torch's default collate works as well.

    Raises
    ------
    MissingPackageError
        (an ``ImportError``) torch is not installed.
    InvalidTypeError
        (a ``TypeError``) ``columns`` is empty or holds something else than columns; ``keys`` is not a sequence of keys;
        ``index_range`` is not a slice; or ``transform`` is not callable.
    AccessError
        (a ``PermissionError``) a column belongs to a writer, or shows the staging area.
    SampleNotFoundError
        (a ``KeyError``) a key does not exist; or the columns have different keys, and ``keys`` was not given.
    InvalidInputError
        (a ``ValueError``) flat and nested columns without ``keys``; both ``keys`` and ``index_range``; no item is left; or
        ``as_dict`` with two columns of one name.
    InvalidStateError
        (a ``RuntimeError``) a column has no samples.
    """
    require_torch()
    from hangar.dataset.selection import select
    from hangar.dataset.torch import TorchDataset

    return TorchDataset(select(columns, keys, index_range, slices), as_dict=as_dict, transform=transform)
