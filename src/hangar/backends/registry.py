"""Registry of backends: the built-in ones, and entry points of installed packages.

An entry point of the group ``hangar.backends`` has the backend tag as its name and refers to a subclass of ``Backend``.
Entry points are searched only for tags that are not built in, because importing ``importlib.metadata`` takes longer
than the rest of Hangar.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final

from hangar.backends.base import Backend
from hangar.errors import InvalidInputError, MissingPackageError

__all__ = ["ENTRY_POINT_GROUP", "backend_tags", "get_backend", "is_installed", "is_known", "stored_backend"]

ENTRY_POINT_GROUP: Final = "hangar.backends"

_BUILT_IN: Final = {
    "00": "hangar.backends.hdf5:HDF5Rows",
    "01": "hangar.backends.hdf5:HDF5Chunks",
    "10": "hangar.backends.memmap:Memmap",
    "30": "hangar.backends.pack:TextPack",
    "31": "hangar.backends.pack:BytesPack",
}

_loaded: Final[dict[str, Backend]] = {}


def get_backend(tag: str) -> Backend:
    """The backend of a tag.

    Raises
    ------
    InvalidInputError
        No installed package provides it, or the entry point is not a backend of that tag.
    MissingPackageError
        A built-in one needs a package that is not installed.
    """
    found = _loaded.get(tag)
    if found is None:
        # A race of two threads is harmless: a backend has no state.
        found = _loaded.setdefault(tag, _load(tag))
    return found


def stored_backend(tag: str) -> Backend:
    """The backend that stored data needs.

    Raises
    ------
    MissingPackageError
        No installed package provides it.
    """
    try:
        return get_backend(tag)
    except InvalidInputError as error:
        raise MissingPackageError(f"stored data needs backend {tag!r}, and {error}") from None


def is_installed(tag: str) -> bool:
    """Whether the backend can be used in this installation."""
    try:
        get_backend(tag)
    except (InvalidInputError, MissingPackageError):
        return False
    return True


def is_known(tag: str) -> bool:
    """Whether an installed package provides the backend. The backend is not imported."""
    if tag in _BUILT_IN or tag in _loaded:
        return True
    from importlib.metadata import entry_points

    return bool(entry_points(group=ENTRY_POINT_GROUP, name=tag))


def _load(tag: str) -> Backend:
    if tag in _BUILT_IN:
        module, _, name = _BUILT_IN[tag].partition(":")
        try:
            made: object = getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            raise MissingPackageError(
                f"backend {tag!r} needs the package {error.name}: run `pip install {error.name}`"
            ) from None
    else:
        made = _load_entry_point(tag)
    if not (isinstance(made, type) and issubclass(made, Backend)) or made.tag != tag:
        raise InvalidInputError(f"the entry point for backend {tag!r} is not a backend of that tag: {made!r}")
    return made()


def _load_entry_point(tag: str) -> object:
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINT_GROUP, name=tag):
        try:
            return point.load()
        except (ImportError, AttributeError) as error:
            raise InvalidInputError(f"backend {tag!r} ({point.value}) cannot be imported: {error}") from error
    raise InvalidInputError(f"there is no backend {tag!r}; known are {', '.join(map(repr, backend_tags()))}")


def backend_tags() -> list[str]:
    """Tags of all installed backends, sorted."""
    from importlib.metadata import entry_points

    return sorted({*_BUILT_IN, *(point.name for point in entry_points(group=ENTRY_POINT_GROUP))})
