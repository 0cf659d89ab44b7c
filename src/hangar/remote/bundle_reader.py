"""A bundle file as a remote: the reading half of a peer, for clone, fetch and repair."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from hangar.blobs.index import Digests
from hangar.bounded import BoundedCache
from hangar.digest import DIGEST_BYTES, blob_digest, digest_list
from hangar.errors import (
    AccessError,
    CorruptionError,
    InvalidInputError,
    RevisionNotFoundError,
    UnsupportedVersionError,
)
from hangar.objects.children import children_of
from hangar.objects.commit import Commit, decode_commit
from hangar.remote import peer
from hangar.remote.bundle_file import CLASSES, BundleFile
from hangar.remote.repair_source import whole_blobs
from hangar.remote.sending import frames, split_digests
from hangar.remote.states import BlobState, BlobStates
from hangar.remote.v1 import remote_pb2 as pb
from hangar.remote.wire import GRPC_LIMITS
from hangar.remote.wire_blobs import parse_frame
from hangar.remote.wire_frames import blobs_in, objects_in

__all__ = ["BundleReader"]

CACHE_BYTES: Final = 32 * 2**20
_STATES: Final = 1_024
"""Blobs that are checked together."""


class BundleReader:
    """A bundle file as a :class:`hangar.remote.peer.Reader`.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self.file = BundleFile(path)
        index = self.file.index
        self._objects: dict[bytes, int] = dict(
            zip(digest_list(_array(index.objects)), range(len(index.classes)), strict=True)
        )
        self._object_frames = np.frombuffer(index.object_frames, "<u4")
        self._object_places = np.frombuffer(index.object_places, "<u4")
        self._blobs = _Places(_array(index.blobs))
        self._blob_frames = np.frombuffer(index.blob_frames, "<u4")
        self._blob_places = np.frombuffer(index.blob_places, "<u4")
        self._decoded: BoundedCache[int, tuple[bytes, ...]] = BoundedCache(CACHE_BYTES)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __enter__(self) -> BundleReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ refs and history

    def hello(self, hello: peer.Hello) -> peer.Welcome:
        """See :class:`hangar.remote.peer.Reader`, as for all methods."""
        if peer.PROTOCOL_VERSION not in hello.versions:
            raise UnsupportedVersionError(f"{self.file.path} cannot be read by this version of Hangar")
        return peer.Welcome(peer.PROTOCOL_VERSION, (), b"", GRPC_LIMITS, True, self.file.index.software[:200])

    def refs(self, prefixes: tuple[str, ...] = ("heads/", "tags/")) -> Iterator[peer.RefPage]:
        """The refs."""
        found = tuple(
            peer.RefInfo(ref.name, ref.digest, ref.generation, ref.annotation)
            for ref in sorted(self.file.index.refs, key=lambda ref: ref.name)
            if ref.name.startswith(prefixes)
        )
        yield peer.RefPage(found, self.file.index.head)

    def history(self, request: peer.HistoryRequest) -> Iterator[peer.Objects]:
        """Commits, children before their parents."""
        known = set(split_digests(request.haves))
        order: list[bytes] = []
        done: set[bytes] = set()
        stack = [(digest, False) for digest in split_digests(request.wants)]
        for digest, _ in stack:
            if digest not in self._objects:
                raise RevisionNotFoundError(
                    f"{self.file.path} does not have commit {digest.hex()[:12]}, and neither has this repository: fetch it first, "
                    "from a remote or an earlier bundle"
                )
        while stack:
            digest, ready = stack.pop()
            if ready:
                order.append(digest)
            elif digest not in done and digest not in known and digest in self._objects:
                done.add(digest)
                stack.append((digest, True))
                stack += [(parent, False) for parent in self.commit(digest).parents]
        records = ((digest, self.object(digest)) for digest in reversed(order))
        yield from frames((("commit", [one]) for one in records), GRPC_LIMITS)

    def commit(self, digest: bytes) -> Commit:
        """A commit of the bundle."""
        return decode_commit(self.object(digest))

    def object(self, digest: bytes) -> bytes:
        """An object of the bundle, which the caller verifies."""
        row = self._objects[digest]
        number, place = int(self._object_frames[row]), int(self._object_places[row])
        items = self._decoded.get(number)
        if items is None:
            items = self._object_frame(number)
            self._decoded.put(number, items, sum(map(len, items)) + 1)
        if place >= len(items):
            raise CorruptionError(f"the index of {self.file.path} is damaged: copy it again")
        return items[place]

    def _object_frame(self, number: int) -> tuple[bytes, ...]:
        """The objects of a frame, or the one of which this frame has the first part."""

        def messages() -> Iterator[pb.Objects]:
            for at in range(number, len(self.file.offsets)):
                yield _parsed(pb.Objects.FromString, self.file.frame(at))

        return next(objects_in(messages())).items

    def class_of(self, digest: bytes) -> str:
        """The class of an object of the bundle."""
        return CLASSES[self.file.index.classes[self._objects[digest]]]

    def objects(self, request: peer.ObjectsRequest) -> Iterator[peer.Objects]:
        """Objects; with ``below`` also all that they name and the bundle has."""
        wanted = [digest for names in request.wants for digest in split_digests(names.digests)]
        yield from frames(self._walk(wanted, request.below), GRPC_LIMITS)

    def _walk(self, wanted: list[bytes], below: bool) -> Iterator[Any]:
        seen: set[bytes] = set()
        stack = list(reversed(wanted))
        first = set(wanted)
        while stack:
            digest = stack.pop()
            if digest in seen or digest not in self._objects:
                continue
            seen.add(digest)
            kind, data = self.class_of(digest), self.object(digest)
            if not (below and kind == "commit" and digest in first):
                yield kind, [(digest, data)]
            if below:
                stack += reversed(self.children(kind, data))

    @staticmethod
    def children(kind: str, data: bytes) -> list[bytes]:
        """The objects that an object names, parents of a commit left out."""
        if kind == "commit":
            commit = decode_commit(data)
            found = [commit.attributes]
            for entry in commit.columns:
                found += [entry.schema, entry.attributes, entry.root]
            return [digest for digest in found if digest is not None]
        if kind in ("node", "array"):
            named = children_of(data)
            return [*digest_list(named.nodes), *digest_list(named.arrays)]
        return []

    # ------------------------------------------------------------------ blobs

    def blob_sizes(self, names: peer.BlobNames) -> bytes:
        """Sizes of blobs."""
        rows = self._blobs.rows(split_digests(names.digests))
        sizes = np.full(len(rows), peer.ABSENT, "<u8")
        for at, row in sorted(enumerate(rows.tolist()), key=lambda pair: pair[1]):
            if row >= 0:
                frame = self._blob_frame(int(self._blob_frames[row]))
                lengths = np.frombuffer(frame.lengths, "<u8")
                sizes[at] = lengths[self._place(row, len(lengths))]
        return sizes.tobytes()

    def blobs(self, names: peer.BlobNames) -> Iterator[peer.BlobFrame]:
        """Blobs, frame by frame."""
        rows = self._blobs.rows(split_digests(names.digests))
        places = np.flatnonzero(rows >= 0)
        numbers = self._blob_frames[rows[places]]
        for number in np.unique(numbers).tolist():
            chosen = places[numbers == number]
            frame = self._blob_frame(number)
            within = np.array([self._place(int(row), len(frame)) for row in rows[chosen]], np.int64)
            if len(frame.data) < int(np.frombuffer(frame.lengths, "<u8").sum()):
                yield from self._parts(number, frame, chosen)
            else:
                yield _chosen(frame, within, chosen, names.group)

    def check_blobs(self, names: peer.BlobNames, *, read: bool) -> Iterator[BlobStates]:
        """Which blobs the file has."""
        digests = split_digests(names.digests)
        for start in range(0, len(digests), _STATES):
            part = digests[start : start + _STATES]
            chosen = peer.BlobNames(b"".join(part))
            sizes = np.frombuffer(self.blob_sizes(chosen), "<u8")
            intact = self._intact(chosen) if read else frozenset(part)
            states = [
                BlobState.ABSENT if size == peer.ABSENT else (BlobState.HERE if digest in intact else BlobState.DAMAGED)
                for digest, size in zip(part, sizes.tolist(), strict=True)
            ]
            yield BlobStates(bytes(states), sizes.tobytes())

    def _intact(self, names: peer.BlobNames) -> frozenset[bytes]:
        """Those of some blobs that can be read and are what their digests name."""
        try:
            return frozenset(blob_digest(header, data) for header, data in whole_blobs(self.blobs(names)))
        except (CorruptionError, InvalidInputError):
            if len(names) == 1:
                return frozenset()
            half = len(names) // 2 * DIGEST_BYTES
            parts = names.digests[:half], names.digests[half:]
            return frozenset().union(*(self._intact(peer.BlobNames(part)) for part in parts))

    def reachable(self, commits: bytes) -> bytes:
        """Which commits the file has: a bundle loses nothing."""
        return bytes(digest in self._objects for digest in split_digests(commits))

    def _place(self, row: int, count: int) -> int:
        place = int(self._blob_places[row])
        if place >= count:
            raise CorruptionError(f"the index of {self.file.path} is damaged: copy it again")
        return place

    def _blob_frame(self, number: int) -> peer.BlobFrame:
        return blobs_in(_parsed(parse_frame, self.file.frame(number)))

    def _parts(self, number: int, frame: peer.BlobFrame, chosen: npt.NDArray[np.intp]) -> Iterator[peer.BlobFrame]:
        """The parts of a large blob."""
        total = int.from_bytes(frame.lengths, "little")
        done = 0
        while done < total:
            if frame.start != done or frame.lengths != total.to_bytes(8, "little"):
                raise CorruptionError(f"the parts of a value in {self.file.path} do not follow each other")
            done += len(frame.data)
            where = chosen[:1].astype("<u4").tobytes()
            yield peer.BlobFrame(frame.headers, b"", frame.lengths, frame.data, frame.start, 0, where)
            number += 1
            if done < total:
                if number >= len(self.file.offsets):
                    raise CorruptionError(f"{self.file.path} lacks a part of a value: copy it again")
                frame = self._blob_frame(number)

    def tombstones(self) -> Iterator[peer.TombstonePage]:
        """None: a bundle erases nothing."""
        yield peer.TombstonePage(())

    # ------------------------------------------------------------------ pushing

    def begin_push(self, start: peer.PushStart) -> peer.PushStarted:
        """Refused: a bundle can only be read.

        Raises
        ------
        AccessError
            Always.
        """
        raise AccessError(f"{self.file.path} is a bundle, which can only be read: write a new bundle instead")

    def abort_push(self, push: bytes) -> None:
        """Do nothing."""


def _array(joined: bytes) -> Digests:
    return np.frombuffer(joined, np.uint8).reshape(-1, DIGEST_BYTES)


def _parsed(parse: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return parse(data)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        raise CorruptionError("a frame of the bundle cannot be decoded: copy it again") from None


def _chosen(
    frame: peer.BlobFrame, within: npt.NDArray[np.int64], places: npt.NDArray[np.intp], group: int
) -> peer.BlobFrame:
    """The frame with some of its blobs, in the order of ``within``."""
    lengths = np.frombuffer(frame.lengths, "<u8")
    ends = lengths.cumsum()
    data = memoryview(frame.data)
    parts = [data[int(ends[at] - lengths[at]) : int(ends[at])] for at in within.tolist()]
    header_of = np.frombuffer(frame.header_of, "<u4")[within].tobytes() if frame.header_of else b""
    return peer.BlobFrame(
        frame.headers,
        header_of,
        lengths[within].tobytes(),
        b"".join(parts),
        0,
        group,
        places.astype("<u4").tobytes(),
    )


class _Places:
    """Rows of digests in an array."""

    def __init__(self, digests: Digests) -> None:
        self._rows = {digest: row for row, digest in enumerate(digest_list(digests))}

    def rows(self, digests: list[bytes]) -> npt.NDArray[np.int64]:
        """Row of each digest; -1 where there is none."""
        get: Any = self._rows.get
        return np.fromiter((get(digest, -1) for digest in digests), np.int64, len(digests))
