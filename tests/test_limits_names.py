"""Names and sample keys: what may be written; and the bounds, which must fit each other."""

from __future__ import annotations

import unicodedata
from enum import Enum
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar import limits
from hangar.errors import InvalidInputError
from hangar.names import NameKind, check_key, check_name, normal_key

KINDS: list[NameKind] = ["branch", "tag", "remote", "column"]
NAME_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"


PATHS: list[NameKind] = ["branch", "tag"]
PLAIN: list[NameKind] = ["remote", "column"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["a", "A-z_0.9", "a-", "a.lock.b", "x" * 64, "lock"])
def test_good_names(kind: NameKind, name: str) -> None:
    assert check_name(name, kind) == name


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize(
    "name", ["feature/boxes", "a/b/c", "HEAD/a", "a/HEAD", "/".join(["b" * 63] * 3 + ["c" * 63]), "heads/a"]
)
def test_branches_and_tags_may_have_parts(kind: NameKind, name: str) -> None:
    assert check_name(name, kind) == name


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize(
    ("name", "why"),
    [
        *[("HEAD", "HEAD stands for"), ("..", "range"), ("a..b", "range"), ("a/..", "range"), (".", "begin with '.'")],
        *[(".a", "begin"), ("a/.b", "begin"), ("-a", "begin with '-'"), ("a/-b", "begin"), ("a.lock", "end in")],
        *[("a.lock/b", "end in"), ("a/b.lock", "end in"), ("a.", "end in"), ("a./b", "end in"), ("a//b", "between")],
        *[("/a", "between"), ("a/", "between"), ("/", "between"), ("a/" + "b" * 65, "64"), ("/".join(["a" * 63] * 4 + ["a"]), "255")],
    ],
)  # fmt: skip
def test_what_git_refuses_is_no_branch_and_no_tag(kind: NameKind, name: str, why: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"^{kind} name .* is not suitable: .*{why}"):
        check_name(name, kind)


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("name", [".", "..", "a/b", "origin/master"])
def test_columns_and_remotes_are_one_part_and_no_directory(kind: NameKind, name: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"^{kind} name .* is not suitable"):
        check_name(name, kind)


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("name", ["...", ".a", "-a", "a.lock", "a.", "HEAD"])
def test_columns_and_remotes_may_be_what_branches_may_not(kind: NameKind, name: str) -> None:
    assert check_name(name, kind) == name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name",
    ["", "a" * 65, "a b", "a\n", "a\0", "ä", "a:b", "~", "a\u0301", None, 1, b"a", ["a"]],
    ids=repr,
)
def test_bad_names(kind: NameKind, name: object) -> None:
    with pytest.raises(InvalidInputError, match=rf"^{kind} name .* is not suitable"):
        check_name(name, kind)


@given(st.text(max_size=70))
def test_any_text_is_a_name_exactly_when_it_uses_the_alphabet(name: str) -> None:
    good = 1 <= len(name) <= 64 and set(name) <= set(NAME_ALPHABET)
    if good and name not in (".", ".."):
        assert check_name(name, "column") == name
    else:
        with pytest.raises(ValueError, match="is not suitable"):
            check_name(name, "column")


class Colour(str, Enum):
    RED = "red"


@pytest.mark.parametrize("text", [Colour.RED, np.str_("red")], ids=["enumeration", "numpy"])
def test_kinds_of_str_are_the_text_they_hold(text: str) -> None:
    for found in (check_name(text, "column"), check_key(text), normal_key(text)):
        assert (found, type(found)) == ("red", str)


def is_key_character(character: str) -> bool:
    return character in "_.-/+" or unicodedata.category(character)[0] in "LM" or unicodedata.category(character) == "Nd"


@given(st.text(max_size=260))
def test_any_text_is_a_key_exactly_when_its_characters_are(key: str) -> None:
    if 1 <= len(key) <= 255 and all(map(is_key_character, key)):
        assert check_key(key) == key
    else:
        with pytest.raises(InvalidInputError, match="is not suitable"):
            check_key(key)


@pytest.mark.parametrize(
    "key", ["a", "train/cat.0+1_2-3", "猫", "Żółć", "क्षि", "٣", "x" * 255, "0", 0, 2**64 - 1], ids=ascii
)
def test_good_keys(key: str | int) -> None:
    assert check_key(key) == key
    assert type(check_key(key)) is type(key)


@pytest.mark.parametrize(
    "key",
    [
        *["", "x" * 256, "a b", "a\tb", "a\n", "\n", "a\0", "a:b", "½", "²", "\u200b", "\ud800", "😀"],
        *[-1, 2**64, True, False, np.True_, 1.0, np.float64(1), None, b"a", ("a",), np.int64(-1)],
    ],
    ids=lambda key: f"{type(key).__name__} {ascii(key)[:20]}",
)
def test_bad_keys(key: Any) -> None:
    with pytest.raises(InvalidInputError, match="is not suitable"):
        check_key(key)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64])
def test_integers_of_numpy_are_ints(dtype: type[np.integer[Any]]) -> None:
    key = check_key(dtype(7))
    assert key == 7
    assert type(key) is int


def test_a_text_and_a_number_are_two_keys() -> None:
    assert check_key("1") != check_key(1)


class Text(str):
    __slots__ = ()


class Number(int):
    pass


def test_keys_of_a_subclass_become_plain() -> None:
    assert type(check_key(Text("a"))) is str
    assert type(check_key(Number(3))) is int


def test_normal_key_looks_at_the_form_alone() -> None:
    assert normal_key("not a good key!") == "not a good key!"
    assert normal_key(2**64) is None
    assert normal_key(1.5) is None
    assert normal_key(True) is None


def test_bounds_fit_each_other() -> None:
    longest_character = 4  # bytes of UTF-8
    text = limits.MAX_KEY_CHARACTERS * longest_character
    assert 1 + text + 1 + 1 + text <= limits.MAX_KEY_BYTES  # tag, sample key, its end, tag, subsample key
    assert limits.NODE_MIN_ENTRIES < limits.NODE_MAX_ENTRIES
    # A node of the longest keys and values that the rule of cutting allows is never refused as too long.
    most_key_bytes = limits.NODE_MAX_KEY_BYTES + limits.MAX_KEY_BYTES
    most_value_bytes = limits.NODE_MAX_ENTRIES * (limits.INLINE_TEXT_BYTES + 32)
    assert most_key_bytes + most_value_bytes < limits.NODE_MAX_BYTES / 2
    # A length and a digest are told apart by one byte (255 marks a digest).
    assert limits.INLINE_TEXT_BYTES < 255
    assert limits.DATABASE_MAX_READERS >= 512


def test_every_bound_is_a_positive_integer() -> None:
    bounds = {name: value for name, value in vars(limits).items() if name.isupper()}
    assert len(bounds) > 20
    assert all(type(value) is int and value > 0 for value in bounds.values()), bounds
