"""Registry of plugins: the built-in ones, and those that installed packages register as entry points.

Built-in plugins have priority, so that installing a package never changes how a known file is read. Any plugin can be
selected by its name. A built-in plugin is imported at its first use. Entry points are read only if no built-in plugin
fits.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Final, NamedTuple

from hangar.errors import InvalidInputError
from hangar.external.base import METHODS, BasePlugin, normal_extension

__all__ = ["ENTRY_POINT_GROUP", "PluginManager", "manager"]

ENTRY_POINT_GROUP: Final = "hangar.external.plugins"


class _BuiltIn(NamedTuple):
    """A plugin of this package, described without importing it."""

    module: str
    cls: str
    provides: tuple[str, ...]
    accepts: tuple[str, ...]


_LOAD: Final = ("load",)
_LOAD_SAVE: Final = ("load", "save")
_HERE: Final = "hangar.external.plugins"
AUDIO_SUFFIXES: Final = ("wav", "flac", "ogg", "oga", "opus", "mp3", "aif", "aiff", "au", "caf")
VIDEO_SUFFIXES: Final = ("mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "mts", "ogv")
IMAGE_SUFFIXES: Final = (
    *("png", "jpg", "jpeg", "jpe", "jfif", "bmp", "dib", "tif", "tiff", "webp", "gif"),
    *("ppm", "pgm", "pbm", "pnm", "pfm"),
)
BUILT_IN: Final[dict[str, _BuiltIn]] = {
    "images": _BuiltIn(
        f"{_HERE}.images",
        "ImagePlugin",
        ("load", "save", "show"),
        ("png", "jpg", "jpeg", "bmp", "tif", "tiff", "webp", "ppm", "pgm", "pbm", "pnm", "gif"),
    ),
    "image-file": _BuiltIn(f"{_HERE}.media", "ImageFilePlugin", _LOAD_SAVE, IMAGE_SUFFIXES),
    "npz": _BuiltIn(f"{_HERE}.npz", "NpzPlugin", _LOAD, ("npz",)),
    "audio": _BuiltIn(f"{_HERE}.audio", "AudioPlugin", _LOAD_SAVE, ("wav", "flac", "ogg", "aiff", "aif")),
    "audio-file": _BuiltIn(f"{_HERE}.media", "AudioFilePlugin", _LOAD_SAVE, AUDIO_SUFFIXES),
    "video-file": _BuiltIn(f"{_HERE}.media", "VideoFilePlugin", _LOAD_SAVE, VIDEO_SUFFIXES),
    "numpy": _BuiltIn(f"{_HERE}.arrays", "NumpyPlugin", _LOAD_SAVE, ("npy", "npz")),
    "sparse": _BuiltIn(f"{_HERE}.sparse", "SparsePlugin", _LOAD_SAVE, ("npz",)),
    "text": _BuiltIn(f"{_HERE}.text", "TextPlugin", _LOAD_SAVE, ("txt",)),
    "raw": _BuiltIn(f"{_HERE}.raw", "RawPlugin", _LOAD_SAVE, ("bin", "raw")),
    "hdf5": _BuiltIn(f"{_HERE}.hdf5", "HDF5Plugin", _LOAD, ("h5", "hdf5", "hdf", "he5")),
    "tables": _BuiltIn(
        f"{_HERE}.tables", "TablePlugin", _LOAD, ("csv", "tsv", "tab", "jsonl", "ndjson", "parquet", "pq")
    ),
    "tar": _BuiltIn(f"{_HERE}.tar", "TarPlugin", _LOAD, ("tar", "tar.gz", "tgz")),
    "zarr": _BuiltIn(f"{_HERE}.zarr_store", "ZarrPlugin", _LOAD, ("zarr",)),
    "nifti": _BuiltIn(f"{_HERE}.nifti", "NiftiPlugin", _LOAD_SAVE, ("nii.gz", "nii")),
    "dicom": _BuiltIn(f"{_HERE}.dicom", "DicomPlugin", _LOAD_SAVE, ("dcm", "dicom")),
}
"""The plugins of this package, in order of priority."""


class PluginManager:
    """Registry that finds the plugin for a method and a file extension.

    Attributes
    ----------
    valid_provides
        The methods a plugin may provide.
    """

    valid_provides: Final = METHODS

    def __init__(self) -> None:
        self._built_in: dict[str, BasePlugin] = {}
        self._installed: dict[str, BasePlugin] | None = None

    @property
    def plugins_loaded(self) -> bool:
        """Whether the plugins of installed packages have been looked up."""
        return self._installed is not None

    def reset_plugins(self) -> None:
        """Forget every plugin and look up those of installed packages again."""
        self._built_in.clear()
        self._installed = _scan()

    def get_plugin(self, method: str, plugin: str | None = None, extension: str | None = None) -> Callable[..., Any]:
        """The method ``method`` of a plugin, bound to it (the plugin is its ``__self__``).

        Raises
        ------
        InvalidInputError
            The same as in :meth:`find`.
        """
        function: Callable[..., Any] = getattr(self.find(method, plugin, extension), method)
        return function

    def find(self, method: str, plugin: str | None = None, extension: str | None = None) -> BasePlugin:
        """The plugin named ``plugin``, or else the first with ``method`` for files of ``extension``.

        Raises
        ------
        InvalidInputError
            An unknown method or plugin, a plugin that does not provide the method, no plugin for the extension, or
            neither a plugin nor an extension given.
        """
        if method not in METHODS:
            raise InvalidInputError(f"{method!r} is not a method of a plugin: use one of {', '.join(METHODS)}")
        if plugin is not None:
            return self._named(plugin, method)
        if extension is None:
            raise InvalidInputError(f"give a plugin or a file extension to find out what could do {method}")
        wanted = normal_extension(extension)
        for candidate in self._candidates(method, wanted):
            return candidate
        raise InvalidInputError(f"No plugins found for the file extension {wanted} that could do {method}")

    def names(self) -> list[str]:
        """The names of all plugins, built-in ones first."""
        return [*BUILT_IN, *(name for name in self._installed_plugins() if name not in BUILT_IN)]

    def for_file(self, method: str, name: str, column_type: str) -> BasePlugin | None:
        """The plugin with ``method`` for the file ``name`` and a column of type ``column_type``; None if there is none.

        A ``bytes`` column stores the bytes of any file. The longest suffix has priority (``nii.gz`` before ``gz``).
        """
        if column_type == "bytes":
            return self._built_in_plugin("raw")
        parts = name.rsplit("/", 1)[-1].lower().split(".")[1:]
        for start in range(len(parts)):
            for candidate in self._candidates(method, ".".join(parts[start:])):
                if candidate.column_types is None or column_type in candidate.column_types:
                    return candidate
        return None

    def extension_of(self, method: str, path: str) -> str | None:
        """The longest suffix of ``path`` that a plugin with ``method`` accepts (``nii.gz``), else the last one, else None."""
        parts = path.rstrip("/").rsplit("/", 1)[-1].split(".")[1:]
        for start in range(len(parts)):
            extension = normal_extension(".".join(parts[start:]))
            if next(self._candidates(method, extension), None) is not None:
                return extension
        return parts[-1] if parts else None

    def _candidates(self, method: str, extension: str) -> Iterator[BasePlugin]:
        for name, description in BUILT_IN.items():
            if method in description.provides and extension in description.accepts:
                yield self._built_in_plugin(name)
        for plugin in self._installed_plugins().values():
            if method in plugin.provides and extension in plugin.accepts:
                yield plugin

    def _named(self, name: str, method: str) -> BasePlugin:
        found = self._built_in_plugin(name) if name in BUILT_IN else self._installed_plugins().get(name)
        if found is None:
            raise InvalidInputError(f"Plugin {name} not found: there are {', '.join(self.names())}")
        if method not in found.provides:
            raise InvalidInputError(f"plugin {name} does not provide {method}: it provides {', '.join(found.provides)}")
        return found

    def _built_in_plugin(self, name: str) -> BasePlugin:
        if name not in self._built_in:
            description = BUILT_IN[name]
            cls = getattr(import_module(description.module), description.cls)
            self._built_in[name] = cls(description.provides, description.accepts)
        return self._built_in[name]

    def _installed_plugins(self) -> dict[str, BasePlugin]:
        if self._installed is None:
            self._installed = _scan()
        return self._installed


def _scan() -> dict[str, BasePlugin]:
    """Plugins registered by installed packages, by name. One that cannot be loaded is skipped with a warning."""
    from importlib.metadata import entry_points

    found: dict[str, BasePlugin] = {}
    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda one: one.name):
        try:
            plugin = entry.load()()
        except Exception as error:  # noqa: BLE001  a broken package must not block the others
            warnings.warn(f"plugin {entry.name} ({entry.value}) cannot be loaded: {error!r}", UserWarning, stacklevel=3)
            continue
        if isinstance(plugin, BasePlugin):
            found[entry.name] = plugin
        else:
            warnings.warn(f"plugin {entry.name} ({entry.value}) is not a BasePlugin", UserWarning, stacklevel=3)
    return found


manager: Final = PluginManager()
"""The plugins of this process."""
