"""Commits the staging area, in one transaction.

The record of the commit, the nodes of its trees, its schemas, the new head of the branch and the empty staging area
become visible together, or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hangar.checkout.session import WriterSession
from hangar.config import Config, Person
from hangar.configcopy import copy_config
from hangar.db import WriteTransaction
from hangar.digest import Digest
from hangar.errors import CorruptionError, InvalidStateError, InvalidTypeError, MergeConflictError, NothingToDoError
from hangar.objects.commit import Commit, check_message
from hangar.objects.graph import add_commit
from hangar.publishing import publish
from hangar.staging import Staging, in_progress
from hangar.staging.conflicts import INCOMPLETE
from hangar.wording import plural

__all__ = ["commit_staging"]


def commit_staging(
    session: WriterSession,
    config: Config,
    message: str | None,
    *,
    parents: Sequence[Digest] | None = None,
    amend: bool = False,
    meta: Mapping[str, Any] | None = None,
    operation: str | None = None,
) -> Digest:
    """Commit what ``session`` has staged; see ``WriterCheckout.commit``.

    Parameters
    ----------
    message, meta
        With ``amend``, None keeps those of the replaced commit. Else None for ``meta`` gives that of the operation in progress.
    parents
        Parents of the commit, the head of the branch first. None: those of the staging area (several during a merge);
        with ``amend`` those of the replaced commit.
    operation
        What the reflog calls it, by default some kind of commit.

    Raises
    ------
    MergeConflictError
        Conflicts of the operation in progress are not resolved.
    InvalidStateError
        ``amend`` before the first commit, or while an operation is in progress.
    NothingToDoError
        Nothing was changed, and no merge is in progress.
    """
    if message is not None or not amend:
        message = check_message(message)
    if meta is not None and not isinstance(meta, Mapping):
        raise InvalidTypeError(f"meta is a mapping of further facts, not {type(meta).__name__}")
    with session.writing():
        staging = session.staging
        if parents is None:
            parents = _parents_to_amend(staging) if amend else staging.parents
        _require_resolved(staging)
        begun = staging.operation
        if not amend and len(parents) < 2 and not staging.differs():
            raise NothingToDoError(
                "No changes made in staging area. Cannot commit."
                if begun is None
                else f"{begun.title} changes nothing on branch {staging.branch!r}: give it up with `hangar {begun.kind} --abort`"
            )
        before = staging.base_commit if amend else None
        if before is not None:
            message, meta = before.message if message is None else message, before.meta if meta is None else meta
        if meta is None:
            meta = {} if begun is None else begun.meta
        who = config.person()
        commit = Commit.now(
            parents, staging.entries(), staging.attributes, message=message or "", meta=meta, who=(who.name, who.email)
        )
        if operation is None:
            operation = "commit (amend)" if amend else "commit" if begun is None else f"commit ({begun.kind})"
        change = _NewCommit(session, config, commit, operation)
        publish(session.stores.db, session.lock, change)
    return change.digest


def _require_resolved(staging: Staging) -> None:
    conflicts = staging.conflicts
    if conflicts is not None and conflicts.incomplete:
        raise CorruptionError(INCOMPLETE)
    if conflicts is not None and conflicts.unresolved:
        kind = "merge" if staging.operation is None else staging.operation.kind
        raise MergeConflictError(
            f"{plural(conflicts.unresolved, 'conflict')} of the {kind} must be resolved before the commit: see "
            f"`hangar conflicts` and `hangar resolve`, or give up the {kind} with `hangar {kind} --abort`"
        )


def _parents_to_amend(staging: Staging) -> Sequence[Digest]:
    if staging.operation is not None:
        raise InvalidStateError(f"there is nothing to amend yet, because {in_progress(staging.operation)}")
    if staging.base_commit is None:
        raise InvalidStateError("there is no commit to amend yet")
    return staging.base_commit.parents


class _NewCommit:
    """Publishable change of a commit: the batch, the commit itself, and an empty staging area."""

    def __init__(self, session: WriterSession, config: Config, commit: Commit, operation: str) -> None:
        self._session = session
        self._config = config
        self._commit = commit
        self._operation = operation
        self._branch = f"heads/{session.staging.branch}"
        self.digest = commit.digest()

    def prepare(self) -> None:
        self._session.blobs.prepare()

    def record(self, transaction: WriteTransaction) -> None:
        session, staging, commit = self._session, self._session.staging, self._commit
        session.blobs.record(transaction)
        staging.write_records(transaction)
        session.nodes.flush(transaction, [entry.root for entry in commit.columns if entry.root is not None])
        add_commit(transaction, commit)
        session.stores.refs.update(
            transaction,
            self._branch,
            staging.base,
            self.digest,
            who=Person(commit.author, commit.email),
            operation=self._operation,
            message=commit.message.partition("\n")[0],
        )
        staging.clear(transaction)
        session.note_written(transaction)
        copy_config(transaction, self._config)

    def committed(self) -> None:
        self._session.blobs.committed()
        self._session.staging.rebase(self.digest)

    def rollback(self) -> None:
        # After a refused commit the writes of the block stay, to be published at its end. If the commit was made after all, it is the new base.
        if self._session.stores.refs.get(self._branch) == self.digest:
            self._session.rollback()
