"""``hangar import PATH`` without a column: a whole dataset becomes columns."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hangar.cli.import_report import MOST_LISTED
from hangar.cli.output import confirm, echo, note, on_terminal, visible, write_json
from hangar.cli.state import State
from hangar.errors import InvalidInputError, PathNotFoundError
from hangar.progress import format_bytes
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.bulk_importer import DatasetPlan, ImportReport

__all__ = ["whole_dataset"]

_OPTIONS: Final = (
    click.option(
        "--dry-run", is_flag=True, help="Without PATH: only show what would be imported, and into which columns."
    ),
    click.option("-y", "--yes", is_flag=True, help="Without PATH: do not ask. Needed where there is no terminal."),
    click.option(
        "--prefix", default="", metavar="TEXT", help="Without PATH: begin the names of all columns with TEXT."
    ),
    click.option("--arrays", is_flag=True, help="Without PATH: store images as RGB arrays, not as files."),
    click.option(
        "--workers",
        type=click.IntRange(0, 512),
        help="Without PATH: number of worker processes. Default: one for each processor.",
    ),
)


_HELP: Final = """\
    With one argument, the PATH of a folder, import a whole dataset: the command looks at the folder, proposes columns,
    and asks before it writes. It knows folders of images by class (and by split), COCO annotations beside images, a
    table (CSV, TSV, JSON lines) beside images, and folders of Parquet or Arrow files as of Hugging Face. Many processes
    read the files; after Ctrl-C or a crash, the same command continues.

    For example:
      hangar import ../imagenet --dry-run
      hangar import ../coco --yes --prefix coco_
"""
_JSON: Final = """\
    Of a whole dataset: layout, path, notes, columns, items; when imported also branch, imported, resumed, samples (by
    column), nbytes, failed (item, error, reason).
    """
_NAMES: Final = ("dry_run", "yes", "prefix", "arrays", "workers")


def whole_dataset(function: Callable[..., None]) -> Callable[..., None]:
    """Decorator of ``hangar import``: with one argument, a path, the import of a whole dataset."""

    @wraps(function)
    def call(state: State, ctx: click.Context, *, column: str, path: Path | None, **options: Any) -> None:
        whole: Any = {name: options.pop(name) for name in _NAMES}
        if path is not None:
            used = [name for name, value in whole.items() if value not in (False, "", None)]
            if used:
                raise click.UsageError(
                    f"--{used[0].replace('_', '-')} is for whole datasets, which are imported without a column: "
                    f"`hangar import {path}`"
                )
            function(state, ctx, column=column, path=path, **options)
            return
        for name in ("plugin", "int_keys", "keep_names", "plugin_options"):
            if options.get(name):
                raise click.UsageError(
                    f"without PATH there is no option {name.replace('_', '-')}: name a COLUMN and a PATH"
                )
        _import(state, column, options["branch"], options, **whole)

    call.__doc__ = (function.__doc__ or "").rstrip(" ").replace("    For example:\n", _HELP, 1) + _JSON
    decorated: Callable[..., None] = call
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def _import(state: State, name: str, branch: str | None, options: dict[str, Any], **whole: Any) -> None:
    from hangar.bulk_importer import import_dataset, plan_dataset

    path = state.resolve(Path(name))
    if not path.exists():
        raise PathNotFoundError(
            f"there is no folder {path}: to import files into column {name!r}, name both: `hangar import {name} PATH`"
        )
    as_json: bool = options["as_json"]
    plan = plan_dataset(path, arrays=whole["arrays"], prefix=whole["prefix"])
    if whole["dry_run"]:
        _show_plan(plan, as_json)
        return
    if not whole["yes"]:
        if not on_terminal():
            raise click.UsageError("there is no terminal to ask on: use --yes to import, or --dry-run to see the plan")
        for line in plan.lines():
            note(visible(line))
        confirm(f"Import {plural(len(plan.items), 'item')}?")
    elif not as_json:
        for line in plan.lines():
            echo(visible(line))
    with state.writer(branch) as checkout:
        report = import_dataset(
            checkout,
            plan,
            workers=whole["workers"],
            overwrite=options["overwrite"],
            on_error="stop" if options.get("on_error") == "stop" else "collect",
        )
        _conclude(plan, checkout.branch_name, report, as_json)


def _show_plan(plan: DatasetPlan, as_json: bool) -> None:
    if as_json:
        write_json(_record(plan))
        return
    for line in plan.lines():
        echo(visible(line))


def _record(plan: DatasetPlan) -> dict[str, Any]:
    columns = [
        {
            "name": column.name,
            "kind": column.kind,
            "dtype": column.dtype or None,
            "shape": list(column.shape) if column.kind == "ndarray" else None,
            "variable": column.variable,
            "nested": column.nested,
            "attributes": dict(column.attributes),
        }
        for column in plan.columns
    ]
    return {
        "layout": plan.layout,
        "path": plan.path,
        "notes": list(plan.notes),
        "columns": columns,
        "items": len(plan.items),
    }


def _conclude(plan: DatasetPlan, branch: str, report: ImportReport, as_json: bool) -> None:
    """Write the result; an error if an item failed."""
    if as_json:
        failed = [{"item": _name(one.item), "error": one.kind, "reason": one.message} for one in report.failed]
        write_json(
            {
                **_record(plan),
                "branch": branch,
                "imported": report.imported,
                "resumed": report.resumed,
                "samples": dict(report.samples),
                "nbytes": report.nbytes,
                "failed": failed,
            }
        )
    else:
        there = f"; {plural(report.resumed, 'item')} were staged already" if report.resumed else ""
        flat = [report.samples.get(column.name, 0) for column in plan.columns if not column.nested]
        echo(
            f"Imported {plural(max(flat, default=0), 'sample')} into {plural(len(plan.columns), 'column')}, "
            f"{format_bytes(report.nbytes)}{there}"
        )
        for one in islice(report.failed, MOST_LISTED):
            note(f"Not imported: {visible(f'{_name(one.item)}: {one.message}')}")
        if len(report.failed) > MOST_LISTED:
            note(f"Not imported: {len(report.failed) - MOST_LISTED:,} more, which --json lists")
    if report.failed:
        raise InvalidInputError(
            f"{plural(len(report.failed), 'item')} could not be imported; the rest is staged. Repair the files and run "
            "the same command again"
        )


def _name(item: Any) -> str:
    """The file of an item."""
    return str(item[1] if isinstance(item, tuple) and len(item) > 1 and isinstance(item[1], str) else item[0])
