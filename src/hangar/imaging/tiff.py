"""Sample format of a TIFF from its tags, and the list of features that pillow converts or reads wrongly."""

from __future__ import annotations

from typing import Any, Final

from hangar.imaging.stored import Stored

__all__ = ["tiff_says"]

_WIDTH: Final = 256
_HEIGHT: Final = 257
_BITS: Final = 258
_COMPRESSION: Final = 259
_PHOTOMETRIC: Final = 262
_STRIPS: Final = 273
_SAMPLES: Final = 277
_ROWS_PER_STRIP: Final = 278
_STRIP_BYTES: Final = 279
_PLANAR: Final = 284
_TILE_WIDTH: Final = 322
_TILE_HEIGHT: Final = 323
_TILES: Final = 324
_EXTRA: Final = 338
_FORMAT: Final = 339
_KINDS: Final = {1: "u", 2: "i", 3: "f"}
_GRAY: Final = (0, 1)
_RGB: Final = 2
_PALETTE: Final = 3
_CMYK: Final = 5
_YCBCR: Final = 6
_ASSOCIATED: Final = 1
_SEPARATE: Final = 2
_JPEG: Final = (6, 7)
_WRONG: Final = ", which pillow reads wrongly: store it as .npy"


def tiff_says(tags: Any, width: int, height: int) -> Stored:
    """The sample format of one image, from its tags.

    Parameters
    ----------
    tags
        Tags of the image directory, parsed by pillow.
    width, height
        Size of the image.
    """
    bits = _tuple(tags.get(_BITS, 1))
    formats = _tuple(tags.get(_FORMAT, 1))
    channels = int(tags.get(_SAMPLES, len(bits)))
    photometric = int(tags.get(_PHOTOMETRIC, 0))
    kind = _KINDS.get(formats[0], "?") if len(set(formats)) == 1 else "?"
    depth = max(bits)
    return Stored(
        "TIFF",
        width,
        height,
        depth,
        kind,
        channels,
        top=2**depth - 1 if kind == "u" else 0,
        palette=photometric == _PALETTE,
        inverted=photometric == 0 and kind == "u" and depth <= 8,
        negative=photometric == 0 and kind == "u" and depth > 8,
        converts=_changed(tags, bits, photometric, channels),
        unreadable=_unreadable(tags, depth, kind, photometric, channels),
    )


def _tuple(value: Any) -> tuple[int, ...]:
    return tuple(map(int, value)) if isinstance(value, tuple) else (int(value),)


def _changed(tags: Any, bits: tuple[int, ...], photometric: int, channels: int) -> str:
    """Description of the feature that pillow converts on reading, or ``''``."""
    if photometric == _RGB and channels == 4 and _ASSOCIATED in _tuple(tags.get(_EXTRA, ())):
        return "colours multiplied by their alpha, which pillow divides again"
    if photometric == _YCBCR and int(tags.get(_COMPRESSION, 1)) not in _JPEG:
        return "YCbCr colours, which become RGB"
    if photometric not in (*_GRAY, _RGB, _PALETTE, _CMYK, _YCBCR):
        return f"colours of the kind {photometric} (PhotometricInterpretation), which pillow changes"
    return ""


def _complete(tags: Any, bits: int, channels: int) -> bool:
    """Whether all strips or tiles of an image of this size exist, complete if they are not compressed."""
    width, height = int(tags.get(_WIDTH, 0)), int(tags.get(_HEIGHT, 0))
    planes = channels if int(tags.get(_PLANAR, 1)) == _SEPARATE else 1
    if _TILES in tags:
        across, down = int(tags.get(_TILE_WIDTH, 0)), int(tags.get(_TILE_HEIGHT, 0))
        return min(across, down) > 0 and len(_tuple(tags[_TILES])) >= -(-width // across) * -(-height // down) * planes
    if _STRIPS not in tags:
        return True  # pillow reports the error
    rows = int(tags.get(_ROWS_PER_STRIP, 2**32 - 1))
    if rows < 1 or len(_tuple(tags[_STRIPS])) < -(-height // rows) * planes:
        return False
    if int(tags.get(_COMPRESSION, 1)) != 1 or _STRIP_BYTES not in tags:
        return True
    return sum(_tuple(tags[_STRIP_BYTES])) >= -(-width * bits * (channels // planes) // 8) * height * planes


def _unreadable(tags: Any, bits: int, kind: str, photometric: int, channels: int) -> str:
    """Description of the feature that pillow reads wrongly or incompletely, or ``''``."""
    if not _complete(tags, bits, channels):
        return "fewer samples than its width and height need: it is damaged"
    if int(tags.get(_COMPRESSION, 1)) == 1:
        return ""
    # Pillow decompresses these samples to native byte order and then swaps them again.
    if tags.prefix[:2] == b"MM" and bits > 8 and (bits, kind) != (16, "u"):
        return "compressed big-endian samples of several bytes" + _WRONG
    if int(tags.get(_PLANAR, 1)) == _SEPARATE and channels > 1 and photometric not in (_RGB, _CMYK):
        return "compressed channels in separate planes" + _WRONG
    return ""
