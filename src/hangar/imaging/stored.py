"""What the header of an image file says of its samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Refusal", "Stored"]


class Refusal(Exception):  # noqa: N818  becomes an InvalidInputError that names the file
    """Why an image is not decoded: the rest of a sentence that begins with the name of the file."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Samples as a file stores them.

    Attributes
    ----------
    format
        Name of the format.
    width, height
        In pixels, before any orientation is applied.
    bits
        Of one sample.
    kind
        ``u``, ``i`` or ``f``, as the kind of a numpy dtype.
    channels
        Samples a pixel; the index into a palette is one.
    top
        The largest value that a sample may have; 0 where that is not an unsigned integer.
    palette
        Whether samples are indices into a palette.
    inverted
        Whether 0 is white, which pillow turns round.
    converts
        What the file has that pillow changes when it reads it; ``''`` where it changes nothing. ``--mode`` converts such an image.
    unreadable
        What the file has that pillow reads wrongly, and what to do; ``''`` where there is nothing of the kind.
    samples
        The samples, where a parser of this package read them: shape (height, width) or (height, width, channels).
    colours
        The palette that belongs to ``samples``, RGB bytes.
    """

    format: str
    width: int
    height: int
    bits: int
    kind: str = "u"
    channels: int = 1
    top: int = 0
    palette: bool = False
    inverted: bool = False
    converts: str = ""
    unreadable: str = ""
    samples: np.ndarray[Any, Any] | None = None
    colours: bytes = b""

    @property
    def deep(self) -> bool:
        """Whether a sample does not fit into 8 unsigned bits."""
        return self.bits > 8 or self.kind != "u"

    @property
    def depth(self) -> str:
        """The type of a sample, for messages."""
        kind = {"u": "unsigned", "i": "signed", "f": "float"}.get(self.kind, "unknown")
        return f"{self.bits}-bit {kind} samples"
