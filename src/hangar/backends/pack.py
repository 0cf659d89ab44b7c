"""Backends ``30`` and ``31``: str and bytes values, packed in append-only files.

The two differ only in the kind of data. So a file holds one kind, and either format can change without the other.
"""

from __future__ import annotations

from typing import ClassVar

from hangar.backends.append import RawBackend
from hangar.backends.base import Capabilities
from hangar.digest import BYTES, STR

__all__ = ["BytesPack", "TextPack"]


class TextPack(RawBackend):
    """str values, as UTF-8."""

    tag: ClassVar[str] = "30"
    capabilities: ClassVar[Capabilities] = Capabilities(frozenset({STR}), raw=True)


class BytesPack(RawBackend):
    """bytes values."""

    tag: ClassVar[str] = "31"
    capabilities: ClassVar[Capabilities] = Capabilities(frozenset({BYTES}), raw=True)
