"""Sample keys as text on the command line: parsing, patterns and printing.

``int:5`` is the integer key 5, ``str:5`` the text key ``5``. A plain ``5`` is the one of the two that the column has;
if it has both, the kind must be given. In a nested column ``SAMPLE/SUBSAMPLE`` names a subsample. Keys may contain
slashes: the longest existing sample key is used, and ``a/str:b/c`` marks where the subsample begins. Printed keys can
be typed back unchanged.

No key contains ``*``, ``?`` or ``[``, so a word with one of them is a shell pattern (:mod:`fnmatch`, case-sensitive,
``*`` matches ``/`` too). ``int:*`` and ``str:*`` match keys of one kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click

from hangar.cli.output import visible
from hangar.errors import SampleNotFoundError
from hangar.names import SampleKey

if TYPE_CHECKING:
    from hangar.diff import DataKey

__all__ = [
    "Address",
    "address_of",
    "addresses",
    "existing_samples",
    "is_pattern",
    "matcher",
    "matching",
    "meanings",
    "one_sample",
    "sample_text",
    "sample_texts",
    "unambiguous",
]

Address: TypeAlias = "SampleKey | tuple[SampleKey, SampleKey]"
"""A sample or, in a nested column, a sample and one of its subsamples."""

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,19}\Z")
_WILD: Final = frozenset("*?[")
_FEW: Final = 1000
"""Up to this many keys are looked up one by one when they are printed."""


def is_pattern(text: str) -> bool:
    """Whether ``text`` is a pattern: no name of a sample, column or branch contains ``*``, ``?`` or ``[``."""
    return not _WILD.isdisjoint(text)


def matcher(pattern: str) -> Callable[[str], object]:
    """A predicate: whether a text matches ``pattern``."""
    from fnmatch import translate  # needed for patterns alone

    return re.compile(translate(pattern)).match


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


# ---------------------------------------------------------------------- from a text to keys


def spellings(text: str) -> list[SampleKey]:
    """The keys that ``text`` may name: at most an integer and a text.

    Raises
    ------
    click.UsageError
        ``int:`` is not followed by a number.
    """
    kind, colon, name = text.partition(":")
    if colon and kind == "str":
        return [name]
    if colon and kind == "int":
        if not _is_number(name):
            raise click.UsageError(f"{text!r} is not a sample: int: must be followed by a number from 0 to 2**64 - 1")
        return [int(name)]
    return [int(text), text] if _is_number(text) else [text]


def meanings(text: str, column: Any) -> list[Address]:
    """All keys of ``column`` that ``text`` names: none, one, or several if the text is ambiguous.

    Raises
    ------
    click.UsageError
        ``int:`` is not followed by a number, in a flat column.
    """
    if not getattr(column, "contains_subsamples", False):
        return [key for key in spellings(text) if key in column]
    ends = [len(text), *(at for at in reversed(range(len(text))) if text[at] == "/")]
    for end in ends:
        found: list[Address] = []
        for sample in _present(text[:end], column):
            if end == len(text):
                found.append(sample)
            else:
                found += [(sample, subsample) for subsample in _present(text[end + 1 :], column[sample])]
        if found:
            return found
    return []


def _present(text: str, keys: Any) -> list[SampleKey]:
    return [key for key in _spellings_or_none(text) if key in keys]


def _spellings_or_none(text: str) -> list[SampleKey]:
    try:
        return spellings(text)
    except click.UsageError:
        return []


def addresses(text: str, *, nested: bool) -> list[Address]:
    """All keys that ``text`` could name in a flat or nested column, whether they exist or not.

    Raises
    ------
    click.UsageError
        ``int:`` is not followed by a number, in a flat column.
    """
    if not nested:
        return list(spellings(text))
    found: list[Address] = list(_spellings_or_none(text))
    for at in (at for at in reversed(range(len(text))) if text[at] == "/"):
        pairs = product(_spellings_or_none(text[:at]), _spellings_or_none(text[at + 1 :]))
        found += pairs
    return found


def one_sample(text: str, column: Any, name: str) -> Address:
    """The sample or subsample that ``text`` names in ``column``; ``name`` is the column's name.

    Raises
    ------
    SampleNotFoundError
        There is no such sample.
    click.UsageError
        ``text`` is ambiguous: it names an integer key and a text key.
    """
    found = meanings(text, column)
    if not found:
        what = "sample or subsample" if getattr(column, "contains_subsamples", False) else "sample"
        raise SampleNotFoundError(f"column {name!r} has no {what} {text!r}: `hangar ls {name}` lists the samples")
    return unambiguous(text, found)


def unambiguous(text: str, found: list[Address]) -> Address:
    """The single key in ``found``; click.UsageError if ``text`` names several."""
    if len(found) > 1:
        written = " or ".join(map(explicit, found))
        raise click.UsageError(f"{text!r} is ambiguous: write {written}")
    return found[0]


def existing_samples(texts: Iterable[str], column: Any, name: str) -> list[Address]:
    """The keys that names and patterns select, without repetitions, in the order of the words.

    Raises
    ------
    SampleNotFoundError
        A word selects no sample of ``column``, whose name is ``name``.
    click.UsageError
        A word names an integer key and a text key.
    """
    keys: dict[Address, None] = {}
    for text in texts:
        if is_pattern(text):
            matched = dict.fromkeys(matching(text, column))
            if not matched:
                raise SampleNotFoundError(
                    f"no sample of column {name!r} matches {text!r}: `hangar ls {name}` lists the samples"
                )
            keys.update(matched)
        else:
            keys[one_sample(text, column, name)] = None
    return list(keys)


def matching(pattern: str, column: Any) -> Iterator[Address]:
    """The samples that ``pattern`` matches. In a nested column a pattern with a slash also matches subsamples."""
    kind, colon, rest = pattern.partition(":")
    only: type | None = {"int": int, "str": str}.get(kind) if colon else None
    match = matcher(pattern if only is None else rest)
    nested = getattr(column, "contains_subsamples", False) and "/" in pattern
    for key in column:
        if only is not None and not isinstance(key, only):
            continue
        if match(str(key)):
            yield key
        elif nested:
            yield from ((key, one) for one in column[key] if match(f"{key}/{one}"))


def address_of(key: DataKey) -> Address:
    """The sample or subsample key of a change."""
    address: Any = tuple(key)[1:]
    return address if len(address) > 1 else address[0]  # type: ignore[no-any-return]


# ---------------------------------------------------------------------- from a key to a text


def sample_text(key: Address, column: Any) -> str:
    """``key`` as a user must type it to name it in ``column``."""
    if isinstance(key, tuple):
        return _pair_text(key, column)
    if isinstance(key, int):
        return explicit(key) if str(key) in column else str(key)
    return explicit(key) if not key or (_is_number(key) and int(key) in column) else visible(key)


def sample_texts(keys: Sequence[Address], column: Any) -> Iterable[str]:
    """Keys of ``column`` as a user must type them; fast for many keys."""
    if len(keys) <= _FEW:
        return (sample_text(key, column) for key in keys)
    ambiguous, kinds = _ambiguous(column), set(map(type, keys))
    if not ambiguous and kinds == {int}:
        return map(str, keys)
    if not ambiguous and kinds == {str} and "".join(keys).isprintable():  # type: ignore[arg-type]
        return keys  # type: ignore[return-value]
    return _texts_one_by_one(keys, column, ambiguous)


def _texts_one_by_one(keys: Sequence[Address], column: Any, ambiguous: set[str]) -> Iterator[str]:
    for key in keys:
        if isinstance(key, tuple):
            yield sample_text(key, column)
        elif (text := str(key)) in ambiguous:
            yield explicit(key)
        else:
            yield text if text.isprintable() else visible(text)


def _ambiguous(column: Any) -> set[str]:
    """Ambiguous texts: those that name both an integer key and a text key."""
    if isinstance(column.at(0), str) or isinstance(column.at(-1), int):
        return set()  # integers come before texts, so all keys are of one kind
    ints: set[SampleKey] = set()
    texts: set[str] = set()
    for key in column:
        if isinstance(key, int):
            ints.add(key)
        elif _is_number(key):
            texts.add(key)
    return {text for text in texts if int(text) in ints}


def explicit(key: Address) -> str:
    """``key`` with its kind, which is never ambiguous: ``int:5``, ``str:5``, ``str:a/int:5``."""
    if isinstance(key, tuple):
        return "/".join(map(explicit, key))
    return f"{'int' if isinstance(key, int) else 'str'}:{visible(str(key))}"


def _pair_text(key: tuple[SampleKey, SampleKey], column: Any) -> str:
    sample, subsample = key
    nested = getattr(column, "contains_subsamples", False)
    before = sample_text(sample, column)
    text = f"{before}/{sample_text(subsample, column.get(sample, ()) if nested else ())}"
    # A slash in the subsample's key is ambiguous if a longer sample key exists, in this column or in another commit's.
    if "/" not in str(subsample) and (not nested or meanings(text, column) in ([key], [])):
        return text
    return f"{before}/{explicit(subsample)}"
