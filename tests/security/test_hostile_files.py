"""Files that attack their reader: bombs, links to other files, pickles (rows 25 and 27 of the reliability table).

Everything is read in a process that may use little memory, so that a size that is believed shows as a memory error.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hangar.errors import InvalidInputError
from hangar.external import load

MEMORY = 6 * 2**30
SECRET = b"the content of another file"


def npy_header(shape: tuple[int, ...], descr: str = "|u1") -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def npy(path: Path) -> None:
    path.write_bytes(npy_header((10 * 2**30,)) + b"x" * 1000)


def npz(path: Path) -> None:
    """An archive of 10 MB that holds 10 GB of zeros, written without making them."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", npy_header((10 * 2**30,)) + b"\0" * 100_000)
    data = bytearray(path.read_bytes())
    for magic, at in ((b"PK\1\2", 24), (b"PK\3\4", 22)):
        start = data.index(magic)
        data[start + at : start + at + 4] = struct.pack("<I", 2**32 - 2)
    path.write_bytes(data)


def hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (10 * 2**30,), "u1", chunks=(2**20,), compression="gzip", fillvalue=7)


def hdf5_chunk(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("a", (10,), "u1", maxshape=(None,), chunks=(2**31,), compression="gzip")


def zarr(path: Path) -> None:
    path.mkdir()
    record = {"zarr_format": 2, "shape": [10 * 2**30], "chunks": [2**20], "dtype": "|u1", "compressor": None}
    (path / ".zarray").write_text(json.dumps(record | {"fill_value": 0, "order": "C", "filters": None}))


def zarr_chunk(path: Path) -> None:
    """A chunk of 16 bytes by its metadata that says that it becomes 4 GB."""
    path.mkdir()
    record = {"zarr_format": 2, "shape": [16], "chunks": [16], "dtype": "|u1", "compressor": {"id": "blosc"}}
    record |= {"fill_value": 0, "order": "C", "filters": None}
    record["compressor"] = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}
    (path / ".zarray").write_text(json.dumps(record))
    (path / "0").write_bytes(bytes((2, 1, 0x13, 1)) + struct.pack("<III", 2**32 - 16, 2**31, 40) + b"\0" * 24)


def nii(path: Path) -> None:
    import nibabel

    header: Any = getattr(nibabel, "Nifti1Header")()  # noqa: B009  has no types
    header.set_data_dtype("uint8")
    header.set_data_shape((2048, 2048, 2560))
    header["magic"], header["vox_offset"] = b"n+1", 352
    path.write_bytes(gzip.compress(header.binaryblock + b"\0" * 1000))


def wav(path: Path) -> None:
    frames = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 44100, 88200, 2, 16) + b"data" + struct.pack("<I", 2**32 - 100)
    path.write_bytes(b"RIFF" + struct.pack("<I", 2**32 - 60) + b"WAVE" + frames + b"\0" * 100)


def flac(path: Path) -> None:
    import soundfile

    soundfile.write(path, np.zeros(4096, "int16"), 44100, format="FLAC")
    data = bytearray(path.read_bytes())
    data[21] = data[21] & 0xF0 | 0x0F  # total samples: 36 bits at byte 21
    data[22:26] = b"\xff" * 4
    path.write_bytes(data)


def dicom(path: Path) -> None:
    import pydicom
    from pydicom.data import get_testdata_file

    dataset = pydicom.dcmread(str(get_testdata_file("SC_rgb_jpeg_dcmtk.dcm")))
    dataset.Rows = dataset.Columns = 65_000
    dataset.save_as(path)


def dicom_deflated(path: Path) -> None:
    from pydicom.data import get_testdata_file

    data = Path(str(get_testdata_file("image_dfl.dcm"))).read_bytes()
    start = 144 + int.from_bytes(data[140:144], "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = zlib.decompressobj(-15).decompress(data[start:])
    packed = packer.compress(body + b"\0" * (70 * 2**20)) + packer.flush()
    path.write_bytes(data[:start] + packed)


def tar(path: Path) -> None:
    member = tarfile.TarInfo("a.npy")
    member.size = 10 * 2**30
    path.write_bytes(member.tobuf() + npy_header((10 * 2**30,)))


def tar_gz(path: Path) -> None:
    plain = path.with_suffix(".plain")
    tar(plain)
    path.write_bytes(gzip.compress(plain.read_bytes() + b"\0" * 2**20))
    plain.unlink()


BOMBS: dict[str, Callable[[Path], None]] = {
    "a.npy": npy,
    "a.npz": npz,
    "a.h5": hdf5,
    "chunk.h5": hdf5_chunk,
    "a.zarr": zarr,
    "chunk.zarr": zarr_chunk,
    "a.nii.gz": nii,
    "a.wav": wav,
    "a.flac": flac,
    "a.dcm": dicom,
    "deflated.dcm": dicom_deflated,
    "a.tar": tar,
    "a.tar.gz": tar_gz,
}
READ = """
import resource, sys
from hangar.errors import InvalidInputError
from hangar.external import load
import pyarrow, zarr, nibabel, pydicom, soundfile, h5py
resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))
for path in sys.argv[1:]:
    try:
        found = load(path)
        found = list(found) if not isinstance(found, tuple) else found
        print(path, "READ")
    except InvalidInputError as error:
        print(path, "refused:", error)
    except BaseException as error:
        print(path, "FAILED:", repr(error))
# Not what getrusage tells: that counts the parent, from which this process was forked, too.
print("peak", [int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")][0] // 1024)
"""


def test_bombs_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    for package in ("zarr", "pyarrow", "nibabel", "pydicom", "soundfile"):
        pytest.importorskip(package)
    for name, make in BOMBS.items():
        make(tmp_path / name)
    words = [sys.executable, "-c", READ.format(memory=MEMORY), *(str(tmp_path / name) for name in BOMBS)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=100)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert [line for line in lines[:-1] if " refused: " not in line] == []
    assert len(lines) == len(BOMBS) + 1
    assert int(lines[-1].split()[1]) < 900, lines[-1]  # MiB: that of the libraries


# ------------------------------------------------------------------------------------------------- what reads other files


def links_of_hdf5(path: Path, other: Path) -> list[str]:
    with h5py.File(other, "w") as file:
        file["secret"] = np.frombuffer(SECRET, np.uint8)
    raw = other.with_suffix(".raw")
    raw.write_bytes(SECRET)
    with h5py.File(path, "w") as file:
        file["good"] = np.arange(4, dtype="u1")
        file["group/good"] = np.arange(5, dtype="u1")
        file["group/soft"] = h5py.SoftLink("/good")
        file["dangling"] = h5py.SoftLink("/nowhere")
        file["external"] = h5py.ExternalLink(str(other), "/secret")
        file["group/external"] = h5py.ExternalLink(str(other), "/")
        file["again"] = file["group"]  # a hard link, and a cycle:
        file["group/up"] = file["/"]
        layout = h5py.VirtualLayout(shape=(len(SECRET),), dtype="u1")
        layout[:] = h5py.VirtualSource(str(other), "secret", shape=(len(SECRET),))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("storage", (len(SECRET),), "u1", external=[(str(raw), 0, len(SECRET))])
        file.create_dataset("references", (1,), h5py.ref_dtype)
    return ["dangling", "external", "group/external", "group/soft", "references", "storage", "virtual"]


def test_hdf5_reads_no_other_file(tmp_path: Path) -> None:
    from hangar.external.plugins.hdf5 import HDF5Plugin

    refused = links_of_hdf5(tmp_path / "x.h5", tmp_path / "other.h5")
    plugin = HDF5Plugin(("load",), ("h5",))
    values: dict[str, Any] = {}
    failures: dict[str, Exception] = {}
    for block in plugin.blocks(str(tmp_path / "x.h5"), None):
        values |= dict(zip(block.names, block.values, strict=True))
        failures |= dict(block.failures)
    found = {name.removeprefix("again/").removeprefix("group/"): name for name in failures}
    assert sorted(found) == sorted({name.removeprefix("group/") for name in refused})
    assert {name.rpartition("/")[2] for name in values} == {"good"}
    assert sorted(value.size for value in values.values()) == [4, 5]
    for name in refused:
        for path in (name, f"/{name}"):
            with pytest.raises(InvalidInputError):
                list(plugin.blocks(str(tmp_path / "x.h5"), None, dataset=path))
    for path in ("external/secret", "group/external/secret", "group/soft/x"):
        with pytest.raises(InvalidInputError, match="has no array"):
            list(plugin.blocks(str(tmp_path / "x.h5"), None, dataset=path))


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    made.size = 1 if kind == tarfile.REGTYPE else 0
    return made


HOSTILE_MEMBERS = [
    member("../up.txt"),
    member("/etc/absolute.txt"),
    member("a/../../b.txt"),
    member("C:\\windows.txt"),
    member("soft.txt", tarfile.SYMTYPE, "/etc/passwd"),
    member("hard.txt", tarfile.LNKTYPE, "good.txt"),
    member("device.txt", tarfile.CHRTYPE),
    member("block.txt", tarfile.BLKTYPE),
    member("pipe.txt", tarfile.FIFOTYPE),
]


def test_members_of_tars_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    from hangar.external.plugins.tar import TarPlugin

    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for one in [member("good.txt"), *HOSTILE_MEMBERS, member("last.txt")]:
            archive.addfile(one, io.BytesIO(b"x") if one.size else None)
    blocks = list(TarPlugin(("load",), ("tar",)).blocks(str(tmp_path / "x.tar"), None))
    assert [name for block in blocks for name in block.names] == ["good", "last"]
    failures = [error for block in blocks for _, error in block.failures]
    assert len(failures) == len(HOSTILE_MEMBERS)
    assert all("refused" in str(error) for error in failures)


def test_members_of_zips_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    array = io.BytesIO()
    np.save(array, np.arange(3))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("good.npy", array.getvalue())
        archive.writestr("../up.npy", array.getvalue())
        archive.writestr("/etc/x.npy", array.getvalue())
        link = zipfile.ZipInfo("link.npy")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        boxed = io.BytesIO()
        np.save(boxed, np.array([{"a": 1}], object), allow_pickle=True)
        archive.writestr("pickle.npy", boxed.getvalue())
    found = load(tmp_path / "x.npz")
    with pytest.raises(InvalidInputError, match=r"refused|Python objects"):
        list(found)
    from hangar.external.plugins.npz import NpzPlugin

    blocks = list(NpzPlugin(("load",), ("npz",)).blocks(str(tmp_path / "x.npz"), None))
    assert [name for block in blocks for name in block.names] == ["x"]
    assert sum(len(block.failures) for block in blocks) == 4


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"compressor": {"id": "pickle"}}, "the codec 'pickle'"),
        ({"filters": [{"id": "pickle"}]}, "the codec 'pickle'"),
        ({"dtype": "|O", "filters": [{"id": "json2"}]}, "values of type"),
        ({"compressor": {"id": "blosc2-plugin"}}, "the codec 'blosc2-plugin'"),
    ],
)
def test_zarr_runs_no_code_of_the_file(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    pytest.importorskip("zarr")
    path = tmp_path / "x.zarr"
    path.mkdir()
    record = {"zarr_format": 2, "shape": [2], "chunks": [2], "dtype": "<i4", "compressor": None}
    record |= {"fill_value": 0, "order": "C", "filters": None, **change}
    (path / ".zarray").write_text(json.dumps(record))
    (path / "0").write_bytes(b"cos\nsystem\n(S'touch /tmp/hangar-was-here'\ntR.")
    with pytest.raises(InvalidInputError, match=text):
        list(load(path))
    assert not Path("/tmp/hangar-was-here").exists()


def read_all(path: Path) -> None:
    """Read a file; one that holds nothing is an error too."""
    found = load(path)
    if not isinstance(found, tuple) and not list(found):
        raise InvalidInputError("there is nothing")


def test_zarr_with_a_link_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    path = tmp_path / "x.zarr"
    zarr(path)
    os.symlink("/etc/passwd", path / "0")
    with pytest.raises(InvalidInputError, match="is a link or a special file"):
        list(load(path))


@pytest.mark.parametrize(
    "suffix", [".npz", ".h5", ".parquet", ".tar", ".nii.gz", ".nii", ".dcm", ".wav", ".flac", ".jsonl"]
)
def test_garbage_is_an_error_of_ours(tmp_path: Path, suffix: str) -> None:
    for package in ("pyarrow", "nibabel", "pydicom", "soundfile"):
        pytest.importorskip(package)
    rng = np.random.default_rng(5)
    starts = {
        ".npz": b"PK\3\4",
        ".h5": b"\x89HDF\r\n\x1a\n",
        ".parquet": b"PAR1",
        ".nii.gz": b"\x1f\x8b\x08",
        ".flac": b"fLaC",
    }
    for size in (0, 3, 600, 5000):
        path = tmp_path / f"x{suffix}"
        path.write_bytes(starts.get(suffix, b"") + rng.bytes(size))
        with pytest.raises(InvalidInputError):
            read_all(path)
