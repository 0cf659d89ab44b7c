"""How samples are written on the command line.

``int:5`` is the integer key 5, ``str:5`` the text key ``5``. A bare ``5`` is the integer where the column has such a sample, and the text
otherwise; anything else that is bare is text. In a nested column ``SAMPLE/SUBSAMPLE`` names a subsample; as keys may have slashes in them, the longest
sample that is there counts, and ``a/str:b/c`` says where the subsample begins. What commands print can be typed back as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click

from hangar.cli.output import visible
from hangar.errors import SampleNotFoundError
from hangar.names import SampleKey

if TYPE_CHECKING:
    from hangar.diff import DataKey

__all__ = ["Address", "address_of", "existing_samples", "parse_sample", "sample_text"]

Address: TypeAlias = "SampleKey | tuple[SampleKey, SampleKey]"
"""A sample or, in a nested column, a sample and one of its subsamples."""

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,19}\Z")


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def parse_sample(text: str, column: Container[object]) -> Address:
    """The sample or subsample that ``text`` stands for in ``column``.

    Raises
    ------
    click.UsageError
        ``int:`` is followed by something that is no number.
    """
    if getattr(column, "contains_subsamples", False):
        return _parse_nested(text, column)
    return _parse_key(text, column)


def _parse_nested(text: str, column: Any) -> Address:
    """As :func:`parse_sample`; what is not there is taken for the key of a sample."""
    ends = [len(text), *(at for at in reversed(range(len(text))) if text[at] == "/")]
    for end in ends:
        try:
            sample = _parse_key(text[:end], column)
        except click.UsageError:
            continue
        if sample not in column:
            continue
        if end == len(text):
            return sample
        view = column[sample]
        subsample = _parse_key(text[end + 1 :], view)
        if subsample in view:
            return sample, subsample
    return text.removeprefix("str:")


def _parse_key(text: str, column: Container[object]) -> SampleKey:
    kind, colon, name = text.partition(":")
    if colon and kind == "str":
        return name
    if colon and kind == "int":
        if not _is_number(name):
            raise click.UsageError(f"{text!r} is no sample: int: is followed by a number from 0 to 2**64 - 1")
        return int(name)
    return int(text) if _is_number(text) and int(text) in column else text


def address_of(key: DataKey) -> Address:
    """The sample or subsample that a change is of."""
    address: Any = tuple(key)[1:]
    return address if len(address) > 1 else address[0]  # type: ignore[no-any-return]


def existing_samples(texts: Iterable[str], column: Container[object], name: str) -> list[Address]:
    """The keys that ``texts`` stand for, each once, in their order.

    Raises
    ------
    SampleNotFoundError
        ``column``, called ``name``, does not have one of them.
    """
    keys: dict[Address, None] = {}
    for text in texts:
        key = parse_sample(text, column)
        if key not in column:
            what = "sample or subsample" if getattr(column, "contains_subsamples", False) else "sample"
            raise SampleNotFoundError(f"column {name!r} has no {what} {text!r}: `hangar ls {name}` lists the samples")
        keys[key] = None
    return list(keys)


def sample_text(key: Address, column: Container[object]) -> str:
    """``key`` as it would be typed to mean it in ``column``."""
    if isinstance(key, tuple):
        return _pair_text(key, column)
    if isinstance(key, int):
        return str(key)
    taken = _is_number(key) and int(key) in column
    return visible(f"str:{key}" if taken or key.startswith(("str:", "int:")) or not key else key)


def _pair_text(key: tuple[SampleKey, SampleKey], column: Any) -> str:
    sample, subsample = key
    nested = getattr(column, "contains_subsamples", False)
    before = sample_text(sample, column)
    text = f"{before}/{sample_text(subsample, column.get(sample, ()) if nested else ())}"
    meant = parse_sample(text, column)
    # A slash in the subsample's key would be taken for the one before it where a longer sample is, here or where this is typed back.
    if "/" not in str(subsample) and (meant == key or not nested or meant not in column):
        return text
    return f"{before}/{'int' if isinstance(subsample, int) else 'str'}:{visible(str(subsample))}"
