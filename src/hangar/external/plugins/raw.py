"""Plugin for raw bytes: the content of any file is one ``bytes`` value."""

from __future__ import annotations

from typing import Any

from hangar.external.plugins._files import FilePlugin, SizeLimit
from hangar.external.records import Probe
from hangar.inputs import read as read_bytes

__all__ = ["RawPlugin", "read_bytes"]


class RawPlugin(FilePlugin):
    """Reads and writes bytes values as files."""

    column_types = frozenset(("bytes",))

    def load(self, fpath: str) -> tuple[bytes, str]:
        """The bytes of a file, and its name."""
        return read_bytes(fpath), self.sample_name(fpath)

    def decode(self, data: bytes, where: str, *, size_limit: SizeLimit | None = None, **options: Any) -> bytes:
        """As in the base class."""
        return data

    def probe(self, fpath: str, **options: Any) -> list[Probe]:
        """As in the base class."""
        return [Probe("bytes", "bytes")]

    def encode(self, arr: Any, extension: str) -> bytes:
        """The value itself."""
        if not isinstance(arr, (bytes, bytearray, memoryview)):
            raise self._wrong_type(arr, extension)
        return bytes(arr)
