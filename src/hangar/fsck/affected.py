"""What damage affects: the commits, columns and samples that name it, and the newest intact commit of each branch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from hangar.digest import Digest
from hangar.errors import HangarError
from hangar.fsck.report import Problem, Rescue
from hangar.history.roots import LiveRoots
from hangar.history.usage import Usage, Use
from hangar.objects.commit import Commit
from hangar.objects.records import load_commit
from hangar.refs import BRANCHES
from hangar.stores import Stores

__all__ = ["AffectedData"]

_FEW: Final = 3
"""Maximum number of places that are reported for each digest."""
_NAMED: Final = ("blob", "node", "array", "schema", "attributes")


class AffectedData:
    """Commits, columns and samples that damaged data affects.

    Parameters
    ----------
    commits
        All commits that were checked, and whether each can be read.
    """

    def __init__(
        self, stores: Stores, problems: Iterable[Problem], roots: LiveRoots, commits: dict[Digest, bool]
    ) -> None:
        self._stores = stores
        self._readable = [digest for digest, readable in commits.items() if readable]
        self._lost = {digest for digest, readable in commits.items() if not readable}
        digests = {Digest(bytes.fromhex(one.digest)) for one in problems if one.kind in _NAMED and one.digest}
        self._usage = Usage(stores, digests, roots=roots, commits=self._commits, failed=_ignore) if digests else None

    def _commits(self) -> Iterator[tuple[Digest, Commit]]:
        for digest in self._readable:
            yield digest, load_commit(self._stores.db, digest)

    def named(self, problems: Iterable[Problem]) -> list[Problem]:
        """The problems, with the places that they affect."""
        if self._usage is None:
            return list(problems)
        counts = self._usage.counts()
        uses: dict[Digest, list[Use]] = {}
        for use in self._usage.uses(most=_FEW):
            uses.setdefault(use.digest, []).append(use)
        found = []
        for problem in problems:
            digest = Digest(bytes.fromhex(problem.digest)) if problem.kind in _NAMED else None
            if digest in counts:
                problem = replace(problem, uses=tuple(uses.get(digest, ())), places=counts[digest])
            found.append(problem)
        return found

    def rescues(self) -> list[Rescue]:
        """The newest intact commit of each branch whose head or history is damaged."""
        affected = set(self._lost)
        if self._usage is not None:
            affected.update(use.commit for use in self._usage.commits() if use.commit is not None)
        if not affected:
            return []
        found = []
        try:
            branches = self._stores.refs.items(BRANCHES)
        except HangarError:
            return []
        for name, head in branches:
            if head in affected:
                found.append(self._rescue(name.removeprefix(BRANCHES), head, affected))
        return found

    def _rescue(self, branch: str, head: Digest, affected: set[Digest]) -> Rescue:
        """Follow first parents back to an intact commit."""
        behind = 0
        at: Digest | None = head
        while at is not None and at in affected:
            behind += 1
            try:
                parents = load_commit(self._stores.db, at).parents
            except HangarError:
                parents = []
            at = parents[0] if parents else None
        return Rescue(branch, "" if at is None else at.hex(), behind)


def _ignore(digest: Digest, error: HangarError) -> None:
    """A node that cannot be read was reported when it was checked."""
