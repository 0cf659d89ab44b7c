"""Plugin for UTF-8 text: a file is one ``str`` value. A byte order mark and line endings are kept."""

from __future__ import annotations

from typing import Any

from hangar.errors import InvalidInputError
from hangar.external.plugins._files import FilePlugin, SizeLimit
from hangar.external.records import Probe
from hangar.inputs import read

__all__ = ["TextPlugin"]


class TextPlugin(FilePlugin):
    """Reads and writes str values as UTF-8 files."""

    column_types = frozenset(("str",))

    def load(self, fpath: str) -> tuple[str, str]:
        """The text of a file, and its name.

        Raises
        ------
        InvalidInputError
            It is not UTF-8, or longer than a str value may be.
        """
        return self.decode(read(fpath), fpath), self.sample_name(fpath)

    def decode(self, data: bytes, where: str, *, size_limit: SizeLimit | None = None, **options: Any) -> str:
        """As in the base class."""
        try:
            return str(data, "utf-8")
        except UnicodeDecodeError as error:
            raise InvalidInputError(f"{where} is not UTF-8 text: {error.reason} at byte {error.start}") from None

    def probe(self, fpath: str, **options: Any) -> list[Probe]:
        """As in the base class."""
        return [Probe("text", "str")]

    def encode(self, arr: Any, extension: str) -> bytes:
        """The bytes of a text."""
        if not isinstance(arr, str):
            raise self._wrong_type(arr, extension)
        return arr.encode("utf-8")
