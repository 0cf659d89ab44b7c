"""Conversion of Python numbers for columns of shape ``()``, by the rules of NumPy for Python numbers (NEP 50).

An ``int`` goes into integer, float and complex columns, a ``float`` into float and complex ones, a ``complex`` into
complex ones, a ``bool`` into bool columns alone. A float is rounded to the precision of the column; a number that is
out of range is refused. A batch is one conversion, whatever its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from hangar.errors import InvalidInputError

__all__ = ["Number", "is_number_type", "numbers_as_array"]

Number: TypeAlias = "bool | int | float | complex"

_SORTS: Final = (bool, int, float, complex)
"""The types of Python numbers; a subclass comes before its base class, such as ``bool`` before ``int``."""
_ALLOWED: Final[dict[str, tuple[type, ...]]] = {
    "b": (bool,),
    "i": (int,),
    "u": (int,),
    "f": (int, float),
    "V": (int, float),
    "c": (int, float, complex),
}
"""Accepted number types by the kind of the dtype; ``V`` is the kind of bfloat16 and float8."""
_GOES_INTO: Final = {
    bool: "a bool goes into bool columns alone",
    int: "an int goes into integer, float and complex columns",
    float: "a float goes into float and complex columns",
    complex: "a complex goes into complex columns alone",
}


def is_number_type(kind: type) -> bool:
    """Whether values of this type are Python numbers (members of an ``IntEnum`` too); NumPy's scalars are arrays."""
    return kind in _SORTS or (issubclass(kind, _SORTS) and not issubclass(kind, np.generic))


def numbers_as_array(values: Sequence[Number], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Python numbers as an array of ``dtype``, shape ``(n,)``.

    Raises
    ------
    InvalidInputError
        One has the wrong type or is out of range; the message has the number and the dtype.
    """
    allowed = _ALLOWED[dtype.kind]
    for found in set(map(type, values)):
        if found not in allowed and _sort(found) not in allowed:
            value = next(value for value in values if type(value) is found)
            raise _refused(value, dtype, _GOES_INTO[_sort(found)])
    try:
        return _converted(values, dtype)
    except OverflowError:
        raise _refused(_first_unfit(values, dtype), dtype, "it is out of range") from None


def _sort(kind: type) -> type:
    return next(sort for sort in _SORTS if issubclass(kind, sort))


def _converted(values: Sequence[Number], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """``values`` as an array; OverflowError if one is out of range."""
    if dtype.kind in "biu":
        return np.array(values, dtype)
    with np.errstate(all="ignore"):
        # The types of ml_dtypes do not accept large Python ints, so these are converted to float64 first.
        array = np.array(values, dtype) if _is_numpys(dtype) else np.array(values, np.float64).astype(dtype)
    if not np.isfinite(array).all():
        _check_not_finite(values, array)
    return array


def _is_numpys(dtype: np.dtype[Any]) -> bool:
    return dtype.type.__module__ == "numpy"


def _check_not_finite(values: Sequence[Number], array: npt.NDArray[Any]) -> None:
    """Raise OverflowError if a finite number became an infinity or nan."""
    wide: Any = np.complex128 if array.dtype.kind == "c" else np.float64
    given = np.array(values, wide).view(np.float64)
    stored = array.astype(wide).view(np.float64)
    changed = ~np.isfinite(stored) & (given != stored) & ~(np.isnan(given) & np.isnan(stored))
    if changed.any():
        raise OverflowError


def _first_unfit(values: Sequence[Number], dtype: np.dtype[Any]) -> Number:
    for value in values:
        try:
            _converted([value], dtype)
        except OverflowError:
            return value
    raise AssertionError("a batch was refused of which every number fits")


def _refused(value: Number, dtype: np.dtype[Any], why: str) -> InvalidInputError:
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print ints of more than 4,300 digits (sys.get_int_max_str_digits)
        text = f"an int of {int(value).bit_length():,} bits"  # type: ignore[arg-type]
    return InvalidInputError(f"{text[:100]} cannot be stored as {dtype}: {why}")
