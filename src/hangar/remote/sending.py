"""The objects that a sender sends, in frames: what commits name that their parents do not name, or what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from hangar.digest import DIGEST_BYTES, RecordClass, digest_list
from hangar.objects.children import children_of
from hangar.objects.commit import ColumnEntry, Commit
from hangar.remote.fresh import FreshRecords, FreshWalk
from hangar.remote.peer import Limits, Names, Objects
from hangar.remote.source import ObjectSource

__all__ = ["bases_of", "below_names", "content_of", "frames", "join_digests", "split_digests"]

_TOGETHER: Final = 4_096
_NONE: Final = np.empty((0, DIGEST_BYTES), np.uint8)


def split_digests(joined: bytes) -> list[bytes]:
    """Digests that were joined."""
    return digest_list(np.frombuffer(joined, np.uint8).reshape(-1, DIGEST_BYTES)) if joined else []  # type: ignore[return-value]


def join_digests(digests: Iterable[bytes]) -> bytes:
    """Digests, joined."""
    return b"".join(digests)


def content_of(
    source: ObjectSource, commits: Iterable[bytes], load: Callable[[bytes], Commit] | None = None
) -> Iterator[FreshRecords]:
    """What commits name besides their parents and blobs, without what their parents name.

    Parameters
    ----------
    commits
        Parents before children, so that each record is given once.
    """
    walk = FreshWalk(source)
    load = source.commit if load is None else load
    sent: set[bytes] = set()
    for digest in commits:
        commit = load(digest)
        parents = [load(parent) for parent in commit.parents]
        old = {name for parent in parents for _, name in _records(parent)} | sent
        for kind, name in _records(commit):
            if name not in old:
                old.add(name)
                sent.add(name)
                yield kind, [(name, source.get(kind, [name])[0])]
        for entry in commit.columns:
            if entry.root is not None:
                yield from walk.below(entry.root, bases_of(entry, parents))


def bases_of(
    entry: ColumnEntry, parents: Sequence[Commit], fits: Callable[[ColumnEntry], bool] | None = None
) -> list[bytes]:
    """The trees of the same column (by id, or else by name) in other commits, as far as the columns fit."""
    found: list[bytes] = []
    for parent in parents:
        by_id = [one for one in parent.columns if one.id == entry.id]
        same = by_id or [one for one in parent.columns if one.name == entry.name]
        found += [one.root for one in same if one.root is not None and (fits is None or fits(one))]
    return found


def _records(commit: Commit) -> Iterator[tuple[RecordClass, bytes]]:
    if commit.attributes is not None:
        yield "attributes", commit.attributes
    for entry in commit.columns:
        yield "schema", entry.schema
        if entry.attributes is not None:
            yield "attributes", entry.attributes


def below_names(
    source: ObjectSource, wants: Iterable[Names], bases: Sequence[bytes] = (), *, below: bool
) -> Iterator[FreshRecords]:
    """The objects of these names that are here.

    Parameters
    ----------
    bases
        Commits whose content need not be sent.
    below
        Also everything that they name, except for blobs; of a commit its content only.
    """
    walk = FreshWalk(source)
    roots = [entry.root for digest in bases for entry in source.commit(digest).columns if entry.root is not None]
    for names in wants:
        digests = split_digests(names.digests)
        for start in range(0, len(digests), _TOGETHER):
            part = list(dict.fromkeys(digests[start : start + _TOGETHER]))
            if below and names.kind == "commit":
                yield from content_of(source, part)
                continue
            found = source.find(names.kind, part)  # type: ignore[arg-type]
            records = [(digest, data) for digest, data in zip(part, found, strict=True) if data is not None]
            if not below or names.kind not in ("node", "array"):
                yield names.kind, records  # type: ignore[misc]
            elif names.kind == "array":
                yield "array", records
                for root in digest_list(np.concatenate([_NONE, *(children_of(data).nodes for _, data in records)])):
                    yield from walk.below(root, roots)
            else:
                for digest, _ in records:
                    yield from walk.below(digest, roots)


def frames(records: Iterable[FreshRecords], limits: Limits) -> Iterator[Objects]:
    """Objects in frames of bounded size; those of one class together."""
    waiting: dict[RecordClass, list[bytes]] = {}
    sizes: dict[RecordClass, int] = {}
    for kind, part in records:
        for _, data in part:
            if sizes.get(kind) and (
                sizes[kind] + len(data) > limits.frame_bytes or len(waiting[kind]) >= limits.frame_items
            ):
                yield Objects(kind, tuple(waiting.pop(kind)))
                sizes[kind] = 0
            waiting.setdefault(kind, []).append(data)
            sizes[kind] = sizes.get(kind, 0) + len(data)
    for kind, datas in waiting.items():
        if datas:
            yield Objects(kind, tuple(datas))
