"""Bulk import: a function turns items into values in many processes, and one writer stores them.

:func:`import_items` stages what it imports step by step, goes on where it was after a crash, and lists the items that
fail. :func:`run_bulk_import` is all or nothing. Worker processes run the function, encode and hash; arrays come back in
shared memory. :func:`import_dataset` imports a folder that holds a whole dataset.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hangar.bulk_importer.items import import_items
    from hangar.bulk_importer.layouts import DatasetPlan, PlannedColumn, import_dataset, plan_dataset
    from hangar.bulk_importer.report import FailedItem, ImportReport
    from hangar.bulk_importer.udf import UDF_Return, run_bulk_import

__all__ = [
    "DatasetPlan",
    "FailedItem",
    "ImportReport",
    "PlannedColumn",
    "UDF_Return",
    "import_dataset",
    "import_items",
    "plan_dataset",
    "run_bulk_import",
]

_ORIGINS: Final = {
    "DatasetPlan": "layouts",
    "FailedItem": "report",
    "ImportReport": "report",
    "PlannedColumn": "layouts",
    "UDF_Return": "udf",
    "import_dataset": "layouts",
    "import_items": "items",
    "plan_dataset": "layouts",
    "run_bulk_import": "udf",
}

if not TYPE_CHECKING:  # a worker process does not need what the writer needs

    def __getattr__(name: str) -> object:
        if name not in _ORIGINS:
            raise AttributeError(f"module 'hangar.bulk_importer' has no attribute {name!r}", name=name)
        found = globals()[name] = getattr(import_module(f"hangar.bulk_importer.{_ORIGINS[name]}"), name)
        return found
