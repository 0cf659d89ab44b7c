"""Bundles: history and chosen data in one file, for people without a network between them.

A bundle is written from what the repository's own ``Service`` answers, as a clone or fetch would ask for it, so it holds
what would go over the wire. Reading it is fetching from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from hangar._version import __version__
from hangar.blobs.digests import DigestSet
from hangar.blobs.index import Digests
from hangar.blobs.tombstones import find_tombstones
from hangar.digest import (
    DIGEST_BYTES,
    Digest,
    Header,
    RecordClass,
    blob_digests_of_list,
    digest_array,
    digest_list,
    record_digests,
)
from hangar.errors import (
    ColumnNotFoundError,
    CorruptionError,
    HangarError,
    InvalidInputError,
    NothingToDoError,
    NotLocalError,
)
from hangar.history.leases import Lease
from hangar.objects.children import children_of
from hangar.objects.graph import ancestors, generation
from hangar.objects.records import load_commit
from hangar.progress import Progress, Reporter, report
from hangar.refs import BRANCHES, TAGS
from hangar.remote.bundle_file import CLASSES, BundleIndex, BundleRef, BundleWriter
from hangar.remote.bundle_reader import BundleReader
from hangar.remote.peer import BlobNames, HistoryRequest, Names, Objects, ObjectsRequest
from hangar.remote.selection import all_blobs
from hangar.remote.service import Service
from hangar.remote.source import ObjectSource
from hangar.remote.wire import GRPC_LIMITS
from hangar.remote.wire_frames import blobs_out, objects_out
from hangar.revisions import resolve, resolve_commit
from hangar.stores import Stores
from hangar.wording import plural

__all__ = ["BundleCheck", "BundleReport", "create_bundle", "verify_bundle"]

DATA_CHOICES: Final = ("none", "heads", "all")


@dataclass(frozen=True, slots=True)
class BundleReport:
    """What a bundle holds.

    Attributes
    ----------
    refs
        Commit of each ref in hex, by short name.
    commits, objects, blobs
        Number of each.
    prerequisites
        Commits in hex that a receiver must have.
    nbytes
        Size of the file.
    """

    refs: dict[str, str]
    commits: int
    objects: int
    blobs: int
    prerequisites: tuple[str, ...]
    nbytes: int


@dataclass(frozen=True, slots=True)
class BundleCheck:
    """The result of verifying a bundle.

    Attributes
    ----------
    report
        What it holds.
    blobs_outside
        Values that its history names and that it does not hold.
    errors
        What is wrong; empty for an intact bundle.
    unchecked
        Objects that its history names, and that are neither in it nor in the repository that it was compared with: only
        who has the commits on which it builds can tell whether they belong to those, or are missing.
    """

    report: BundleReport
    blobs_outside: int
    errors: tuple[str, ...]
    unchecked: int = 0


# ---------------------------------------------------------------------------------------------------- creating


def create_bundle(
    stores: Stores,
    path: Path,
    revisions: Sequence[str],
    *,
    since: Sequence[str] = (),
    data: str = "heads",
    columns: Sequence[str] | None = None,
    progress: Progress = None,
) -> BundleReport:
    """Write history, and the data that is wanted, into one file.

    Parameters
    ----------
    path
        The file; one that is there is replaced when the new one is complete.
    revisions
        Branches and tags.
    since
        Revisions that the receiver has: they, and their ancestors, are left out, with their data.
    data
        ``'heads'``: the data of the commits that are named, ``'all'``: of every commit, ``'none'``.
    columns
        Only the data of these columns; None: of all.

    Raises
    ------
    RevisionNotFoundError
        (a ``ValueError``) an unknown revision.
    InvalidInputError
        (a ``ValueError``) a revision is neither a branch nor a tag, or ``data`` is no choice.
    NothingToDoError
        (a ``RuntimeError``) the receiver has everything.
    NotLocalError
        (a ``FileNotFoundError``) wanted data is promised by a remote, and not on this disk.
    """
    if data not in DATA_CHOICES:
        raise InvalidInputError(f"data is one of {', '.join(DATA_CHOICES)}, not {data!r}")
    refs = [_ref(stores, text) for text in revisions]
    known = [resolve_commit(stores.db, stores.refs, text) for text in since]
    heads = list(dict.fromkeys(Digest(ref.digest) for ref in refs))
    if not heads:
        raise InvalidInputError("name the branches and tags that the bundle should hold")
    with Lease(stores.db, heads), report(progress, None, "objects and values", "writing the bundle") as reporter:
        commits = dict(ancestors(stores.db, heads, known))
        if not commits:
            raise NothingToDoError("the bundle would be empty: its receiver has all of these commits")
        outside = {parent for commit in commits.values() for parent in commit.parents if parent not in commits}
        with BundleWriter(path) as writer:
            made = _Bundle(stores, writer, reporter)
            made.add_history(heads, list(commits), known, sorted(outside))
            if data != "none":
                chosen = commits if data == "all" else {head: commits[head] for head in heads if head in commits}
                made.add_blobs(_wanted(stores, chosen.values(), known, columns))
            head = stores.refs.head().write_branch
            made.finish(refs, head, b"".join(sorted(outside)))
    with BundleReader(path) as reader:
        return describe_bundle(reader)


def _ref(stores: Stores, text: str) -> BundleRef:
    found = resolve(stores.db, stores.refs, text)
    if found.digest is None:
        raise InvalidInputError(f"{text!r} has no commit yet")
    if found.name is None or not found.name.startswith((BRANCHES, TAGS)):
        raise InvalidInputError(f"{text!r} is neither a branch nor a tag: make a branch or a tag of it first")
    with stores.db.read() as transaction:
        height = generation(transaction, found.digest)
        return BundleRef(found.name, found.digest, height, stores.refs.annotation(found.name, transaction))


def _wanted(stores: Stores, commits: Iterable[Any], known: Sequence[Digest], columns: Sequence[str] | None) -> Digests:
    """The blobs of columns of commits, without those of the commits that the receiver has."""
    had = DigestSet()
    for digest in known:
        for entry in load_commit(stores.db, digest).columns:
            had.add(all_blobs(stores, entry))
    found, names = DigestSet(), set()
    for commit in commits:
        for entry in commit.columns:
            names.add(entry.name)
            if columns is None or entry.name in columns:
                digests = all_blobs(stores, entry)
                found.add(digests[~had.holds(digests)])
    for name in columns or ():
        if name not in names:
            raise ColumnNotFoundError(f"there is no column {name!r}; there are: {', '.join(sorted(names)) or 'none'}")
    digests = found.digests()
    with stores.db.read() as transaction:
        purged = find_tombstones(transaction, digest_list(digests)) if len(digests) else {}
    # What was purged here is in no bundle; who lifted a tombstone may have stored the value again.
    gone = DigestSet()
    if purged:
        gone.add(digest_array(list(purged)))
    return digests[~gone.holds(digests) | stores.blobs.known(digests)]


class _Bundle:
    """A bundle in the making."""

    def __init__(self, stores: Stores, writer: BundleWriter, reporter: Reporter) -> None:
        self._service = Service(stores, limits=GRPC_LIMITS)
        self._writer = writer
        self._reporter = reporter
        self._classes = bytearray()
        self._objects: list[bytes] = []
        self._object_places: list[tuple[int, int]] = []
        self._blobs: list[bytes] = []
        self._blob_places: list[tuple[int, int]] = []

    def add_history(
        self, heads: Sequence[bytes], commits: Sequence[bytes], known: Sequence[bytes], outside: Sequence[bytes]
    ) -> None:
        """Add commits, and all that they name without what their parents outside of the bundle name."""
        for frame in self._service.history(HistoryRequest(b"".join(heads), b"".join(known))):
            self._add_objects(frame)
        order = list(reversed(commits))
        for start in range(0, len(order), GRPC_LIMITS.names):
            part = b"".join(order[start : start + GRPC_LIMITS.names])
            for frame in self._service.objects(ObjectsRequest((Names("commit", part),), b"", True)):
                self._add_objects(frame)

    def _add_objects(self, frame: Objects) -> None:
        kind: RecordClass = frame.kind  # type: ignore[assignment]
        digests = record_digests(kind, frame.items)
        done = 0
        for message in objects_out(frame, compress=True):
            number = self._writer.frames
            self._writer.add(message.SerializeToString())
            if message.start:
                continue
            for place in range(len(message.lengths) // 4):
                self._objects.append(digests[done])
                self._object_places.append((number, place))
                self._classes.append(CLASSES.index(kind))
                done += 1
        self._reporter.advance(len(frame.items), sum(map(len, frame.items)))

    def add_blobs(self, digests: Digests) -> None:
        """Add blobs."""
        step = GRPC_LIMITS.names
        before = len(self._blobs)
        for start in range(0, len(digests), step):
            part = digests[start : start + step]
            names = digest_list(part)
            for frame in self._service.blobs(BlobNames(part.tobytes())):
                number = self._writer.frames
                # Places are those of a request. Nobody would notice if they were damaged here.
                unplaced = dataclasses.replace(frame, places=b"")
                self._writer.add(blobs_out(unplaced, compress=True).SerializeToString())
                if frame.start:
                    continue
                for place, at in enumerate(np.frombuffer(frame.places, "<u4").tolist()):
                    self._blobs.append(names[at])
                    self._blob_places.append((number, place))
                self._reporter.advance(len(frame), len(frame.data))
        missing = len(digests) - len(self._blobs) + before
        if missing:
            raise NotLocalError(
                f"{plural(missing, 'value')} of the bundle {'is' if missing == 1 else 'are'} not on this disk: fetch the data first, "
                "or leave it out with --data none"
            )

    def finish(self, refs: list[BundleRef], head: str, prerequisites: bytes) -> None:
        """Write the index."""
        object_places = np.array(self._object_places, "<u4").reshape(-1, 2)
        blob_places = np.array(self._blob_places, "<u4").reshape(-1, 2)
        self._writer.finish(
            BundleIndex(
                refs,
                head,
                prerequisites,
                self._writer.offsets(),
                bytes(self._classes),
                b"".join(self._objects),
                object_places[:, 0].tobytes(),
                object_places[:, 1].tobytes(),
                b"".join(self._blobs),
                blob_places[:, 0].tobytes(),
                blob_places[:, 1].tobytes(),
                f"hangar {__version__}",
            )
        )


# ---------------------------------------------------------------------------------------------------- looking


def describe_bundle(reader: BundleReader) -> BundleReport:
    """What a bundle holds, by its index."""
    index = reader.file.index
    refs = {ref.name.removeprefix(BRANCHES).removeprefix(TAGS): ref.digest.hex() for ref in index.refs}
    outside = index.prerequisites
    return BundleReport(
        dict(sorted(refs.items())),
        index.classes.count(CLASSES.index("commit")),
        len(index.classes),
        len(index.blobs) // DIGEST_BYTES,
        tuple(outside[at : at + DIGEST_BYTES].hex() for at in range(0, len(outside), DIGEST_BYTES)),
        reader.file.path.stat().st_size,
    )


def verify_bundle(path: Path, *, stores: Stores | None = None, progress: Progress = None) -> BundleCheck:
    """Verify every object and value of a bundle, and that nothing of its history is missing.

    Parameters
    ----------
    stores
        Of the repository that should receive it. What a bundle leaves out because its receiver has it can only
        be checked there.

    Raises
    ------
    InvalidInputError, CorruptionError, UnsupportedVersionError
        It is no bundle, is cut, or was written by a newer Hangar.
    """
    with BundleReader(path) as reader, report(progress, None, "objects and values", "verifying") as reporter:
        errors = list(_verify_blobs(reader, reporter))
        named = DigestSet()
        missing: set[bytes] = set()
        errors += _verify_objects(reader, named, missing, reporter)
        found, unchecked = _verify_outside(reader, missing, stores)
        errors += found
        here = np.frombuffer(reader.file.index.blobs, np.uint8).reshape(-1, DIGEST_BYTES)
        stored = DigestSet()
        stored.add(here)
        outside = int((~stored.holds(named.digests())).sum()) if len(named.digests()) else 0
        return BundleCheck(describe_bundle(reader), outside, tuple(errors), unchecked)


def _verify_objects(reader: BundleReader, named: DigestSet, missing: set[bytes], reporter: Reporter) -> Iterator[str]:
    """Check each object; add to ``missing`` the objects that others name and that are not in the bundle."""
    index = reader.file.index
    names = digest_list(np.frombuffer(index.objects, np.uint8).reshape(-1, DIGEST_BYTES))
    present, needed = set(names), set()
    for digest in names:
        kind = reader.class_of(digest)
        try:
            data = reader.object(digest)
            if record_digests(kind, [data])[0] != digest:  # type: ignore[arg-type]
                raise CorruptionError("another digest")
            needed.update(reader.children(kind, data))
            if kind == "commit":
                needed.update(reader.commit(digest).parents)
            elif kind in ("node", "array"):
                named.add(children_of(data).blobs)
        except HangarError as error:
            yield f"{kind} {digest.hex()} is damaged: {error}"
        reporter.advance()
    outside = _prerequisites(reader)
    missing |= needed - present - outside
    missing_refs = [ref.name for ref in index.refs if ref.digest not in present and ref.digest not in outside]
    yield from (f"{name} names a commit that is not in the bundle" for name in missing_refs)


def _prerequisites(reader: BundleReader) -> set[bytes]:
    joined = reader.file.index.prerequisites
    return {joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES)}


def _verify_outside(reader: BundleReader, missing: set[bytes], stores: Stores | None) -> tuple[list[str], int]:
    """Errors for objects that are missing, and how many cannot be told.

    What the commits outside of a bundle name is not in it, and only who has these commits has it.
    """
    outside = sorted(_prerequisites(reader))
    if outside and missing:
        if stores is None:
            return [], len(missing)
        source = ObjectSource(stores.db)
        if any(data is None for data in source.find("commit", outside)):
            return [], len(missing)
        for kind in CLASSES:
            names = sorted(missing)
            stored = source.stored(kind, names)
            missing = {name for name, here in zip(names, stored, strict=True) if not here}
            if not missing:
                break
    if not missing:
        return [], 0
    return [
        f"{plural(len(missing), 'object')} that its history names {'is' if len(missing) == 1 else 'are'} missing"
    ], 0


def _verify_blobs(reader: BundleReader, reporter: Reporter) -> Iterator[str]:
    names = digest_list(np.frombuffer(reader.file.index.blobs, np.uint8).reshape(-1, DIGEST_BYTES))
    step = GRPC_LIMITS.names
    for start in range(0, len(names), step):
        asked = names[start : start + step]
        came: set[int] = set()
        try:
            pieces = groupby(
                reader.blobs(BlobNames(b"".join(asked))), key=lambda frame: (frame.places, bytes(frame.lengths))
            )
            for (places, lengths), parts in pieces:
                frames = list(parts)
                data = b"".join(bytes(frame.data) for frame in frames)
                sizes = np.frombuffer(lengths, "<u8").tolist()
                headers = [Header.decode(one) for one in frames[0].headers]
                of = np.frombuffer(frames[0].header_of, "<u4").tolist() or [0] * len(sizes)
                ends = np.cumsum([0, *sizes]).tolist()
                items = [data[a:b] for a, b in pairwise(ends)]
                found = blob_digests_of_list([headers[number] for number in of], items)
                for at, digest in zip(np.frombuffer(places, "<u4").tolist(), found, strict=True):
                    came.add(at)
                    if digest != asked[at]:
                        yield f"value {asked[at].hex()} is damaged"
                reporter.advance(len(items), len(data))
        except HangarError as error:
            yield f"values cannot be read: {error}"
            continue
        if len(came) < len(asked):
            yield f"{plural(len(asked) - len(came), 'value')} of the index {'is' if len(asked) - len(came) == 1 else 'are'} missing"
