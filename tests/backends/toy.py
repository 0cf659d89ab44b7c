"""A whole backend: a batch is one chunk, compressed, with several samples in it. It also shows how little one takes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from mmap import mmap
from pathlib import Path
from typing import ClassVar

import numpy as np

from hangar.backends import Backend, Blob, BlobFile, Capabilities, FileWriter, Locations, Options, Payload
from hangar.backends.append import AppendWriter
from hangar.digest import BYTES, NDARRAY, STR, Header
from hangar.errors import CorruptionError


class ToyWriter(AppendWriter):
    def write(self, payload: Payload, options: Options) -> Locations:
        sizes = payload.lengths.astype("<u8").tobytes()
        data = zlib.compress(struct.pack("<Q", len(payload.lengths)) + sizes + b"".join(payload.buffers), 1)
        place = super().write(Payload([data], np.array([len(data)]), payload.headers), options)
        offset, length = place.offset[0], place.length[0]
        return Locations.at(
            file=self.file_id, offset=offset, length=length, codec=1, row=np.arange(len(payload.lengths))
        )


class Toy(Backend):
    tag: ClassVar[str] = "toy"
    capabilities: ClassVar[Capabilities] = Capabilities(frozenset({NDARRAY, STR, BYTES}))

    def open_writer(self, path: Path, file_id: int, end: int | None) -> FileWriter:
        return ToyWriter(path, file_id, self.tag, end)

    def read_list(self, file: BlobFile, locations: Locations, headers: Sequence[Header]) -> list[Blob]:
        mapped = file.need_all(locations.offset, locations.length)
        places = list(zip(locations.offset.tolist(), locations.length.tolist(), strict=True))
        chunks = {place: self._chunk(mapped.map, file.path, *place) for place in set(places)}
        try:
            blobs = [chunks[place][row] for place, row in zip(places, locations.row.tolist(), strict=True)]
        except IndexError:
            raise CorruptionError(f"a location in {file.path} names a row that its chunk does not have") from None
        pairs = zip(blobs, headers, strict=True)
        return [np.frombuffer(bytearray(blob), np.uint8) if header.kind == NDARRAY else blob for blob, header in pairs]

    def _chunk(self, view: mmap, path: Path, offset: int, length: int) -> list[bytes]:
        try:
            data = zlib.decompress(view[offset : offset + length])
            count = struct.unpack_from("<Q", data)[0]
            ends = (8 + 8 * count + np.cumsum(np.frombuffer(data, "<u8", count, 8))).tolist()
        except (zlib.error, struct.error, ValueError) as error:
            raise CorruptionError(f"a chunk of {path} cannot be decoded: {error}") from None
        return [data[start:end] for start, end in zip([8 + 8 * count, *ends], ends, strict=False)]
