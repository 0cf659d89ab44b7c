"""Columns of images: files go in and out unchanged, and each kind of file has one documented result."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

import hangar
from hangar import Repository
from hangar.checkout import WriterCheckout
from hangar.columns import (
    FlatMediaReader,
    FlatMediaWriter,
    MediaSubsampleReader,
    MediaSubsampleWriter,
    NestedMediaReader,
    NestedMediaWriter,
)
from hangar.errors import (
    ColumnExistsError,
    CorruptionError,
    InvalidInputError,
    InvalidTypeError,
    PathNotFoundError,
    SampleNotFoundError,
)
from hangar.imaging import ImageInfo, Reading, read_image, read_info
from hangar.imaging import reading as decoders
from hangar.schema import ImageSchema, load_schema
from tests.columns.pictures import DEEP, DOCUMENTED, alpha, encoded, frames, gray, jpeg, photo, png_header
from tests.imaging import encoders as made


@pytest.fixture
def column(writer: WriterCheckout) -> Any:
    return writer.add_image_column("photos")


def by_pillow(data: bytes) -> Any:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


# ---------------------------------------------------------------------------------------------------- in and out


def test_files_go_in_and_out_unchanged(column: FlatMediaWriter, tmp_path: Path) -> None:
    data = jpeg(orientation=6)
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    values = [data, bytearray(data), memoryview(data), path, hangar.read(path), hangar.read(str(path))]
    column.write(list(range(len(values))), values)
    column["single"] = path
    assert column.encoded(list(column)) == [data] * 7
    assert column.encoded("single") == data
    assert column.schema.digest == ImageSchema().digest
    assert (column.column_type, column.schema_type, column.dtype, column.shape) == (
        "image",
        "variable_shape",
        None,
        None,
    )
    assert (column.backend, column.contains_subsamples) == ("31", False)
    for value in column.values():
        np.testing.assert_array_equal(value, np.asarray(ImageOps.exif_transpose(Image.open(path))))
    value = column["single"]
    value[...] = 0  # It belongs to the caller.
    assert column["single"].any()


ARRAYS = {
    "gray": gray(),
    "colour": photo(),
    "alpha": alpha(),
    "gray and alpha": alpha()[:, :, 1:3],
    "16 bit gray": DEEP[:, :, 0],
    "16 bit colour": DEEP,
    "16 bit alpha": np.dstack([DEEP, DEEP[:, :, 0]]),
    "16 bit big-endian": DEEP.astype(">u2"),
    "mask": gray() > 90,
    "one pixel": photo()[:1, :1],
    "a column of pixels": photo()[:, :1],
    "strided": photo()[::2, ::-3],
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_back_bit_for_bit(column: FlatMediaWriter, name: str) -> None:
    array = ARRAYS[name]
    column["a"] = array
    assert column.encoded("a")[:4] == b"\x89PNG"
    assert (column.info("a").height, column.info("a").width) == array.shape[:2]
    assert column["a"].dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(column["a"], array)


def test_batches(column: FlatMediaWriter) -> None:
    stacked = np.stack([photo(at) for at in range(40)])
    column.write(range(40), stacked)
    np.testing.assert_array_equal(column.read(slice(None)), stacked)
    out = np.empty((2, *photo().shape), np.uint8)
    assert column.read([7, 3], out) is out
    np.testing.assert_array_equal(out, stacked[[7, 3]])
    column.update({40: jpeg(), 41: gray()})
    assert [value.shape for value in column[[39, 41]]] == [(48, 70, 3), (48, 70)]
    with pytest.raises(InvalidInputError, match="different shapes"):
        column.read([39, 41])
    assert column.read([]).shape[0] == 0
    np.testing.assert_array_equal(np.asarray(column.decoding(mode="L"))[5], column.decoding(mode="L")[5])


def test_pictures_of_pillow(column: FlatMediaWriter) -> None:
    column["a"] = Image.fromarray(photo())
    column["b"] = Image.fromarray(gray())
    np.testing.assert_array_equal(column["a"], photo())
    np.testing.assert_array_equal(column["b"], gray())
    with pytest.raises(InvalidInputError, match="CMYK"):
        column["c"] = Image.fromarray(photo()).convert("CMYK")


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ("a/path.jpg", InvalidInputError, "hangar.read"),
        (b"", InvalidInputError, "not an image"),
        (b"garbage" * 20, InvalidInputError, "not an image"),
        (jpeg()[: len(jpeg()) // 2], InvalidInputError, "truncated"),
        (encoded(photo(), "PNG")[:-30], InvalidInputError, "truncated"),
        (encoded(photo(), "WEBP")[:-30], InvalidInputError, "truncated"),
        (encoded(photo(), "BMP")[:-30], InvalidInputError, "truncated"),
        (encoded(photo(), "PPM")[:-30], InvalidInputError, "truncated"),
        (jpeg()[:20], InvalidInputError, "truncated"),
        (png_header(0, 5), InvalidInputError, "0 x 5"),
        (photo().astype(float), InvalidInputError, "uint8 or uint16"),
        (photo()[:, :, :1], InvalidInputError, "2 to 4 channels"),
        (photo().transpose(2, 0, 1), InvalidInputError, "2 to 4 channels"),
        (photo()[0, 0], InvalidInputError, "2 to 4 channels"),
        (photo()[:0], InvalidInputError, "2 to 4 channels"),
        (DEEP > 5, InvalidInputError, "mask"),
        (3, InvalidInputError, "argument type"),
        (Path("/no/such/file.jpg"), PathNotFoundError, "no/such"),
        (Path("/dev/null"), InvalidInputError, "regular file"),
    ],
)
def test_what_is_no_image_is_refused_on_writing(
    column: FlatMediaWriter, value: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        column["a"] = value
    with pytest.raises(error, match=words):
        column.write(["b", "a"], [photo(), value])
    assert len(column) == 0


def test_other_formats_of_arrays(writer: WriterCheckout) -> None:
    lossy = writer.add_image_column("lossy", format="jpg", quality=70)
    lossy["a"] = photo()
    assert lossy.info("a") == ImageInfo("JPEG", 70, 48, "RGB")
    assert np.abs(lossy["a"].astype(int) - photo()).mean() < 12
    for name in ("WEBP", "TIFF"):
        exact = writer.add_image_column(name, format=name.lower())
        exact["a"] = photo()
        assert exact.info("a").format == name
        np.testing.assert_array_equal(exact["a"], photo())
    with pytest.raises(InvalidInputError, match="JPEG does not hold"):
        lossy["b"] = DEEP
    lossy["file"] = encoded(photo(), "PNG")
    assert lossy.info("file").format == "PNG"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"mode": "rgb"}, InvalidInputError),
        ({"mode": 3}, InvalidInputError),
        ({"format": "GIF"}, InvalidInputError),
        ({"quality": 50}, InvalidInputError),
        ({"format": "JPEG", "quality": 101}, InvalidInputError),
        ({"format": "JPEG", "quality": "high"}, InvalidTypeError),
        ({"backend": "10"}, InvalidInputError),
        ({"contains_subsamples": "x"}, InvalidInputError),
    ],
)
def test_options_that_cannot_be(writer: WriterCheckout, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        writer.add_image_column("a", **options)
    writer.add_image_column("b")
    with pytest.raises(ColumnExistsError):
        writer.add_image_column("b", mode="L")


# ---------------------------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("name", DOCUMENTED)
def test_each_kind_of_file_has_its_documented_result(name: str) -> None:
    make, wanted, mode = DOCUMENTED[name]
    data = make()
    found = read_image(data, Reading())
    expected = by_pillow(data) if wanted is None else wanted()
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    assert found.flags.writeable
    info = read_info(data)
    assert (info.width, info.height, info.mode) == (found.shape[1], found.shape[0], mode)
    if mode == "F":
        with pytest.raises(InvalidInputError, match="32-bit float"):
            read_image(data, Reading(mode="RGB"))
        return
    for converted, channels in (("L", ()), ("LA", (2,)), ("RGB", (3,)), ("RGBA", (4,))):
        pixels = read_image(data, Reading(mode=converted))
        assert (pixels.dtype, pixels.shape) == (np.uint8, (*found.shape[:2], *channels))
    if mode == "P":
        with Image.open(io.BytesIO(data)) as image:
            np.testing.assert_array_equal(read_image(data, Reading(mode="RGB")), np.asarray(image.convert("RGB")))


def test_deep_samples_keep_their_high_bits_where_they_are_converted() -> None:
    for channels, colour in ((3, 2), (4, 6), (2, 4)):
        deep = DEEP[:, :, :1].repeat(channels, axis=2) + np.arange(channels, dtype=np.uint16)
        data = made.png(deep, 16, colour)
        np.testing.assert_array_equal(read_image(data, Reading()), deep)
        mode = {3: "RGB", 4: "RGBA", 2: "LA"}[channels]
        np.testing.assert_array_equal(read_image(data, Reading(mode=mode)), (deep >> 8).astype(np.uint8))


def test_other_frames() -> None:
    data = encoded(photo(), "TIFF", **frames())
    np.testing.assert_array_equal(read_image(data, Reading(frame=2)), photo(2))
    with pytest.raises(InvalidInputError, match="no image 3"):
        read_image(data, Reading(frame=3))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_as_viewers_do(orientation: int, column: FlatMediaWriter) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    files = {
        "jpg": jpeg(orientation=orientation),
        "png": encoded(photo(), "PNG", exif=exif),
        "webp": encoded(photo(), "WEBP", lossless=True, exif=exif),
        "tif": encoded(photo(), "TIFF", tiffinfo={0x0112: orientation}),
    }
    column.update(files)
    for name, data in files.items():
        with Image.open(io.BytesIO(data)) as image:
            stored = by_pillow(jpeg()) if name == "jpg" else photo()
            turned = np.asarray(ImageOps.exif_transpose(image)) if name == "jpg" else None
        assert column.info(name).orientation == orientation
        np.testing.assert_array_equal(column.decoding(orient=False)[name], stored)
        wanted = np.asarray(ImageOps.exif_transpose(_with(stored, orientation))) if turned is None else turned
        np.testing.assert_array_equal(column[name], wanted)
        assert column[name].flags.c_contiguous


def _with(pixels: Any, orientation: int) -> Image.Image:
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    return image


def test_decoders_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """What simplejpeg decodes is what pillow decodes, bit for bit."""
    files = [
        jpeg(at, quality=quality, subsampling=subsampling, progressive=bool(at % 2))
        for at, (quality, subsampling) in enumerate((q, s) for q in (30, 75, 95) for s in (0, 1, 2))
    ]
    files += [encoded(gray(), "JPEG"), encoded(photo()[:13, :9], "JPEG"), jpeg(orientation=8)]
    rgb_stored = encoded(photo(), "JPEG", keep_rgb=True)
    files += [rgb_stored]
    modes = (None, "RGB", "L")
    assert decoders._simplejpeg() is not None
    fast = [read_image(data, Reading(mode=mode)) for data in files for mode in modes]
    monkeypatch.setattr(decoders, "_simplejpeg", lambda: None)
    slow = [read_image(data, Reading(mode=mode)) for data in files for mode in modes]
    for one, other in zip(fast, slow, strict=True):
        np.testing.assert_array_equal(one, other)


# ---------------------------------------------------------------------------------------------------- columns


def test_nested(writer: WriterCheckout) -> None:
    column = writer.add_image_column("views", mode="L", contains_subsamples=True)
    assert isinstance(column, NestedMediaWriter)
    column["car"] = {"front": jpeg(1), 2: photo()}
    column["bus", 0] = jpeg(2)
    sample = column["car"]
    assert isinstance(sample, MediaSubsampleWriter)
    assert sample.encoded("front") == column.encoded(("car", "front")) == jpeg(1)
    assert sample.info(2).format == "PNG"
    assert column.info(("bus", 0)).width == 70
    assert column.encoded([("bus", 0), ("car", "front")]) == [jpeg(2), jpeg(1)]
    assert sample["front"].shape == (48, 70)
    assert {key: value.shape for key, value in column["car", ...].items()} == {2: (48, 70), "front": (48, 70)}
    assert column.read([("bus", 0), ("car", 2)]).shape == (2, 48, 70)
    assert column.decoding(mode=None)["bus", 0].shape == (48, 70, 3)
    with pytest.raises(SampleNotFoundError):
        column.encoded(("bus", 1))
    with pytest.raises(SampleNotFoundError):
        sample.info("back")


def test_in_history(repo: Repository) -> None:
    with closing(repo.checkout(write=True)) as writer:
        column = writer.add_image_column("photos", mode="RGB")
        column.write(range(30), [jpeg(at) for at in range(30)])
        nested = writer.add_image_column("nested", contains_subsamples=True)
        nested["a"] = {"x": jpeg()}
        first = writer.commit("photos")
        column[3] = jpeg(31)
        del column[4]
        writer.commit("changes")
        assert repo.diff(first, "master").diff.mutated.samples[0].sample == 3
    with closing(repo.checkout()) as reader:
        column = reader["photos"]
        assert isinstance(column, FlatMediaReader)
        assert column.encoded(3) == jpeg(31)
        assert "image, read as RGB" in repr(column)
        assert "image, read as RGB" in column._repr_html_()
        turned = column.decoding(mode="L", orient=False)
        copy = pickle.loads(pickle.dumps(turned))
        np.testing.assert_array_equal(copy[7], turned[7])
        assert copy[7].shape == (48, 70)
        assert isinstance(reader["nested"], NestedMediaReader)
        assert isinstance(reader["nested"]["a"], MediaSubsampleReader)
        assert pickle.loads(pickle.dumps(reader["nested"]["a"])).encoded("x") == jpeg()
        assert load_schema(column.schema.data).digest == column.schema.digest
    assert repo.verify_repo_integrity()


def test_equal_files_are_stored_once(repo: Repository, writer: WriterCheckout) -> None:
    noise = encoded(np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8), "PNG")
    writer.add_bytes_column("files")["a"] = noise
    images = writer.add_image_column("images")
    before = repo.size_nbytes
    images.write(range(20), [noise] * 20)
    writer.commit("the same file")
    assert repo.size_nbytes - before < len(noise) // 4


def test_options_of_decoding(column: FlatMediaWriter) -> None:
    column["a"] = jpeg()
    assert column.decoding().decoding(mode="RGBA").decoding(mode="L")["a"].shape == (48, 70)
    for options in ({"size": 3}, {"frame": "x"}, {"frame": True}):
        with pytest.raises(InvalidTypeError):
            column.decoding(**options)
    for options in ({"mode": "XYZ"}, {"frame": -1}, {"orient": "perhaps"}, {"max_pixels": 0}):
        with pytest.raises(InvalidInputError):
            column.decoding(**options)
    with pytest.raises(InvalidInputError, match=r"48 x 70 pixels.*the limit is 100"):
        column.decoding(max_pixels=100)["a"]


def test_batches_are_decoded_on_threads(column: FlatMediaWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    column.write(range(50), [jpeg(at % 40) for at in range(50)])
    seen: set[int] = set()
    real = decoders._by_simplejpeg

    def watched(data: bytes, reading: Reading) -> Any:
        seen.add(threading.get_ident())
        time.sleep(0.002)
        return real(data, reading)

    monkeypatch.setattr("hangar.threads.cores", lambda: 4)
    monkeypatch.setattr(decoders, "_by_simplejpeg", watched)
    together = column.read(range(50))
    assert len(seen) > 1
    np.testing.assert_array_equal(together, [column[at] for at in range(50)])


# ---------------------------------------------------------------------------------------------------- hostile files

LIES = {
    "PNG of 100,000 x 100,000": png_header(100_000, 100_000, b"\0" * 1000),
    "JPEG of 65,000 x 65,000": jpeg().replace(b"\x00\x30\x00\x46\x03", b"\xfd\xe8\xfd\xe8\x03", 1),
    "GIF of 65,535 x 65,535": b"GIF89a\xff\xff\xff\xff" + encoded(gray(), "GIF")[10:],
}


@pytest.mark.parametrize("name", LIES)
def test_a_size_that_is_claimed_is_not_allocated(name: str, tmp_path: Path) -> None:
    """In a process with little memory: a large array would end it with another error."""
    path = tmp_path / "file"
    path.write_bytes(LIES[name])
    code = (
        "import sys, resource\n"
        "from hangar.imaging import read_image, Reading\n"
        "import PIL.PngImagePlugin, PIL.JpegImagePlugin, PIL.GifImagePlugin, simplejpeg\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**27, -1))\n"
        "for mode in (None, 'RGB'):\n"
        "    try:\n"
        "        read_image(open(sys.argv[1], 'rb').read(), Reading(mode))\n"
        "    except ValueError as error:\n"
        "        assert 'the limit is' in str(error), error\n"
        "    else:\n"
        "        raise SystemExit('it was decoded')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_image_that_is_stored_and_cannot_be_decoded(column: FlatMediaWriter) -> None:
    """Its bytes come and go; an error names what is wrong, and how to find the sample."""
    broken = png_header(10, 10, b"too few samples")
    liar = png_header(100_000, 100_000, b"\0")
    column.update({"a": jpeg(), "broken": broken, "liar": liar})
    assert column.encoded(["broken", "liar"]) == [broken, liar]
    assert column.info("liar").width == 100_000
    with pytest.raises(InvalidInputError, match=r"the limit is.*`hangar gc --why [0-9a-f]{64}"):
        column["liar"]
    with pytest.raises(InvalidInputError, match="is truncated"):
        column[["a", "broken"]]
    whole = encoded(np.tile(photo(), (9, 9, 1)), "JPEG", quality=95)
    with pytest.raises(InvalidInputError, match="is truncated: a JPEG without an end"):
        read_image(whole[: len(whole) // 2], Reading())


@pytest.mark.parametrize("name", DOCUMENTED)
def test_damaged_files_give_pixels_or_an_error(name: str) -> None:
    """Bytes are changed, cut out and repeated: an array, or InvalidInputError; no other error."""
    data = DOCUMENTED[name][0]()
    random = np.random.default_rng(len(data))
    refused = 0
    for turn in range(30):
        changed = bytearray(data)
        at = int(random.integers(0, min(len(data), 400) if turn % 2 else len(data)))
        if turn % 3 == 0:
            changed[at] ^= 1 << int(random.integers(0, 8))
        elif turn % 3 == 1:
            changed[at : at + 4] = random.bytes(4)
        else:
            del changed[at : at + int(random.integers(1, 40))]
        for mode in (None, "RGB"):
            try:
                pixels = read_image(bytes(changed), Reading(mode, max_pixels=2**20))
            except InvalidInputError:
                refused += 1
            else:
                assert pixels.ndim in (2, 3)
    assert refused


# ---------------------------------------------------------------------------------------------------- without pillow


def test_without_decoders_files_come_and_go(repo: Repository, writer: WriterCheckout) -> None:
    writer.add_image_column("photos")["a"] = jpeg()
    writer.commit("a photo")
    writer.close()
    code = (
        "import sys\n"
        "sys.modules['PIL'] = sys.modules['simplejpeg'] = None\n"
        "import hangar, numpy as np\n"
        "repo = hangar.Repository(sys.argv[1])\n"
        "writer = repo.checkout(write=True)\n"
        "column = writer['photos']\n"
        "data = column.encoded('a')\n"
        "assert column.info('a').format == 'JPEG'\n"
        "column['b'] = data\n"
        "column['c'] = np.zeros((4, 5, 3), np.uint8)\n"
        "assert column.encoded('b') == data\n"
        "for key in ('a', 'c'):\n"
        "    try:\n"
        "        column[key]\n"
        "    except ImportError as error:\n"
        "        assert 'hangar[images]' in str(error), error\n"
        "    else:\n"
        "        raise SystemExit('it was decoded')\n"
        "writer.commit('two more')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(repo.path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with closing(repo.checkout()) as reader:
        assert reader["photos"]["c"].shape == (4, 5, 3)


def test_bytes_that_rot_on_disk_are_no_image(repo: Repository) -> None:
    """A flipped bit is found by the checksum, before a decoder sees the bytes, and by fsck."""
    with closing(repo.checkout(write=True)) as writer:
        writer.add_image_column("photos").write(range(5), [jpeg(at) for at in range(5)])
        writer.commit("photos")
    repo.close()
    (file,) = [path for path in Path(repo.path).rglob("*") if path.is_file() and jpeg(2) in path.read_bytes()]
    data = bytearray(file.read_bytes())
    data[data.index(jpeg(2)) + 200] ^= 4
    file.write_bytes(data)
    with closing(hangar.Repository(repo.path).checkout()) as reader:
        assert reader["photos"].encoded(1) == jpeg(1)
        photos: Any = reader["photos"]
        for read in (photos.__getitem__, photos.encoded, photos.info):
            with pytest.raises(CorruptionError):
                read(2)
    report = hangar.Repository(repo.path).fsck(data=True)
    assert "photos" in str(report)
