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

__all__ = ["export_many", "write_to_stdout"]


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


def write_to_stdout(column: Any, keys: Sequence[Any], kind: str, options: dict[str, Any]) -> None:
    """Write the samples ``keys`` of ``column`` to stdout, as a table of text. Nothing is written if they do not fit one."""
    from tempfile import TemporaryDirectory

    from hangar.external.many import ManyExport

    with TemporaryDirectory(prefix="hangar-export-") as folder:
        path = Path(folder) / f"export.{kind}"
        try:
            work = ManyExport(column, path, kind, options)
        except InvalidInputError as error:
            raise click.UsageError(str(error)) from None
        work.run(keys)
        with path.open("rb") as file:
            for part in iter(lambda: file.read(2**20), b""):
                click.echo(part, nl=False)
