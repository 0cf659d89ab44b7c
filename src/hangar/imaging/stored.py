"""Description of the samples of an image file, taken from its header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, Any

import numpy as np

__all__ = ["Refusal", "Stored", "size_of"]


class Refusal(Exception):  # noqa: N818  becomes an InvalidInputError that names the file
    """Reason why an image is not decoded. The message continues a sentence that begins with the name of the file.

    Parameters
    ----------
    text
        The reason.
    advice
        What to do in an import, such as an option of the command line. It is appended to the message of an import.
    """

    def __init__(self, text: str, advice: str = "") -> None:
        super().__init__(text)
        self.advice = advice


def size_of(file: IO[bytes]) -> int:
    """Size of an open file in bytes. Its position stays."""
    at = file.tell()
    size = file.seek(0, 2)
    file.seek(at)
    return size


@dataclass(frozen=True, slots=True)
class Stored:
    """Format of the samples in a file.

    Attributes
    ----------
    format
        Name of the format.
    width, height
        In pixels, before any orientation is applied.
    bits
        Bits of one sample.
    kind
        ``u``, ``i`` or ``f``, as the kind of a numpy dtype.
    channels
        Samples per pixel; 1 for indices into a palette.
    top
        Maximum value of a sample; 0 if samples are not unsigned integers.
    palette
        Whether samples are indices into a palette.
    inverted
        Whether 0 is white, which pillow inverts.
    negative
        Whether 0 is white in deep samples, which pillow leaves as they are.
    converts
        Description of a feature that pillow converts when it reads the file; ``''`` if there is none. ``--mode``
        accepts such an image.
    unreadable
        Description of a feature that pillow reads wrongly, and what to do; ``''`` if there is none.
    samples
        The samples, if a parser of this package has read them: shape (height, width) or (height, width, channels).
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
    negative: bool = False
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
