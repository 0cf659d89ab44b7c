"""Write samples as the rows of a Parquet or CSV file, with pyarrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hangar.errors import InvalidInputError
from hangar.external.classes import CLASSES, holds_classes
from hangar.external.fit import ColumnRequirements, is_added
from hangar.external.keysfile import Key
from hangar.external.plugins._arrow import arrow
from hangar.external.plugins.tables import EXACT_KEYS, HEADER_FIELD
from hangar.external.records import key_texts
from hangar.external.writers.base import Target

__all__ = ["CsvWriter", "ParquetWriter"]

_NUMBERS = "biuf"


def _key_columns(keys: Sequence[Any], nested: bool, kinds: tuple[str, str], plain: bool) -> dict[str, Any]:
    """The keys as Arrow arrays by column name. ``plain``: integer keys are numbers, not texts."""
    if not nested:
        return {"key": _key_array(keys, kinds[0], plain)}
    return {
        "sample": _key_array([key[0] for key in keys], kinds[0], plain),
        "subsample": _key_array([key[1] for key in keys], kinds[1], plain),
    }


def _key_array(keys: Sequence[Any], kind: str, plain: bool) -> Any:
    pa = arrow()
    if kind == "int" and plain:
        return pa.array(keys, pa.uint64())
    if kind == "str":
        return pa.array(keys, pa.string())
    return pa.array([f"{'int' if isinstance(key, int) else 'str'}:{key}" for key in keys], pa.string())


class ParquetWriter:
    """Writes a Parquet file with the columns ``key`` (or ``sample`` and ``subsample``) and ``value``."""

    def __init__(self, target: Target, compression: str = "zstd") -> None:
        self._pa, self._target = arrow(), target
        self._compression = compression
        self._writer: Any = None
        _check_elements(target.requirements, "parquet")

    def write(self, keys: Sequence[Key], values: Any) -> None:
        """As the contract says."""
        target = self._target
        kinds = (target.header.keys, target.header.subkeys)
        columns = _key_columns(keys, target.requirements.nested, kinds, plain=True)
        columns["value"] = _value_array(values, target.requirements)
        table = self._pa.table(columns)
        table = table.replace_schema_metadata({HEADER_FIELD: target.header.encode().encode()})
        if self._writer is None:
            parquet = arrow_module("parquet")
            try:
                self._writer = parquet.ParquetWriter(target.path, table.schema, compression=self._compression)
            except (self._pa.ArrowException, ValueError) as error:
                raise InvalidInputError(f"a Parquet file cannot be written: {error}") from None
        self._writer.write_table(table)

    def close(self) -> None:
        """As the contract says."""
        if self._writer is None:
            requirements = self._target.requirements
            shape = requirements.shape if not requirements.variable else ()
            fixed = requirements.kind == "ndarray" and not requirements.variable
            self.write([], np.zeros((0, *shape), requirements.dtype) if fixed else [])
        self._writer.close()

    def abort(self) -> None:
        """As the contract says."""
        if self._writer is not None:
            self._writer.close()


def arrow_module(name: str) -> Any:
    """A module of pyarrow."""
    from hangar.external.plugins._blocks import need_package

    return need_package(f"pyarrow.{name}", "tables")


def _check_elements(requirements: ColumnRequirements, name: str) -> None:
    if requirements.kind == "ndarray" and not requirements.variable and 0 in requirements.shape:
        raise InvalidInputError(f"a {name} file cannot hold arrays without elements: use -f hdf5")


def _value_array(values: Any, requirements: ColumnRequirements) -> Any:
    pa = arrow()
    if requirements.kind == "str":
        return pa.array(values, pa.string())
    if requirements.kind == "bytes":
        return pa.array(values, pa.binary())
    dtype = requirements.dtype
    assert dtype is not None
    known = dtype.kind in _NUMBERS and not is_added(dtype)
    if requirements.variable:
        return _variable(values, dtype, known)
    values = np.ascontiguousarray(values)
    if known and requirements.shape == ():
        return pa.array(values)
    if known and dtype.kind != "b":
        return pa.FixedShapeTensorArray.from_numpy_ndarray(values) if len(values) else _no_tensors(dtype, requirements)
    return _raw(values, requirements.nbytes)


def _no_tensors(dtype: np.dtype[Any], requirements: ColumnRequirements) -> Any:
    pa = arrow()
    kind = pa.fixed_shape_tensor(pa.from_numpy_dtype(dtype), requirements.shape)
    return pa.ExtensionArray.from_storage(kind, pa.array([], kind.storage_type))


def _raw(values: np.ndarray[Any, Any], nbytes: int) -> Any:
    pa = arrow()
    data = pa.py_buffer(values.reshape(-1).view(np.uint8).data if values.size else b"")
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(nbytes), len(values), [None, data])


def _variable(values: Sequence[Any], dtype: np.dtype[Any], known: bool) -> Any:
    pa = arrow()
    if not known:
        raise InvalidInputError(f"a parquet file cannot hold arrays of {dtype} of variable shape: use -f hdf5")
    flat = np.concatenate([np.zeros(0, dtype), *(value.reshape(-1) for value in values)])
    ends = np.cumsum([0, *(value.size for value in values)])
    data = pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), pa.array(flat))
    shapes = pa.array([list(value.shape) for value in values], pa.list_(pa.int64()))
    return pa.StructArray.from_arrays([data, shapes], ["data", "shape"])


class CsvWriter:
    """Writes a CSV file with the columns ``key`` (or ``sample`` and ``subsample``) and one named after the column.

    A vector becomes several columns. Integers with class names become the names, unless ``numbers``.
    """

    def __init__(self, target: Target, delimiter: str = ",", numbers: bool = False) -> None:
        self._target, self._delimiter = target, delimiter
        self._writer: Any = None
        requirements = target.requirements
        array = requirements.kind == "ndarray"
        fits = (
            requirements.dtype is not None and requirements.dtype.kind in _NUMBERS and not is_added(requirements.dtype)
        )
        if requirements.kind == "bytes" or (
            array and (requirements.variable or len(requirements.shape) > 1 or not fits)
        ):
            raise InvalidInputError(
                f"a CSV file holds texts, numbers and vectors of one length, and {requirements.holds}: use -f parquet"
                if array
                else "a CSV file cannot hold bytes: use -f parquet"
            )
        _check_elements(requirements, "CSV")
        names = target.header.attributes.get(CLASSES)
        classes = array and holds_classes("ndarray", requirements.dtype, requirements.shape)
        self._names = list(names) if classes and isinstance(names, list) and not numbers else None

    def write(self, keys: Sequence[Key], values: Any) -> None:
        """As the contract says."""
        pa, target = arrow(), self._target
        kinds = (target.header.keys, target.header.subkeys)
        columns = _key_columns(keys, target.requirements.nested, kinds, plain=False)
        name = target.header.column if target.header.column not in EXACT_KEYS else "value"
        if target.requirements.kind == "str":
            columns[name] = pa.array(values, pa.string())
        elif self._names is not None:
            columns[name] = pa.array([self._class(number) for number in np.asarray(values).tolist()], pa.string())
        else:
            columns |= _number_columns(name, np.asarray(values))
        table = pa.table(columns)
        if self._writer is None:
            csv = arrow_module("csv")
            options = csv.WriteOptions(delimiter=self._delimiter)
            self._writer = csv.CSVWriter(str(target.path), table.schema, write_options=options)
        self._writer.write_table(table)

    def close(self) -> None:
        """As the contract says."""
        if self._writer is None:
            requirements = self._target.requirements
            texts = requirements.kind == "str"
            self.write([], [] if texts else np.zeros((0, *requirements.shape), requirements.dtype))
        self._writer.close()

    def abort(self) -> None:
        """As the contract says."""
        if self._writer is not None:
            self._writer.close()

    def _class(self, number: int) -> str:
        assert self._names is not None
        return str(self._names[number]) if 0 <= number < len(self._names) else str(number)


def _number_columns(name: str, values: np.ndarray[Any, Any]) -> dict[str, Any]:
    pa = arrow()
    if values.dtype == np.float16:
        values = values.astype(np.float32)
    if values.ndim == 1:
        return {name: pa.array(values)}
    return {f"{name}_{at}": pa.array(np.ascontiguousarray(values[:, at])) for at in range(values.shape[1])}


def kinds_of(keys: Sequence[Any], nested: bool) -> tuple[str, str]:
    """The kinds of the keys and subsample keys, see :func:`hangar.external.records.key_texts`."""
    if not nested:
        return key_texts(keys)[1], "str"
    return key_texts([key[0] for key in keys])[1], key_texts([key[1] for key in keys])[1]
