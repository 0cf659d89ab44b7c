"""Open an image: detect the format by its first bytes, parse the header, check the size, select the frame."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, Final

from hangar.imaging import pnm
from hangar.imaging.bmp import read_bmp
from hangar.imaging.png import check_header
from hangar.imaging.stored import Refusal, Stored
from hangar.imaging.tiff import tiff_says
from hangar.imaging.wanted import Wanted
from hangar.wording import plural

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Opened", "check_pixels", "format_of", "load_decoders", "open_image", "unbounded", "webp_size"]

_CHANNELS: Final = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4, "YCbCr": 3, "P": 1, "PA": 2, "1": 1}
_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_PALETTE: Final = 3


@dataclass(frozen=True, slots=True)
class Opened:
    """An image whose header was read.

    Attributes
    ----------
    stored
        Sample format from the header.
    image
        The image as opened by pillow, not decoded yet; None if a parser of this package reads the samples.
    orientation
        EXIF orientation, 1 to 8.
    """

    stored: Stored
    image: Image.Image | None
    orientation: int = 1


def check_pixels(width: int, height: int, wanted: Wanted) -> None:
    """Refuse an image with too many pixels, before decoding."""
    if width * height > wanted.pixels:
        raise Refusal(f"has {height:,} x {width:,} pixels, and {wanted.holder}")


_counting: Final = threading.Lock()
_unbounded = 0
_pillow_bound: int | None = None


@contextmanager
def unbounded(pixels: int) -> Iterator[None]:
    """Disable pillow's own size limit while an image of ``pixels`` pixels is decoded, whose size was checked here.

    Pillow's limit is a global variable. It is not changed for images within the limit, and it is restored when no
    larger image is being decoded any more.
    """
    global _unbounded, _pillow_bound  # noqa: PLW0603  it mirrors a global of pillow
    from PIL import Image

    with _counting:
        large = _unbounded > 0 or (Image.MAX_IMAGE_PIXELS is not None and pixels > Image.MAX_IMAGE_PIXELS)
        if large:
            if _unbounded == 0:
                _pillow_bound = Image.MAX_IMAGE_PIXELS
                Image.MAX_IMAGE_PIXELS = None
            _unbounded += 1
    try:
        yield
    finally:
        if large:
            with _counting:
                _unbounded -= 1
                if _unbounded == 0:
                    Image.MAX_IMAGE_PIXELS = _pillow_bound


def load_decoders() -> None:
    """Import the pillow decoders that are used.

    Raises
    ------
    ImportError
        Pillow is not installed.
    """
    from PIL import (  # noqa: F401  each module registers its decoder
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        MpoImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )


def format_of(start: bytes) -> str | None:
    """Name of the format of a file that begins with ``start``."""
    if pnm.is_pnm(start):
        return "PNM"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WEBP"
    starts = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF87a": "GIF", b"GIF89a": "GIF", b"BM": "BMP"}
    starts |= dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TIFF")
    for magic, name in starts.items():
        if start.startswith(magic):
            return name
    header = int.from_bytes(start[:4], "little")
    return "DIB" if header in (12, 40, 52, 56, 64, 108, 124) else None


def open_image(file: IO[bytes], wanted: Wanted) -> Opened:
    """Read the header of an image.

    Raises
    ------
    Refusal
        It is not an image, is too large, or has several frames and none was selected. Pillow may raise other exceptions
        for a damaged file.
    """
    start = file.read(64)
    name = format_of(start)
    if name is None:
        raise Refusal("cannot be decoded: not an image of a known format")
    if name == "PNM":
        stored, at = pnm.read_header(file)
        check_pixels(stored.width, stored.height, wanted)
        _choose_frame(None, wanted)
        return Opened(replace(stored, samples=pnm.read_samples(file, stored, at)), None)
    if name in ("BMP", "DIB"):
        _check_bmp_size(start, wanted)
        stored = read_bmp(file)
        if stored.samples is not None:
            _choose_frame(None, wanted)
            return Opened(stored, None)
    if name == "PNG":
        check_header(file)
    width, height = webp_size(start) if name == "WEBP" else (0, 0)
    check_pixels(width, height, wanted)
    image = _by_pillow(file, name, wanted, width * height)
    # Pillow always turns a TIFF, which has to be undone; reading the tag of other formats costs time.
    orientation = image.getexif().get(0x0112, 1) if wanted.upright or name == "TIFF" else 1
    return Opened(_says(image, name, start, file), image, orientation if orientation in range(1, 9) else 1)


def _by_pillow(file: IO[bytes], name: str, wanted: Wanted, pixels: int) -> Image.Image:
    """Open an image with pillow at the selected frame; ``pixels`` is the size that pillow allocates when opening."""
    from PIL import Image

    load_decoders()
    file.seek(0)
    with unbounded(pixels):
        try:
            # The steps of `Image.open` for a known format, without pillow's own size limit.
            image: Image.Image = Image.OPEN[name][0](file, "")
        except SyntaxError as error:
            if name == "TIFF":
                raise Refusal(
                    f"cannot be decoded: {_tiff_kind(file)}, which pillow does not read", "store it as .npy"
                ) from error
            raise
    check_pixels(*image.size, wanted)
    with unbounded(image.size[0] * image.size[1]):
        _choose_frame(image, wanted)
    check_pixels(*image.size, wanted)
    return image


def _choose_frame(image: Image.Image | None, wanted: Wanted) -> None:
    if wanted.frame == 0:
        return  # Counting the frames of an animation would decode all of them.
    # The further images of an MPO (a JPEG of a camera) are previews and stereo images.
    frames = 1 if image is None or image.format == "MPO" else getattr(image, "n_frames", 1)
    if wanted.frame is None and frames > 1:
        raise Refusal(f"holds {frames} images", f"choose one with --frame 0 ... {frames - 1}")
    if wanted.frame is not None:
        if not 0 <= wanted.frame < frames:
            raise Refusal(f"has no image {wanted.frame}: it holds {frames}")
        if image is not None and frames > 1:
            image.seek(wanted.frame)


def _check_bmp_size(start: bytes, wanted: Wanted) -> None:
    at = 14 if start[:2] == b"BM" else 0
    wide = 2 if int.from_bytes(start[at : at + 4], "little") == 12 else 4
    width, height = (
        abs(int.from_bytes(start[begin : begin + wide], "little", signed=wide == 4))
        for begin in (at + 4, at + 4 + wide)
    )
    check_pixels(width, height, wanted)


def webp_size(start: bytes) -> tuple[int, int]:
    """Size of the canvas, which pillow's decoder allocates when it is created."""
    kind = start[12:16]
    if kind == b"VP8X":
        return int.from_bytes(start[24:27], "little") + 1, int.from_bytes(start[27:30], "little") + 1
    at, bits = (21, 14) if kind == b"VP8L" else (26, 16)
    both = int.from_bytes(start[at : at + 4], "little")
    return (both & 0x3FFF) + (bits == 14), (both >> bits & 0x3FFF) + (bits == 14)


def _says(image: Image.Image, name: str, start: bytes, file: IO[bytes]) -> Stored:
    """The sample format of an image opened by pillow, from its header."""
    width, height = image.size
    if name == "TIFF":
        return tiff_says(image.tag_v2, width, height)  # type: ignore[attr-defined]
    if name == "PNG":
        bits, colour = start[24], start[25]
        moved = image.tell() > 0 and bits != 8
        why = f"animation frames of {bits}-bit samples" if moved else ""
        return Stored(
            name, width, height, bits, "u", _PNG_CHANNELS[colour], 2**bits - 1, colour == _PNG_PALETTE, converts=why
        )
    why = ""
    if name == "GIF" and image.tell() > 0:
        why = "frames that are composed in colour after the first"
    if name in ("BMP", "DIB"):
        why = read_bmp(file).converts
    palette = image.mode == "P"
    return Stored(name, width, height, 8, "u", _CHANNELS[image.mode], 255, palette, converts=why)


def _tiff_kind(file: IO[bytes]) -> str:
    """Describe the samples of a TIFF that pillow cannot open, for a message."""
    from PIL import TiffImagePlugin

    try:
        file.seek(0)
        directory: Any = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
        file.seek(directory.next)
        with warnings.catch_warnings():
            directory.load(file)
        stored = tiff_says(directory, 0, 0)
    except Exception:  # noqa: BLE001  garbage; there is another error to tell
        return "a TIFF"
    return f"a TIFF of {plural(stored.channels, 'channel')} of {stored.depth}"
