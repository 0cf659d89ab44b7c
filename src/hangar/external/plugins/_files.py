"""What the built-in plugins share: one file is one value, written whole, and never beside the directory it belongs in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from hangar.errors import InvalidInputError
from hangar.external.base import BasePlugin
from hangar.external.safe_io import OutputDirectory, safe_parts, safe_suffix

__all__ = ["FilePlugin", "SizeLimit"]


@dataclass(frozen=True, slots=True)
class SizeLimit:
    """How large an array may be.

    Attributes
    ----------
    values
        Elements at most.
    holder
        What sets that bound, as the end of a sentence: ``"column 'images' holds shape 4 x 5"``.
    """

    values: int
    holder: str


class FilePlugin(BasePlugin):
    """A plugin that can say what bytes a file would have, and leaves writing them to others."""

    thread_safe: ClassVar[bool] = True

    def read(self, fpath: str, *, size_limit: SizeLimit | None = None, **options: Any) -> Any:
        """As :meth:`load`, for one who only copies the values: an array may be read-only. What is larger than ``size_limit`` may be refused unread."""
        return self.load(fpath, **options)

    def encode(self, arr: Any, extension: str, *args: Any, **kwargs: Any) -> bytes | memoryview:
        """The bytes of a file of ``extension`` that holds ``arr``.

        Raises
        ------
        InvalidInputError
            Such a file cannot hold it.
        """
        raise NotImplementedError

    def can_encode(self, arr: Any, extension: str) -> bool:
        """Whether a file of ``extension`` can hold ``arr``. The default asks no more than that the extension is written at all."""
        return True

    def save(self, arr: Any, outdir: str, sample_detail: str, extension: str, *args: Any, **kwargs: Any) -> str:
        """Write a value; the path of the file.

        Raises
        ------
        InvalidInputError
            Such a file cannot hold the value, or something other than a regular file is in the way.
        AccessError, DiskFullError, StorageError
            The operating system refuses.
        """
        data = self.encode(arr, extension, *args, **kwargs)
        kind, colon, name = sample_detail.partition(":")
        *directories, stem = safe_parts(name if colon and kind in ("str", "int") else sample_detail)
        with OutputDirectory(outdir) as directory:
            return str(directory.write((*directories, stem + safe_suffix(extension)), data))

    def _options(self, method: str) -> dict[str, Any] | None:
        # What `save` takes goes to `encode`.
        return super()._options("encode" if method == "save" else method)

    def single_name(self, fpath: str) -> str | None:
        """As the base class says."""
        return self.sample_name(fpath)

    def _wrong_type(self, arr: Any, extension: str) -> InvalidInputError:
        held = " or ".join(sorted(self.column_types or ()))
        return InvalidInputError(f"a .{extension} file holds {held}, not {type(arr).__name__}")
