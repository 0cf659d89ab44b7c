"""What an importer or exporter is: a class that reads files into values, writes values into files, or shows them.

A plugin is made without arguments, says what it can do (``provides``) and for which file extensions (``accepts``), and is
registered under the entry-point group ``hangar.external.plugins``. It is handed values and paths, never a repository.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final, NoReturn

from hangar.errors import InvalidInputError, InvalidStateError

__all__ = ["METHODS", "BasePlugin", "OptionError", "normal_extension"]

METHODS: Final = ("load", "save", "show", "board_show")
"""What a plugin may provide."""
_YES: Final = ("true", "yes", "on", "1")
_NO: Final = ("false", "no", "off", "0")


def normal_extension(extension: str) -> str:
    """``extension`` as plugins are asked for it: lower case, without the leading dot."""
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
    """An option of a plugin that cannot be.

    Attributes
    ----------
    option
        Its name.
    unknown
        Whether there is no such option at all.
    """

    def __init__(self, option: str, wanted: str, *, unknown: bool = False) -> None:
        self.option = option
        self.unknown = unknown
        super().__init__(f"there is no option {option}: {wanted}" if unknown else f"{option} is {wanted}")


def _truth(option: str, value: Any) -> bool:
    """A yes/no value in any of its usual spellings."""
    text = str(value).casefold()
    if text in _YES or text in _NO:
        return text in _YES
    raise OptionError(option, f"true or false, not {value!r}")


class BasePlugin:
    """Base class of importers and exporters.

    Parameters
    ----------
    provides
        What the plugin can do: some of ``load``, ``save``, ``show``, ``board_show``.
    accepts
        The file extensions it does that for, with or without a leading dot, in any case.

    Attributes
    ----------
    column_types
        The column types whose values the plugin makes and takes; None: not known before a value is seen.
    thread_safe
        Whether ``load`` may run in several threads at once.

    Raises
    ------
    InvalidInputError
        Either is empty, or ``provides`` names something else.
    """

    column_types: ClassVar[frozenset[str] | None] = None
    thread_safe: ClassVar[bool] = False

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
        """What the plugin can do."""
        return self._provides

    @property
    def accepts(self) -> tuple[str, ...]:
        """The file extensions it does that for, in lower case without a dot."""
        return self._accepts

    def load(self, fpath: str, *args: Any, **kwargs: Any) -> Any:
        """Read the file at ``fpath``: a pair ``(value, name)``, or an iterator of such pairs.

        Values are ``numpy.ndarray``, ``str`` or ``bytes``; a name without a pair around it is :meth:`sample_name` of ``fpath``.
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
        """Name of the only sample in a file, if that is known without reading it; it lets clashes be found before the work."""
        return None

    def option_names(self, method: str) -> tuple[str, ...] | None:
        """The options of a method, beside what every plugin is handed; None when it takes any."""
        options = self._options(method)
        return None if options is None else tuple(options)

    def check_options(self, method: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Check the options of a method before it is called, and give them as it takes them.

        An option whose default is True or False takes a bool, or ``yes``, ``no``, ``on``, ``off``, ``true``, ``false``, ``1``, ``0``. A
        plugin that knows more of its options checks more.

        Raises
        ------
        OptionError
            The method has no such option, or not with this value.
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
        """What to do with a value that does not fit a column of ``shape`` and ``dtype``, for the end of a message; mostly nothing."""
        return ""

    def _options(self, method: str) -> dict[str, Any] | None:
        """The options of a method with their defaults; None when it takes any."""
        plugin: Any = type(self)
        return _options_of(plugin, method)

    def _not_written(self, method: str) -> NoReturn:
        name = type(self).__name__
        if method in self._provides:
            raise InvalidStateError(f"plugin {name} declares the method {method} and does not have it")
        raise InvalidStateError(f"plugin {name} does not provide {method}: it provides {', '.join(self._provides)}")
