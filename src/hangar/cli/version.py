"""``hangar --version``: versions of Hangar, Python and the libraries, for bug reports."""

from __future__ import annotations

import os
import platform
from importlib import import_module

from hangar import __version__
from hangar.cli.output import table

__all__ = ["lines"]


def _version(module: str, attribute: str = "__version__") -> str:
    try:
        return str(getattr(import_module(module), attribute))
    except Exception as error:  # noqa: BLE001 - an import error belongs in a bug report
        return f"cannot be imported: {error}"


def _lmdb() -> str:
    try:
        numbers = import_module("lmdb").version()
    except Exception as error:  # noqa: BLE001
        return f"cannot be imported: {error}"
    return f"{_version('lmdb')} (LMDB {'.'.join(map(str, numbers))})"


def _kernel() -> str:
    try:
        used = import_module("hangar.hashing").KERNEL
    except Exception as error:  # noqa: BLE001
        return f"unknown: {error}"
    if used:
        return "in use"
    if os.environ.get("HANGAR_NO_KERNEL"):
        return "not in use: HANGAR_NO_KERNEL is set"
    return "not in use: not built, or its self-test failed on this processor"


def lines() -> list[str]:
    """The version of Hangar, and a line for each library."""
    rows = [
        ("Python", f"{platform.python_version()} ({platform.python_implementation()}, {platform.platform()})"),
        ("numpy", _version("numpy")),
        ("lmdb", _lmdb()),
        ("h5py", f"{_version('h5py')} (HDF5 {_version('h5py.version', 'hdf5_version')})"),
        ("kernel", _kernel()),
    ]
    return [f"hangar {__version__}", *table(rows, indent=2)]
