"""``make_tf_dataset``, with a clear error if TensorFlow is not installed."""

from __future__ import annotations

from typing import Any

from hangar.errors import InvalidStateError, MissingPackageError
from hangar.flags import check_flag

__all__ = ["make_tensorflow_dataset", "make_tf_dataset"]


def make_tensorflow_dataset(
    columns: Any,
    keys: Any = None,
    shuffle: bool = False,
    *,
    index_range: slice | None = None,
    batch_size: int | None = None,
    drop_last: bool = False,
    seed: int = 0,
) -> Any:
    """Make a ``tf.data.Dataset`` of columns.

    Parameters
    ----------
    columns
        One column of a reader checkout, or a sequence of them. A nested column gives single subsamples, named by ``keys``.
    keys
        Keys of the items; None for all samples. For one column a sequence of keys: of samples, or in a nested column
        pairs ``(sample, subsample)``. For several columns a sequence of tuples, one key for each.
    shuffle
        Whether the order is random over all items, another one in each iteration.
    index_range
        Slice of positions in key order, instead of ``keys``.
    batch_size
        Elements are batches of this many items, each read in one call. None: elements are single items, still read in
        blocks; use ``batch``, ``padded_batch`` or ``ragged_batch`` of the data set to make batches.
    drop_last
        Whether to leave out the last batch if it is not full.
    seed
        Of the order: equal seeds give equal orders, of :class:`hangar.dataset.Sampler` too.

    Returns
    -------
    tf.data.Dataset
        Elements are tuples, with one tensor for each column (also for one column). Its shape is that of the column, with
        a None for each dimension of a column of variable shape; str and bytes are of dtype ``tf.string``. The number of
        elements is known.

    Raises
    ------
    MissingPackageError
        (an ``ImportError``) TensorFlow is not installed.
    InvalidStateError
        (a ``RuntimeError``) ``drop_last`` without a batch size, a batch larger than the data, or no samples.
    InvalidTypeError, AccessError, SampleNotFoundError, InvalidInputError
        See :func:`hangar.make_torch_dataset`. Also a dtype that TensorFlow does not have, whole samples of a nested
        column, and batches of arrays of variable shape.

    Notes
    -----
    For work on samples use ``map`` of the data set, which runs in TensorFlow.
    """
    shuffle, drop_last = check_flag(shuffle, "shuffle"), check_flag(drop_last, "drop_last")
    from hangar.dataset.numpy import check_batch_size
    from hangar.dataset.selection import select

    selection = select(columns, keys, index_range)
    if batch_size is None and drop_last:
        raise InvalidStateError("drop_last is for batches: give a batch_size")
    if batch_size is not None:
        batch_size = check_batch_size(batch_size, len(selection))
    try:
        from hangar.dataset.tensorflow import as_dataset
    except ImportError as error:
        raise MissingPackageError(
            f"data sets for TensorFlow need it ({error}): run `pip install 'hangar[tensorflow]'`"
        ) from None
    return as_dataset(selection, shuffle=shuffle, seed=seed, batch_size=batch_size, drop_last=drop_last)


make_tf_dataset = make_tensorflow_dataset
