"""Exchange with other libraries: columns as xarray, Arrow and pandas, and columns from their tables and datasets.

``column.to_dask()`` gives one column as a lazy array. :func:`to_xarray`, :func:`to_arrow` and :func:`to_pandas` take
several flat columns of one commit. :func:`from_arrow`, :func:`from_pandas`, :func:`from_huggingface` and
:func:`from_torch` write a table or a dataset to a write checkout; they add the columns that do not exist. The packages
are imported when a function needs them.
"""

from __future__ import annotations

from hangar.interop.datasets import from_huggingface, from_torch
from hangar.interop.export import to_arrow, to_pandas, to_xarray
from hangar.interop.tables import from_arrow, from_pandas

__all__ = [
    "from_arrow",
    "from_huggingface",
    "from_pandas",
    "from_torch",
    "to_arrow",
    "to_pandas",
    "to_xarray",
]
