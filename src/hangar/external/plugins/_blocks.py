"""Base class of the built-in plugins for files that hold many samples."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from hangar.errors import InvalidStateError, PathNotFoundError
from hangar.external.base import BasePlugin
from hangar.external.fit import ColumnRequirements
from hangar.external.records import Block, FileHeader, SampleName

__all__ = ["BlockPlugin", "need_package"]


def need_package(name: str, extra: str) -> Any:
    """Import an optional package.

    Raises
    ------
    MissingPackageError
        It is not installed; the message names the extra that installs it.
    """
    from importlib import import_module

    from hangar.errors import MissingPackageError

    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"these files need {name}: run `pip install 'hangar[{extra}]'`") from error
    except ImportError as error:
        raise InvalidStateError(f"{name} is installed and cannot be loaded: {error}") from error


class BlockPlugin(BasePlugin):
    """A plugin for files that hold many samples, which are read and written in blocks."""

    def blocks(self, fpath: str, requirements: ColumnRequirements | None) -> Iterator[Block]:
        """Read the samples of a file.

        Parameters
        ----------
        fpath
            The file.
        requirements
            Schema of the column that the samples go to, if it is known.

        Raises
        ------
        InvalidInputError
            The file is damaged, or holds something that is not read.
        """
        raise NotImplementedError

    def header(self, fpath: str) -> FileHeader | None:
        """The header that an export wrote into the file; None if it is another file."""
        return None

    def load(self, fpath: str, *args: Any, **options: Any) -> Iterator[tuple[Any, str]]:
        """The values in a file and their names. Raises the errors of :meth:`blocks`; damaged samples raise too."""
        if not os.path.lexists(fpath):
            raise PathNotFoundError(f"there is no file {fpath}")
        return self._pairs(fpath, *args, **options)

    def _pairs(self, fpath: str, *args: Any, **options: Any) -> Iterator[tuple[Any, str]]:
        for block in self.blocks(fpath, None, *args, **options):
            for value, name in zip(block.values, block.names, strict=True):
                yield value, SampleName(name) if block.exact else str(name)
            for _, error in block.failures:
                raise error

    def _options(self, method: str) -> dict[str, Any] | None:
        # `load` passes its options to `blocks`.
        return super()._options("blocks" if method == "load" else "writer" if method == "save" else method)
