"""Explains why garbage collection keeps a record or blob: the refs, reflog entries, commits and samples that name it."""

from __future__ import annotations

import string
from dataclasses import dataclass
from itertools import islice
from typing import Final

from hangar.db.tables import ATTRIBUTES, COMMITS, NODES, SCHEMAS
from hangar.digest import DIGEST_BYTES, Digest
from hangar.errors import RevisionNotFoundError
from hangar.history.roots import live_roots
from hangar.history.usage import Usage, Use
from hangar.objects.graph import ancestors
from hangar.refs import reflog
from hangar.revisions import resolve_commit
from hangar.stores import Stores

__all__ = ["Why", "why_kept"]

MOST_USES: Final = 100
_KINDS: Final = ((COMMITS, "commit"), (NODES, "node"), (SCHEMAS, "schema"), (ATTRIBUTES, "attributes"))


@dataclass(frozen=True, slots=True)
class Why:
    """Why a record or blob is kept.

    Attributes
    ----------
    digest
        The digest, in hex.
    kind
        ``'commit'``, ``'node'``, ``'schema'``, ``'attributes'`` or ``'blob'``; ``''`` if the repository does not have it.
    refs
        Full names of the branches, tags and remote-tracking branches whose history names it.
    reflog
        Reflog entries whose history does, such as ``'heads/master@{3}'``.
    staged
        Whether the staging area names it.
    commits
        Commits that name it, in hex, newest first.
    uses
        Columns and samples that name it, at most 100.
    """

    digest: str
    kind: str
    refs: tuple[str, ...] = ()
    reflog: tuple[str, ...] = ()
    staged: bool = False
    commits: tuple[str, ...] = ()
    uses: tuple[Use, ...] = ()

    @property
    def kept(self) -> bool:
        """Whether garbage collection keeps it."""
        return bool(self.refs or self.reflog or self.staged or self.commits)


def why_kept(stores: Stores, text: str) -> Why:
    """Find the refs, reflog entries, commits and samples because of which a record or blob is kept.

    Parameters
    ----------
    text
        A digest in hex of any record or blob, or a revision.

    Raises
    ------
    RevisionNotFoundError
        It is neither.
    CorruptionError
        History cannot be read.
    """
    digest = _digest(stores, text)
    kind = _kind(stores, digest)
    roots = live_roots(stores)
    history = list(ancestors(stores.db, roots.commits))
    if kind == "commit":
        naming = [digest] if any(found == digest for found, _ in history) else []
        uses: tuple[Use, ...] = ()
        staged = False
    else:
        usage = Usage(stores, [digest], roots=roots)
        found_in = [use.commit for use in usage.commits()]
        naming = [commit for commit in found_in if commit is not None]
        staged = None in found_in
        uses = tuple(islice(usage.samples(), MOST_USES))
    reaching = set(naming)
    for commit, record in reversed(history):
        if any(parent in reaching for parent in record.parents):
            reaching.add(commit)
    refs = tuple(name for name, head in stores.refs.items("") if head in reaching)
    return Why(digest.hex(), kind, refs, _reflog(stores, reaching), staged, tuple(one.hex() for one in naming), uses)


def _digest(stores: Stores, text: str) -> Digest:
    if len(text) == 2 * DIGEST_BYTES and set(text) <= set(string.hexdigits):
        return Digest(bytes.fromhex(text))
    try:
        return resolve_commit(stores.db, stores.refs, text)
    except RevisionNotFoundError as error:
        raise RevisionNotFoundError(
            f"{error}. For anything but a commit, write the full digest ({2 * DIGEST_BYTES} characters)"
        ) from None


def _kind(stores: Stores, digest: Digest) -> str:
    with stores.db.read() as transaction:
        for table, kind in _KINDS:
            if transaction.get(table, digest) is not None:
                return kind
    return "blob" if stores.blobs.locator.locate_one(digest) is not None else ""


def _reflog(stores: Stores, reaching: set[Digest]) -> tuple[str, ...]:
    found = []
    with stores.db.read() as transaction:
        for name in reflog.names(transaction):
            for number, entry in enumerate(stores.refs.reflog(name, transaction)):
                if entry.new in reaching or entry.old in reaching:
                    found.append(f"{name}@{{{number}}}")
    return tuple(found)
