"""JSON records of columns, commits, changes and writers. All JSON keys of these are defined here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hangar.cli.views import View
    from hangar.describe import ColumnStatus, CommitInfo
    from hangar.lock import Holder
    from hangar.names import SampleKey

__all__ = ["change_record", "column_record", "commit_record", "place_record", "sample_record", "writer_record"]


def place_record(view: View) -> dict[str, Any]:
    """The commit or staging area that a command read; ``branch`` is null for a commit."""
    return {"branch": view.branch or None, "commit": view.commit}


def column_record(name: str, column: Any) -> dict[str, Any]:
    """A column."""
    return {
        "name": name,
        "type": column.column_type,
        "layout": column.column_layout,
        "dtype": column.schema.dtype_name,
        "shape": None if column.shape is None else list(column.shape),
        "variable_shape": column.schema_type == "variable_shape",
        **({"chunks": list(column.schema.chunks)} if column.column_type == "chunked" else {}),
        "backend": column.backend,
        "samples": len(column),
        "subsamples": column.num_subsamples if column.contains_subsamples else None,
        "attributes": dict(column.attributes),
        # Only if a package is missing, which is rare.
        **({"needs": column.needs} if column.needs else {}),
    }


def commit_record(info: CommitInfo, view: View) -> dict[str, Any]:
    """A commit and its columns; ``view`` reads it."""
    return {
        "digest": info.digest,
        "tree": info.tree,
        "parents": list(info.parents),
        "author": info.author,
        "email": info.email,
        "time": info.time,
        "message": info.message,
        "meta": dict(info.meta),
        "attributes": dict(info.attributes),
        "columns": [column_record(name, column) for name, column in view.items()],
    }


def change_record(column: ColumnStatus) -> dict[str, Any]:
    """Changes of a column since the parent commit."""
    return {
        "column": column.name,
        "state": column.state,
        "added": column.added,
        "deleted": column.deleted,
        "mutated": column.mutated,
        "renamed_from": column.renamed_from or None,
        "schema": column.schema,
        "attributes": list(column.attributes),
    }


def sample_record(key: Sequence[SampleKey]) -> dict[str, Any]:
    """The address of a sample: of a flat column ``[sample]``, of a nested one ``[sample, subsample]``."""
    return {"sample": key[0], "subsample": key[1] if len(key) > 1 else None}


def writer_time(writer: Holder) -> str | None:
    """When the lock was taken, in ISO 8601 with the local time zone."""
    if writer.time is None:
        return None
    return datetime.fromtimestamp(writer.time).astimezone().isoformat(timespec="seconds")


def writer_record(writer: Holder | None) -> dict[str, Any] | None:
    """The holder of the writer lock, or None."""
    if writer is None:
        return None
    return {"pid": writer.pid, "host": writer.host, "user": writer.user, "time": writer_time(writer)}
