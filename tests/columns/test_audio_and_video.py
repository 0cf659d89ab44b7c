"""Columns of audio and video: files unchanged, exact parts, lossless arrays, hostile files. The files are made here."""

from __future__ import annotations

import contextlib
import io
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository
from hangar.audio import AudioInfo, check_audio, read_audio
from hangar.checkout import WriterCheckout
from hangar.errors import InvalidInputError, InvalidTypeError, PositionNotFoundError
from hangar.video import Video, VideoInfo, encode_video

soundfile = pytest.importorskip("soundfile")
av = pytest.importorskip("av")

RATE = 8_000
Array = np.ndarray[Any, Any]


@cache
def tones(frames: int = 30_000) -> Array:
    time = np.arange(frames) / RATE
    waves = [np.sin(2 * np.pi * (200 + 150 * channel) * time * (1 + time / 9)) for channel in range(2)]
    return (np.stack(waves, axis=1) * 0.6).astype(np.float32)


def sound(file_format: str = "FLAC", subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tones(), RATE, format=file_format, subtype=subtype)
    return file.getvalue()


@cache
def film(codec: str = "libx264", container: str = "mp4", frames: int = 60, pixels: str = "yuv420p") -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as made:
        stream = made.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, pixels
        stream.codec_context.gop_size = 12
        if codec in ("libx264", "mpeg4"):
            stream.codec_context.max_b_frames = 3
        for at in range(frames):
            picture = np.full((64, 96, 3), (at * 4) % 256, np.uint8)
            picture[:, : at % 96] = 255 - at
            made.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        made.mux(stream.encode())
    return file.getvalue()


# ---------------------------------------------------------------------------------------------------- audio

SOUNDS = [
    ("WAV", "PCM_16"),
    ("WAV", "FLOAT"),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("MP3", "MPEG_LAYER_III"),
    ("AIFF", "PCM_16"),
]


@pytest.mark.parametrize(("file_format", "subtype"), SOUNDS)
def test_audio_is_read_whole_and_in_exact_parts(writer: WriterCheckout, file_format: str, subtype: str) -> None:
    column = writer.add_audio_column("speech")
    data = sound(file_format, subtype)
    column["a"] = data
    assert column.encoded("a") == data
    info = column.info("a")
    assert info == AudioInfo(file_format, subtype, RATE, 2, info.frames)
    whole = column["a"]
    assert (whole.dtype, whole.shape) == (np.float32, (info.frames, 2))
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        np.testing.assert_array_equal(whole, file.read(dtype="float32"))
    assert abs(info.duration - 30_000 / RATE) < 0.3
    for part in (
        slice(1_000, 1_500),
        slice(-100, None),
        slice(20_000, 10_000, -7),
        slice(5, 5),
        slice(29_000, 10**9),
        (slice(500, 900), 1),
        (slice(10, 20), slice(None, None, -1)),
        17,
        -1,
        (3, 0),
        ...,
    ):
        np.testing.assert_array_equal(column.read_slice("a", part), whole[part])
    for wrong in (10**7, (slice(0, 5), 7), "x"):
        with pytest.raises(PositionNotFoundError):
            column.read_slice("a", wrong)


def test_arrays_of_audio(writer: WriterCheckout) -> None:
    column = writer.add_audio_column("a", samplerate=RATE)
    column["stereo"] = tones()
    column["mono"] = tones()[:, 0]
    whole = np.round(tones() * 30_000).astype(np.int16)
    column["int16"] = (whole, 44_100)
    np.testing.assert_array_equal(column["stereo"], tones())
    np.testing.assert_array_equal(column["mono"], tones()[:, :1])
    np.testing.assert_array_equal(column["int16"], whole.astype(np.float32) / 2**15)
    assert column.info("int16").samplerate == 44_100
    assert column.read(["stereo", "stereo"]).shape == (2, 30_000, 2)
    bare = writer.add_audio_column("b")
    for value, words in ((tones(), "needs a samplerate"), ((tones().astype(float), RATE), "float32 or int16")):
        with pytest.raises(InvalidInputError, match=words):
            bare["x"] = value
    for rate, error in (("fast", InvalidTypeError), (0, InvalidInputError), (True, InvalidTypeError)):
        with pytest.raises(error):
            writer.add_audio_column("c", samplerate=rate)  # type: ignore[arg-type]


def test_what_is_no_audio(writer: WriterCheckout) -> None:
    column = writer.add_audio_column("a")
    for data in (b"", b"garbage" * 10, sound("WAV")[:-50], b"fLaC"):
        with pytest.raises(InvalidInputError, match="the audio is"):
            column["a"] = data
    cut = sound()[: len(sound()) // 2]
    column["cut"] = cut
    assert column.encoded("cut") == cut
    with pytest.raises(InvalidInputError, match=r"the audio .*gc --why"):
        column["cut"]


@pytest.mark.parametrize("file_format", ["WAV", "RF64", "AIFF", "AU", "CAF", "OGG"])
def test_audio_that_was_cut_off_is_refused(file_format: str) -> None:
    data = sound(file_format, "VORBIS" if file_format == "OGG" else "PCM_16")
    check_audio(data)
    for length in (len(data) - 1, len(data) - 100):
        with pytest.raises(InvalidInputError, match=r"^the audio is truncated"):
            check_audio(data[:length])


def test_recordings_without_a_size() -> None:
    """A recorder that was stopped leaves the size at zero or at its maximum: what is there is read."""
    for file_format, at, width in (("WAV", 4, 4), ("AIFF", 4, 4), ("AU", 8, 4), ("RF64", 20, 8)):
        data = sound(file_format)
        for size in (b"\0", b"\xff")[file_format == "AU" :]:
            check_audio(data[:at] + size * width + data[at + width : -1000])
    assert len(read_audio(sound("WAV")[:4] + b"\xff" * 4 + sound("WAV")[8:-400])) == 29_900


def test_a_part_of_audio_that_cannot_be_searched() -> None:
    file = io.BytesIO()
    soundfile.write(file, tones()[:, 0], RATE, format="WAV", subtype="GSM610")
    whole = read_audio(file.getvalue())
    np.testing.assert_array_equal(read_audio(file.getvalue(), 20_000, 20_100), whole[20_000:20_100])


def test_a_decoder_that_seeks_anywhere_prints_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of functions that C calls go to this hook, which prints them."""
    errors: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", errors.append)
    file = io.BytesIO()
    soundfile.write(file, tones(1), RATE, format="AIFF")
    data = file.getvalue()[:30]
    with contextlib.suppress(InvalidInputError):
        read_audio(data[:4] + struct.pack(">I", len(data) - 8) + data[8:])
    assert errors == []


def test_a_length_that_is_claimed_is_not_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    flac = bytearray(sound())
    flac[21] |= 0x0F  # 36 bits of the number of samples
    flac[22:26] = b"\xff" * 4
    with pytest.raises(InvalidInputError, match=r"the limit is|truncated|cannot be decoded"):
        read_audio(bytes(flac))
    monkeypatch.setattr("hangar.limits.AUDIO_VALUES", 1_000)
    with pytest.raises(InvalidInputError, match=r"30,000 frames of 2 channels: the limit is 1,000.*read_slice"):
        read_audio(sound())
    assert read_audio(sound(), 100, 200).shape == (100, 2)


# ---------------------------------------------------------------------------------------------------- video

FILMS = [
    ("libx264", "mp4", "yuv420p"),
    ("mpeg4", "avi", "yuv420p"),
    ("libvpx-vp9", "webm", "yuv420p"),
    ("libx264", "mpegts", "yuv420p"),
    ("ffv1", "matroska", "bgr0"),
]


@pytest.mark.parametrize(("codec", "container", "pixels"), FILMS)
def test_any_frames_of_a_video(writer: WriterCheckout, codec: str, container: str, pixels: str) -> None:
    try:
        data = film(codec, container, pixels=pixels)
    except (av.FFmpegError, ValueError) as error:
        pytest.skip(f"this FFmpeg does not encode it: {error}")
    column = writer.add_video_column("films")
    column["a"] = data
    assert column.encoded("a") == data
    video = column["a"]
    assert isinstance(video, Video)
    whole = np.stack(list(video))
    assert (len(video), video.shape, video.fps, video.dtype.name) == (60, whole.shape, 25.0, "uint8")
    assert column.info("a") == VideoInfo(video.info.format, video.info.codec, 96, 64, 25.0, 60)
    random = np.random.default_rng(0)
    for start, stop in np.sort(random.integers(0, 61, (12, 2)), axis=1).tolist():
        np.testing.assert_array_equal(video[start:stop], whole[start:stop])
    copy = pickle.loads(pickle.dumps(video))
    for part in (slice(None, None, -7), slice(50, 10, -3), slice(70, 90), -1, 0, (slice(3, 5), slice(2, 9), ..., 1)):
        np.testing.assert_array_equal(copy[part], whole[part])
    np.testing.assert_array_equal(column.read_slice("a", slice(20, 23)), whole[20:23])
    with pytest.raises(PositionNotFoundError):
        video[60]


def test_a_slice_is_decoded_from_the_key_frame_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    video = Video(film())
    assert len(video) == 60
    monkeypatch.setattr(Video, "_from_the_start", None)
    for start in (1, 13, 30, 55):
        assert video[start : start + 4].shape == (4, 64, 96, 3)


def test_arrays_of_video_come_back_bit_for_bit(writer: WriterCheckout) -> None:
    column = writer.add_video_column("a", fps=Fraction(30_000, 1_001))
    frames = np.random.default_rng(1).integers(0, 256, (9, 48, 64, 3), dtype=np.uint8)
    column["a"] = frames
    np.testing.assert_array_equal(column["a"][:], frames)
    np.testing.assert_array_equal(np.asarray(column["a"]), frames)
    column["again"] = column["a"]
    assert column.encoded("again") == column.encoded("a")
    assert encode_video(frames, Fraction(25))[:4] == b"\x1a\x45\xdf\xa3"
    for value in (frames[0], frames.astype(float)):
        with pytest.raises(InvalidInputError, match="array of uint8"):
            column["b"] = value
    with pytest.raises(InvalidInputError, match="fps"):
        writer.add_video_column("b")["x"] = frames
    for rate, error in ((0, InvalidInputError), ("x", InvalidInputError), ([], InvalidTypeError)):
        with pytest.raises(error):
            writer.add_video_column("c", fps=rate)  # type: ignore[arg-type]


def test_a_video_that_is_turned() -> None:
    """The matrix of a track says 90 degrees, as telephones write it."""
    data = film()
    upright = struct.pack(">9i", 2**16, 0, 0, 0, 2**16, 0, 0, 0, 2**30)
    at = data.rindex(upright)  # The one before belongs to the whole film.
    turned = data[:at] + struct.pack(">9i", 0, 2**16, 0, -(2**16), 0, 0, 0, 0, 2**30) + data[at + 36 :]
    stored, seen = Video(data)[5], Video(turned)[5]
    assert Video(turned).shape == (60, 96, 64, 3)
    np.testing.assert_array_equal(seen, np.rot90(stored, -1))


def test_what_is_no_video(writer: WriterCheckout) -> None:
    column = writer.add_video_column("a")
    playlist = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
    cut_avi = film("mpeg4", "avi")[:-500]
    head, matroska = b"\x1a\x45\xdf\xa3", film(container="matroska")
    for data in (b"", b"garbage" * 40, playlist, film()[: len(film()) // 2], cut_avi, head + bytes(500)):
        with pytest.raises(InvalidInputError, match="the video is"):
            column["a"] = data
    for size in (100, len(matroska) // 2, len(matroska) - 1):
        with pytest.raises(InvalidInputError, match="the video is truncated"):
            column["a"] = matroska[:size]
    garbage = film()[:40] + bytes(len(film()) - 40)
    for data in (head + b"\x84" + bytes(504), head + b"\x84" + bytes(4) + playlist):
        column["b"] = data
        with pytest.raises(InvalidInputError, match="the video"):
            len(column["b"])
    with pytest.raises(InvalidInputError):
        column["c"] = garbage


def test_a_video_whose_header_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames beyond the limit are refused before one is decoded; a size that only the container claims is not believed."""
    data = film("mpeg4", "avi")
    at = data.index(b"strf") + 12
    lie = data[:at] + struct.pack("<ii", 65_535, 65_535) + data[at + 8 :]
    assert lie != data
    np.testing.assert_array_equal(Video(lie)[20:24], Video(data)[20:24])  # The stream of pictures tells the size.
    with monkeypatch.context() as patch:
        patch.setattr("hangar.video._pixels", None)
        patch.setattr("hangar.limits.IMAGE_PIXELS", 5_000)
        for read in (lambda: Video(data).info, lambda: Video(data)[0:60], lambda: next(iter(Video(data)))):
            with pytest.raises(InvalidInputError, match=r"frames of 64 x 96 pixels: the limit is 5,000"):
                read()
    monkeypatch.setattr("hangar.limits.VIDEO_BYTES", 5 * 64 * 96 * 3)
    with pytest.raises(InvalidInputError, match=r"60 frames of 64 x 96 pixels take more than"):
        Video(film())[:]


@pytest.mark.parametrize("make", [film, sound], ids=["video", "audio"])
def test_damaged_files_give_values_or_an_error(make: Callable[[], bytes]) -> None:
    data, random = make(), np.random.default_rng(5)
    for turn in range(40):
        changed = bytearray(data)
        at = int(random.integers(0, len(data) if turn % 2 else 300))
        changed[at : at + 3] = random.bytes(3)
        try:
            if make is film:
                assert Video(bytes(changed))[10:12].ndim == 4
            else:
                assert read_audio(bytes(changed)).ndim == 2
        except (InvalidInputError, PositionNotFoundError):
            pass


# ---------------------------------------------------------------------------------------------------- both


def test_in_history_nested_and_without_decoders(repo: Repository) -> None:
    with closing(repo.checkout(write=True)) as writer:
        writer.add_audio_column("audio", contains_subsamples=True)["talk"] = {"left": sound(), 2: sound("WAV")}
        writer.add_video_column("video")["a"] = film()
        writer.commit("media")
    with closing(repo.checkout()) as reader:
        assert reader["audio"]["talk"].info("left").frames == 30_000
        assert reader["audio"].read_slice(("talk", 2), slice(0, 9)).shape == (9, 2)
        assert reader["audio"]["talk", "left"].shape == (30_000, 2)
        assert len(next(iter(reader["video"].values()))) == 60
        assert "video" in repr(reader["video"])
    assert repo.verify_repo_integrity()
    code = (
        "import sys\n"
        "sys.modules['soundfile'] = sys.modules['av'] = None\n"
        "import hangar\n"
        "writer = hangar.Repository(sys.argv[1]).checkout(write=True)\n"
        "audio, video = writer['audio'], writer['video']\n"
        "audio['copy'] = {'x': audio.encoded(('talk', 'left'))}\n"
        "video['copy'] = video.encoded('a')\n"
        "for read in (lambda: audio['copy', 'x'], lambda: len(video['copy']), lambda: video.info('a')):\n"
        "    try:\n"
        "        read()\n"
        "    except ImportError as error:\n"
        "        assert 'hangar[audio]' in str(error) or 'hangar[video]' in str(error), error\n"
        "    else:\n"
        "        raise SystemExit('it was decoded')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(repo.path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_path_in(writer: WriterCheckout, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(sound("WAV"))
    column = writer.add_audio_column("a")
    column["a"] = path
    assert column.encoded("a") == path.read_bytes()
    (tmp_path / "b.wav").write_bytes(b"nothing")
    with pytest.raises(InvalidInputError, match=r"b\.wav: the audio is not"):
        column["b"] = tmp_path / "b.wav"
    with pytest.raises(InvalidInputError, match="is not a regular file"):
        column["b"] = tmp_path
