"""Audio, NIfTI and DICOM: real files of the packages are read as the packages read them, and written files come back."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar.errors import InvalidInputError
from hangar.external import load, save
from hangar.external.manager import BUILT_IN, manager

# One file of each way to store pixels: big-endian, RLE, JPEG, JPEG 2000, deflated, palette, YBR, several frames, 32 bits.
DICOM_FILES = [
    "CT_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_rle_2frame.dcm",
    "SC_rgb_rle_32bit.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "image_dfl.dcm",
    "liver_1frame.dcm",
    "rtdose.dcm",
]


@pytest.mark.parametrize("name", DICOM_FILES)
def test_sample_files_of_pydicom(name: str) -> None:
    pydicom = pytest.importorskip("pydicom")
    path = next((Path(pydicom.__file__).parent / "data" / "test_files").glob(name))
    pixels, key = load(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = pydicom.dcmread(path).pixel_array
    np.testing.assert_array_equal(pixels, wanted)
    assert (key, pixels.dtype) == (path.stem, wanted.dtype.newbyteorder("="))
    (probe,) = manager.find("load", "dicom").probe(str(path)) or ()
    assert probe.shape == pixels.shape


@pytest.mark.parametrize(("name", "text"), [("MR_truncated.dcm", "cannot be decoded"), ("rtplan.dcm", "has no pixels")])
def test_damaged_sample_files_of_pydicom(name: str, text: str) -> None:
    pydicom = pytest.importorskip("pydicom")
    with pytest.raises(InvalidInputError, match=text):
        load(Path(pydicom.__file__).parent / "data" / "test_files" / name)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("anatomical.nii", (33, 41, 25)),
        ("example4d.nii.gz", (128, 96, 24, 2)),
        ("example_nifti2.nii.gz", (32, 20, 12, 2)),
    ],
)
def test_sample_files_of_nibabel(name: str, shape: tuple[int, ...]) -> None:
    nibabel = pytest.importorskip("nibabel")
    path = Path(nibabel.__file__).parent / "tests" / "data" / name
    if not path.exists():
        pytest.skip("this nibabel ships no sample files")
    array, key = load(path)
    assert (array.shape, key) == (shape, name.partition(".")[0])
    np.testing.assert_array_equal(array, nibabel.load(path).dataobj.get_unscaled())


def test_a_scale_is_never_applied_or_lost_silently(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    image.header.set_slope_inter(0.5, 3)
    data = bytearray(image.to_bytes())
    data[112:120] = np.array([0.5, 3], "<f4").tobytes()
    (tmp_path / "x.nii").write_bytes(data)
    with pytest.raises(InvalidInputError, match="--scaled true applies it"):
        load(tmp_path / "x.nii")
    stored = load(tmp_path / "x.nii", scaled=False)[0]
    assert (stored.dtype, stored[1, 2, 3]) == (np.dtype("int16"), 23)
    assert load(tmp_path / "x.nii", scaled="yes")[0][1, 2, 3] == 14.5


ARRAYS: list[tuple[str, str, tuple[int, ...]]] = [
    ("wav", "int16", (50, 2)),
    ("wav", "int32", (50, 1)),
    ("wav", "float32", (50, 3)),
    ("wav", "float64", (50, 1)),
    ("flac", "int16", (5000, 2)),
    ("nii", "float64", (3, 4, 5)),
    ("nii.gz", "uint16", (3, 4, 5, 2)),
    ("nii", "complex64", (3, 4)),
    ("dcm", "int16", (5, 7)),
    ("dcm", "uint16", (5, 7)),
    ("dcm", "uint8", (5, 7, 3)),
]


@pytest.mark.parametrize(("extension", "dtype", "shape"), ARRAYS)
def test_what_is_written_comes_back(tmp_path: Path, extension: str, dtype: str, shape: tuple[int, ...]) -> None:
    for package in ("soundfile", "nibabel", "pydicom"):
        pytest.importorskip(package)
    values = np.random.default_rng(3).random(shape) * 2 - (dtype[0] != "u")
    array = (values * (30_000 if dtype[-2:] == "16" else 100 if dtype == "uint8" else 1)).astype(dtype)
    save(array, tmp_path, "str:x", extension)
    back, name = load(tmp_path / f"x.{extension}")
    assert (name, back.dtype, back.shape) == ("x", array.dtype, shape)
    np.testing.assert_array_equal(back, array)
    found: Any = manager.find("load", None, extension)
    (probe,) = found.probe(str(tmp_path / f"x.{extension}"))
    assert (probe.dtype, probe.shape) == (dtype, shape)


@pytest.mark.parametrize(
    ("extension", "dtype", "shape"),
    [
        ("wav", "uint8", (5, 2)),
        ("flac", "float32", (5, 2)),
        ("wav", "int16", (0, 2)),
        ("nii", "bool", (2, 2)),
        ("dcm", "float32", (2, 2)),
    ],
)
def test_what_a_format_cannot_hold_is_refused(
    tmp_path: Path, extension: str, dtype: str, shape: tuple[int, ...]
) -> None:
    for package in ("soundfile", "nibabel", "pydicom"):
        pytest.importorskip(package)
    with pytest.raises(InvalidInputError, match=f"{extension} file cannot hold"):
        save(np.zeros(shape, dtype), tmp_path, "str:x", extension)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", BUILT_IN)
def test_plugins_go_to_other_processes(name: str) -> None:
    plugin = manager.find("load", name)
    copy = pickle.loads(pickle.dumps(plugin))
    assert (type(copy), copy.accepts) == (type(plugin), plugin.accepts)


MISSING = """
import sys
for name in ("pyarrow", "zarr", "soundfile", "nibabel", "pydicom", "PIL"):
    sys.modules[name] = None
from hangar.errors import MissingPackageError
from hangar.external import load
from pathlib import Path
folder = Path(sys.argv[1])
(folder / "x.zarr").mkdir()
(folder / "x.zarr" / ".zgroup").write_text("{}")
for name, extra in (("csv", "tables"), ("wav", "audio"), ("nii", "medical"), ("dcm", "medical"), ("png", "images"), ("zarr", "zarr")):
    if name != "zarr":
        (folder / f"x.{name}").write_bytes(b"x")
    try:
        found = load(folder / f"x.{name}")
        list(found)
    except ImportError as error:
        assert isinstance(error, MissingPackageError)
        assert f"hangar[{extra}]" in str(error), error
        print(name)
"""


def test_a_missing_package_names_the_extra(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", MISSING, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["csv", "wav", "nii", "dcm", "png", "zarr"], done.stderr
