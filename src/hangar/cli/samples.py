"""How samples are written on the command line.

``int:5`` is the integer key 5, ``str:5`` the text key ``5``. A bare ``5`` is the integer where the column has such a sample, and the text
otherwise; anything else that is bare is text. What commands print can be typed back as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from typing import Final

import click

from hangar.cli.output import visible
from hangar.errors import SampleNotFoundError
from hangar.names import SampleKey

__all__ = ["existing_samples", "parse_sample", "sample_text"]

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,19}\Z")


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def parse_sample(text: str, column: Container[object]) -> SampleKey:
    """The key that ``text`` stands for in ``column``.

    Raises
    ------
    click.UsageError
        ``int:`` is followed by something that is no number.
    """
    kind, colon, name = text.partition(":")
    if colon and kind == "str":
        return name
    if colon and kind == "int":
        if not _is_number(name):
            raise click.UsageError(f"{text!r} is no sample: int: is followed by a number from 0 to 2**64 - 1")
        return int(name)
    return int(text) if _is_number(text) and int(text) in column else text


def existing_samples(texts: Iterable[str], column: Container[object], name: str) -> list[SampleKey]:
    """The keys that ``texts`` stand for, each once, in their order.

    Raises
    ------
    SampleNotFoundError
        ``column``, called ``name``, does not have one of them.
    """
    keys: dict[SampleKey, None] = {}
    for text in texts:
        key = parse_sample(text, column)
        if key not in column:
            raise SampleNotFoundError(f"column {name!r} has no sample {text!r}: `hangar ls {name}` lists them")
        keys[key] = None
    return list(keys)


def sample_text(key: SampleKey, column: Container[object]) -> str:
    """``key`` as it would be typed to mean it in ``column``."""
    if isinstance(key, int):
        return str(key)
    taken = _is_number(key) and int(key) in column
    return visible(f"str:{key}" if taken or key.startswith(("str:", "int:")) or not key else key)
