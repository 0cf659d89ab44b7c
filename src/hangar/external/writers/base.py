"""Contract of the writers of files that hold many samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from hangar.external.fit import ColumnRequirements
from hangar.external.keysfile import Key
from hangar.external.records import FileHeader

__all__ = ["ManyWriter", "Target"]


class Target:
    """What a writer writes: the column, and a path in a private temporary folder.

    Attributes
    ----------
    path
        The file (for zarr: the folder) to create.
    header
        The header that an import restores the samples from.
    requirements
        Schema of the column.
    """

    def __init__(self, path: Path, header: FileHeader, requirements: ColumnRequirements) -> None:
        self.path, self.header, self.requirements = path, header, requirements


class ManyWriter(Protocol):
    """Writes samples to one file. The caller moves the file to its place when it is complete."""

    def write(self, keys: Sequence[Key], values: Any) -> None:
        """Write a batch: a stacked array for a column of fixed shape, else a list.

        Raises
        ------
        InvalidInputError
            The format cannot hold a value.
        """
        ...

    def close(self) -> None:
        """Complete the file."""
        ...

    def abort(self) -> None:
        """Release what is open, after an error. The caller removes the file."""
        ...
