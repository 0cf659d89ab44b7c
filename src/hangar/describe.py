"""What there is to say of a repository: status, summary, a commit, sizes.

Reports are frozen records, which the command line prints or writes as JSON; nothing is changed here.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hangar.diff import count_changes
from hangar.digest import Digest
from hangar.history import iso_time
from hangar.lock import Holder, holder
from hangar.objects.attributes import load_attributes
from hangar.objects.commit import NESTED, ColumnEntry, tree_digest
from hangar.objects.records import load_commit, load_record
from hangar.objects.store import NodeStore
from hangar.progress import format_bytes
from hangar.schema import load_schema
from hangar.staging import Staging, staged_on
from hangar.stores import Stores

__all__ = ["ColumnInfo", "ColumnStatus", "CommitInfo", "StatusReport"]


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """A column as a commit lists it."""

    name: str
    kind: str
    layout: str
    dtype: str | None
    shape: tuple[int, ...] | None
    variable: bool
    inline: bool
    samples: int
    schema: str


@dataclass(frozen=True, slots=True)
class CommitInfo:
    """What there is to say of a commit. Digests are in hex, ``time`` is ISO 8601; everything is empty before the first commit."""

    digest: str = ""
    tree: str = ""
    parents: tuple[str, ...] = ()
    author: str = ""
    email: str = ""
    time: str = ""
    message: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[ColumnInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class ColumnStatus:
    """How a staged column differs from the commit below: numbers of samples."""

    name: str
    state: Literal["new", "deleted", "changed", "unchanged"]
    added: int
    deleted: int
    mutated: int


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The branch to write, what is staged and where, and who holds the writer lock."""

    branch: str
    head: str
    clean: bool
    staged_branch: str
    columns: tuple[ColumnStatus, ...]
    writer: Holder | None


def column_info(stores: Stores, entry: ColumnEntry) -> ColumnInfo:
    """What a commit says of one column."""
    schema = load_schema(load_record(stores.db, "schema", Digest(entry.schema)))
    return ColumnInfo(
        name=entry.name,
        kind=schema.kind_name,
        layout="nested" if entry.layout == NESTED else "flat",
        dtype=None if schema.dtype is None else schema.dtype.name,
        shape=schema.shape,
        variable=schema.variable,
        inline=schema.inline,
        samples=entry.samples if entry.layout == NESTED else entry.entries,
        schema=Digest(entry.schema).hex(),
    )


def commit_info(stores: Stores, digest: Digest | None) -> CommitInfo:
    """What there is to say of a commit."""
    if digest is None:
        return CommitInfo()
    commit = load_commit(stores.db, digest)
    return CommitInfo(
        digest=digest.hex(),
        tree=tree_digest(commit).hex(),
        parents=tuple(parent.hex() for parent in commit.parents),
        author=commit.author,
        email=commit.email,
        time=iso_time(commit.time_ns, commit.tz),
        message=commit.message,
        meta=dict(commit.meta),
        columns=tuple(column_info(stores, entry) for entry in commit.columns),
    )


def attributes(stores: Stores) -> Mapping[str, Any]:
    """Attributes of the head of the branch last written."""
    head = stores.refs.get(f"heads/{stores.refs.head().last_written}")
    found = None if head is None else load_commit(stores.db, head).attributes
    return {} if found is None else load_attributes(stores.db, Digest(found))


def status(stores: Stores) -> StatusReport:
    """What is staged, on which branch, and who holds the writer lock."""
    branch = stores.refs.head().write_branch
    head = stores.refs.get(f"heads/{branch}")
    staged = staged_on(stores.db)
    on, base = (branch, head) if staged is None else staged
    staging = Staging(stores.db, NodeStore(stores.db), on, base)
    commit = staging.base_commit
    before = [] if commit is None else list(commit.columns)
    columns = _column_states(staging, before)
    return StatusReport(
        branch=branch,
        head="" if head is None else head.hex(),
        clean=not staging.changed(),
        staged_branch=on,
        columns=columns,
        writer=holder(stores.db),
    )


def _column_states(staging: Staging, before: list[ColumnEntry]) -> tuple[ColumnStatus, ...]:
    after = staging.entries()
    known, kept = {entry.id for entry in before}, {entry.id for entry in after}
    counts = count_changes(staging.nodes, before, after)
    names = sorted({entry.name for entry in (*before, *after)})
    found = []
    for name in names:
        entry = next((e for e in after if e.name == name), None)
        added, deleted, mutated = counts.get(name, (0, 0, 0))
        state: Literal["new", "deleted", "changed", "unchanged"]
        if entry is None:
            old = next(e for e in before if e.name == name)
            if old.id in kept:
                continue
            state = "deleted"
        elif entry.id not in known:
            state = "new"
        else:
            state = "unchanged" if entry in before else "changed"
        found.append(ColumnStatus(name, state, added, deleted, mutated))
    return tuple(found)


def summary(stores: Stores, path: str, digest: Digest | None) -> str:
    """Text for people: path, disk use, the commit, its columns."""
    lines = [f"Repository: {path}", f"Disk use:   {format_bytes(directory_bytes(stores.directory))}"]
    if digest is None:
        return "\n".join([*lines, "", "No commit has been made yet."]) + "\n"
    info = commit_info(stores, digest)
    lines += [
        "",
        f"Commit:     {info.digest}",
        f"Tree:       {info.tree}",
        f"Author:     {info.author} <{info.email}>",
        f"Date:       {info.time}",
        f"Message:    {info.message.partition(chr(10))[0]}",
        "",
        f"Columns:    {len(info.columns)}",
    ]
    width = max((len(column.name) for column in info.columns), default=0)
    for column in info.columns:
        lines.append(f"    {column.name:<{width}}  {column.samples:>12,} samples  {describe_schema(column)}")
    return "\n".join(lines) + "\n"


def describe_schema(column: ColumnInfo) -> str:
    """One line on what a column holds, such as ``'uint8 (28, 28)'``."""
    if column.shape is None:
        what = column.kind
    else:
        most = "up to " if column.variable else ""
        what = f"{column.dtype} {most}{column.shape}"
    return f"{what}, {column.layout}" if column.layout == "nested" else what


def directory_bytes(directory: Path) -> int:
    """Bytes of the files below ``directory``."""
    total = 0
    for place, _, files in os.walk(directory):
        for name in files:
            try:
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 - once per file
            except FileNotFoundError:
                continue  # removed meanwhile
    return total


def show(text: str) -> None:
    """Print ``text``: the work of ``log`` and ``summary``."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def warn_missing(path: Path) -> None:
    """Warn that there is no repository in ``path``."""
    warnings.warn(f"there is no repository in {path} yet: call init(user_name, user_email)", UserWarning, stacklevel=3)
