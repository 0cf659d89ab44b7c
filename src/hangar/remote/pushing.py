"""Pushing, as a user asks for it: which refs of the remote move from where to where."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from hangar.db import WriteTransaction
from hangar.db.tables import COMMITS
from hangar.digest import DIGEST_BYTES, Digest
from hangar.errors import InvalidInputError, InvalidStateError, NameTakenError, RevisionNotFoundError, StaleRefError
from hangar.objects.graph import is_ancestor
from hangar.progress import Progress
from hangar.refs import BRANCHES, REMOTES, TAGS
from hangar.refs.remotes import get_remote
from hangar.remote.correcting import correct
from hangar.remote.peer import ID_BYTES, Peer, RefInfo, RefUpdate
from hangar.remote.transfer import push
from hangar.remote.transfer_types import Pushed
from hangar.revisions import resolve_commit, unknown_branch
from hangar.stores import Stores

__all__ = ["Lease", "PushReport", "push_refs"]

Lease: TypeAlias = "bool | str | None"
"""Where a branch of the remote must be to lose commits: True: where it was fetched last; a revision; None: it must not."""


@dataclass(frozen=True, slots=True)
class PushReport:
    """What a push did.

    Attributes
    ----------
    refs
        The refs of the remote that moved, by full name, with the old and the new commit in hex (``''``: none).
    objects, object_nbytes
        Number and bytes of the records and nodes that were sent.
    blobs, blob_nbytes
        Number and bytes of the values that were sent.
    promised
        Number of values that were not sent, because another repository has promised them to the remote, which does not
        have them itself.
    """

    refs: dict[str, tuple[str, str]]
    objects: int = 0
    object_nbytes: int = 0
    blobs: int = 0
    blob_nbytes: int = 0
    promised: int = 0


def push_refs(
    stores: Stores,
    peer: Peer,
    remote: str,
    names: Sequence[str],
    who: tuple[str, str],
    *,
    lease: Lease = None,
    tags: bool = False,
    delete: bool = False,
    complete: bool = False,
    progress: Progress = None,
) -> PushReport:
    """Push branches and tags, or delete them at the remote, in one step.

    Parameters
    ----------
    names
        Names of branches and tags.
    who
        Name and email, for the reflogs.
    tags
        Push all tags besides.
    complete
        Also send the values of these commits that the remote does not have because another repository has promised them
        to it.

    Raises
    ------
    InvalidInputError
        Both ``tags`` and ``delete``.
    """
    if tags and delete:
        raise InvalidInputError("tags and delete exclude each other: name the tags that are to be deleted")
    there = {ref.name: ref for page in peer.refs() for ref in page.refs}
    full = [_full_name(stores, remote, name, there, delete) for name in names]
    if tags:
        full += [name for name in stores.refs.names(TAGS) if name not in full and not _same_tag(stores, name, there)]
    updates = [
        update
        for update in (_update(stores, remote, name, there.get(name), lease, delete) for name in full)
        if update is not None
    ]
    report = PushReport({})
    if updates:
        done = push(stores, peer, updates, who=who, progress=progress)

        def track(transaction: WriteTransaction) -> None:
            for update in updates:
                _track(stores, transaction, remote, update, who)

        stores.db.update(track)
        _note_sent(stores, remote, done)
        moves = {update.name: (_hex(update.old), _hex(update.new)) for update in updates}
        report = PushReport(moves, done.objects, done.object_nbytes, done.blobs, done.blob_nbytes, done.promised)
    if complete and not delete:
        done = push(stores, peer, _standing(stores, full), who=who, complete=True, progress=progress)
        _note_sent(stores, remote, done)
        report = replace(
            report, blobs=report.blobs + done.blobs, blob_nbytes=report.blob_nbytes + done.blob_nbytes, promised=0
        )
    return report


def _standing(stores: Stores, names: Sequence[str]) -> list[RefUpdate]:
    """Moves of refs of the remote from where they are to the same commit: the push only brings values."""
    heads = {name: stores.refs.get(name) for name in names}
    return [RefUpdate(name, head, head, os.urandom(ID_BYTES)) for name, head in heads.items() if head is not None]


def _note_sent(stores: Stores, remote: str, done: Pushed) -> None:
    """The remote has what was sent, also if it was found not to have it before."""
    with stores.db.read() as transaction:
        number = get_remote(transaction, remote).number
    correct(stores, number, present=np.frombuffer(done.sent, np.uint8).reshape(-1, DIGEST_BYTES))


def _hex(digest: bytes | None) -> str:
    return "" if digest is None else digest.hex()


def _full_name(stores: Stores, remote: str, name: str, there: dict[str, RefInfo], delete: bool) -> str:
    known = (lambda ref: ref in there) if delete else stores.refs.exists
    for ref in (name, BRANCHES + name, TAGS + name):
        if ref.startswith((BRANCHES, TAGS)) and known(ref):
            return ref
    if delete:
        raise RevisionNotFoundError(f"remote {remote!r} has no branch or tag {name!r}")
    raise unknown_branch(stores.refs, name)


def _same_tag(stores: Stores, name: str, there: dict[str, RefInfo]) -> bool:
    return name in there and there[name].digest == stores.refs.get(name)


def _update(
    stores: Stores, remote: str, name: str, ref: RefInfo | None, lease: Lease, delete: bool
) -> RefUpdate | None:
    """The move of one ref; None if it is where it should be."""
    old = None if ref is None else ref.digest
    operation = os.urandom(ID_BYTES)
    short = name.partition("/")[2]
    if delete:
        _check_lease(stores, remote, short, old, lease)
        return RefUpdate(name, old, None, operation, force=True)
    new = stores.refs.get(name)
    if new is None:
        raise InvalidStateError(f"branch {short!r} has no commit yet: commit something first")
    if old == new:
        return None
    if name.startswith(TAGS):
        if old is not None:  # a tag is never moved there
            raise NameTakenError(
                f"remote {remote!r} has another tag {short!r}, of commit {old.hex()[:12]}: delete it there first with "
                f"`hangar push {remote} {short} --delete`"
            )
        return RefUpdate(name, old, new, operation, force=False, annotation=stores.refs.annotation(name))
    _check_lease(stores, remote, short, old, lease)
    forward = old is None or _is_behind(stores, Digest(old), new)
    if not forward and lease in (None, False):
        raise StaleRefError(
            f"branch {short!r} of {remote!r} has commits that are not in the branch here (it is at {_hex(old)[:12]}): get and "
            f"merge them with `hangar pull {remote} {short}`, then push again"
        )
    return RefUpdate(name, old, new, operation, force=not forward)


def _is_behind(stores: Stores, old: Digest, new: Digest) -> bool:
    """Whether ``old`` is here, and an ancestor of ``new``."""
    with stores.db.read() as transaction:
        if transaction.get(COMMITS, old) is None:
            return False
    return is_ancestor(stores.db, old, new)


def _check_lease(stores: Stores, remote: str, short: str, old: bytes | None, lease: Lease) -> None:
    """Refuse a forced push if the ref of the remote is not where the user thinks."""
    if lease in (None, False):
        return
    if lease is True:
        expected: bytes | None = stores.refs.get(f"{REMOTES}{remote}/{short}")
        said = f"where it was fetched last ({_hex(expected)[:12] or 'never'})"
    elif isinstance(lease, str):
        expected = resolve_commit(stores.db, stores.refs, lease)
        said = f"at {lease}"
    else:
        raise InvalidInputError(f"force_with_lease is True or a revision, not {lease!r}")
    if old != expected:
        raise StaleRefError(
            f"branch {short!r} of {remote!r} is not {said} but at {_hex(old)[:12] or 'no commit'}: look at it with "
            f"`hangar fetch {remote} {short}` and push again"
        )


def _track(stores: Stores, transaction: WriteTransaction, remote: str, update: RefUpdate, who: tuple[str, str]) -> None:
    """Move the remote-tracking ref to where the push has moved the branch."""
    if not update.name.startswith(BRANCHES):
        return
    name = f"{REMOTES}{remote}/{update.name.removeprefix(BRANCHES)}"
    exists = stores.refs.exists(name, transaction)
    old = stores.refs.get(name, transaction)
    if update.new is None:
        if exists:
            stores.refs.delete(transaction, name, old, who=who, operation="push (delete)")
    elif not exists:
        stores.refs.create(transaction, name, Digest(update.new), who=who, operation="push")
    elif old != update.new:
        stores.refs.update(transaction, name, old, Digest(update.new), who=who, operation="push")
