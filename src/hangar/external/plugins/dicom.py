"""Plugin for DICOM images, with pydicom. A file is one array: (rows, columns), with frames before and channels after.

Stored values are read; a rescale slope (Hounsfield units) is not applied. Colours other than RGB are converted by
pydicom. What the header declares is checked before the pixels are decoded, and a deflated file is inflated only as far as
its size justifies.
"""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from hangar.errors import HangarError, InvalidInputError
from hangar.external.expansion import SMALL_BYTES, check_declared
from hangar.external.plugins._blocks import need_package
from hangar.external.plugins._files import FilePlugin, SizeLimit
from hangar.external.records import Probe
from hangar.inputs import read as read_bytes

__all__ = ["DicomPlugin"]

MAX_INFLATION: Final = 100
"""Maximum ratio of a deflated data set; pixels rarely reach 10."""
_DEFLATED: Final = "1.2.840.10008.1.2.1.99"
_ENCAPSULATED: Final = "1.2.840.10008.1.2.4."
_RLE: Final = "1.2.840.10008.1.2.5"
_SECONDARY_CAPTURE: Final = "1.2.840.10008.5.1.4.1.1.7"
_EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"


class DicomPlugin(FilePlugin):
    """Reads and writes ndarray values as DICOM files."""

    column_types = frozenset(("ndarray",))
    # pydicom keeps state in its decoders.
    thread_safe = False

    def load(self, fpath: str) -> tuple[np.ndarray[Any, Any], str]:
        """The pixels of a file and its name.

        Raises
        ------
        InvalidInputError
            The file is damaged or too large, has no pixels, or its compression needs a package that is not installed.
        MissingPackageError
            pydicom is not installed.
        """
        return self.read(fpath)

    def read(
        self, fpath: str, *, size_limit: SizeLimit | None = None, **options: Any
    ) -> tuple[np.ndarray[Any, Any], str]:
        """As :meth:`load`."""
        return _pixels(read_bytes(fpath), fpath, size_limit), self.sample_name(fpath)

    def decode(
        self, data: bytes, where: str, *, size_limit: SizeLimit | None = None, **options: Any
    ) -> np.ndarray[Any, Any]:
        """As in the base class."""
        return _pixels(data, where, size_limit)

    def probe(self, fpath: str, **options: Any) -> Iterator[Probe]:
        """Describe a file by its header."""
        dataset = _dataset(read_bytes(fpath), fpath, header_only=True)
        shape, dtype = _declared(dataset, fpath)
        yield Probe("DICOM", "ndarray", dtype.name, shape, str(dataset.get("PhotometricInterpretation", "")))

    def can_encode(self, arr: Any, extension: str) -> bool:
        """As in the base class."""
        if not isinstance(arr, np.ndarray) or arr.dtype.name not in ("uint8", "uint16", "int16"):
            return False
        colour = arr.ndim == 3 and arr.shape[2] == 3 and arr.dtype == np.uint8
        return arr.size > 0 and (arr.ndim == 2 or colour) and max(arr.shape[:2]) < 2**16

    def encode(self, arr: Any, extension: str) -> memoryview:
        """The bytes of a secondary capture image without patient data."""
        if not isinstance(arr, np.ndarray):
            raise self._wrong_type(arr, extension)
        if not self.can_encode(arr, extension):
            raise InvalidInputError(
                f"a .dcm file cannot hold an array of dtype {arr.dtype} and shape {arr.shape}: use .npy"
            )
        return _written(arr)


def _dataset(data: bytes, where: str, *, header_only: bool = False) -> Any:
    pydicom = need_package("pydicom", "medical")
    try:
        file = io.BytesIO(data)
        if _DEFLATED.encode() in data[: 2**16]:
            _check_inflated(data, where)
        with _quiet():
            return pydicom.dcmread(file, force=data[128:132] != b"DICM", stop_before_pixels=header_only)
    except HangarError:
        raise
    except Exception as error:  # pydicom raises anything on garbage
        raise InvalidInputError(f"{where} is not a readable DICOM file: {error!r}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of pydicom about files that it reads all the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _check_inflated(data: bytes, where: str) -> None:
    """Inflate a deflated file piece by piece, and refuse it if it becomes too large."""
    most, total = max(SMALL_BYTES, MAX_INFLATION * len(data)), 0
    # The group of the file meta information comes first and is not deflated; its length is at byte 140.
    start = 144 + int.from_bytes(data[140:144], "little")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    piece = data[start:]
    while piece and not inflater.eof:
        try:
            got = inflater.decompress(piece, 2**20)
        except zlib.error:
            return  # the decoder reports it
        total += len(got)
        if total > most:
            raise InvalidInputError(f"{where} inflates to more than {most:,} bytes: it is not read")
        piece = inflater.unconsumed_tail
        if not got and not piece:
            return


def _declared(dataset: Any, where: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype that the header declares."""
    try:
        rows, columns = int(dataset.Rows), int(dataset.Columns)
        frames = int(dataset.get("NumberOfFrames") or 1)
        channels = int(dataset.get("SamplesPerPixel") or 1)
        bits = int(dataset.get("BitsAllocated") or 8)
        signed = int(dataset.get("PixelRepresentation") or 0) == 1
    except AttributeError:
        raise InvalidInputError(f"{where} has no pixels") from None
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{where} has a damaged header: {error}") from None
    if bits not in (1, 8, 16, 32, 64) or channels not in (1, 3, 4) or rows < 1 or columns < 1 or frames < 1:
        raise InvalidInputError(f"{where} declares an impossible image")
    dtype = np.dtype(f"{'i' if signed else 'u'}{max(1, bits // 8)}")
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        dtype = np.dtype(f"f{bits // 8}")
    shape = ((frames,) if frames > 1 else ()) + (rows, columns) + ((channels,) if channels > 1 else ())
    return shape, dtype


def _pixels(data: bytes, where: str, size_limit: SizeLimit | None) -> np.ndarray[Any, Any]:
    dataset = _dataset(data, where)
    shape, dtype = _declared(dataset, where)
    declared = check_declared(shape, dtype, len(data), where, size_limit)
    meta = getattr(dataset, "file_meta", {})
    syntax = str(meta.get("TransferSyntaxUID", ""))
    compressed = syntax.startswith(_ENCAPSULATED) or syntax in (_RLE, _DEFLATED)
    # Subsampled colours (YBR_FULL_422) store two thirds of what they become, bits an eighth.
    least = declared // (16 if int(dataset.get("BitsAllocated") or 8) == 1 else 2)
    if not compressed and least > len(data):
        raise InvalidInputError(f"{where} is truncated: its header declares {declared:,} bytes of pixels")
    try:
        with _quiet():
            array = np.asarray(dataset.pixel_array)
    except MemoryError:
        raise
    except Exception as error:  # pydicom raises anything on garbage, and for missing decoders
        raise InvalidInputError(f"{where} cannot be decoded: {error}") from error
    return np.array(array.astype(array.dtype.newbyteorder("="), copy=False), order="C")


def _written(arr: np.ndarray[Any, Any]) -> memoryview:
    pydicom = need_package("pydicom", "medical")
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = _SECONDARY_CAPTURE
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=[arr.tobytes().hex()[:64], str(arr.shape)])
    meta.TransferSyntaxUID = _EXPLICIT_LITTLE
    dataset = pydicom.dataset.Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID = _SECONDARY_CAPTURE
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Modality = "OT"
    dataset.Rows, dataset.Columns = arr.shape[:2]
    dataset.SamplesPerPixel = 3 if arr.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if arr.ndim == 3 else "MONOCHROME2"
    if arr.ndim == 3:
        dataset.PlanarConfiguration = 0
    bits = arr.dtype.itemsize * 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(arr.dtype.kind == "i")
    pixels = np.ascontiguousarray(arr).astype(arr.dtype.newbyteorder("<")).tobytes()
    dataset.PixelData = pixels + b"\0" * (len(pixels) % 2)
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getbuffer()
