"""What a codec does not make smaller is stored as it is: noticed at once, noticed again when the data changes, and open to h5py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hangar import threads
from hangar.backends import BlobFile
from hangar.backends.hdf5 import compress
from hangar.backends.hdf5.codecs import COMPLIBS, Encoding, encode
from hangar.digest import NDARRAY, Header
from tests.backends.test_hdf5 import FLOAT32, UINT8, Opened, datasets, smooth

CODECS = [name for name in COMPLIBS if name]


def noise(seed: int, count: int, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def stored_of(opened: Opened) -> int:
    return opened.writer.end


@pytest.mark.parametrize("complib", CODECS)
@pytest.mark.parametrize("tag", ["00", "01"])
def test_noise_is_stored_as_it_is(tmp_path: Path, tag: str, complib: str) -> None:
    """Every chunk takes its own size, for every codec and shuffle, and h5py reads it."""
    opened = Opened(tmp_path, tag)
    batch = noise(1, 4, (300, 1000)).view("<u2")
    for shuffle in ["byte", "none"] if complib.startswith("blosc") else [True, False]:
        opened.add_arrays(list(batch), 7, complib=complib, shuffle=shuffle, complevel=1)
        opened.check()
    opened.writer.sync()
    assert stored_of(opened) < 1.02 * 2 * batch.nbytes + 20_000
    for found in datasets(opened.path).values():
        np.testing.assert_array_equal(found, batch)
    skipped = set()
    with h5py.File(opened.path, "r", locking=False) as file:
        for group in file.values():
            for one in group.values():
                skipped |= {one.id.get_chunk_info(at).filter_mask for at in range(one.id.get_num_chunks())}
    assert 0 not in skipped


@pytest.mark.parametrize("complib", CODECS)
def test_small_chunks_and_texture(tmp_path: Path, complib: str) -> None:
    """Chunks of a few bytes, chunks that compress and chunks that do not, in one batch and of many shapes."""
    opened = Opened(tmp_path)
    arrays = [*smooth(1, 3, (200,)), *smooth(2, 3, (1,)), *smooth(3, 2, (50_000,)), *noise(4, 3, (40_000,)).view("<f4")]
    opened.add_arrays(arrays, FLOAT32, complib=complib, complevel=1)
    opened.writer.sync()
    opened.check()
    found = datasets(opened.path)
    assert sum(one.nbytes for name, one in found.items() if "shapes" not in name.rpartition("/")[2]) >= sum(
        one.nbytes for one in arrays
    )


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of each call of a codec."""
    calls: list[int] = []

    def count(data: Any, *rest: Any) -> Any:
        calls.append(len(data))
        return encode(data, *rest)

    monkeypatch.setattr(compress, "encode", count)
    return calls


@pytest.mark.parametrize("one_by_one", [True, False])
def test_noise_costs_the_codec_a_fraction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_by_one: bool) -> None:
    """Normal float32, of which lz4 saves a twentieth: a sample of each chunk is compressed, and one chunk of 32."""
    values = np.random.default_rng(0).standard_normal((64, 2**17), np.float32)
    opened = Opened(tmp_path, "01")
    calls = counted(monkeypatch)
    for part in np.split(values, 64) if one_by_one else [values]:
        opened.add_arrays(list(part), FLOAT32)
    assert sorted(calls)[-3] == compress._SAMPLES * compress._SAMPLE_BYTES
    assert sum(calls) < 0.11 * values.nbytes
    assert opened.writer.end > values.nbytes
    opened.check()


def test_data_that_begins_to_compress_is_compressed_at_once(tmp_path: Path) -> None:
    opened = Opened(tmp_path, "01")
    opened.add_arrays(list(noise(1, 40, (2**19,))), UINT8)
    before = opened.writer.end
    opened.add_arrays([(np.arange(2**19) // 50 + at).astype(np.uint8) for at in range(5)], UINT8)
    assert opened.writer.end - before < 2**19
    before = opened.writer.end
    opened.add_arrays(list(noise(2, 5, (2**19,))), UINT8)
    assert opened.writer.end - before > 5 * 2**19
    opened.check()


def test_data_that_compresses_costs_no_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After eight chunks that compressed, the next are compressed at once; a chunk that does not compress brings the trials back."""
    monkeypatch.setattr(threads, "cores", lambda: 1)
    opened = Opened(tmp_path, "01")
    plain, random = smooth(1, 40, (100_000,)), noise(2, 20, (400_000,)).view("<f4")
    trial, whole = 8 * 2_048, plain[0].nbytes
    calls = counted(monkeypatch)
    opened.add_arrays(list(plain), FLOAT32, complib="blosc:lz4")
    assert calls == [trial, whole] * 8 + [whole] * 32
    calls.clear()
    opened.add_arrays(list(random), FLOAT32, complib="blosc:lz4")
    assert calls == [whole] + [trial] * 19
    opened.check()


def test_a_sample_that_misleads_is_found_out(tmp_path: Path) -> None:
    """Noise that repeats itself at a distance which samples do not see. The first chunk is compressed whole, and then all are."""
    opened = Opened(tmp_path, "01")
    sample = np.resize(noise(1, 1, (20_000,))[0], 2**19)
    assert compress._gains(compress._sample(sample), Encoding(2, 5, 0), 1) is None
    opened.add_arrays([np.roll(sample, at) for at in range(40)], UINT8, shuffle="none")
    assert opened.writer.end < 0.4 * 40 * 2**19
    opened.check()


@pytest.mark.parametrize("complib", ["blosc:zstd", "gzip"])
def test_slow_codecs_keep_small_gains(tmp_path: Path, complib: str) -> None:
    """Somebody who chooses them wants the last percent."""
    values = np.random.default_rng(0).standard_normal((4, 2**16), np.float32)
    opened = Opened(tmp_path, "01")
    opened.add_arrays(list(values), FLOAT32, complib=complib, complevel=1)
    assert opened.writer.end < 0.93 * values.nbytes


def test_chunks_of_older_versions_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of blosc that are larger than what is in them."""
    monkeypatch.setattr(compress, "_gains", encode)
    opened = Opened(tmp_path)
    header = Header(NDARRAY, UINT8, (5_000,))
    opened.add([header] * 3, [bytes(one) for one in noise(1, 3, (5_000,))])
    opened.check()
    assert opened.writer.end > 8192 + 15_000 + 16
    BlobFile(opened.path, 7, "00")
