"""The built-in plugins: what goes out comes back, and what would come back changed is refused."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hangar import external
from hangar.errors import HangarError, InvalidInputError, PathNotFoundError
from tests.external.fakes import deep_png, picture, write_png


def round_trip(value: Any, folder: Path, extension: str, **options: Any) -> Any:
    external.save(value, folder, "str:sample", extension, **options)
    back, name = external.load(folder / f"sample.{extension}")
    assert name == "sample"
    return back


LOSSLESS = [
    *[("png", dtype, shape) for dtype, shape in (("bool", (4, 5)), ("uint8", (4, 5)), ("uint16", (4, 5)))],
    *[(extension, "uint8", (4, 5, 3)) for extension in ("png", "bmp", "tif", "tiff", "webp", "ppm")],
    *[(extension, "uint8", (4, 5, 4)) for extension in ("png", "tif", "webp")],
    *[("tif", dtype, (4, 5)) for dtype in ("uint16", "int32", "float32", "bool")],
    ("png", "uint8", (4, 5, 2)),
    ("bmp", "uint8", (4, 5)),
    ("pgm", "uint8", (4, 5)),
    ("pbm", "bool", (4, 5)),
    ("bmp", "bool", (4, 5)),
]


@pytest.mark.parametrize(("extension", "dtype", "shape"), LOSSLESS)
def test_images_come_back_bit_for_bit(tmp_path: Path, extension: str, dtype: str, shape: tuple[int, ...]) -> None:
    array = (
        (picture(1, shape) > 127) if dtype == "bool" else picture(1, shape, dtype) * (257 if dtype == "uint16" else 1)
    )
    array = array.astype(dtype)
    back = round_trip(array, tmp_path, extension)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    back[...] = 0  # the user's own, writable


@pytest.mark.parametrize(
    ("extension", "dtype", "shape"),
    [
        ("png", "float32", (4, 5)),
        ("png", "int64", (4, 5)),
        ("png", "uint16", (4, 5, 3)),
        ("png", "uint8", (4,)),
        ("png", "uint8", (4, 5, 5)),
        ("png", "uint8", (0, 5)),
        ("bmp", "uint8", (4, 5, 4)),
        ("webp", "uint8", (4, 5)),
        ("jpg", "uint8", (4, 5, 4)),
        ("jpg", "bool", (4, 5)),
        ("pgm", "uint16", (4, 5)),
        ("gif", "uint8", (4, 5)),
    ],
)
def test_a_format_that_cannot_hold_it_is_refused(tmp_path: Path, extension: str, dtype: str, shape: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"cannot hold|only be read"):
        external.save(np.zeros(shape, dtype), tmp_path, "str:x", extension)
    assert list(tmp_path.iterdir()) == []


def test_jpeg_is_near(tmp_path: Path) -> None:
    ramp = np.add.outer(np.arange(64), np.arange(64)).astype("uint8")
    back = round_trip(np.stack([ramp] * 3, axis=2), tmp_path, "jpg", quality=95)
    assert np.abs(back[..., 0].astype(int) - ramp).max() <= 4
    with pytest.raises(InvalidInputError, match="quality"):
        external.save(ramp, tmp_path, "str:y", "png", quality=50)


@pytest.mark.parametrize(("extension", "width"), [("jpg", 65_501), ("webp", 16_384)])
def test_what_is_too_wide_for_a_format_is_refused(tmp_path: Path, extension: str, width: int) -> None:
    with pytest.raises(InvalidInputError, match=rf"\.{extension} file cannot hold an array of shape \(1, {width}, 3\)"):
        external.save(np.zeros((1, width, 3), np.uint8), tmp_path, "str:x", extension)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("quality", ["abc", 0, 101, 1.5, True])
def test_a_quality_that_cannot_be(tmp_path: Path, quality: Any) -> None:
    with pytest.raises(InvalidInputError, match="quality is a whole number from 1 to 100"):
        external.save(picture(1, (4, 5, 3)), tmp_path, "str:x", "jpg", quality=quality)


def test_one_channel_is_written_as_grey(tmp_path: Path) -> None:
    array = picture(3, (4, 5, 1))
    np.testing.assert_array_equal(round_trip(array, tmp_path, "png"), array[:, :, 0])


def test_a_palette_gives_its_indices(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(20, dtype="uint8").reshape(4, 5))
    image.putpalette([255 - i for i in range(256) for _ in range(3)])
    image.save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as stored:
        assert stored.mode == "P"
    np.testing.assert_array_equal(external.load(tmp_path / "mask.png")[0], np.arange(20).reshape(4, 5))
    colours = external.load(tmp_path / "mask.png", mode="RGB")[0]
    assert colours.shape == (4, 5, 3)
    assert colours[0, 1, 0] == 254


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_sixteen_bits_of_colour_are_not_cut_quietly(tmp_path: Path, colour_type: int, channels: int) -> None:
    deep_png(tmp_path / "deep.png", colour_type, channels)
    with Image.open(tmp_path / "deep.png") as image:
        assert np.asarray(image).dtype == np.uint8  # what pillow makes of it
    wanted = np.arange(5 * channels * 2, dtype=np.uint8).view(">u2").reshape(1, 5, channels)
    np.testing.assert_array_equal(external.load(tmp_path / "deep.png")[0], wanted.repeat(4, axis=0))


def test_sixteen_bits_of_grey_are_read(tmp_path: Path) -> None:
    deep_png(tmp_path / "grey.png", 0, 1)
    assert external.load(tmp_path / "grey.png")[0].dtype == np.uint16


@pytest.mark.parametrize("extension", ["gif", "tif", "png", "webp"])
def test_several_images_in_one_file(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"many.{extension}"
    frames = [Image.fromarray(np.full((4, 5, 3), 80 * i, "uint8")) for i in range(3)]
    options: Any = {"lossless": True} if extension == "webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    with pytest.raises(InvalidInputError, match=r"many.* holds 3 images"):
        external.load(path)
    assert external.load(path, frame=2, mode="RGB")[0][0, 0, 0] == 160
    with pytest.raises(InvalidInputError, match="no image 3"):
        external.load(path, frame=3)


@pytest.mark.parametrize("extension", ["png", "jpg", "bmp", "tif", "webp", "ppm", "gif"])
def test_garbage_is_an_error_that_names_the_file(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"bad.{extension}"
    whole = io.BytesIO()
    names = {"jpg": "JPEG", "tif": "TIFF"}
    Image.fromarray(picture(1, (40, 50, 3))).save(whole, names.get(extension, extension.upper()))
    for data in (b"", b"not an image", whole.getvalue()[: len(whole.getvalue()) // 2], bytes(4096)):
        path.write_bytes(data)
        with pytest.raises(InvalidInputError, match=r"bad\.\w+ "):
            external.load(path)


def test_a_format_that_starts_programs_is_not_tried(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(InvalidInputError, match="not an image of a known format"):
        external.load(tmp_path / "x.png")


def test_a_bomb_is_refused_unread(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    import zlib

    data = (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + b"IHDR"
        + header
        + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    )
    (tmp_path / "bomb.png").write_bytes(data + b"\0\0\0\0IDAT")
    with pytest.raises(InvalidInputError, match=r"bomb\.png"):
        external.load(tmp_path / "bomb.png")


@settings(max_examples=150)
@given(st.data())
def test_flipped_bits_never_give_another_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("flip")
    extension = data.draw(st.sampled_from(["png", "jpg", "bmp", "tif", "webp", "ppm", "npy", "npz"]))
    external.save(picture(2, (9, 8, 3)), folder, "str:x", extension)
    path = folder / f"x.{extension}"
    content = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(content) * 8 - 1), min_size=1, max_size=8)):
        content[at // 8] ^= 1 << at % 8
    path.write_bytes(content)
    error = ""
    try:
        loaded = external.load(path)
        for value, _ in loaded if isinstance(loaded, Iterator) else [loaded]:
            assert isinstance(value, np.ndarray)
    except HangarError as caught:
        error = str(caught)
    assert not error or "x." in error


@pytest.mark.parametrize("extension", ["npy", "npz"])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=">f8").reshape(2, 3, 4),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.array(3.5),
        np.zeros((0, 3), "c16"),
        np.array([True, False]),
        np.arange(3, dtype="float16"),
    ],
    ids=["big endian", "fortran", "0-d", "empty", "bool", "half"],
)
def test_arrays_come_back(tmp_path: Path, array: np.ndarray[Any, Any], extension: str) -> None:
    external.save(array, tmp_path, "int:3", extension)
    loaded = external.load(tmp_path / f"3.{extension}")
    back, name = next(loaded) if isinstance(loaded, Iterator) else loaded
    assert name == "3"
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    back[...] = 0


def test_an_archive_of_several_arrays(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "many.npz", a=np.arange(3), b=np.zeros((2, 2)))
    loaded = {name: value for value, name in external.load(tmp_path / "many.npz")}
    assert sorted(loaded) == ["many/a", "many/b"]
    np.testing.assert_array_equal(loaded["many/a"], np.arange(3))


class Trap:
    """Unpickled, it would leave a file."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("/tmp/hangar-unpickled"),))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    objects = np.array([Trap(), None], dtype=object)
    np.save(tmp_path / "x.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "x.npz", a=objects, allow_pickle=True)
    (tmp_path / "y.npy").write_bytes(b"\x80\x04K\x01.")
    for path in (tmp_path / "x.npy", tmp_path / "y.npy"):
        with pytest.raises(InvalidInputError, match=path.name):
            external.load(path)
    with pytest.raises(InvalidInputError, match="objects"):
        list(external.load(tmp_path / "x.npz"))
    assert not Path("/tmp/hangar-unpickled").exists()


def header_of(shape: str) -> bytes:
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    "shape", ["(1099511627776,)", "(2**62,)", "(3037000500, 3037000500, 4)", "(-1,)", "(5,)", "()" * 2, "x"]
)
def test_a_header_that_promises_too_much_takes_no_memory(tmp_path: Path, shape: str) -> None:
    (tmp_path / "big.npy").write_bytes(header_of(shape) + bytes(32))
    with pytest.raises(InvalidInputError, match=r"big\.npy"):
        external.load(tmp_path / "big.npy")
    with zipfile.ZipFile(tmp_path / "big.npz", "w") as archive:
        archive.writestr("a.npy", header_of(shape) + bytes(32))
    with pytest.raises(InvalidInputError, match=r"big\.npz \(a\.npy\)"):
        list(external.load(tmp_path / "big.npz"))


def test_too_many_dimensions(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(header_of("(" + "1, " * 40 + ")") + bytes(8))
    with pytest.raises(InvalidInputError):
        external.load(tmp_path / "x.npy")


@pytest.mark.parametrize("text", ["", "café\r\n猫\n", "\ufeffmark", "a\0b"])
def test_text_comes_back(tmp_path: Path, text: str) -> None:
    assert round_trip(text, tmp_path, "txt") == text


def test_text_that_is_no_utf8(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"caf\xe9")
    with pytest.raises(InvalidInputError, match=r"x\.txt is not UTF-8 text: .* at byte 3"):
        external.load(tmp_path / "x.txt")


def test_bytes_come_back(tmp_path: Path) -> None:
    assert round_trip(bytes(range(256)), tmp_path, "bin") == bytes(range(256))
    (tmp_path / "any.pdf").write_bytes(b"%PDF")
    assert external.load(tmp_path / "any.pdf", plugin="raw") == (b"%PDF", "any")


@pytest.mark.parametrize(
    ("value", "extension"), [("text", "png"), (b"x", "txt"), ("x", "bin"), ("x", "npy"), ([1], "npz")]
)
def test_the_wrong_kind_is_refused(tmp_path: Path, value: object, extension: str) -> None:
    with pytest.raises(InvalidInputError, match=f"{extension} file"):
        external.save(value, tmp_path, "str:x", extension)


@pytest.mark.parametrize("extension", ["png", "npy", "npz", "txt", "bin"])
def test_a_missing_file(tmp_path: Path, extension: str) -> None:
    with pytest.raises(PathNotFoundError, match="missing"):
        external.load(tmp_path / f"missing.{extension}")


def test_save_stays_in_the_directory(tmp_path: Path) -> None:
    out = tmp_path / "out"
    external.save(picture(1), out, "str:../../x", "png")
    assert [one.relative_to(out).as_posix() for one in out.rglob("*.png")] == ["__/__/x.png"]
    assert sorted(tmp_path.iterdir()) == [out]


def test_write_png_helper_is_honest(tmp_path: Path) -> None:
    array = write_png(tmp_path / "a.png", picture(5))
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), array)
