"""Plugins for columns of images, audio and video: the file itself is the value, checked without decoding it."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any

from hangar.errors import InvalidInputError
from hangar.external.plugins._files import FilePlugin, SizeLimit
from hangar.external.plugins._probing import probe_image
from hangar.external.records import Probe
from hangar.inputs import read
from hangar.schema import AudioSchema, ImageSchema, MediaSchema, VideoSchema

__all__ = ["AudioFilePlugin", "ImageFilePlugin", "VideoFilePlugin"]


class _MediaFilePlugin(FilePlugin):
    """Reads files as bytes and writes them unchanged."""

    @abstractmethod
    def _make_schema(self) -> MediaSchema:
        """A schema of the kind, which checks files."""

    @cached_property
    def _schema(self) -> MediaSchema:
        return self._make_schema()

    def load(self, fpath: str) -> tuple[bytes, str]:
        """The bytes of a file, and its name."""
        return self.decode(read(fpath), fpath), self.sample_name(fpath)

    def decode(self, data: bytes, where: str, *, size_limit: SizeLimit | None = None, **options: Any) -> bytes:
        """As in the base class: the file itself, checked."""
        try:
            self._schema.check_file(data)
        except InvalidInputError as error:
            raise InvalidInputError(f"{where}: {error}") from None
        return data

    def encode(self, arr: Any, extension: str) -> bytes:
        """The file itself."""
        if not isinstance(arr, bytes):
            raise self._wrong_type(arr, extension)
        return arr


class ImageFilePlugin(_MediaFilePlugin):
    """Image files of columns of images."""

    column_types = frozenset(("image",))

    def probe(self, fpath: str, **options: Any) -> list[Probe]:
        """As in the base class."""
        return [probe_image(fpath)]

    def _make_schema(self) -> MediaSchema:
        return ImageSchema()


class AudioFilePlugin(_MediaFilePlugin):
    """Audio files of columns of audio."""

    column_types = frozenset(("audio",))

    def _make_schema(self) -> MediaSchema:
        return AudioSchema()


class VideoFilePlugin(_MediaFilePlugin):
    """Video files of columns of video."""

    column_types = frozenset(("video",))

    def _make_schema(self) -> MediaSchema:
        return VideoSchema()
