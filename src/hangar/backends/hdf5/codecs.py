"""Codecs: encode and decode one chunk, without HDF5 but in the format of its filters.

A stored chunk is the output of HDF5 filters: a blosc frame (filter 32001), a zlib stream (1) or LZF (32000), the last
two optionally after a byte shuffle (2). Encoding and decoding release the GIL, except LZF, which h5py does. A chunk
that cannot be decoded, or decodes to another size than expected, is a ``CorruptionError``. The sizes in its own header
are never used to allocate memory.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hangar.backends.hdf5.blosc import blosc_call, require_memory
from hangar.backends.hdf5.structure import Filter
from hangar.errors import CorruptionError
from hangar.wording import plural

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "BLOSC",
    "COMPLIBS",
    "FAST",
    "LZF",
    "NONE",
    "Bytes",
    "Encoding",
    "decode",
    "encode",
    "filters",
    "is_labelled",
    "is_unencoded",
    "unencoded",
]

Bytes = npt.NDArray[np.uint8]
"""uint8, one dimension, contiguous."""

COMPLIBS: Final[Mapping[str | None, int]] = {
    None: 0,
    "blosc:blosclz": 1,
    "blosc:lz4": 2,
    "blosc:lz4hc": 3,
    "blosc:zlib": 4,
    "blosc:zstd": 5,
    "gzip": 6,
    "lzf": 7,
}
"""Codecs by name; their numbers are part of the format."""
NONE, GZIP, LZF = 0, 6, 7
FAST: Final = (1, 2, LZF)
"""Codecs that users choose for speed; they choose the others to save space."""
_LAST_BLOSC: Final = 5
_BLOSC_WORK: Final = 4
"""Upper bound of the working memory of blosc, as a multiple of block and chunk size."""
_BLOSC_HEAD: Final = struct.Struct("<BBBBIII")
_BLOSC_NAMES: Final = {
    number: name.partition(":")[2].encode() for name, number in COMPLIBS.items() if name and ":" in name
}
_BLOSC_CODES: Final = {1: 0, 2: 1, 3: 2, 4: 4, 5: 5}
"""blosc's own numbers (3 was snappy)."""
BLOSC: Final = frozenset(_BLOSC_CODES)
"""Codecs of blosc, whose decoders check all sizes that a chunk says."""
_BLOSC_FORMATS: Final = {1: 0, 2: 1, 3: 1, 4: 3, 5: 4}
"""Format of the compressed bytes, in the upper bits of the flags of a blosc frame: lz4hc writes that of lz4."""
_ITEMS: Final = {1: "u1", 2: "u2", 4: "u4", 8: "u8", 16: "c16"}


class Encoding(NamedTuple):
    """Encoding of chunks.

    Attributes
    ----------
    codec
        Number of the codec.
    level
        0 to 9, for blosc and gzip.
    shuffle
        0: none, 1: bytes, 2: bits.
    """

    codec: int
    level: int
    shuffle: int

    def same(self, other: Encoding) -> bool:
        """Whether both encode a chunk alike. The level is ignored for codecs without one."""
        level = self.level == other.level or self.codec in (NONE, LZF)
        return level and (self.codec, self.shuffle) == (other.codec, other.shuffle)

    @property
    def label(self) -> str:
        """Name of the encoding for users."""
        complib = next(name for name, number in COMPLIBS.items() if number == self.codec)
        if complib is None:
            return "uncompressed"
        level = "" if self.codec == LZF else f"-{self.level}"
        return complib.replace(":", "-") + level + ("", "-byte", "-bit")[self.shuffle]


def encode(data: Bytes, encoding: Encoding, item_bytes: int) -> Buffer:
    """Encode a chunk.

    Raises
    ------
    ResourceLimitError
        There is not enough memory.
    """
    if encoding.codec == NONE:
        return data.data
    if encoding.codec <= _LAST_BLOSC:
        with blosc_call(_BLOSC_WORK * len(data)) as blosc:
            compressed: bytes = blosc.compress(
                data.view(_ITEMS[item_bytes]), _BLOSC_NAMES[encoding.codec], encoding.level, encoding.shuffle, 0
            )
        return compressed
    shuffled = _shuffled(data, item_bytes) if encoding.shuffle else data
    if encoding.codec == GZIP:
        return zlib.compress(shuffled.data, encoding.level)
    from hangar.backends.hdf5 import lzf

    packed = lzf.compress(shuffled)
    return shuffled.data if packed is None else packed


def unencoded(data: Bytes, encoding: Encoding, item_bytes: int) -> Buffer:
    """Encode a chunk without its codec: the compression filter is skipped, a separate shuffle filter before it is not."""
    return _shuffled(data, item_bytes).data if encoding.shuffle and encoding.codec in (GZIP, LZF) else data.data


def decode(stored: Bytes, codec: int, shuffle: int, item_bytes: int, out: Bytes) -> None:
    """Decode a chunk into ``out``, which has the size of the decoded chunk.

    Raises
    ------
    CorruptionError
        The stored bytes do not decode to a chunk of that size.
    ResourceLimitError
        There is not enough memory.
    """
    if codec == NONE:
        if len(stored) != len(out):
            raise CorruptionError(
                f"an uncompressed chunk of {plural(len(out), 'byte')} has {plural(len(stored), 'stored byte')}"
            )
        out[:] = stored
    elif codec <= _LAST_BLOSC:
        if is_unencoded(codec, len(stored), len(out)):
            out[:] = stored
        else:
            _decode_blosc(stored, out)
    elif codec in (GZIP, LZF):
        plain = np.empty(len(out), np.uint8) if shuffle else out
        if is_unencoded(codec, len(stored), len(out)):
            plain[:] = stored
        elif codec == GZIP:
            _inflate(stored, plain)
        else:
            from hangar.backends.hdf5 import lzf

            lzf.decompress(stored, plain)
        if shuffle:
            out.reshape(-1, item_bytes)[:] = plain.reshape(item_bytes, -1).T
    else:
        raise CorruptionError(f"a chunk has the codec {codec}, which this version of Hangar does not know")


def is_unencoded(codec: int, stored: int, size: int) -> bool:
    """Whether a chunk of ``size`` bytes is stored uncompressed, because its codec saved too little. A compressed chunk is always smaller."""
    return codec != NONE and stored == size


def is_labelled(stored: Bytes, codec: int, size: int) -> bool:
    """Whether a chunk of ``size`` bytes, which may be unencoded, says itself that it has the codec. Only for blosc and without a codec."""
    if codec == NONE or is_unencoded(codec, len(stored), size):
        return True
    return len(stored) >= _BLOSC_HEAD.size and int(stored[2]) >> 5 == _BLOSC_FORMATS[codec]


def _shuffled(data: Bytes, item_bytes: int) -> Bytes:
    return np.ascontiguousarray(data.reshape(-1, item_bytes).T).reshape(-1)


def _decode_blosc(stored: Bytes, out: Bytes) -> None:
    if len(stored) < _BLOSC_HEAD.size:
        raise CorruptionError("a chunk is too short for a blosc frame")
    _version, _lz, _flags, _item, size, block, whole = _BLOSC_HEAD.unpack_from(stored.data)
    if (size, whole) != (len(out), len(stored)) or not 0 < block <= max(size, 1):
        raise CorruptionError(f"a chunk of {plural(len(out), 'byte')} has a blosc frame that says {size}")
    try:
        with blosc_call(_BLOSC_WORK * block) as blosc:
            blosc.decompress(stored, out)
    except (RuntimeError, ValueError) as error:
        # blosc has one error code for a damaged chunk and for a failed allocation.
        require_memory(_BLOSC_WORK * (block + len(out)))
        raise CorruptionError(f"a chunk cannot be decoded: {error}") from None


def _inflate(stored: Bytes, out: Bytes) -> None:
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(stored.data, len(out) + 1)
    except zlib.error as error:
        raise CorruptionError(f"a chunk cannot be decoded: {error}") from None
    if len(data) != len(out) or not stream.eof or stream.unused_data:
        raise CorruptionError(f"a chunk does not decode to its {plural(len(out), 'byte')}")
    out[:] = np.frombuffer(data, np.uint8)


def filters(encoding: Encoding, item_bytes: int, chunk_bytes: int) -> list[Filter]:
    """HDF5 filter pipeline that decodes such chunks."""
    if encoding.codec == NONE:
        return []
    if encoding.codec <= _LAST_BLOSC:
        values = (2, 2, item_bytes, chunk_bytes, encoding.level, encoding.shuffle, _BLOSC_CODES[encoding.codec])
        return [Filter(32001, "blosc", values)]
    last = Filter(1, "", (encoding.level,)) if encoding.codec == GZIP else Filter(32000, "lzf", (4, 261, chunk_bytes))
    return [Filter(2, "", (item_bytes,)), last] if encoding.shuffle else [last]
