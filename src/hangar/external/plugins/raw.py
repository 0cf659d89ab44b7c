"""Plugin for raw bytes: the content of any file is one ``bytes`` value."""

from __future__ import annotations

import os
from typing import Any

from hangar import limits
from hangar.errors import InvalidInputError
from hangar.external.plugins._files import FilePlugin
from hangar.external.safe_io import file_error, open_input

__all__ = ["RawPlugin", "read_bytes"]


def read_bytes(path: str, limit: int) -> bytes:
    """All bytes of a regular file. A file of more than ``limit`` bytes is refused without reading it."""
    with open_input(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise InvalidInputError(f"{path} is {size:,} bytes long: the limit for one value is {limit:,}")
        try:
            return file.read(limit)
        except OSError as error:
            raise file_error("read", path, error) from error


class RawPlugin(FilePlugin):
    """Reads and writes bytes values as files."""

    column_types = frozenset(("bytes",))

    def load(self, fpath: str) -> tuple[bytes, str]:
        """The bytes of a file, and its name."""
        return read_bytes(fpath, limits.MAX_TEXT_BYTES), self.sample_name(fpath)

    def encode(self, arr: Any, extension: str) -> bytes:
        """The value itself."""
        if not isinstance(arr, (bytes, bytearray, memoryview)):
            raise self._wrong_type(arr, extension)
        return bytes(arr)
