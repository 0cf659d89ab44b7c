"""Missing packages: checks whether a backend can be used in this installation, without importing it."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any, Final

from hangar.backends.base import Options
from hangar.backends.registry import is_known

__all__ = ["backend_needs"]

_PACKAGES: Final = {"00": "h5py", "01": "h5py"}


def backend_needs(tag: str, options: Options) -> str:
    """Message that names what is missing for a backend with these options; ``''`` if nothing is."""
    if not is_known(tag):
        return f"backend {tag!r} is not installed: install the package that provides it"
    codec: Any = options.get("complib")
    wanted = [_PACKAGES.get(tag), "numcodecs" if isinstance(codec, str) and codec.startswith("blosc") else None]
    for package in wanted:
        if package is not None and not _is_installed(package):
            return f"backend {tag!r} needs the package {package}: run `pip install {package}`"
    return ""


def _is_installed(package: str) -> bool:
    if package in sys.modules:
        return sys.modules[package] is not None
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False
