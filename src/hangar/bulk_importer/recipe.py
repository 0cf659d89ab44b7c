"""Digest of a recipe: it identifies an import, so that the same import continues after a crash, and another one begins anew.

It covers the function (its module, name, code and defaults, not the functions that it calls), the columns with their
schemas, and all items. Equal recipes may have different digests in rare cases (an item of a type that encodes
differently in each process, such as a set of objects). Such an import begins again, which is slower and never wrong.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable
from functools import partial
from types import CodeType, FunctionType
from typing import Any, Final

import msgspec
import numpy as np
from blake3 import blake3

from hangar.digest import Digest

__all__ = ["recipe_digest"]

_CONTEXT: Final = "hangar 0 import recipe"


def recipe_digest(function: Any, columns: Iterable[tuple[bytes, bytes]], items: Iterable[Any], options: Any) -> Digest:
    """Digest of an import.

    Parameters
    ----------
    function
        The function that turns an item into values.
    columns
        Id and schema digest of each column.
    items
        The items, in their order.
    options
        Further settings that change the result.
    """
    hasher = blake3(derive_key_context=_CONTEXT)
    for part in (_function(function), list(columns), options):
        _add(hasher, _bytes(part))
    for item in items:
        _add(hasher, _bytes(item))
    return Digest(hasher.digest())


def _add(hasher: Any, data: bytes) -> None:
    hasher.update(len(data).to_bytes(8, "little") + data)


def _function(function: Any) -> Any:
    """What identifies a function, as a value that can be encoded."""
    if isinstance(function, partial):
        return ["partial", _function(function.func), list(function.args), function.keywords]
    code = getattr(function, "__code__", None)
    name = [
        str(getattr(function, "__module__", "")),
        str(getattr(function, "__qualname__", type(function).__qualname__)),
    ]
    if code is None:
        own = getattr(function, "__dict__", None)
        call = vars(type(function)).get("__call__")
        return [*name, own or None, _function(call) if isinstance(call, FunctionType) else None]
    closure = [_cell(cell) for cell in function.__closure__ or ()]
    return [*name, _code(code), list(function.__defaults__ or ()), function.__kwdefaults__, closure]


def _cell(cell: Any) -> Any:
    try:
        value = cell.cell_contents
    except ValueError:  # not assigned yet
        return None
    return _function(value) if callable(value) else value


def _code(code: CodeType) -> Any:
    # The order of a set depends on the process.
    constants = [
        _code(one) if isinstance(one, CodeType) else sorted(map(repr, one)) if isinstance(one, frozenset) else repr(one)
        for one in code.co_consts
    ]
    return [code.co_code, list(code.co_names), list(code.co_varnames), constants]


def _bytes(value: Any) -> bytes:
    try:
        return msgspec.msgpack.encode(value, enc_hook=_other, order="deterministic")
    except (TypeError, ValueError, OverflowError, RecursionError):
        return _pickled(value)


def _other(value: Any) -> Any:
    """Values that are not of JSON's kinds, as some that are."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return ["array", value.dtype.str, list(value.shape), value.tobytes()]
    if isinstance(value, np.generic):
        return ["scalar", value.dtype.str, value.tobytes()]
    if isinstance(value, os.PathLike):
        return ["path", os.fspath(value)]
    if isinstance(value, range):
        return ["range", value.start, value.stop, value.step]
    if callable(value):
        return _function(value)
    return ["object", _pickled(value)]


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value, protocol=4)
    except Exception:  # noqa: BLE001  any object, any error; the import fails later where it must be sent to a process
        return os.urandom(16)
