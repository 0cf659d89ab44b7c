"""Asking a remote which blobs it has, as a word or with proof."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import closing
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hangar.blobs.digests import DigestSet
from hangar.blobs.index import Digests, Mask
from hangar.digest import Digest, blob_digest, digest_list
from hangar.errors import CorruptionError
from hangar.objects.graph import ancestors
from hangar.objects.records import load_commit
from hangar.objects.walk import blob_leaves
from hangar.progress import Reporter
from hangar.refs import REMOTES
from hangar.remote.peer import ABSENT, BlobNames, Reader
from hangar.remote.repair_source import whole_blobs
from hangar.remote.sending import join_digests
from hangar.remote.states import BlobState
from hangar.stores import Stores
from hangar.wording import plural

__all__ = ["Answer", "asked", "kept_by", "sample"]

_AT_ONCE: Final = 16_384
_COMMITS: Final = 256
_SAMPLES: Final = 16
_SAMPLE_BYTES: Final = 16 * 2**20


class Answer(NamedTuple):
    """What a remote says of some blobs: the :class:`~hangar.remote.BlobState` of each, u8, and their sizes, u64."""

    states: npt.NDArray[np.uint8]
    sizes: npt.NDArray[np.uint64]

    def mask(self, *states: BlobState) -> Mask:
        """Mask of the blobs in one of some states."""
        found: Mask = np.isin(self.states, states)
        return found


def asked(reader: Reader, digests: Digests, *, read: bool = False, reporter: Reporter | None = None) -> Answer:
    """Which blobs a remote has.

    Parameters
    ----------
    digests
        uint8, shape (n, 32).
    read
        The remote reads and verifies every byte of them before it answers.
    reporter
        Counts blobs.
    """
    states = [np.empty(0, np.uint8)]
    sizes = [np.empty(0, np.uint64)]
    for start in range(0, len(digests), _AT_ONCE):
        part = np.ascontiguousarray(digests[start : start + _AT_ONCE])
        for page in reader.check_blobs(BlobNames(part.tobytes()), read=read):
            states.append(np.frombuffer(page.states, np.uint8))
            sizes.append(np.frombuffer(page.sizes, "<u8"))
            if reporter is not None:
                found = sizes[-1][sizes[-1] != ABSENT]
                reporter.advance(len(page.states), int(found.sum()))
    answer = Answer(np.concatenate(states), np.concatenate(sizes))
    if len(answer.states) != len(digests) or len(answer.sizes) != len(digests):
        raise CorruptionError("the remote answered for other values than those it was asked for")
    return answer


def sample(reader: Reader, digests: Digests, sizes: npt.NDArray[np.uint64], name: str) -> None:
    """Fetch a few of the blobs that a remote says it has, chosen at random, and compare them with their digests.

    Raises
    ------
    CorruptionError
        One of them does not come, or is another one.
    """
    chosen: list[int] = []
    left = _SAMPLE_BYTES
    for at in random.sample(range(len(digests)), min(len(digests), 4 * _SAMPLES)):
        if int(sizes[at]) <= left and len(chosen) < _SAMPLES:
            chosen.append(at)
            left -= int(sizes[at])
    if not chosen:
        return
    wanted = set(digest_list(digests[chosen]))
    with closing(reader.blobs(BlobNames(b"".join(wanted)))) as frames:  # type: ignore[type-var]
        wanted -= {blob_digest(header, data) for header, data in whole_blobs(frames)}
    if wanted:
        raise CorruptionError(
            f"remote {name!r} says that it has {plural(len(digests), 'value')}, and did not send {len(wanted)} of "
            f"{len(chosen)} that were tried: nothing was dropped. Check it with `hangar fsck --data` there"
        )


def kept_by(stores: Stores, reader: Reader, name: str, head: Digest, column_id: bytes) -> DigestSet | None:
    """The blobs of a column that the refs of a remote name, as far as is known here; None: all of the commit ``head``.

    What a remote has and none of its refs reaches may be removed by its garbage collection at any time. The ancestors of
    ``head`` and the remote-tracking branches are looked at.
    """
    if reader.reachable(head)[0]:
        return None
    found = DigestSet()
    seen: set[Digest] = set()
    tracked = [digest for _, digest in stores.refs.items(f"{REMOTES}{name}/") if digest is not None]
    _name(stores, reader, tracked, column_id, found, seen)
    page: list[Digest] = []
    for digest, _ in ancestors(stores.db, [head]):
        page.append(digest)
        if len(page) == _COMMITS:
            if _name(stores, reader, page, column_id, found, seen):
                return found
            page = []
    _name(stores, reader, page, column_id, found, seen)
    return found


def _name(
    stores: Stores, reader: Reader, page: Sequence[Digest], column_id: bytes, found: DigestSet, seen: set[Digest]
) -> bool:
    """Add the blobs of a column in those of some commits that the remote reaches; whether there is one."""
    mask = reader.reachable(join_digests(page))
    for digest in [digest for digest, reaches in zip(page, mask, strict=True) if reaches]:
        for entry in load_commit(stores.db, digest).columns:
            if entry.id == column_id and entry.root is not None:
                for _, node in blob_leaves(stores.nodes, Digest(entry.root), seen):
                    found.add(node.blobs())
    return any(mask)
