"""The branch that an operation changes, and the requirement that nothing is staged on it.

Operations that move a branch run under the writer lock, so that neither the branch nor the staging area changes
between these checks and the transaction that publishes.
"""

from __future__ import annotations

from typing import NamedTuple

from hangar.digest import Digest
from hangar.errors import InvalidStateError
from hangar.history.branches import unknown_branch
from hangar.names import plain_text
from hangar.objects.commit import Commit
from hangar.objects.records import load_commit
from hangar.refs import BRANCHES
from hangar.staging import StagedColumns, in_the_way, read_staged
from hangar.stores import Stores

__all__ = ["Current", "current_branch", "require_clean", "staged_on"]


class Current(NamedTuple):
    """A branch and its head.

    Attributes
    ----------
    name
        Name of the branch.
    head
        Its commit and the digest of that, None before the first commit.
    """

    name: str
    head: tuple[Digest, Commit] | None

    @property
    def ref(self) -> str:
        """Full name of the branch."""
        return BRANCHES + self.name

    @property
    def digest(self) -> Digest | None:
        """Digest of the head."""
        return None if self.head is None else self.head[0]

    def require_head(self, action: str) -> tuple[Digest, Commit]:
        """The head.

        Raises
        ------
        InvalidStateError
            The branch has no commit, so that ``action`` is not possible.
        """
        if self.head is None:
            raise InvalidStateError(f"branch {self.name!r} has no commit yet, so there is nothing to {action}")
        return self.head


def current_branch(stores: Stores, branch: str = "") -> Current:
    """The branch to change.

    Parameters
    ----------
    branch
        Its name; by default the branch last written.

    Raises
    ------
    RevisionNotFoundError
        There is no such branch.
    """
    refs = stores.refs
    name = plain_text(branch) if branch else refs.head().last_written
    if not refs.exists(BRANCHES + name):
        raise unknown_branch(refs, name)
    digest = refs.get(BRANCHES + name)
    return Current(name, None if digest is None else (digest, load_commit(stores.db, digest)))


def staged_on(stores: Stores) -> StagedColumns | None:
    """The staging area if it differs from its base commit, or an operation is in progress; else None."""
    staged = read_staged(stores.db)
    return staged if staged is not None and staged.changed() else None


def require_clean(stores: Stores, action: str) -> None:
    """Make sure that nothing is staged.

    Parameters
    ----------
    action
        The operation that is refused otherwise, such as ``'a revert'``.

    Raises
    ------
    InvalidStateError
        There are staged changes, or an operation is in progress.
    """
    staged = staged_on(stores)
    if staged is not None:
        what = in_the_way(staged, stores.refs.head().write_branch)
        raise InvalidStateError(f"{action} is not possible now, because {what}")
