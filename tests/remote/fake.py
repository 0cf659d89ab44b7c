"""A peer without a repository, for tests of the transport: some refs, objects, and blobs made from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from hangar.digest import BYTES, Header, blob_digest
from hangar.errors import InvalidInputError, UnsupportedVersionError
from hangar.remote.peer import (
    ABSENT,
    PROTOCOL_VERSION,
    BlobFrame,
    BlobNames,
    Hello,
    HistoryRequest,
    Limits,
    Missing,
    Objects,
    ObjectsRequest,
    PushStart,
    PushStarted,
    RefInfo,
    RefPage,
    RefResult,
    RefUpdate,
    TombstonePage,
    Welcome,
)
from hangar.remote.states import BlobStates

FRAME = 2**20
HEADER = Header(BYTES, 0, ())


class FakeService:
    """Answers as a repository would. ``blobs`` by digest; what is pushed is kept in ``pushed``."""

    def __init__(
        self, blobs: dict[bytes, bytes] | None = None, objects: tuple[bytes, ...] = (), keep: bool = True
    ) -> None:
        self.known = blobs or {}
        self.items = objects
        self.keep = keep
        self.pushed: list[bytes] = []
        self.moves: list[bytes] = []
        self.error: Exception | None = None

    def hello(self, hello: Hello) -> Welcome:
        if PROTOCOL_VERSION not in hello.versions:
            raise UnsupportedVersionError("no common version: install a newer Hangar")
        return Welcome(PROTOCOL_VERSION, ("tombstones",), b"r" * 16, Limits(), software="fake")

    def refs(self, prefixes: tuple[str, ...] = ("heads/", "tags/")) -> Iterator[RefPage]:
        if self.error is not None:
            raise self.error
        names = [f"heads/b{number:04}" for number in range(2_500)]
        for start in range(0, len(names), 1_000):
            yield RefPage(tuple(RefInfo(name, b"c" * 32, 3) for name in names[start : start + 1_000]), "heads/b0000")

    def history(self, request: HistoryRequest) -> Iterator[Objects]:
        yield from self._frames("commit")

    def objects(self, request: ObjectsRequest) -> Iterator[Objects]:
        yield from self._frames("node")

    def _frames(self, kind: str) -> Iterator[Objects]:
        for start in range(0, len(self.items), 500):
            yield Objects(kind, self.items[start : start + 500])

    def blob_sizes(self, names: BlobNames) -> bytes:
        digests = [names.digests[at : at + 32] for at in range(0, len(names.digests), 32)]
        sizes = [len(self.known[one]) if one in self.known else ABSENT for one in digests]
        return np.array(sizes, "<u8").tobytes()

    def blobs(self, names: BlobNames) -> Iterator[BlobFrame]:
        header = HEADER.encode()
        batch: list[tuple[int, bytes]] = []
        held = 0
        for place in range(len(names)):
            data = self.known.get(names.digests[32 * place : 32 * place + 32])
            if data is None:
                continue
            if len(data) > FRAME:
                for start in range(0, len(data), FRAME):
                    part = memoryview(data)[start : start + FRAME]
                    yield replace(_frame(header, [(place, data)], names.group), data=part, start=start)
                continue
            if held + len(data) > FRAME:
                yield _frame(header, batch, names.group)
                batch, held = [], 0
            batch.append((place, data))
            held += len(data)
        if batch:
            yield _frame(header, batch, names.group)

    def check_blobs(self, names: BlobNames, *, read: bool) -> Iterator[BlobStates]:
        for start in range(0, len(names.digests), 32 * 700):
            part = BlobNames(names.digests[start : start + 32 * 700])
            sizes = self.blob_sizes(part)
            here = np.frombuffer(sizes, "<u8") != ABSENT
            yield BlobStates(here.astype(np.uint8).tobytes(), sizes)

    def reachable(self, commits: bytes) -> bytes:
        return bytes(commits[at] % 2 for at in range(0, len(commits), 32))

    def tombstones(self) -> Iterator[TombstonePage]:
        yield TombstonePage(())

    def begin_push(self, start: PushStart) -> PushStarted:
        return PushStarted(start.candidates)

    def send_objects(self, push: bytes, frames: Iterator[Objects]) -> Missing:
        for frame in frames:
            if any(item[:1] == b"\0" for item in frame.items):
                raise InvalidInputError("this is no node")
            self.pushed += frame.items if self.keep else ()
        return Missing()

    def missing(self, push: bytes) -> Missing:
        return Missing()

    def send_blobs(self, push: bytes, frames: Iterator[BlobFrame]) -> int:
        count = 0
        for frame in frames:
            self.pushed += [bytes(frame.data)] if self.keep else ()
            count += len(frame)
        return count

    def send_tombstones(self, push: bytes, pages: Iterator[TombstonePage]) -> int:
        return sum(len(page.items) for page in pages)

    def finish_push(self, push: bytes, updates: tuple[RefUpdate, ...], who: tuple[str, str]) -> tuple[RefResult, ...]:
        results = tuple(RefResult(one.name, one.operation in self.moves) for one in updates)
        self.moves += [one.operation for one in updates if one.operation not in self.moves]
        return results

    def abort_push(self, push: bytes) -> None:
        pass


def _frame(header: bytes, batch: list[tuple[int, bytes]], group: int) -> BlobFrame:
    places = np.array([place for place, _ in batch], "<u4").tobytes()
    lengths = np.array([len(data) for _, data in batch], "<u8").tobytes()
    data = b"".join(data for _, data in batch) if len(batch) > 1 else batch[0][1]
    return BlobFrame((header,), b"", lengths, data, 0, group, places)


def make_blobs(sizes: list[int], seed: int = 1) -> dict[bytes, bytes]:
    random = np.random.default_rng(seed)
    datas = [random.bytes(size) for size in sizes]
    return {bytes(blob_digest(HEADER, data)): data for data in datas}
