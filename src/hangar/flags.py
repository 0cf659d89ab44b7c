"""Checking yes/no arguments: the one place that says what counts as true or false.

``bool`` and ``numpy.bool_`` do. Everything else is refused, for ``"no"`` is true to Python, and 0 may be an index that slipped.
"""

from __future__ import annotations

from hangar.errors import InvalidInputError

__all__ = ["check_flag", "check_optional_flag"]


def check_flag(value: object, name: str) -> bool:
    """Return ``value``, the argument ``name``, as a ``bool``.

    Raises
    ------
    InvalidInputError
        It is neither a ``bool`` nor a ``numpy.bool_``.
    """
    if value is True or value is False:
        return value
    kind = type(value)
    if kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_"):  # without importing numpy
        return bool(value)
    raise InvalidInputError(f"{name} must be True or False, not {value!r}")


def check_optional_flag(value: object, name: str) -> bool | None:
    """As :func:`check_flag`; None, which leaves the choice open, is returned as it is."""
    return None if value is None else check_flag(value, name)
