"""Samples of files that hold many: exact keys, blocks of samples, and the header that an export writes into such a file.

An exported file says what it came from: the type, dtype and shape of the column, the kind of its keys, and its
attributes. An import that finds this header restores the same samples. The header is untrusted input: all of it is
checked.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np

from hangar import limits
from hangar.errors import HangarError, InvalidInputError
from hangar.external.fit import Column
from hangar.external.keysfile import Key
from hangar.names import SampleKey

__all__ = ["Block", "FileHeader", "Probe", "SampleName", "key_texts", "keys_of_texts", "parse_key"]

MAX_HEADER_BYTES: Final = 2 * limits.MAX_ATTRIBUTES_BYTES + 2**16
_VERSION: Final = 1


class SampleName(str):
    """Name of a sample whose exact key is known, for example from the header of an exported file."""

    __slots__ = ("key",)
    key: Key

    def __new__(cls, key: Key) -> SampleName:
        name = super().__new__(cls, "/".join(map(str, key)) if isinstance(key, tuple) else str(key))
        name.key = key
        return name

    def __reduce__(self) -> tuple[Any, ...]:
        return SampleName, (self.key,)


@dataclass(slots=True)
class Block:
    """Some samples of a file.

    Attributes
    ----------
    names
        Exact keys if ``exact``, else names from which keys are derived.
    values
        A stacked array, or a list of values.
    failures
        Names of samples that cannot be read, with the errors.
    classes
        Names of classes, sorted; ``values`` are positions in them. None: ``values`` are values.
    """

    names: Sequence[Any]
    values: Any
    exact: bool = True
    classes: list[str] | None = None
    failures: list[tuple[str, HangarError]] = field(default_factory=list)


class Probe(NamedTuple):
    """Description of the samples in a file, from its header.

    Attributes
    ----------
    format
        Name of the format: ``'PNG'``, ``'HDF5'`` ...
    kind
        Type of the values: ``'ndarray'``, ``'str'`` or ``'bytes'``.
    dtype, shape
        Of an array.
    mode
        Kind of pixels of an image, as pillow names it.
    orientation
        Exif orientation of an image, 1 to 8.
    samples
        Number of samples of this description.
    """

    format: str
    kind: str
    dtype: str = ""
    shape: tuple[int, ...] = ()
    mode: str = ""
    orientation: int = 1
    samples: int = 1


# ---------------------------------------------------------------------------------------------------------------- keys


def key_texts(keys: Sequence[SampleKey]) -> tuple[list[str], str]:
    """Keys as texts, and their kind: ``'str'``, ``'int'``, or ``'mixed'``, for which each text begins with its kind."""
    kinds = set(map(type, keys))
    if kinds <= {str}:
        return list(keys), "str"  # type: ignore[arg-type]
    if kinds == {int}:
        return list(map(str, keys)), "int"
    return [f"{'int' if isinstance(key, int) else 'str'}:{key}" for key in keys], "mixed"


def keys_of_texts(texts: Sequence[str], kind: str) -> list[SampleKey]:
    """The keys that :func:`key_texts` wrote.

    Raises
    ------
    ValueError
        ``texts`` are not what it writes.
    """
    if kind == "str":
        return list(texts)
    if kind == "int":
        return list(map(int, texts))
    if kind != "mixed":
        raise ValueError(f"keys of kind {kind!r}")
    return [parse_key(text) for text in texts]


def parse_key(text: str) -> SampleKey:
    """``'int:5'`` as 5, ``'str:5'`` as ``'5'``; other texts unchanged."""
    kind, colon, name = text.partition(":")
    if not colon or kind not in ("int", "str"):
        return text
    return int(name) if kind == "int" else name


# -------------------------------------------------------------------------------------------------------------- header


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What an exported file says about its column.

    Attributes
    ----------
    column, kind, dtype, shape, variable, nested
        Name and schema of the column; ``shape`` is None for text and bytes.
    attributes
        Attributes of the column.
    keys, subkeys
        Kinds of the keys, see :func:`key_texts`.
    """

    column: str
    kind: str
    dtype: str
    shape: tuple[int, ...] | None
    variable: bool
    nested: bool
    attributes: Mapping[str, Any]
    keys: str = "str"
    subkeys: str = "str"

    @classmethod
    def of(cls, column: Column, keys: str = "str", subkeys: str = "str") -> FileHeader:
        """The header for samples of ``column``."""
        kind = column.column_type
        array = kind == "ndarray"
        return cls(
            column.column,
            kind,
            np.dtype(column.dtype).name if array else "",
            tuple(column.shape) if array else None,
            column.schema_type == "variable_shape",
            column.contains_subsamples,
            dict(getattr(column, "attributes", {})),
            keys,
            subkeys,
        )

    def encode(self) -> str:
        """As JSON."""
        record = {
            "hangar": _VERSION,
            "column": self.column,
            "type": self.kind,
            "dtype": self.dtype,
            "shape": None if self.shape is None else list(self.shape),
            "variable": self.variable,
            "nested": self.nested,
            "keys": self.keys,
            "subkeys": self.subkeys,
            "attributes": _to_json(self.attributes),
        }
        return json.dumps(record)

    @classmethod
    def decode(cls, text: str | bytes, where: str) -> FileHeader:
        """The header in ``text``; ``where`` names the file in messages.

        Raises
        ------
        InvalidInputError
            It is not a header.
        """
        try:
            if len(text) > MAX_HEADER_BYTES:
                raise ValueError("it is too long")
            record = json.loads(text)
            if record["hangar"] != _VERSION:
                raise ValueError(f"version {record['hangar']!r}")
            shape = record["shape"]
            if shape is not None and not all(type(extent) is int and extent >= 0 for extent in shape):
                raise ValueError(f"shape {shape!r}")
            attributes = _from_json(record["attributes"])
            texts = [record[name] for name in ("column", "type", "dtype", "keys", "subkeys")]
            if not all(type(one) is str for one in texts) or type(attributes) is not dict:
                raise ValueError("a field has the wrong type")
            column, kind, dtype, keys, subkeys = texts
            variable, nested = bool(record["variable"]), bool(record["nested"])
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise InvalidInputError(f"{where}: the header of the export is invalid: {error}") from None
        sizes = None if shape is None else tuple(shape)
        return cls(column, kind, dtype, sizes, variable, nested, attributes, keys, subkeys)

    def pair_keys(self, samples: Sequence[str], subsamples: Sequence[str] | None) -> list[Key]:
        """The keys that are stored as the texts ``samples`` and, in a nested column, ``subsamples``. May raise ValueError."""
        first = keys_of_texts(samples, self.keys)
        if not self.nested:
            return list(first)
        return list(zip(first, keys_of_texts(subsamples or (), self.subkeys), strict=True))


def _to_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {"$map": [[key, _to_json(one)] for key, one in value.items()]}
    return [_to_json(one) for one in value] if isinstance(value, (list, tuple)) else value


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        if "$bytes" in value:
            return base64.b64decode(value["$bytes"])
        return {key: _from_json(one) for key, one in value["$map"]}
    return [_from_json(one) for one in value] if isinstance(value, list) else value
