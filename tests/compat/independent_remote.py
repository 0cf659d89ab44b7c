"""A second client, written from ``docs/protocol.rst``, ``docs/format.rst`` and the proto file alone; it never imports ``hangar``.

It clones the history and the data of a served repository into memory, and believes nothing: every digest is computed, and the reader of
repositories checks the trees.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from blake3 import blake3
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from msgspec import msgpack
from numcodecs import zstd

from tests.compat.independent_blobs import PURGED, Purged, Value
from tests.compat.independent_hdf5 import read_hdf5
from tests.compat.independent_reader import Commit, Repository
from tests.compat.independent_tables import record_digest, require

SERVICE = "hangar.remote.v1.Remote"
DESCRIPTORS = Path(__file__).parents[2] / "protos/hangar/remote/v1/descriptors.binpb"
TABLES = {"commit": "commits", "node": "nodes", "array": "nodes", "schema": "schemas", "attributes": "attributes"}


class Messages:
    """The messages and methods of the protocol, from its description."""

    def __init__(self) -> None:
        pool = DescriptorPool()
        for file in FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()).file:
            pool.Add(file)
        self.methods = {one.name: one for one in pool.FindServiceByName(SERVICE).methods}

    def call(self, channel: grpc.Channel, name: str, metadata: Any, **fields: Any) -> Any:
        method = self.methods[name]
        request, reply = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        make: Any = channel.unary_stream if method.server_streaming else channel.unary_unary
        stub = make(
            f"/{SERVICE}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=reply.FromString,
        )
        return stub(request(**fields), timeout=60, metadata=metadata)


class RemoteBlobs:
    """Blobs that were fetched, and tombstones of those that were purged."""

    def __init__(self) -> None:
        self.values: dict[bytes, Value] = {}
        self.purged: dict[bytes, Purged] = {}

    def read(self, digest: bytes) -> Value:
        if digest in self.purged:
            return Value(PURGED, 0, (), digest)
        require(digest in self.values, f"blob {digest.hex()} did not come")
        return self.values[digest]


class Clone(Repository):
    """All branches and tags of a served repository, with their data."""

    def __init__(
        self,
        address: str,
        *,
        compress: bool = False,
        stored: bool = False,
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self._messages = Messages()
        self._metadata = metadata
        self._compress, self._stored = compress, stored
        tables: Any = {name: {} for name in TABLES.values()}
        self.tables = tables
        self.blobs: Any = RemoteBlobs()
        self.frames = self.stored_frames = 0
        with grpc.insecure_channel(address) as self._channel:
            hello = self._call("Hello", versions=[1], software="independent client")
            require(hello.version == 1, "another version of the protocol")
            self._limits = hello.limits
            pages = list(self._call("ListRefs", prefixes=["heads/", "tags/"]))
            self.head = pages[0].head
            self.refs = {ref.name: ref.digest or None for page in pages for ref in page.refs}
            self._fetch_history(sorted({digest for digest in self.refs.values() if digest is not None}))
            for page in self._call("ListTombstones"):
                for one in page.tombstones:
                    self.blobs.purged[one.digest] = Purged(*msgpack.decode(one.record))
            self._fetch_blobs(sorted(self._named_blobs() - self.blobs.purged.keys()))
        self.commits: dict[bytes, Commit] = {digest: self._commit(digest) for digest in self.tables["commits"]}

    def _call(self, name: str, **fields: Any) -> Any:
        return self._messages.call(self._channel, name, self._metadata, **fields)

    # ------------------------------------------------------------------ history

    def _fetch_history(self, heads: list[bytes]) -> None:
        order = self._take(self._call("GetHistory", wants=b"".join(heads), compress=self._compress))
        seen: set[bytes] = set()
        for digest in order:
            parents = msgpack.decode(self.tables["commits"][digest])[1]
            require(not seen & set(parents), "a parent came before its child")
            seen.add(digest)
        wants = [{"kind": "commit", "digests": b"".join(reversed(order))}]
        self._take(self._call("GetObjects", wants=wants, below=True, compress=self._compress))

    def _take(self, frames: Iterator[Any]) -> list[bytes]:
        """Store the objects of frames by digest, and return these."""
        digests = []
        part = b""
        for frame in frames:
            self.frames += 1
            lengths = struct.unpack(f"<{len(frame.lengths) // 4}I", frame.lengths)
            data = self._decoded(frame)
            if part or sum(lengths) > len(data):
                require(len(lengths) == 1 and frame.start == len(part), "parts of an object do not follow each other")
                part += data
                if len(part) < lengths[0]:
                    continue
                data, part = part, b""
            require(sum(lengths) == len(data), "the lengths of objects are not those of their data")
            at = 0
            for length in lengths:
                item = data[at : at + length]
                at += length
                digests.append(record_digest(frame.kind, item))
                self.tables[TABLES[frame.kind]][digests[-1]] = item
        return digests

    def _decoded(self, frame: Any) -> bytes:
        require(frame.decoded <= self._limits.frame_bytes, "a frame is too large")
        data: bytes = frame.data
        if frame.codec == 1:
            data = bytes(zstd.decompress(data))
        require(len(data) == frame.decoded, "a frame has another size")
        return data

    # ------------------------------------------------------------------ blobs

    def _named_blobs(self) -> set[bytes]:
        found: set[bytes] = set()
        for data in self.tables["nodes"].values():
            _, level, kind, _, refs, sizes, *_ = msgpack.decode(data)
            if level == 0 and kind == 0:
                found.update(refs[at : at + 32] for at in range(0, len(refs), 32))
            elif level == 0 and kind == 2:
                at = 0
                for size in sizes:
                    if size == 255:
                        found.add(refs[at : at + 32])
                    at += 32 if size == 255 else size
        return found

    def _fetch_blobs(self, digests: list[bytes]) -> None:
        step = self._limits.names
        for start in range(0, len(digests), step):
            asked = digests[start : start + step]
            sizes = struct.unpack(f"<{len(asked)}Q", self._call("GetBlobSizes", digests=b"".join(asked)).sizes)
            part = b""
            chunks, done = b"", 0
            for frame in self._call("GetBlobs", digests=b"".join(asked), compress=self._compress, stored=self._stored):
                self.frames += 1
                if frame.codec == 2:
                    require(self._stored and frame.start == done and not part, "a frame that was not asked for")
                    self.stored_frames += 1
                    chunks, done = chunks + frame.data, done + frame.decoded
                    if done == int.from_bytes(frame.lengths, "little"):
                        blob = read_hdf5(frame.form + chunks, frame.form[6], 0, frame.headers[0])
                        require(len(blob) == done, "a stored blob of another size")
                        self._keep(asked[int.from_bytes(frame.places, "little")], frame.headers[0], blob)
                        chunks, done = b"", 0
                    continue
                count = len(frame.lengths) // 8
                lengths = struct.unpack(f"<{count}Q", frame.lengths)
                places = struct.unpack(f"<{count}I", frame.places)
                header_of = struct.unpack(f"<{count}I", frame.header_of) if frame.header_of else (0,) * count
                data = self._decoded(frame)
                if part or len(data) < sum(lengths):
                    require(count == 1 and frame.start == len(part), "parts of a blob do not follow each other")
                    part += data
                    if len(part) < lengths[0]:
                        continue
                    data, part = part, b""
                at = 0
                for place, length, number in zip(places, lengths, header_of, strict=True):
                    require(sizes[place] == length, "a blob is of another size")
                    self._keep(asked[place], frame.headers[number], data[at : at + length])
                    at += length

    def _keep(self, digest: bytes, header: bytes, data: bytes) -> None:
        key = blake3(header, derive_key_context="hangar 0 blob header").digest()
        require(blake3(data, key=key).digest() == digest, f"blob {digest.hex()} has another digest")
        kind, dtype, _, *shape = struct.unpack(f"<BBB{header[2]}Q", header)
        self.blobs.values[digest] = Value(kind, dtype, tuple(shape), data)
