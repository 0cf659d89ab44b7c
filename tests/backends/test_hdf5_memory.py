"""Compressing and decompressing chunks while memory is short: an error, and never the end of the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numcodecs import blosc

from hangar.backends.hdf5.blosc import blosc_call
from hangar.backends.hdf5.codecs import Encoding, encode
from hangar.errors import ResourceLimitError

UNDER_LIMITS = """
import resource, sys
from pathlib import Path

import numcodecs.blosc
import numpy as np

from hangar.backends.hdf5.codecs import Encoding, decode, encode
from hangar.errors import ResourceLimitError

codec = int(sys.argv[1])
data = (np.arange(2**22, dtype=np.int32) // 3).view(np.uint8)
encoding = Encoding(codec, 9, 1)
stored = np.load(sys.argv[2])
out = np.zeros(len(data), np.uint8)
outcomes = []
for kib in (0, 64, 512, 2048, 8192, 12288, 2**20):
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + kib * 1024, resource.RLIM_INFINITY))
    try:
        decode(stored, codec, 1, 4, out)
        assert np.array_equal(out, data)
        encode(data[: 2**20], encoding, 4)
        outcomes.append("done")
    except (ResourceLimitError, MemoryError):
        outcomes.append("too little")
print(outcomes[0], outcomes[-1], sep=", ")
"""


@pytest.mark.parametrize("codec", [2, 5])
def test_a_shortage_of_memory_is_an_error(codec: int, tmp_path: Path) -> None:
    data = (np.arange(2**22, dtype=np.int32) // 3).view(np.uint8)
    np.save(f"{tmp_path}/stored.npy", np.frombuffer(bytes(encode(data, Encoding(codec, 9, 1), 4)), np.uint8))
    command = [sys.executable, "-c", UNDER_LIMITS, str(codec), f"{tmp_path}/stored.npy"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stdout) == (0, "too little, done\n"), run.stderr


@pytest.mark.parametrize("before", [None, True, False])
def test_threads_of_blosc_are_off_during_a_call_and_as_before_after_it(
    before: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever they were: None is the default of blosc, and zarr sets False."""
    monkeypatch.setattr(blosc, "use_threads", before)
    with blosc_call(1) as module:
        assert module is blosc
        assert module.use_threads is False
    assert blosc.use_threads is before
    with pytest.raises(ResourceLimitError, match="not enough memory"), blosc_call(2**60):
        pass
    assert blosc.use_threads is before
