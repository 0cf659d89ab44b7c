"""What an importer or exporter is: a class that reads files into values, writes values into files, or shows them.

A plugin is made without arguments, says what it can do (``provides``) and for which file extensions (``accepts``), and is
registered under the entry-point group ``hangar.external.plugins``. It is handed values and paths, never a repository.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, NoReturn

from hangar.errors import InvalidInputError, InvalidStateError

__all__ = ["METHODS", "BasePlugin", "normal_extension"]

METHODS: Final = ("load", "save", "show", "board_show")
"""What a plugin may provide."""


def normal_extension(extension: str) -> str:
    """``extension`` as plugins are asked for it: lower case, without the leading dot."""
    return extension.removeprefix(".").lower()


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
        import inspect

        parameters = list(inspect.signature(getattr(self, method)).parameters.values())
        if any(one.kind is one.VAR_KEYWORD for one in parameters):
            return None
        return tuple(
            one.name for one in parameters if one.default is not one.empty and one.kind is not one.POSITIONAL_ONLY
        )

    def _not_written(self, method: str) -> NoReturn:
        name = type(self).__name__
        if method in self._provides:
            raise InvalidStateError(f"plugin {name} declares the method {method} and does not have it")
        raise InvalidStateError(f"plugin {name} does not provide {method}: it provides {', '.join(self._provides)}")
