"""The tree of errors: what its docstring draws is what it is, and each class has the exit code that the table gives it."""

from __future__ import annotations

import builtins
import pickle
import re

import pytest

from hangar import errors
from hangar.errors import EXIT_CODES, HangarError, exit_code

_DRAWN = re.compile(
    r"^ {4}(?P<rails>[│├└─ ]*)(?P<name>\w+Error)(?: \((?P<also>[\w, ]+)\))? +(?P<code>\d+)(?: |$)", re.MULTILINE
)
DRAWN = [match.groupdict(default="") for match in _DRAWN.finditer(errors.__doc__ or "")]
CLASSES = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")]
DOCUMENTED_CODES = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 130}


def drawn_parent(row: int) -> str:
    """The name above the row and nearest to the left of it."""
    depth = len(DRAWN[row]["rails"])
    return next(other["name"] for other in reversed(DRAWN[:row]) if len(other["rails"]) < depth)


def test_every_class_is_drawn_and_listed() -> None:
    in_module = {
        name for name, thing in vars(errors).items() if isinstance(thing, type) and issubclass(thing, HangarError)
    }
    assert in_module == {cls.__name__ for cls in CLASSES}
    assert sorted(row["name"] for row in DRAWN) == sorted(in_module)


@pytest.mark.parametrize("row", range(len(DRAWN)), ids=[row["name"] for row in DRAWN])
def test_drawing_holds(row: int) -> None:
    cls = getattr(errors, DRAWN[row]["name"])
    also = {getattr(builtins, name) for name in DRAWN[row]["also"].split(", ") if name}
    parents = {getattr(errors, drawn_parent(row))} if row else {Exception}
    assert set(cls.__bases__) == parents | also
    assert exit_code(cls("message")) == int(DRAWN[row]["code"])


def test_exit_codes_are_the_documented_ones() -> None:
    assert set(EXIT_CODES.values()) | {0, 2, 130} == DOCUMENTED_CODES


def test_exit_code_of_what_is_not_ours() -> None:
    assert exit_code(KeyError("x")) == 1


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_message_is_shown_as_written(cls: type[HangarError]) -> None:
    # KeyError would show the repr of its argument, and OSError with two arguments reads them as errno and text.
    assert str(cls("no column 'a'")) == "no column 'a'"


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_errors_cross_processes(cls: type[HangarError]) -> None:
    error = pickle.loads(pickle.dumps(cls("no column 'a'")))
    assert type(error) is cls
    assert str(error) == "no column 'a'"


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_class_says_what_it_is(cls: type[HangarError]) -> None:
    assert cls.__doc__
    assert cls.__doc__.partition("\n")[0].endswith(".")
