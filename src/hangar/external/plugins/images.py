"""Plugin for images, with pillow. Samples are read as the file stores them.

Nothing is converted without an option (``mode``, ``bits``, ``upright``): a palette image gives its indices, a gray
image gives two dimensions. An image that could only be read with a change is refused, see :mod:`hangar.imaging`. When
writing, a format that cannot hold the array bit for bit is refused, except JPEG. Formats for which pillow would start
another program are not read.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hangar.errors import InvalidInputError, InvalidStateError, MissingPackageError
from hangar.external.base import OptionError, normal_extension
from hangar.external.plugins._files import FilePlugin, SizeLimit
from hangar.external.plugins._probing import probe_image
from hangar.external.records import Probe
from hangar.external.safe_io import open_input
from hangar.imaging import MODES, Wanted, decode, load_decoders, mode_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

__all__ = ["ImagePlugin", "lossless_format", "lossy"]

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
"""Number of channels that stands for an array of two dimensions."""
_HOLDS: Final[dict[str, dict[str, tuple[int, ...]]]] = {
    "PNG": {"bool": (_GREY,), "uint8": (_GREY, 2, 3, 4), "uint16": (_GREY,)},
    "TIFF": {"bool": (_GREY,), "uint8": (_GREY, 2, 3, 4), "uint16": (_GREY,), "int32": (_GREY,), "float32": (_GREY,)},
    "BMP": {"bool": (_GREY,), "uint8": (_GREY, 3)},
    "WEBP": {"uint8": (3, 4)},
    "PPM": {"bool": (_GREY,), "uint8": (_GREY, 3)},
    "JPEG": {"uint8": (_GREY, 3)},
}
"""Arrays that each format stores without change (JPEG: with lossy compression): numbers of channels by dtype."""
_SAVE_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    # Higher levels cost much time and save little space.
    "PNG": {"compress_level": 2},
    "WEBP": {"lossless": True, "exact": True},
    "JPEG": {"quality": 95, "subsampling": 0},
}


def lossy(extension: str) -> bool:
    """Whether files of this extension are compressed lossily."""
    return _EXTENSIONS.get(normal_extension(extension)) == "JPEG"


def _holds(name: str, array: np.ndarray[Any, Any]) -> bool:
    """Whether the format ``name`` can store ``array`` without change."""
    channels = _GREY if array.ndim == 2 else array.shape[2] if array.ndim == 3 else -1
    return array.size > 0 and channels in _HOLDS[name].get(array.dtype.name, ())


def lossless_format(array: np.ndarray[Any, Any]) -> str | None:
    """The default lossless extension for an image; None if ``array`` is not an image."""
    return "png" if _holds("PNG", array) else None


class ImagePlugin(FilePlugin):
    """Reads and writes ndarray values as image files, and shows them."""

    column_types = frozenset(("ndarray",))

    def __init__(self, provides: Sequence[str], accepts: Sequence[str]) -> None:
        super().__init__(provides, accepts)
        try:
            from PIL import Image

            load_decoders()  # here, because loading them is not thread-safe
        except ModuleNotFoundError:
            raise MissingPackageError("images need pillow: run `pip install 'hangar[images]'`") from None
        except ImportError as error:
            raise InvalidStateError(f"pillow is installed and cannot be loaded: {error}") from error
        Image.preinit()

    def load(
        self,
        fpath: str,
        mode: str | None = None,
        frame: int | None = None,
        upright: bool = False,
        bits: int | None = None,
    ) -> tuple[np.ndarray[Any, Any], str]:
        """The pixels of an image and its name.

        Parameters
        ----------
        fpath
            The file.
        mode
            Convert to this mode of pillow (``'RGB'``, ``'L'`` ...); default: as the file stores them.
        frame
            Index of the image in a file with several images.
        upright
            Rotate or mirror the image as its EXIF orientation tag says.
        bits
            8: keep the 8 highest bits of deeper unsigned samples.

        Raises
        ------
        InvalidInputError
            An option is invalid, or the image cannot be decoded without a change that no option allows.
        StorageError
            The image does not fit in memory.
        """
        pixels, name = self.read(fpath, mode=mode, frame=frame, upright=upright, bits=bits)
        return pixels.copy(), name

    def read(
        self, fpath: str, *, size_limit: SizeLimit | None = None, **options: Any
    ) -> tuple[np.ndarray[Any, Any], str]:
        """As :meth:`load`; the array may be read-only."""
        with open_input(fpath) as file:
            return decode(file, fpath, self._wanted(size_limit, options)), self.sample_name(fpath)

    def decode(
        self, data: bytes, where: str, *, size_limit: SizeLimit | None = None, **options: Any
    ) -> np.ndarray[Any, Any]:
        """As in the base class; the array may be read-only."""
        return decode(io.BytesIO(data), where, self._wanted(size_limit, options))

    def _wanted(self, size_limit: SizeLimit | None, options: Mapping[str, Any]) -> Wanted:
        checked = self.check_options("load", options)
        if size_limit is not None:
            checked |= {"pixels": size_limit.values, "holder": size_limit.holder}
        return Wanted(**checked)

    def probe(self, fpath: str, **options: Any) -> list[Probe]:
        """As in the base class."""
        return [probe_image(fpath)]

    def check_options(self, method: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """As in the base class."""
        checked = super().check_options(method, options)
        mode, frame, bits = checked.get("mode"), checked.get("frame"), checked.get("bits")
        if mode is not None:
            checked["mode"] = mode_named(str(mode))
            if checked["mode"] is None:
                raise OptionError("mode", f"one of {', '.join(MODES)}, not {mode!r}")
        if frame is not None and (type(frame) is not int or frame < 0):
            raise OptionError("frame", f"a whole number from 0 on, not {frame!r}")
        if bits is not None and (type(bits) is not int or bits != 8):
            raise OptionError("bits", f"8, not {bits!r}")
        quality = checked.get("quality")
        if quality is not None and (type(quality) is not int or not 1 <= quality <= 100):
            raise OptionError("quality", f"a whole number from 1 to 100, not {quality!r}")
        return checked

    def advice(self, value: Any, shape: Sequence[int], dtype: Any) -> str:
        """As in the base class: the option that would make the image fit the column."""
        if not isinstance(value, np.ndarray) or value.ndim not in (2, 3):
            return ""
        if value.dtype == np.uint16 and dtype == np.uint8:
            return " (convert it with --bits 8)"
        modes = {(2, 0): "L", (3, 2): "LA", (3, 3): "RGB", (3, 4): "RGBA"}
        mode = modes.get((len(shape), shape[2] if len(shape) == 3 else 0))
        channels = value.shape[2:] != tuple(shape[2:])
        if mode is None or dtype != np.uint8 or not (channels or value.dtype == np.bool_):
            return ""
        return f" (convert it with --mode {mode})"

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
            options["quality"] = self.check_options("save", {"quality": quality})["quality"]
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
        """Show an image in the desktop's image viewer."""
        self._from_array(arr, "PNG", "png").show()

    def _from_array(self, arr: Any, name: str, extension: str) -> Image.Image:
        """Convert ``arr`` to an image for the format ``name``."""
        if not isinstance(arr, np.ndarray):
            raise self._wrong_type(arr, extension)
        pixels = arr[:, :, 0] if arr.ndim == 3 and arr.shape[2] == 1 else arr
        if not _holds(name, pixels):
            raise InvalidInputError(
                f"a .{extension} file cannot hold an array of dtype {arr.dtype} and shape {arr.shape}: use .npy"
            )
        from PIL import Image

        return Image.fromarray(np.ascontiguousarray(pixels))
