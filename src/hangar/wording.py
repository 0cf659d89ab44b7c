"""Texts for people: words that depend on a number, and text from a repository made safe to show."""

from __future__ import annotations

from typing import Final

__all__ = ["plural", "visible", "visible_lines", "visible_name"]

_DIRECTIONS: Final = frozenset(
    "\u061c\u200e\u200f" + "".join(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))
)


def plural(number: int, noun: str) -> str:
    """A number with its noun, such as ``'1 sample'`` or ``'1,797 entries'``."""
    if number == 1:
        return f"1 {noun}"
    changes = noun.endswith("y") and noun[-2:-1] not in "aeou"  # entries, but keys
    return f"{number:,} {noun[:-1] + 'ies' if changes else noun + 's'}"


def visible(text: str) -> str:
    """``text`` with control characters and bidirectional marks shown as escapes; line ends stay."""
    if text.isprintable():
        return text
    return "".join(c if c == "\n" or not _is_control(c) else c.encode("unicode_escape").decode() for c in text)


def _is_control(character: str) -> bool:
    import unicodedata  # needed for text that is not printable alone

    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _DIRECTIONS


def visible_name(text: str) -> str:
    """``text`` as :func:`visible` shows it, in one line."""
    return visible(text).replace("\n", "\\n")


def visible_lines(text: str) -> list[str]:
    """The lines of ``text``, each as :func:`visible` shows it."""
    return [visible(line.rstrip("\r")) for line in text.split("\n")]
