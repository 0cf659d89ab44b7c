"""Reports about a repository: status, summary, commits, sizes.

Reports are frozen records, which the command line prints or writes as JSON. This module changes nothing.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from hangar import limits
from hangar.diff import attribute_changes, count_pair, pair_columns
from hangar.digest import Digest
from hangar.history import iso_time, list_branches
from hangar.lock import Holder, holder
from hangar.objects.attributes import load_attributes
from hangar.objects.commit import NESTED, ColumnEntry, tree_digest
from hangar.objects.records import load_commit, load_record
from hangar.objects.store import NodeStore
from hangar.progress import format_bytes
from hangar.schema import ColumnSchema, open_schema
from hangar.staging import Operation, StagedColumns, read_staged
from hangar.stores import Stores
from hangar.wording import plural

__all__ = ["ColumnInfo", "ColumnStatus", "CommitInfo", "StatusReport"]


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """A column of a commit; ``needs`` names the package that is missing to read it, ``''`` if none is missing."""

    name: str
    kind: str
    layout: str
    dtype: str | None
    shape: tuple[int, ...] | None
    variable: bool
    inline: bool
    samples: int
    schema: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    needs: str = ""


@dataclass(frozen=True, slots=True)
class CommitInfo:
    """Description of a commit. Digests are in hex, ``time`` is ISO 8601; all is empty before the first commit."""

    digest: str = ""
    tree: str = ""
    parents: tuple[str, ...] = ()
    author: str = ""
    email: str = ""
    time: str = ""
    message: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[ColumnInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class ColumnStatus:
    """Differences of a column from its previous state.

    Attributes
    ----------
    added, deleted, mutated
        Numbers of samples (in a nested column: subsamples).
    renamed_from
        Its previous name, ``''`` if it was not renamed.
    schema
        Whether its schema changed (it was widened).
    attributes
        Keys of the attributes that changed.
    nested
        Whether its samples have subsamples.
    needs
        Package that is missing to read and write its values, ``''`` if none is missing.
    """

    name: str
    state: Literal["new", "deleted", "changed", "unchanged"]
    added: int
    deleted: int
    mutated: int
    renamed_from: str = ""
    schema: bool = False
    attributes: tuple[str, ...] = ()
    nested: bool = False
    needs: str = ""


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The branch to write, the staged changes and their branch, and the holder of the writer lock.

    ``attributes`` are the keys of the changed attributes of the commit itself. ``operation`` is the merge,
    cherry-pick or revert in progress (its ``kind``, and ``name``, the revision), None if there is none, and ``conflicts``
    the number of its open conflicts.
    """

    branch: str
    head: str
    clean: bool
    staged_branch: str
    columns: tuple[ColumnStatus, ...]
    writer: Holder | None
    attributes: tuple[str, ...] = ()
    operation: Operation | None = None
    conflicts: int = 0


def column_info(stores: Stores, entry: ColumnEntry) -> ColumnInfo:
    """Describe one column of a commit."""
    schema = open_schema(load_record(stores.db, "schema", Digest(entry.schema)))
    return ColumnInfo(
        name=entry.name,
        kind=schema.kind_name,
        layout="nested" if entry.layout == NESTED else "flat",
        dtype=schema.dtype_name,
        shape=schema.shape,
        variable=schema.variable,
        inline=schema.inline,
        samples=entry.samples if entry.layout == NESTED else entry.entries,
        schema=Digest(entry.schema).hex(),
        attributes=_attributes(stores, entry.attributes),
        needs=_needs(stores, entry.id, schema),
    )


def _needs(stores: Stores, column_id: bytes, schema: ColumnSchema) -> str:
    from hangar.backends.preference import column_needs  # imported late: not needed without columns

    return column_needs(stores.db, column_id, schema)


def commit_info(stores: Stores, digest: Digest | None) -> CommitInfo:
    """Describe a commit."""
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
        attributes=_attributes(stores, commit.attributes),
        columns=tuple(column_info(stores, entry) for entry in commit.columns),
    )


def attributes(stores: Stores) -> Mapping[str, Any]:
    """Attributes of the head of the branch last written."""
    head = stores.refs.get(f"heads/{stores.refs.head().last_written}")
    return _attributes(stores, None if head is None else load_commit(stores.db, head).attributes)


def _attributes(stores: Stores, digest: bytes | None) -> Mapping[str, Any]:
    return {} if digest is None else load_attributes(stores.db, Digest(digest))


def status(stores: Stores) -> StatusReport:
    """The staged changes, their branch, and the holder of the writer lock."""
    with stores.db.read() as transaction:
        branch = stores.refs.head(transaction).write_branch
        head = stores.refs.get(f"heads/{branch}", transaction)
        staging = read_staged(stores.db, transaction) or StagedColumns(
            stores.db, NodeStore(stores.db), transaction, branch, head
        )
    commit = staging.base_commit
    before = [] if commit is None else list(commit.columns)
    states = column_states(staging.nodes, before, staging.entries(), staging.load_attributes)
    needs = {name: _needs(stores, one.id, one.schema) for name, one in staging.columns.items()}
    columns = tuple(replace(one, needs=needs.get(one.name, "")) for one in states)
    below = None if commit is None else commit.attributes
    return StatusReport(
        branch=branch,
        head="" if head is None else head.hex(),
        clean=not staging.changed(),
        staged_branch=staging.branch,
        columns=columns,
        writer=holder(stores.db),
        attributes=tuple(attribute_changes(below, staging.attributes, staging.load_attributes)),
        operation=staging.operation,
        conflicts=0 if staging.conflicts is None else staging.conflicts.unresolved,
    )


def column_states(
    nodes: NodeStore,
    before: Sequence[ColumnEntry],
    after: Sequence[ColumnEntry],
    load: Callable[[Digest], Mapping[str, Any]],
) -> tuple[ColumnStatus, ...]:
    """Differences of each column between two commits, or between a commit and the changes staged on it; by name.

    ``load`` loads the attributes of a digest. If a name was reused for another column, both columns are listed.
    """
    found = []
    for pair in pair_columns(before, after):
        old, new = pair
        counts = count_pair(nodes, pair)
        if old is None or new is None:
            state: Literal["new", "deleted"] = "new" if old is None else "deleted"
            found.append(ColumnStatus(pair.entry.name, state, *counts, nested=pair.entry.layout == NESTED))
            continue
        status = ColumnStatus(
            new.name,
            "unchanged" if old == new else "changed",
            *counts,
            renamed_from="" if old.name == new.name else old.name,
            schema=old.schema != new.schema,
            attributes=tuple(attribute_changes(old.attributes, new.attributes, load)),
            nested=new.layout == NESTED,
        )
        found.append(status)
    return tuple(found)


def summary(stores: Stores, path: str, digest: Digest | None) -> str:
    """Summary text: path, disk use, the commit, its columns."""
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
        *(f"About:      {key} = {value!r}" for key, value in info.attributes.items()),
        "",
        f"Columns:    {len(info.columns)}",
    ]
    width = max((len(column.name) for column in info.columns), default=0)
    for column in info.columns:
        lines.append(f"    {column.name:<{width}}  {plural(column.samples, 'sample'):>20}  {describe_schema(column)}")
        lines += [f"    {'':<{width}}  {'':>12}          {key} = {value!r}" for key, value in column.attributes.items()]
    return "\n".join(lines) + "\n"


def repository_rows(stores: Stores) -> list[tuple[str, str]]:
    """Short description of a repository, as pairs of label and text."""
    head = stores.refs.head()
    digest = stores.refs.get(f"heads/{head.last_written}")
    rows = [("branches", ", ".join(list_branches(stores.refs))), ("branch last written", head.last_written)]
    if digest is None:
        return [*rows, ("last commit", "none yet")]
    commit = load_commit(stores.db, digest)
    title = commit.message.partition("\n")[0][:120]
    return [
        *rows,
        ("last commit", f"{digest.hex()[:12]} {title}"),
        ("author", f"{commit.author}, {iso_time(commit.time_ns, commit.tz)}"),
        ("columns", ", ".join(entry.name for entry in commit.columns[:20]) + (", ..." if commit.columns[20:] else "")),
    ]


def describe_schema(column: ColumnInfo) -> str:
    """One-line description of the values of a column, such as ``'uint8 (28, 28)'``."""
    if column.shape is None:
        what = column.kind
    else:
        most = "up to " if column.variable else ""
        kind = "" if column.kind == "ndarray" else f"{column.kind} "
        shape = str(column.shape).replace(str(limits.MAX_EXTENT), "any")
        what = f"{kind}{column.dtype} {most if shape.strip('(any, )') else ''}{shape}"
    what = f"{what}, {column.layout}" if column.layout == "nested" else what
    return f"{what} (cannot be read here: {column.needs})" if column.needs else what


def directory_bytes(directory: Path) -> int:
    """Total bytes of the files below ``directory``."""
    total = 0
    for place, _, files in os.walk(directory):
        for name in files:
            try:
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 - once per file
            except FileNotFoundError:
                continue  # removed since it was listed
    return total


def show(text: str) -> None:
    """Print ``text``, for ``log`` and ``summary``."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def warn_missing(path: Path) -> None:
    """Warn that there is no repository in ``path``."""
    warnings.warn(f"there is no repository in {path} yet: call init(user_name, user_email)", UserWarning, stacklevel=3)
