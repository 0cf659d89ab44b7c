"""Read files into values and write values to files, with plugins for file formats.

:func:`load`, :func:`save`, :func:`show` and :func:`board_show` handle one value. They use the plugin that the caller
names, or the first one for the file extension. Built-in plugins read images, ``.npy`` and ``.npz`` arrays, UTF-8 text, raw
bytes, HDF5, tables (CSV, JSON lines, Parquet), tar archives, zarr stores, audio, NIfTI and DICOM. Optional packages are
imported at the first use; a missing one raises ``MissingPackageError`` (an ``ImportError``), which names the extra.
Installed packages can add plugins, see :class:`BasePlugin`.

Built-in plugins have no state, are picklable, and may be used in other processes. Modules for whole imports and exports:

- :mod:`hangar.external.run`: ``FilesImport`` imports files of all kinds into a column and collects failures;
- :mod:`hangar.external.survey`: ``survey_files`` and ``proposal`` describe files by their headers;
- :mod:`hangar.external.many`: ``ManyExport`` writes a column to one file; :mod:`hangar.external.exporter`: to a folder;
- :mod:`hangar.external.classes`: class names of a column of integers.
"""

from __future__ import annotations

import os
from typing import Any

from hangar.external.base import BasePlugin
from hangar.external.manager import PluginManager, manager

__all__ = ["BasePlugin", "PluginManager", "board_show", "load", "save", "show"]


def load(
    fpath: str | os.PathLike[str], plugin: str | None = None, extension: str | None = None, **plugin_options: Any
) -> Any:
    """Read a file.

    Parameters
    ----------
    fpath
        The file.
    plugin
        Name of the plugin; default: the first that reads files of this extension.
    extension
        The extension that selects the plugin; default: that of ``fpath``.
    **plugin_options
        Options of the plugin.

    Returns
    -------
    tuple or iterator of tuple
        ``(value, name)``, or an iterator of such pairs if the plugin reads several values from one file.

    Raises
    ------
    InvalidInputError
        The plugin does not exist, no plugin reads this extension, or the file is invalid.
    PathNotFoundError
        The file does not exist.
    InvalidStateError
        The plugin declares ``load`` and does not implement it.
    """
    path = os.fspath(fpath)
    if plugin is None and extension is None:
        extension = manager.extension_of("load", path)
    return manager.get_plugin("load", plugin, extension)(path, **plugin_options)


def save(
    arr: Any,
    outdir: str | os.PathLike[str],
    sample_det: str,
    extension: str,
    plugin: str | None = None,
    **plugin_options: Any,
) -> Any:
    """Write a value to a file in ``outdir``.

    Parameters
    ----------
    arr
        The value.
    outdir
        The directory; created if missing.
    sample_det
        The sample, as ``'TYPE:NAME'`` (``'str:cat'``, ``'int:3'``). The file is named after it, and is always inside
        ``outdir``.
    extension
        The format of the file.
    plugin
        Name of the plugin; default: the first that writes files of this extension.
    **plugin_options
        Options of the plugin.

    Raises
    ------
    InvalidInputError
        The plugin does not exist, no plugin writes this extension, or the format cannot hold the value.
    InvalidStateError
        The plugin declares ``save`` and does not implement it.
    """
    function = manager.get_plugin("save", plugin, extension)
    return function(arr, os.fspath(outdir), sample_det, extension, **plugin_options)


def show(arr: Any, plugin: str | None = None, extension: str | None = None, **plugin_options: Any) -> Any:
    """Show a value with ``plugin``, or with the first plugin for ``extension``. Raises the errors of :func:`save`."""
    return manager.get_plugin("show", plugin, extension)(arr, **plugin_options)


def board_show(arr: Any, plugin: str | None = None, extension: str | None = None, **plugin_options: Any) -> Any:
    """Show a value on a board such as TensorBoard. Parameters and errors as for :func:`show`."""
    return manager.get_plugin("board_show", plugin, extension)(arr, **plugin_options)
