"""``hangar export`` to one file that holds many samples, or to tar shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from hangar.cli.output import echo, visible, write_json
from hangar.errors import InvalidInputError
from hangar.progress import format_bytes
from hangar.wording import plural

__all__ = ["export_many"]


def export_many(
    column: Any,
    name: str,
    commit: str,
    keys: Sequence[Any],
    purged: Sequence[Any],
    path: Path,
    kind: str,
    options: dict[str, Any],
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write the samples ``keys`` of ``column`` to the file ``path``, and say so."""
    from hangar.external.many import ManyExport

    try:
        work = ManyExport(column, path, kind, options, overwrite)
    except InvalidInputError as error:
        raise click.UsageError(str(error)) from None
    report = work.run(keys)
    if as_json:
        write_json(
            {
                "column": name,
                "commit": commit,
                "format": kind,
                "nbytes": report.nbytes,
                "samples": report.samples,
                "files": [str(file) for file in report.files],
                "purged": list(purged),
            }
        )
        return
    where = str(report.files[0]) if len(report.files) == 1 else f"{len(report.files):,} files in {path}"
    echo(f"Wrote {plural(report.samples, 'sample')} of {name} to {visible(where)}, {format_bytes(report.nbytes)}")
