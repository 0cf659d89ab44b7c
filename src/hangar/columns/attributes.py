"""Attributes: mappings that read the attributes of a commit or the staging area, and change those of the staging area.

They hold no data. Each access reads from the checkout. So rolled back changes are not visible, and a closed checkout
raises. Returned values are copies: changing a returned list does not change the stored one.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, TypeVar

from hangar.columns.keyspace import as_pairs
from hangar.errors import AttributeNotFoundError
from hangar.objects.attributes import AttributeMap

__all__ = ["AttributesReader", "AttributesWriter", "Changing"]

T = TypeVar("T")
Changing = Callable[[AttributeMap], T]
"""Function that changes a copy of the attributes and returns a result for its caller."""

_repr = reprlib.Repr()
_repr.maxdict = _repr.maxlist = 12
_repr.maxstring = _repr.maxother = 120


class AttributesReader(Mapping[str, Any]):
    """Attributes of a column or of a commit, sorted by key.

    Values are str, int, float, bool, bytes, and lists and maps of these.
    """

    __slots__ = ("_load",)

    def __init__(self, load: Callable[[], AttributeMap]) -> None:
        self._load = load

    def __getitem__(self, key: str) -> Any:
        """Value of the attribute ``key``; AttributeNotFoundError (a ``KeyError``) if it does not exist."""
        return _value(self._load(), key)

    def __contains__(self, key: object) -> bool:
        return key in self._load()

    def __iter__(self) -> Iterator[str]:
        return iter(self._load())

    def __len__(self) -> int:
        return len(self._load())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {_repr.repr(self._load())}>"

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)


class AttributesWriter(AttributesReader, MutableMapping[str, Any]):
    """Attributes that can be changed: staged like samples, durable at once or at the end of a ``with`` block.

    An unsuitable value is a ``ValueError`` (InvalidInputError), and so are attributes of more than 1 MB in total.
    """

    __slots__ = ("_change",)

    def __init__(self, load: Callable[[], AttributeMap], change: Callable[[Changing[Any]], Any]) -> None:
        super().__init__(load)
        self._change = change

    def __setitem__(self, key: str, value: Any) -> None:
        """Set the attribute ``key``."""
        self.update({key: value})

    def __delitem__(self, key: str) -> None:
        """Delete the attribute ``key``; AttributeNotFoundError (a ``KeyError``) if it does not exist."""
        self[key]
        self._change(lambda values: values.pop(key, None))

    def update(self, other: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), /, **kwargs: Any) -> None:  # type: ignore[override]
        """Set several attributes as ``dict.update`` does, in one step."""
        new = as_pairs(other, kwargs)
        self._change(lambda values: values.update(new))

    def clear(self) -> None:
        """Delete all attributes, in one step."""
        self._change(lambda values: values.clear())


def _value(values: AttributeMap, key: object) -> Any:
    if not isinstance(key, str) or key not in values:
        raise AttributeNotFoundError(f"there is no attribute {key!r}; there are: {', '.join(values) or 'none'}")
    return values[key]
