"""Options of the HDF5 backends: codec, compression level and shuffle.

Complete options name all three. So a stored preference keeps its meaning when a default changes.
"""

from __future__ import annotations

from typing import Any, Final

from hangar.backends.base import Options
from hangar.backends.hdf5.codecs import COMPLIBS, Encoding
from hangar.errors import InvalidInputError, InvalidTypeError
from hangar.flags import check_flag

__all__ = ["complete_options", "encoding_of", "options_of"]

_KNOWN: Final = ("complib", "complevel", "shuffle")
_DEFAULT_COMPLIB: Final = "blosc:lz4"
_DEFAULT_LEVEL: Final = 5
_SHUFFLES: Final = {"none": 0, "byte": 1, "bit": 2}


def complete_options(options: Options) -> dict[str, Any]:
    """Check options and fill in defaults.

    Raises
    ------
    InvalidTypeError
        Unknown option.
    InvalidInputError
        Invalid value.
    """
    for name in options:
        if name not in _KNOWN:
            raise InvalidTypeError(f"HDF5 files have no option {name!r}; known are {', '.join(map(repr, _KNOWN))}")
    complib = options.get("complib", _DEFAULT_COMPLIB)
    if not (complib is None or isinstance(complib, str)) or complib not in COMPLIBS:
        raise InvalidInputError(f"complib is one of {', '.join(map(repr, COMPLIBS))}, not {complib!r}")
    level = options.get("complevel", _DEFAULT_LEVEL)
    if type(level) is not int or not 0 <= level <= 9:
        raise InvalidInputError(f"complevel is a whole number from 0 to 9, not {level!r}")
    return {"complib": complib, "complevel": level, "shuffle": _shuffle(complib, options)}


def _shuffle(complib: str | None, options: Options) -> str | bool:
    given = options.get("shuffle")
    if complib in ("gzip", "lzf"):
        if "shuffle" not in options:
            return True
        if given is None or given == "none":
            return False
        return check_flag(given, f"shuffle of {complib}")
    if given is None:
        return "none" if complib is None or "shuffle" in options else "byte"
    if not isinstance(given, str) or given not in _SHUFFLES:
        raise InvalidInputError(f"shuffle is None, 'none', 'byte' or 'bit', not {given!r}")
    if complib is None and given != "none":
        raise InvalidInputError(f"shuffle {given!r} needs a complib: uncompressed chunks are not shuffled")
    return given


def encoding_of(options: Options) -> Encoding:
    """Encoding for complete options."""
    complib, level, shuffle = options["complib"], options["complevel"], options["shuffle"]
    return Encoding(COMPLIBS[complib], level, shuffle if type(shuffle) is bool else _SHUFFLES[shuffle])


def options_of(encoding: Encoding) -> dict[str, Any]:
    """Complete options for an encoding: the inverse of :func:`encoding_of`."""
    complib = next(name for name, number in COMPLIBS.items() if number == encoding.codec)
    if complib in ("gzip", "lzf"):
        return {"complib": complib, "complevel": encoding.level, "shuffle": bool(encoding.shuffle)}
    shuffle = next(name for name, number in _SHUFFLES.items() if number == encoding.shuffle)
    return {"complib": complib, "complevel": encoding.level, "shuffle": shuffle}
