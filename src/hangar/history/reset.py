"""Move a branch to another commit: ``reset``.

The cost depends on the number of columns, and not on that of samples: a soft reset stages the former content as one row for
each column that differs. The reflog has the former commit of the branch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hangar.digest import Digest
from hangar.history.current import current_branch, require_clean, staged_on
from hangar.lock import WriterLock, under_lock
from hangar.names import plain_text
from hangar.objects.records import load_commit
from hangar.publishing import publish_rows
from hangar.revisions import resolve_commit
from hangar.staging import clear_staging, stage_content
from hangar.stores import Stores

if TYPE_CHECKING:
    from hangar.db.transaction import WriteTransaction

__all__ = ["reset"]


def reset(stores: Stores, rev: str, *, hard: bool = False, branch: str = "", who: tuple[str, str]) -> Digest:
    """Move a branch to another commit.

    Parameters
    ----------
    rev
        The commit.
    hard
        Drop staged changes. False: the former content of the branch becomes staged changes.
    branch
        By default the branch last written.
    who
        Name and email, for the reflog.

    Returns
    -------
    Digest
        The new head of the branch.

    Raises
    ------
    RevisionNotFoundError
        There is no such commit or branch.
    InvalidStateError
        There are staged changes, and ``hard`` is False.
    LockedError
        A writer holds the writer lock.
    """
    rev = plain_text(rev)

    def move(lock: WriterLock) -> Digest:
        current = current_branch(stores, branch)
        target = resolve_commit(stores.db, stores.refs, rev)
        if not hard:
            require_clean(stores, "a soft reset")
        staged = staged_on(stores)
        # Changes staged on another branch are not those of the branch that is reset.
        elsewhere = staged is not None and staged.branch != current.name

        def record(transaction: WriteTransaction) -> None:
            if target != current.digest:
                stores.refs.update(
                    transaction,
                    current.ref,
                    current.digest,
                    target,
                    who=who,
                    operation="reset",
                    message=f"moving to {rev}",
                )
            if elsewhere:
                return
            if hard or current.head is None:
                clear_staging(transaction)
            else:
                former = current.head[1]
                stage_content(transaction, current.name, (target, destination), former.columns, former.attributes)
            stores.refs.set_head(transaction, last_written=current.name)

        destination = load_commit(stores.db, target)
        publish_rows(stores.db, lock, record)
        return target

    return under_lock(stores.db, move)
