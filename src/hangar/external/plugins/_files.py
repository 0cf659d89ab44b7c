"""Base class of the built-in plugins: one file holds one value, and is written atomically."""

from __future__ import annotations

from typing import Any, ClassVar

from hangar.errors import InvalidInputError
from hangar.external.base import BasePlugin
from hangar.external.expansion import SizeLimit
from hangar.external.safe_io import OutputDirectory, safe_parts, safe_suffix

__all__ = ["FilePlugin", "SizeLimit"]


class FilePlugin(BasePlugin):
    """A plugin that encodes a value to the bytes of a file. The caller writes the file."""

    thread_safe: ClassVar[bool] = True

    def read(self, fpath: str, *, size_limit: SizeLimit | None = None, **options: Any) -> Any:
        """As :meth:`load`, but the array may be read-only, and refused before decoding if above ``size_limit``."""
        return self.load(fpath, **options)

    def decode(self, data: bytes, where: str, *, size_limit: SizeLimit | None = None, **options: Any) -> Any:
        """The value in a file whose content is ``data``, such as a member of an archive; ``where`` names it in messages.

        Takes the options of :meth:`load`, and raises its errors.
        """
        raise NotImplementedError

    def encode(self, arr: Any, extension: str, *args: Any, **kwargs: Any) -> bytes | memoryview:
        """The bytes of a file of ``extension`` that holds ``arr``.

        Raises
        ------
        InvalidInputError
            The format cannot hold the value.
        """
        raise NotImplementedError

    def can_encode(self, arr: Any, extension: str) -> bool:
        """Whether a file of ``extension`` can hold ``arr``. By default True."""
        return True

    def save(self, arr: Any, outdir: str, sample_detail: str, extension: str, *args: Any, **kwargs: Any) -> str:
        """Write a value to a file, and return its path.

        Raises
        ------
        InvalidInputError
            The format cannot hold the value, or the path is taken by something other than a regular file.
        AccessError, DiskFullError, StorageError
            An operation of the operating system failed.
        """
        data = self.encode(arr, extension, *args, **kwargs)
        kind, colon, name = sample_detail.partition(":")
        *directories, stem = safe_parts(name if colon and kind in ("str", "int") else sample_detail)
        with OutputDirectory(outdir) as directory:
            return str(directory.write((*directories, stem + safe_suffix(extension)), data))

    def _options(self, method: str) -> dict[str, Any] | None:
        # `save` passes its options to `encode`.
        return super()._options("encode" if method == "save" else method)

    def single_name(self, fpath: str) -> str | None:
        """As the base class says."""
        return self.sample_name(fpath)

    def _wrong_type(self, arr: Any, extension: str) -> InvalidInputError:
        held = " or ".join(sorted(self.column_types or ()))
        return InvalidInputError(f"a .{extension} file holds {held}, not {type(arr).__name__}")
