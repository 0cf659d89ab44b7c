"""Base class of plugins. A plugin reads files into values, writes values to files, or shows values.

A plugin is constructed without arguments. It declares its methods (``provides``) and its file extensions (``accepts``),
and is registered under the entry-point group ``hangar.external.plugins``. It receives values and paths, never a
repository.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final, NoReturn

from hangar.errors import InvalidInputError, InvalidStateError
from hangar.flags import parse_flag

__all__ = ["METHODS", "BasePlugin", "OptionError", "normal_extension"]

METHODS: Final = ("load", "save", "show", "board_show")
"""Methods that a plugin may provide."""


def normal_extension(extension: str) -> str:
    """Normalized ``extension``: lower case, without the leading dot."""
    return extension.removeprefix(".").lower()


@cache
def _options_of(plugin: Any, method: str) -> dict[str, Any] | None:
    import inspect

    parameters = list(inspect.signature(getattr(plugin, method)).parameters.values())[1:]
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return None
    named = [one for one in parameters if one.default is not one.empty and one.kind is not one.POSITIONAL_ONLY]
    return {one.name: one.default for one in named}


class OptionError(InvalidInputError):
    """An unknown option of a plugin, or an invalid value of one.

    Attributes
    ----------
    option
        Name of the option.
    unknown
        Whether the plugin has no option of this name.
    """

    def __init__(self, option: str, wanted: str, *, unknown: bool = False) -> None:
        self.option = option
        self.unknown = unknown
        super().__init__(f"there is no option {option}: {wanted}" if unknown else f"{option} is {wanted}")


def _truth(option: str, value: Any) -> bool:
    """Parse a yes/no value in any of the usual spellings."""
    flag = parse_flag(str(value))
    if flag is None:
        raise OptionError(option, f"true or false, not {value!r}")
    return flag


class BasePlugin:
    """Base class of plugins that import, export or show values.

    Parameters
    ----------
    provides
        Methods of the plugin: some of ``load``, ``save``, ``show``, ``board_show``.
    accepts
        File extensions of the plugin, with or without a leading dot, in upper or lower case.

    Attributes
    ----------
    column_types
        Column types whose values the plugin reads and writes; None if they are known only after a value was read.
    thread_safe
        Whether ``load`` may run in several threads at once.
    describes_others
        Whether such files usually describe the files beside them, as a table of labels does. An import of a folder
        leaves them out if it has other files for the column.

    Raises
    ------
    InvalidInputError
        One of the arguments is empty, or ``provides`` has an unknown method.
    """

    column_types: ClassVar[frozenset[str] | None] = None
    thread_safe: ClassVar[bool] = False
    describes_others: ClassVar[bool] = False

    def __init__(self, provides: Sequence[str], accepts: Sequence[str]) -> None:
        if not provides or not accepts:
            missing = "accepts" if provides else "provides"
            raise InvalidInputError(f"plugin {type(self).__name__} has an empty `{missing}`")
        unknown = sorted(set(provides).difference(METHODS))
        if unknown:
            raise InvalidInputError(
                f"plugin {type(self).__name__} provides {', '.join(unknown)}, which is none of {', '.join(METHODS)}"
            )
        self._provides = tuple(provides)
        self._accepts = tuple(dict.fromkeys(normal_extension(one) for one in accepts))

    @property
    def provides(self) -> tuple[str, ...]:
        """Methods of the plugin."""
        return self._provides

    @property
    def accepts(self) -> tuple[str, ...]:
        """File extensions of the plugin, in lower case without a dot."""
        return self._accepts

    def load(self, fpath: str, *args: Any, **kwargs: Any) -> Any:
        """Read the file at ``fpath``. Returns a pair ``(value, name)``, or an iterator of such pairs.

        Values are ``numpy.ndarray``, ``str`` or ``bytes``. The usual name of a single value is ``sample_name(fpath)``.
        """
        self._not_written("load")

    def save(self, arr: Any, outdir: str, sample_detail: str, extension: str, *args: Any, **kwargs: Any) -> Any:
        """Write the value ``arr`` into the directory ``outdir``, named after ``sample_detail`` (``'TYPE:NAME'``)."""
        self._not_written("save")

    def show(self, arr: Any, *args: Any, **kwargs: Any) -> Any:
        """Show the value ``arr`` to the user."""
        self._not_written("show")

    def board_show(self, arr: Any, *args: Any, **kwargs: Any) -> Any:
        """Show the value ``arr`` on a board, such as TensorBoard."""
        self._not_written("board_show")

    @staticmethod
    def sample_name(fpath: str) -> str:
        """Name of the sample in the file ``fpath``: its base name without the last suffix."""
        return Path(fpath).stem

    def single_name(self, fpath: str) -> str | None:
        """Name of the only sample in a file if it is known without reading the file, else None.

        An import uses it to find duplicate names before it reads any file.
        """
        return None

    def probe(self, fpath: str, **options: Any) -> Iterable[Any] | None:
        """Describe the samples in a file by its header: some :class:`hangar.external.records.Probe`; None: not known.

        An import uses it to say what it found, and to propose a column, before it reads the files. ``options`` are those
        of :meth:`load`.
        """
        return None

    def option_names(self, method: str) -> tuple[str, ...] | None:
        """Names of the options of a method; None if it takes any option."""
        options = self._options(method)
        return None if options is None else tuple(options)

    def check_options(self, method: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Check the options of a method before it is called. Returns them converted to the types that it takes.

        An option whose default is True or False takes a bool, or ``yes``, ``no``, ``on``, ``off``, ``true``, ``false``,
        ``1``, ``0``. A plugin may override this method to check more.

        Raises
        ------
        OptionError
            The method has no such option, or does not accept its value.
        """
        known = self._options(method)
        checked = dict(options)
        if known is None:
            return checked
        for name, value in options.items():
            if name not in known:
                raise OptionError(name, f"one of {', '.join(known) or 'none'}", unknown=True)
            if isinstance(known[name], bool):
                checked[name] = _truth(name, value)
        return checked

    def advice(self, value: Any, shape: Sequence[int], dtype: Any) -> str:
        """Advice on a value that does not fit ``shape`` and ``dtype``, appended to the error (default: none)."""
        return ""

    def _options(self, method: str) -> dict[str, Any] | None:
        """Options of a method with their defaults; None if it takes any option."""
        plugin: Any = type(self)
        return _options_of(plugin, method)

    def _not_written(self, method: str) -> NoReturn:
        name = type(self).__name__
        if method in self._provides:
            raise InvalidStateError(f"plugin {name} declares the method {method} and does not implement it")
        raise InvalidStateError(f"plugin {name} does not provide {method}: it provides {', '.join(self._provides)}")
