"""Images, through pillow: the pixels as the file stores them.

Nothing is converted unless asked (``mode``, ``upright``): a palette image gives its indices, a grey one two dimensions, and the
orientation that a camera noted is not applied. What pillow could only read with a loss (16 bits a channel of colour, several frames) is refused rather than
quietly reduced; so is, on the way out, a format that cannot hold the array bit for bit, but for JPEG, whose loss is its purpose.
Only formats decoded by pillow itself are tried: none that starts another program.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hangar.errors import HangarError, InvalidInputError, InvalidStateError
from hangar.external.base import normal_extension
from hangar.external.plugins._files import FilePlugin
from hangar.external.safe_io import open_input

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

__all__ = ["ImagePlugin", "lossless_format", "lossy"]

READ_FORMATS: Final = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "PPM", "GIF")
_EXTENSIONS: Final = {
    "png": "PNG",
    "jpg": "JPEG",
    "jpeg": "JPEG",
    "bmp": "BMP",
    "tif": "TIFF",
    "tiff": "TIFF",
    "webp": "WEBP",
    "ppm": "PPM",
    "pgm": "PPM",
    "pbm": "PPM",
    "pnm": "PPM",
}
_GREY: Final = 0
"""Stands for the channels of an array of two dimensions."""
_HOLDS: Final[dict[str, dict[str, tuple[int, ...]]]] = {
    "PNG": {"bool": (_GREY,), "uint8": (_GREY, 2, 3, 4), "uint16": (_GREY,)},
    "TIFF": {"bool": (_GREY,), "uint8": (_GREY, 2, 3, 4), "uint16": (_GREY,), "int32": (_GREY,), "float32": (_GREY,)},
    "BMP": {"bool": (_GREY,), "uint8": (_GREY, 3)},
    "WEBP": {"uint8": (3, 4)},
    "PPM": {"bool": (_GREY,), "uint8": (_GREY, 3)},
    "JPEG": {"uint8": (_GREY, 3)},
}
"""What each format gives back as it was (JPEG: as near as it can): dtype, then channels."""
_SAVE_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    # The effort beyond this costs more time than it saves space.
    "PNG": {"compress_level": 2},
    "WEBP": {"lossless": True, "exact": True},
    "JPEG": {"quality": 95, "subsampling": 0},
}


def lossy(extension: str) -> bool:
    """Whether writing a file of this extension loses detail."""
    return _EXTENSIONS.get(normal_extension(extension)) == "JPEG"


def _holds(name: str, array: np.ndarray[Any, Any]) -> bool:
    """Whether the format ``name`` gives back such an array."""
    channels = _GREY if array.ndim == 2 else array.shape[2] if array.ndim == 3 else -1
    return array.size > 0 and channels in _HOLDS[name].get(array.dtype.name, ())


def lossless_format(array: np.ndarray[Any, Any]) -> str | None:
    """The extension that an image is best written with; None when ``array`` is no image."""
    return "png" if _holds("PNG", array) else None


@contextmanager
def _reading(fpath: str) -> Iterator[None]:
    """Turns whatever a decoder raises on a bad file into an error that names the file."""
    try:
        yield
    except HangarError:
        raise
    except MemoryError:
        raise InvalidInputError(f"{fpath} does not fit in memory") from None
    except Exception as error:  # decoders raise SyntaxError, struct.error, zlib.error, IndexError ... on garbage
        reason = "not an image of a known format" if type(error).__name__ == "UnidentifiedImageError" else error
        raise InvalidInputError(f"{fpath} cannot be decoded: {reason}") from error


class ImagePlugin(FilePlugin):
    """Reads and writes ndarray values as image files, and shows them."""

    column_types = frozenset(("ndarray",))

    def __init__(self, provides: Sequence[str], accepts: Sequence[str]) -> None:
        super().__init__(provides, accepts)
        try:
            # The decoders that pillow does not load with its common ones; loaded here, not by two threads at once.
            from PIL import Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401
        except ImportError:
            raise InvalidStateError("images need pillow: run `pip install 'hangar[images]'`") from None
        Image.preinit()
        self._image = Image

    def load(
        self, fpath: str, mode: str | None = None, frame: int | None = None, upright: bool = False
    ) -> tuple[np.ndarray[Any, Any], str]:
        """The pixels of an image and its name.

        Parameters
        ----------
        fpath
            The file.
        mode
            Convert to this mode of pillow (``'RGB'``, ``'L'`` ...); default: as the file stores them.
        frame
            Which image of a file that holds several.
        upright
            Turn it as the camera says that noted how it was held.

        Raises
        ------
        InvalidInputError
            It cannot be decoded, or only with a loss that was not asked for.
        """
        pixels, name = self.read(fpath, mode=mode, frame=frame, upright=upright)
        return pixels.copy(), name

    def read(
        self, fpath: str, mode: str | None = None, frame: int | None = None, upright: bool = False
    ) -> tuple[np.ndarray[Any, Any], str]:
        """As :meth:`load`; the array is read-only."""
        with open_input(fpath) as file, _reading(fpath), self._image.open(file, formats=READ_FORMATS) as image:
            self._choose_frame(image, fpath, frame)
            _check_depth(image, fpath)
            turned = self._turned(image) if upright else image
            pixels = np.asarray(turned.convert(mode) if mode else turned)
        return pixels, self.sample_name(fpath)

    @staticmethod
    def _turned(image: Image.Image) -> Image.Image:
        from PIL import ImageOps

        return ImageOps.exif_transpose(image)

    @staticmethod
    def _choose_frame(image: Image.Image, fpath: str, frame: int | None) -> None:
        # The further images of an MPO are previews and stereo twins that cameras hide in a JPEG.
        frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        if frame is None and frames > 1:
            raise InvalidInputError(f"{fpath} holds {frames} images: choose one with --frame 0 ... {frames - 1}")
        if frame is not None:
            if not 0 <= frame < frames:
                raise InvalidInputError(f"{fpath} has no image {frame}: it holds {frames}")
            image.seek(frame)

    def encode(self, arr: Any, extension: str, quality: int | None = None) -> memoryview:
        """The bytes of an image file.

        Raises
        ------
        InvalidInputError
            The format cannot hold such an array, or has no such quality (1 to 100).
        """
        name = _EXTENSIONS.get(normal_extension(extension))
        if name is None:
            raise InvalidInputError(f".{extension} images can only be read: write {', '.join(_EXTENSIONS)}")
        options = dict(_SAVE_OPTIONS.get(name, {}))
        if quality is not None:
            if name != "JPEG":
                raise InvalidInputError(f"quality is for JPEG: .{extension} files are written without loss")
            if type(quality) is not int or not 1 <= quality <= 100:
                raise InvalidInputError(f"quality is a whole number from 1 to 100, not {quality!r}")
            options["quality"] = quality
        image = self._from_array(arr, name, extension)
        buffer = io.BytesIO()
        try:
            image.save(buffer, name, **options)
        except (ValueError, OSError, OverflowError) as error:  # some formats have a largest width
            raise InvalidInputError(
                f"a .{extension} file cannot hold an array of shape {arr.shape}: {error}"
            ) from error
        return buffer.getbuffer()

    def can_encode(self, arr: Any, extension: str) -> bool:
        """Whether a file of ``extension`` can hold ``arr``."""
        name = _EXTENSIONS.get(normal_extension(extension))
        return name is not None and isinstance(arr, np.ndarray) and _holds(name, arr)

    def show(self, arr: Any) -> None:
        """Show an image in the viewer of this desktop."""
        self._from_array(arr, "PNG", "png").show()

    def _from_array(self, arr: Any, name: str, extension: str) -> Image.Image:
        """``arr`` as an image that the format ``name`` can hold."""
        if not isinstance(arr, np.ndarray):
            raise self._wrong_type(arr, extension)
        pixels = arr[:, :, 0] if arr.ndim == 3 and arr.shape[2] == 1 else arr
        if not _holds(name, pixels):
            raise InvalidInputError(
                f"a .{extension} file cannot hold an array of dtype {arr.dtype} and shape {arr.shape}: use .npy"
            )
        return self._image.fromarray(np.ascontiguousarray(pixels))


def _check_depth(image: Image.Image, fpath: str) -> None:
    """Refuse 16 bits a channel that pillow would reduce to 8: it says so only in the raw mode of its decoder."""
    for tile in getattr(image, "tile", ()):
        arguments = tile[3]
        raw = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
        if isinstance(raw, str) and ";16" in raw and image.mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
            raise InvalidInputError(f"{fpath} has 16 bits a channel, which would be cut to 8: store it as .npy")
