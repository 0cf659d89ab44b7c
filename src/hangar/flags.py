"""Validation of boolean arguments.

Only ``bool`` and ``numpy.bool_`` are accepted, because ``"no"`` is true in Python, and 0 may be a misplaced index.
"""

from __future__ import annotations

from typing import Final

from hangar.errors import InvalidInputError

__all__ = ["check_flag", "check_optional_flag", "parse_flag"]

_WORDS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def parse_flag(text: str) -> bool | None:
    """The value of a yes/no option that was given as text, in any of its usual spellings; None if it is none of them."""
    return _WORDS.get(text.casefold())


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
    """Like :func:`check_flag`, but None (no choice) is returned as it is."""
    return None if value is None else check_flag(value, name)
