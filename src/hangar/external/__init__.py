"""Importers and exporters: files to values, values to files.

:func:`load`, :func:`save`, :func:`show` and :func:`board_show` do one value with the plugin that is named, or with the first that
knows the file extension. Built-in are images (through pillow), ``.npy`` and ``.npz`` arrays, UTF-8 text and raw bytes; packages add
others, see :class:`BasePlugin`. Whole folders are the business of :mod:`hangar.external.importer` and
:mod:`hangar.external.exporter`.
"""

from __future__ import annotations

import os
from pathlib import Path
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
        Name of the plugin that reads it; default: the first that knows the extension.
    extension
        The extension to go by; default: that of ``fpath``.
    **plugin_options
        Go to the plugin.

    Returns
    -------
    tuple or iterator of tuple
        ``(value, name)``, or several of them, as the plugin makes it.

    Raises
    ------
    InvalidInputError
        No such plugin, none for this extension, or the file cannot be understood.
    PathNotFoundError
        There is no such file.
    InvalidStateError
        The plugin declares that it can read and cannot.
    """
    path = os.fspath(fpath)
    if plugin is None and extension is None:
        extension = Path(path).suffix or None
    return manager.get_plugin("load", plugin, extension)(path, **plugin_options)


def save(
    arr: Any,
    outdir: str | os.PathLike[str],
    sample_det: str,
    extension: str,
    plugin: str | None = None,
    **plugin_options: Any,
) -> Any:
    """Write a value into a file of ``outdir``.

    Parameters
    ----------
    arr
        The value.
    outdir
        The directory; it is made when missing.
    sample_det
        The sample, as ``'TYPE:NAME'`` (``'str:cat'``, ``'int:3'``). It names the file, without ever leading out of ``outdir``.
    extension
        The format of the file.
    plugin
        Name of the plugin that writes it; default: the first that knows the extension.
    **plugin_options
        Go to the plugin.

    Raises
    ------
    InvalidInputError
        No such plugin, none for this extension, or the format cannot hold the value.
    InvalidStateError
        The plugin declares that it can write and cannot.
    """
    function = manager.get_plugin("save", plugin, extension)
    return function(arr, os.fspath(outdir), sample_det, extension, **plugin_options)


def show(arr: Any, plugin: str | None = None, extension: str | None = None, **plugin_options: Any) -> Any:
    """Show a value, with the plugin named or the first that shows files of ``extension``. Raises what :func:`save` does."""
    return manager.get_plugin("show", plugin, extension)(arr, **plugin_options)


def board_show(arr: Any, plugin: str | None = None, extension: str | None = None, **plugin_options: Any) -> Any:
    """Show a value on a board such as TensorBoard; as :func:`show`."""
    return manager.get_plugin("board_show", plugin, extension)(arr, **plugin_options)
