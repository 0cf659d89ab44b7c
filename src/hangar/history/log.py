"""The log of a commit: the commit and its ancestors, newest first.

The order follows generation numbers, not clocks: a commit comes before all of its ancestors, even if the clocks of
the authors were wrong.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import TYPE_CHECKING, TypedDict

from hangar.digest import Digest
from hangar.objects.graph import ancestors
from hangar.refs import BRANCHES, REMOTES, Refs

if TYPE_CHECKING:
    from hangar.db.environment import Database

__all__ = ["CommitSpec", "LogContents", "iso_time", "log"]


class CommitSpec(TypedDict):
    """One commit in a log; the time is ISO 8601, in the time zone of the commit."""

    commit_time: str
    commit_message: str
    commit_user: str
    commit_email: str


class LogContents(TypedDict):
    """A log. Digests are in hex.

    ``ancestors`` has the parents of each commit (``['']`` for a root commit), ``order`` is newest first,
    ``branch_heads`` has the branches at each commit, also at commits outside the log. Everything is empty if there is
    no commit.
    """

    head: str
    ancestors: dict[str, list[str]]
    specs: dict[str, CommitSpec]
    order: list[str]
    branch_heads: dict[str, list[str]]


def iso_time(time_ns: int, tz: int) -> str:
    """Format a time in nanoseconds since 1970 (UTC) as ISO 8601 in the zone ``tz`` minutes east of UTC."""
    try:
        return datetime.fromtimestamp(time_ns // 10**9, timezone(timedelta(minutes=tz))).isoformat()
    except (ValueError, OverflowError, OSError):
        return f"{time_ns} ns"  # beyond the range of datetime: a wrong clock must not make the log fail


def log(
    db: Database, refs: Refs, start: Digest | None, *, limit: int | None = None, without: Digest | None = None
) -> LogContents:
    """The history of ``start``.

    Parameters
    ----------
    start
        A commit; None (a branch without a commit) gives an empty log.
    limit
        Maximum number of commits.
    without
        A commit to exclude together with its ancestors.

    Raises
    ------
    CorruptionError
        A commit is missing or damaged.
    """
    contents: LogContents = {"head": "", "ancestors": {}, "specs": {}, "order": [], "branch_heads": {}}
    if start is None:
        return contents
    contents["head"] = start.hex()
    for digest, commit in islice(ancestors(db, [start], [] if without is None else [without]), limit):
        name = digest.hex()
        contents["order"].append(name)
        contents["ancestors"][name] = [parent.hex() for parent in commit.parents] or [""]
        contents["specs"][name] = {
            "commit_time": iso_time(commit.time_ns, commit.tz),
            "commit_message": commit.message,
            "commit_user": commit.author,
            "commit_email": commit.email,
        }
    heads = contents["branch_heads"]
    for name, head in sorted(refs.items(""), key=lambda item: item[0].partition("/")[2]):
        if head is not None and name.startswith((BRANCHES, REMOTES)):
            heads.setdefault(head.hex(), []).append(name.partition("/")[2])
    return contents
