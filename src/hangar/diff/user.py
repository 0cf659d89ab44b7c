"""``checkout.diff``: the staged changes of a writer. Comparison with branches and commits will be added with merge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hangar.diff.compare import compare
from hangar.diff.results import Conflicts, DiffAndConflicts
from hangar.digest import Digest
from hangar.objects.attributes import load_attributes

if TYPE_CHECKING:
    from hangar.columns.base import WriteSession

__all__ = ["WriterUserDiff"]


class WriterUserDiff:
    """Differences between the staging area and its base commit."""

    def __init__(self, session: WriteSession) -> None:
        self._session = session

    def status(self) -> Literal["CLEAN", "DIRTY"]:
        """Whether there is something to commit."""
        self._session.check()
        return "DIRTY" if self._session.staging.changed() else "CLEAN"

    def staged(self) -> DiffAndConflicts:
        """The staged changes; before the first commit everything is added. There are never conflicts."""
        self._session.check()
        staging, db = self._session.staging, self._session.stores.db
        base = staging.base_commit
        attributes = None if base is None or base.attributes is None else Digest(base.attributes)
        found = compare(
            self._session.nodes,
            [] if base is None else base.columns,
            staging.entries(),
            attributes_a=attributes,
            attributes_b=None if staging.attributes is None else Digest(staging.attributes),
            load_attributes=lambda digest: load_attributes(db, digest),
        )
        return DiffAndConflicts(found, Conflicts.none())
