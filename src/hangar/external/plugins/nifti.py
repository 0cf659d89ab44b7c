"""Plugin for NIfTI volumes (``.nii``, ``.nii.gz``), with nibabel. A file is one array.

Numbers are read as the file stores them. A file with a scale (slope and intercept) other than 1 and 0 is refused without
the option ``scaled``: ``true`` applies it and gives float64, ``false`` keeps the stored numbers.
"""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, Final

import numpy as np

from hangar import limits
from hangar.errors import HangarError, InvalidInputError
from hangar.external.base import normal_extension
from hangar.external.expansion import check_declared
from hangar.external.plugins._blocks import need_package
from hangar.external.plugins._files import FilePlugin, SizeLimit
from hangar.external.records import Probe
from hangar.external.safe_io import open_input

__all__ = ["NiftiPlugin"]

_HEADER_BYTES: Final = 2**16
_DTYPES: Final = frozenset(
    (
        "uint8",
        "int16",
        "int32",
        "float32",
        "complex64",
        "float64",
        "int8",
        "uint16",
        "uint32",
        "int64",
        "uint64",
        "complex128",
    )
)


class NiftiPlugin(FilePlugin):
    """Reads and writes ndarray values as NIfTI files."""

    column_types = frozenset(("ndarray",))

    @staticmethod
    def sample_name(fpath: str) -> str:
        """The base name without ``.nii`` or ``.nii.gz``."""
        name = os.path.basename(fpath)  # noqa: PTH119  called for each file
        lower = name.lower()
        return name[: -7 if lower.endswith(".nii.gz") else -4] if lower.endswith((".nii", ".nii.gz")) else name

    def load(self, fpath: str, scaled: bool | None = None) -> tuple[np.ndarray[Any, Any], str]:
        """The array in a file and its name.

        Parameters
        ----------
        fpath
            The file.
        scaled
            Whether the scale of the header is applied.

        Raises
        ------
        InvalidInputError
            The file is damaged, too large, or has a scale and ``scaled`` is not given.
        MissingPackageError
            nibabel is not installed.
        """
        return self.read(fpath, scaled=scaled)

    def read(
        self, fpath: str, *, size_limit: SizeLimit | None = None, **options: Any
    ) -> tuple[np.ndarray[Any, Any], str]:
        """As :meth:`load`."""
        with open_input(fpath) as file:
            size = os.fstat(file.fileno()).st_size
            return self._read(file, size, fpath, size_limit, **options), self.sample_name(fpath)

    def decode(
        self, data: bytes, where: str, *, size_limit: SizeLimit | None = None, **options: Any
    ) -> np.ndarray[Any, Any]:
        """As in the base class."""
        return self._read(io.BytesIO(data), len(data), where, size_limit, **options)

    def probe(self, fpath: str, **options: Any) -> Iterator[Probe]:
        """Describe a file by its header."""
        with open_input(fpath) as file:
            header = _header(_stream(file), fpath)
        yield Probe("NIfTI", "ndarray", header.get_data_dtype().name, _shape(header))

    def check_options(self, method: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """As in the base class."""
        from hangar.external.base import OptionError
        from hangar.flags import parse_flag

        checked = super().check_options(method, options)
        if checked.get("scaled") is not None:
            flag = parse_flag(str(checked["scaled"]))
            if flag is None:
                raise OptionError("scaled", f"true or false, not {checked['scaled']!r}")
            checked["scaled"] = flag
        return checked

    def can_encode(self, arr: Any, extension: str) -> bool:
        """As in the base class."""
        return isinstance(arr, np.ndarray) and arr.dtype.name in _DTYPES and 1 <= arr.ndim <= 7

    def encode(self, arr: Any, extension: str) -> bytes:
        """The bytes of a NIfTI-2 file with the identity as affine matrix; ``.gz`` is compressed."""
        if not isinstance(arr, np.ndarray):
            raise self._wrong_type(arr, extension)
        if not self.can_encode(arr, extension) or arr.size == 0:
            raise InvalidInputError(
                f"a .nii file cannot hold an array of dtype {arr.dtype} and shape {arr.shape}: use .npy"
            )
        nibabel = need_package("nibabel", "medical")
        image = nibabel.Nifti2Image(arr, np.eye(4), dtype=arr.dtype)
        image.header.set_slope_inter(1, 0)
        data: bytes = image.to_bytes()
        return gzip.compress(data, 3, mtime=0) if normal_extension(extension).endswith("gz") else data

    def _read(
        self, file: Any, size: int, where: str, size_limit: SizeLimit | None, scaled: bool | None = None
    ) -> np.ndarray[Any, Any]:
        stream = _stream(file)
        try:
            header = _header(stream, where)
            dtype, shape = header.get_data_dtype(), _shape(header)
            declared = check_declared(shape, dtype, size, where, size_limit)
            if stream is file and declared > size:
                raise InvalidInputError(f"{where} is truncated: its header declares more than the file has")
            offset = int(header["vox_offset"])
            if not 0 <= offset <= limits.MAX_ATTRIBUTES_BYTES * 64:
                raise InvalidInputError(f"{where} has an impossible offset of its data")
            slope, intercept = header.get_slope_inter()
            stream.seek(offset)
            data = stream.read(declared)
        except HangarError:
            raise
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise InvalidInputError(f"{where} cannot be read: {error}") from None
        if len(data) != declared:
            raise InvalidInputError(f"{where} is truncated: {len(data):,} of {declared:,} bytes are there")
        array = np.frombuffer(data, dtype).reshape(shape, order="F")
        array = array.astype(dtype.newbyteorder("="), order="C", copy=True)
        if (slope is None or slope == 1) and not intercept:
            return array
        if scaled is None:
            raise InvalidInputError(
                f"{where} has a scale (x {slope:g} + {intercept:g}): --scaled true applies it and gives float64, "
                "--scaled false keeps the stored numbers"
            )
        return array.astype(np.float64) * slope + intercept if scaled else array


def _stream(file: Any) -> Any:
    start = file.read(2)
    file.seek(0)
    return gzip.GzipFile(fileobj=file, mode="rb") if start == b"\x1f\x8b" else file


def _header(stream: Any, where: str) -> Any:
    """The header, NIfTI-1 or NIfTI-2. The stream is then at its end."""
    nibabel = need_package("nibabel", "medical")
    try:
        start = stream.read(540)
        for kind in (nibabel.Nifti1Header, nibabel.Nifti2Header):
            size = kind.template_dtype.itemsize
            if len(start) >= size and kind.may_contain_header(start[:size]):
                header = kind(start[:size], check=False)
                if header.get_data_dtype().name not in _DTYPES:
                    raise InvalidInputError(
                        f"{where} holds values of type {header.get_data_dtype()}, which are not read"
                    )
                return header
    except HangarError:
        raise
    except Exception as error:  # nibabel raises anything on garbage
        raise InvalidInputError(f"{where} is not a readable NIfTI file: {error}") from error
    raise InvalidInputError(f"{where} is not a NIfTI file of one part (.nii)")


def _shape(header: Any) -> tuple[int, ...]:
    dims = [int(extent) for extent in header["dim"]]
    rank = dims[0]
    if not 1 <= rank <= 7 or any(extent < 0 for extent in dims[1 : rank + 1]) or prod(dims[1 : rank + 1]) < 0:
        raise InvalidInputError(f"the header has impossible dimensions {dims}")
    return tuple(dims[1 : rank + 1])
