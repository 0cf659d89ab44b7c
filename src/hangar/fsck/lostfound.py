"""The directory ``.hangar/lost-found``: a repair moves replaced content here, because it may be the only copy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from hangar import _fs

__all__ = ["DIRECTORY", "LostFound", "Row"]

DIRECTORY: Final = "lost-found"


class Row(msgspec.Struct, frozen=True):
    """A row of the database that was replaced or deleted: names and bytes in hex."""

    table: str
    key: str
    row: str
    why: str


class LostFound:
    """The directory of one repository; it is made when it is needed.

    Parameters
    ----------
    directory
        The ``.hangar`` directory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _next(self, name: str) -> Path:
        place = self._directory / DIRECTORY
        _fs.make_directory(place)
        numbers = [int(one[:6]) for one in _fs.list_directory(place) if one[:6].isdecimal()]
        return place / f"{max(numbers, default=0) + 1:06d}-{name}"

    def move(self, path: Path) -> str:
        """Move a file or directory here; returns its new path below ``.hangar``."""
        target = self._next(path.name)
        _fs.move_directory(path, target)
        return f"{DIRECTORY}/{target.name}"

    def keep(self, name: str, data: bytes) -> str:
        """Write bytes here; returns the path below ``.hangar``."""
        target = self._next(name)
        _fs.write_new_file(target, [data])
        return f"{DIRECTORY}/{target.name}"

    def keep_rows(self, rows: Sequence[Row]) -> str:
        """Write rows here, a line of JSON each."""
        return self.keep("rows.json", b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
