"""Exceptions of a user's own generators and mappings come out as they were raised; nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from hangar.checkout import WriterCheckout
from hangar.errors import AccessError, ColumnNotFoundError, InvalidInputError, InvalidTypeError


class OwnTypeError(TypeError):
    pass


class OwnValueError(ValueError):
    pass


def failing(error: Exception, *items: Any) -> Iterator[Any]:
    yield from items
    raise error


class Failing(Mapping[Any, Any]):
    """A mapping that fails where it is told."""

    def __init__(self, error: Exception, where: str) -> None:
        self.error, self.where = error, where

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Any]:
        return failing(self.error, "a") if self.where == "keys" else iter(["a"])

    def __getitem__(self, key: Any) -> Any:
        raise self.error


@pytest.mark.parametrize("error", [OwnTypeError("mine"), OwnValueError("mine"), KeyError("mine"), RuntimeError("mine")])
def test_as_they_were_raised(error: Exception, writer: WriterCheckout) -> None:
    flat = writer.add_str_column("flat")
    nested = writer.add_str_column("nested", contains_subsamples=True)
    nested["s"] = {0: "there"}
    calls: list[Callable[[], Any]] = [
        lambda: flat.update(failing(error, ("a", "b"))),
        lambda: flat.update(failing(error, ("a", "b")), more="c"),
        lambda: flat.update(Failing(error, "keys")),
        lambda: flat.update(Failing(error, "items")),
        lambda: flat.write(failing(error, "a"), ["b"]),
        lambda: flat.write(["a", "c"], failing(error, "b")),
        lambda: nested.update(failing(error, ("a", {0: "b"}))),
        lambda: nested.update({"a": failing(error, (0, "b"))}),
        lambda: nested.update({"a": Failing(error, "items")}),
        lambda: nested.__setitem__("a", failing(error, (0, "b"))),
        lambda: nested.write(failing(error, ("a", 0)), ["b"]),
        lambda: nested["s"].update(failing(error, (1, "b"))),
        lambda: writer.attributes.update(failing(error, ("a", 1))),
    ]
    for call in calls:
        with pytest.raises(type(error)) as raised:
            call()
        assert raised.value is error
    assert len(flat) == 0
    assert [list(view) for view in nested.values()] == [[0]]


def test_what_is_malformed_is_still_said_so(writer: WriterCheckout) -> None:
    flat = writer.add_str_column("flat")
    wrong: list[tuple[Any, type[Exception], str]] = [
        (5, InvalidTypeError, "not iterable"),
        ([5], InvalidTypeError, "sequence element #0"),
        ([("a",)], InvalidInputError, "length 1; 2 is required"),
        (iter(["abc"]), InvalidInputError, "length 3; 2 is required"),
        ([([], "b")], InvalidTypeError, "unhashable"),
    ]
    for other, error, text in wrong:
        with pytest.raises(error, match=text):
            flat.update(other)
    assert len(flat) == 0


def test_deleting_a_column_inside_a_block_is_refused_before_its_name_is_looked_at(writer: WriterCheckout) -> None:
    writer.add_str_column("t")
    for name in ("t", "nosuch", 5, None):
        with writer, pytest.raises(AccessError, match="cannot be deleted inside a `with` block"):
            writer.columns.delete(name)  # type: ignore[arg-type]
        with writer, pytest.raises(AccessError, match="cannot be deleted inside a `with` block"):
            del writer.columns[name]  # type: ignore[arg-type]
    with pytest.raises(ColumnNotFoundError):
        writer.columns.delete("nosuch")
    assert writer.columns.delete("t") == "t"
