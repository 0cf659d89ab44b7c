import mmap

import numpy as np
import numpy.typing as npt

def gather(
    source: mmap.mmap | npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.uint64],
    checks: npt.NDArray[np.uint64],
    out: npt.NDArray[np.uint8],
    seed: int,
    /,
) -> int: ...
def gather_table(
    source: mmap.mmap | npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.uint64],
    checks: npt.NDArray[np.uint64],
    positions: npt.NDArray[np.int64] | int,
    count: int,
    out: npt.NDArray[np.uint8],
    seed: int,
    /,
) -> int: ...
def checksums(rows: npt.NDArray[np.uint8], sums: npt.NDArray[np.uint64], seed: int, /) -> None: ...
def widths() -> list[str]: ...
def choose(name: str, /) -> None: ...
