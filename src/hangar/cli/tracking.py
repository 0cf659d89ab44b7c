"""How far a branch and its remote-tracking branch are apart, for ``hangar status``."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from hangar.errors import RemoteNotFoundError
from hangar.objects.graph import ancestors
from hangar.wording import plural, visible

if TYPE_CHECKING:
    from hangar.cli.state import State
    from hangar.digest import Digest

__all__ = ["Tracking", "tracking"]

MAX_COMMITS: Final = 1_000
"""More commits than these are not counted."""


class Tracking(NamedTuple):
    """A remote-tracking branch, as it was fetched or pushed last.

    Attributes
    ----------
    name
        Such as ``origin/master``.
    ahead, behind
        Number of commits that only the branch here has, and that only the other one has; at most ``MAX_COMMITS``.
    """

    name: str
    ahead: int
    behind: int

    def line(self) -> str:
        """The comparison as text, with the command to run."""
        name = visible(self.name)
        if self.ahead and self.behind:
            both = f"{plural(self.ahead, 'commit')} here, {plural(self.behind, 'commit')} there"
            return f'Diverged from {name}: {both} (use "hangar pull" to merge them)'
        if self.ahead:
            return f'{plural(self.ahead, "commit")} ahead of {name} (use "hangar push" to publish)'
        if self.behind:
            return f'{plural(self.behind, "commit")} behind {name} (use "hangar pull" to merge)'
        return f"Up to date with {name}"


def tracking(state: State, branch: str) -> Tracking | None:
    """Compare a branch with that of the remote to which `hangar push` goes; None if one of them has no commit."""
    refs = state.stores.refs
    try:
        name = f"{state.remote(None)}/{branch}"
    except RemoteNotFoundError:
        return None
    here, there = refs.get(f"heads/{branch}"), refs.get(f"remotes/{name}")
    if here is None or there is None:
        return None
    return Tracking(name, _count(state, here, there), _count(state, there, here))


def _count(state: State, head: Digest, without: Digest) -> int:
    return sum(1 for _ in islice(ancestors(state.stores.db, [head], [without]), MAX_COMMITS))
