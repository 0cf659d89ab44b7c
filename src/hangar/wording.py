"""Words of messages that depend on a number."""

from __future__ import annotations

__all__ = ["plural"]


def plural(number: int, noun: str) -> str:
    """A number with its noun, such as ``'1 sample'`` or ``'1,797 entries'``."""
    if number == 1:
        return f"1 {noun}"
    changes = noun.endswith("y") and noun[-2:-1] not in "aeou"  # entries, but keys
    return f"{number:,} {noun[:-1] + 'ies' if changes else noun + 's'}"
