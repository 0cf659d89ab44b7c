"""Layouts of whole datasets: what a folder holds, and how it becomes columns."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hangar.bulk_importer.items import import_items
from hangar.bulk_importer.layouts.classification import find_classes
from hangar.bulk_importer.layouts.coco import find_coco
from hangar.bulk_importer.layouts.parquet import find_tables
from hangar.bulk_importer.layouts.plan import DatasetPlan, PlannedColumn, count_suffixes, require_known
from hangar.bulk_importer.layouts.table import find_table
from hangar.bulk_importer.report import ImportReport
from hangar.external.naming import find_files
from hangar.progress import Progress

if TYPE_CHECKING:
    from hangar.checkout import WriterCheckout

__all__ = ["DatasetPlan", "PlannedColumn", "import_dataset", "plan_dataset"]

_LAYOUTS = (find_tables, find_coco, find_table, find_classes)
"""In this order: a folder of images with a table beside them is more than a folder of images."""


def plan_dataset(path: str | os.PathLike[str], *, arrays: bool = False, prefix: str = "") -> DatasetPlan:
    """Look at a dataset on disk, and plan its import. Nothing is written.

    Known are: folders of images with a folder for each class (and for each split), COCO annotations beside images, a
    table (CSV, TSV, JSON lines) beside images, and folders of Parquet or Arrow files as of Hugging Face.

    Parameters
    ----------
    path
        The folder, or one file of Parquet or Arrow.
    arrays
        Store images as RGB arrays. Default: the files as they are, which are decoded when they are read.
    prefix
        Beginning of the names of all columns.

    Raises
    ------
    PathNotFoundError
        There is no such folder.
    InvalidInputError
        The layout is not known, or a file that describes the dataset is invalid.
    """
    top = os.fspath(path)
    sources = find_files(top)
    plan = None
    for find in _LAYOUTS:
        plan = find(top, sources, arrays=arrays, prefix=prefix)
        if plan is not None:
            break
    return require_known(plan, top, count_suffixes(str(PurePosixPath(one.relative)) for one in sources) or "no files")


def import_dataset(
    checkout: WriterCheckout,
    plan: DatasetPlan | str | os.PathLike[str],
    *,
    workers: int | None = None,
    overwrite: bool = False,
    on_error: str = "collect",
    progress: Progress = None,
) -> ImportReport:
    """Import a whole dataset: add its columns, and import its items in many processes.

    Parameters
    ----------
    checkout
        A write checkout.
    plan
        The plan of :func:`plan_dataset`, or a path.
    workers, overwrite, on_error, progress
        As for :func:`hangar.bulk_importer.import_items`. The same call continues after a crash.

    Returns
    -------
    ImportReport
        Counts, and the items that failed.

    Raises
    ------
    ColumnExistsError
        (a ``LookupError``) a column of this name holds something else. Nothing was changed.
    """
    planned = plan if isinstance(plan, DatasetPlan) else plan_dataset(plan)
    made = planned.prepare(checkout)
    names = [column.name for column in planned.columns]
    report = import_items(
        checkout,
        names,
        planned.items,
        planned.load,
        workers=workers,
        overwrite=overwrite,
        on_error=on_error,
        progress=progress,
    )
    if not report.imported and not report.resumed:
        for name in made:
            checkout.columns.delete(name)
    return report
