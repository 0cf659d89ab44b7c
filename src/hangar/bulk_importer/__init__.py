"""Bulk import: a function turns items into values in many processes, and one writer stores them.

:func:`import_items` stages what it imports step by step, goes on where it was after a crash, and lists the items that
fail. :func:`run_bulk_import` is all or nothing. Worker processes run the function, encode and hash; arrays come back in
shared memory.
"""

from __future__ import annotations

from hangar.bulk_importer.items import import_items
from hangar.bulk_importer.report import FailedItem, ImportReport
from hangar.bulk_importer.udf import UDF_Return, run_bulk_import

__all__ = ["FailedItem", "ImportReport", "UDF_Return", "import_items", "run_bulk_import"]
