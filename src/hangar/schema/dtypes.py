"""The closed table of element types: one byte on disk for each.

A ``numpy`` type string cannot tell ``bfloat16`` or ``float8`` from raw bytes, so the format names types by number. A
number is never given a new meaning; new types get new numbers. Types of ``ml_dtypes`` are used where that package is
installed.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from hangar.errors import InvalidInputError, MissingPackageError, UnsupportedVersionError

__all__ = ["DTYPE_NAMES", "NO_DTYPE", "as_dtype", "dtype_code", "dtype_of", "extension_dtype", "itemsize_of"]

NO_DTYPE: Final = 0
"""Code of values without an element type: str and bytes."""

DTYPE_NAMES: Final[dict[int, str]] = {
    1: "bool",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "uint8",
    7: "uint16",
    8: "uint32",
    9: "uint64",
    10: "float16",
    11: "float32",
    12: "float64",
    13: "complex64",
    14: "complex128",
    32: "bfloat16",
    33: "float8_e3m4",
    34: "float8_e4m3",
    35: "float8_e4m3b11fnuz",
    36: "float8_e4m3fn",
    37: "float8_e4m3fnuz",
    38: "float8_e5m2",
    39: "float8_e5m2fnuz",
    40: "float8_e8m0fnu",
}
_FIRST_EXTENSION_CODE = 32
_CODES = {name: code for code, name in DTYPE_NAMES.items()}
_DTYPES: dict[int, np.dtype[Any]] = {}


def as_dtype(given: object) -> np.dtype[Any]:
    """Convert a dtype of NumPy, Python, torch or TensorFlow, or a name in any case, to a ``numpy`` dtype.

    Raises
    ------
    InvalidInputError
        It is not a dtype.
    """
    name = given if isinstance(given, str) else str(given) if type(given).__module__ == "torch" else ""
    # As people write it: FLOAT32, np.float32, torch.bfloat16.
    name = name.strip().rpartition(".")[2]
    code = _CODES.get(name.lower())
    if code is not None:
        return dtype_of(code)
    if given is str or given is bytes or name.lower() in ("str", "bytes"):
        raise InvalidInputError(
            f"{given!r} is not a dtype of arrays: use a column for text or bytes (add_str_column, add_bytes_column)"
        )
    try:
        return np.dtype(name or getattr(given, "as_numpy_dtype", given))  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{given!r} is not a dtype: use one such as 'uint8', 'float32', np.int64 or bool ({error})"
        ) from None


def extension_dtype(name: str) -> np.dtype[Any] | None:
    """The dtype of ``ml_dtypes`` that is called ``name``; None where it is none of the table."""
    code = _CODES.get(name, NO_DTYPE)
    return dtype_of(code) if code >= _FIRST_EXTENSION_CODE else None


def dtype_code(dtype: np.dtype[Any]) -> int:
    """Code of ``dtype``, whatever its byte order.

    Raises
    ------
    InvalidInputError
        The type is not in the table (structured, object, text, long double ...).
    """
    code = _CODES.get(dtype.name)
    if code is None:
        raise InvalidInputError(
            f"dtype {dtype} cannot be stored: use bool, int8 ... uint64, float16, float32, float64, complex64, complex128 "
            "(bfloat16 and float8 of ml_dtypes)"
        )
    return code


def dtype_of(code: int) -> np.dtype[Any]:
    """Little-endian ``numpy`` dtype of ``code``.

    Raises
    ------
    UnsupportedVersionError
        This version of Hangar does not know the code.
    MissingPackageError
        The type needs the package ``ml_dtypes``, which is not installed, or a newer one.
    """
    found = _DTYPES.get(code)
    if found is not None:
        return found
    name = DTYPE_NAMES.get(code)
    if name is None:
        raise UnsupportedVersionError(f"dtype code {code} is not known to this version of Hangar: install a newer one")
    if code < _FIRST_EXTENSION_CODE:
        dtype: np.dtype[Any] = np.dtype(name).newbyteorder("<")
    else:
        try:
            import ml_dtypes
        except ImportError:
            raise MissingPackageError(f"{name} needs the package ml_dtypes: run `pip install ml_dtypes`") from None
        try:
            dtype = np.dtype(getattr(ml_dtypes, name))
        except AttributeError:
            raise MissingPackageError(
                f"{name} needs a newer ml_dtypes: run `pip install --upgrade ml_dtypes`"
            ) from None
    _DTYPES[code] = dtype
    return dtype


def itemsize_of(code: int) -> int:
    """Bytes of one element of the type ``code``, whether or not the package of the type is installed.

    Raises
    ------
    UnsupportedVersionError
        This version of Hangar does not know the code.
    """
    if code >= _FIRST_EXTENSION_CODE and code in DTYPE_NAMES:
        return 2 if DTYPE_NAMES[code] == "bfloat16" else 1
    return dtype_of(code).itemsize
