"""Splits: a salted hash of the key (or of the group label) puts each sample into one part, such as train, val or test.

A split is a recipe of a few bytes, stored in the attributes of a commit. A sample stays in its part when samples are
added or removed and when branches merge, because its part does not depend on other samples.
:mod:`hangar.dataset.leaks` checks the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import compress
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from hangar.checkout import WriterCheckout
from hangar.columns.keybatch import KeyBatch
from hangar.dataset.keyhash import (
    HashValues,
    Reader,
    batched,
    derive_hash_key,
    encoded_key_batches,
    group_encoder,
    hash_encoded_keys,
)
from hangar.errors import (
    AccessError,
    AttributeNotFoundError,
    InvalidInputError,
    InvalidTypeError,
    NameTakenError,
    SampleNotFoundError,
    UnsupportedVersionError,
)
from hangar.flags import check_flag
from hangar.names import SampleKey, check_name

__all__ = ["Assignment", "Holder", "Split", "delete_split", "hash_split", "list_splits", "load_split"]

ATTRIBUTE: Final = "split."
"""Attributes of a commit that begin with this hold splits. One each, so that merging keeps splits of both sides."""
VERSION: Final = 1
DEFAULT: Final[Mapping[str, float]] = {"train": 0.8, "val": 0.1, "test": 0.1}
_MAX_PARTS: Final = 255
_TOLERANCE: Final = 1e-6

Codes = npt.NDArray[np.uint8]


class Holder(Protocol):
    """What holds columns and the attributes of a commit: a checkout, or a view of one."""

    @property
    def attributes(self) -> Mapping[str, Any]: ...
    def __getitem__(self, name: Any, /) -> Any: ...
    def __contains__(self, name: object, /) -> bool: ...
    def keys(self) -> Iterable[str]: ...


@dataclass(frozen=True, slots=True)
class Split:
    """A recipe that puts samples into parts; :func:`hash_split` makes one.

    Attributes
    ----------
    parts
        Name and fraction of each part, in order. The fractions are positive and sum to 1.
    salt
        Another salt gives another, independent split.
    group_column
        Column whose values are the labels of groups; ``''`` without. All samples of a group are in one part.
    group_prefix
        The group of a text key is what comes before this; ``''`` without.
    group
        The group of a key is what this function returns for it; None without. Such a split cannot be stored.
    """

    parts: tuple[tuple[str, float], ...]
    salt: str = ""
    group_column: str = ""
    group_prefix: str = ""
    group: Callable[[SampleKey], int | str] | None = field(default=None, compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parts."""
        return tuple(name for name, _ in self.parts)

    def assign(self, checkout: Holder, column: str) -> Assignment:
        """Put the samples of a column into parts.

        Parameters
        ----------
        checkout
            Checkout that has the column, and the column of groups if the split has one.
        column
            Name of the column. In a nested column whole samples are assigned, never single subsamples.

        Raises
        ------
        ColumnNotFoundError, SampleNotFoundError
            (``KeyError``) there is no such column; or a sample has no label in the column of groups.
        InvalidInputError
            (``ValueError``) the column of groups does not hold one integer or text a sample.
        """
        chosen = checkout[column]
        groups = self._groups(checkout)
        try:
            codes = [self._codes(keys, groups) for keys in encoded_key_batches(chosen)]
        except SampleNotFoundError as error:
            raise SampleNotFoundError(f"a sample of column {column!r} has no group: {error}") from None
        return Assignment(self, chosen, np.concatenate(codes) if codes else np.empty(0, np.uint8))

    def parts_of(self, keys: Any, checkout: Holder | None = None) -> list[str]:
        """Names of the parts of sample keys, whether the samples exist or not.

        Parameters
        ----------
        keys
            A sequence of keys, or an integer array.
        checkout
            Checkout with the column of groups, if the split has one.

        Raises
        ------
        InvalidInputError, InvalidTypeError
            The split needs a checkout; or ``keys`` is no sequence of keys.
        """
        if self.group_column and checkout is None:
            raise InvalidInputError(f"the groups are in column {self.group_column!r}: give the checkout that has it")
        groups = self._groups(checkout)
        names, found = self.names, []
        for some in batched(KeyBatch.of(keys).encoded()):
            found += [names[code] for code in self._codes(some, groups).tolist()]
        return found

    def _groups(self, checkout: Any) -> Any:
        labels = checkout[self.group_column] if self.group_column else None
        return group_encoder(self.group_prefix, self.group, labels)

    def _codes(self, encoded: list[bytes], groups: Any) -> Codes:
        """Index of the part of each encoded key."""
        return self._codes_of_hashes(
            hash_encoded_keys(derive_hash_key(self.salt), encoded if groups is None else groups(encoded))
        )

    def _codes_of_hashes(self, hashes: HashValues) -> Codes:
        return np.searchsorted(_bounds(self.parts), hashes, side="right").astype(np.uint8)

    def save(self, checkout: WriterCheckout, name: str, *, replace: bool = False) -> None:
        """Stage the recipe as an attribute of the commit; ``load_split(checkout, name)`` reads it back.

        Parameters
        ----------
        checkout
            A write checkout; commit it afterwards.
        name
            Name of the split, as that of a column.
        replace
            Replace another split of this name. Samples then change their parts, and a model that was trained on the
            old split has seen some of the new test samples.

        Raises
        ------
        NameTakenError
            (a ``ValueError``) there is another split of this name.
        InvalidInputError
            (a ``ValueError``) the name is not suitable, or the groups are made by a function, which cannot be stored.
        AccessError
            (a ``PermissionError``) the checkout only reads.
        """
        if not isinstance(checkout, WriterCheckout):
            raise AccessError("a split is stored through a checkout that writes: `repo.checkout(write=True)`")
        key = ATTRIBUTE + check_name(name, "column")
        recipe = self.recipe()
        if self.group_column and self.group_column not in checkout:
            raise InvalidInputError(f"the groups of the split are in column {self.group_column!r}, which is not here")
        old = checkout.attributes.get(key)
        if old == recipe:
            return
        if old is not None and not check_flag(replace, "replace"):
            raise NameTakenError(
                f"there is another split {name!r}: choose another name, or replace it (replace=True), "
                "which moves samples between its parts"
            )
        checkout.attributes[key] = recipe

    def recipe(self) -> dict[str, Any]:
        """The split as an attribute: text, numbers and lists.

        Raises
        ------
        InvalidInputError
            (a ``ValueError``) the groups are made by a function.
        """
        if self.group is not None:
            raise InvalidInputError(
                "a split whose groups are made by a function cannot be stored: use group_prefix or group_column"
            )
        found: dict[str, Any] = {
            "kind": "hash",
            "version": VERSION,
            "parts": [[name, part] for name, part in self.parts],
            "salt": self.salt,
        }
        for name in ("group_column", "group_prefix"):
            if getattr(self, name):
                found[name] = getattr(self, name)
        return found


def hash_split(
    parts: Mapping[str, float] = DEFAULT,
    *,
    salt: str = "",
    group_column: str = "",
    group_prefix: str = "",
    group: Callable[[SampleKey], int | str] | None = None,
) -> Split:
    """Split by a salted hash of the sample keys, or of their groups.

    The part of a sample depends on the parts, the salt and the key (or group) alone. So it stays when data grows or
    branches merge, and is the same for all columns with the same keys. About the given fraction of all keys is in each
    part: of 10,000 samples, 1,000 +- 30 are in a part of 0.1. Changing the fractions moves as few samples as possible
    if the order of the parts stays: growing the first part takes samples only from the second.

    Parameters
    ----------
    parts
        Fraction of each part, in order; positive, with the sum 1.
    salt
        Any text. Another salt gives another split.
    group_column
        Name of a flat column of integers or texts, such as patients; all samples with one label are in one part.
    group_prefix
        Separator; the group of a text key is what comes before the first one: of ``'ann/3'`` with ``'/'`` it is
        ``'ann'``. An integer key is its own group.
    group
        Function from a key to an int or str, the group. A split with a function cannot be stored.

    Raises
    ------
    InvalidInputError
        (a ``ValueError``) names or fractions are not suitable, or more than one kind of group was chosen.
    InvalidTypeError
        (a ``TypeError``) an argument has another type.
    """
    if not isinstance(parts, Mapping):
        raise InvalidTypeError(f"parts are a mapping from names to fractions, not {type(parts).__name__}")
    for name, value in (("salt", salt), ("group_column", group_column), ("group_prefix", group_prefix)):
        if not isinstance(value, str):
            raise InvalidTypeError(f"{name} is a str, not {type(value).__name__}")
        _check_text(value, name)
    if group is not None and not callable(group):
        raise InvalidTypeError("group is a function of a sample key; a column is named by group_column")
    if bool(group_column) + bool(group_prefix) + (group is not None) > 1:
        raise InvalidInputError("groups are made in one way: by group_column, by group_prefix or by group")
    return Split(_checked(list(parts.items())), salt, group_column, group_prefix, group)


def _check_text(value: str, name: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(f"{name} {value!r} cannot be encoded as UTF-8") from None


def _checked(parts: list[Any]) -> tuple[tuple[str, float], ...]:
    """Names and fractions of parts, as plain types."""
    if not 1 <= len(parts) <= _MAX_PARTS:
        raise InvalidInputError(f"a split has 1 to {_MAX_PARTS} parts, not {len(parts)}")
    found = []
    for name, fraction in parts:
        check_name(name, "column")
        if isinstance(fraction, bool) or not isinstance(fraction, (int, float, np.integer, np.floating)):
            raise InvalidTypeError(f"the fraction of part {name!r} is a number, not {type(fraction).__name__}")
        if not 0 < fraction <= 1:
            raise InvalidInputError(f"the fraction of part {name!r} is above 0 and at most 1, not {fraction}")
        found.append((str(name), float(fraction)))
    total = sum(fraction for _, fraction in found)
    if abs(total - 1) > _TOLERANCE:
        raise InvalidInputError(f"the fractions of a split sum to 1, not {total:g}")
    if len({name for name, _ in found}) < len(found):
        raise InvalidInputError("the parts of a split have different names")
    return tuple(found)


def _bounds(parts: tuple[tuple[str, float], ...]) -> HashValues:
    """Smallest hash value of each part after the first. Exact arithmetic, so that they are the same on every machine."""
    fractions = [Fraction(fraction) for _, fraction in parts]
    total = sum(fractions)
    bounds = [int(sum(fractions[:i]) * 2**64 / total) for i in range(1, len(parts))]
    return np.array(bounds, np.uint64)


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """The parts of the samples of one column; :meth:`Split.assign` makes it.

    Attributes
    ----------
    split
        The recipe.
    column
        The column.
    codes
        Index of the part of each sample in key order: uint8, shape (n,).
    """

    split: Split
    column: Reader
    codes: Codes

    def keys(self, part: str) -> list[SampleKey]:
        """Keys of the samples of a part, in key order.

        Raises
        ------
        InvalidInputError
            (a ``ValueError``) there is no such part.
        """
        return list(compress(self.column, (self.codes == self._code(part)).tolist()))

    def positions(self, part: str) -> npt.NDArray[np.int64]:
        """Positions in key order of the samples of a part: int64, shape (n,), ascending. Raises as :meth:`keys`."""
        return np.flatnonzero(self.codes == self._code(part))

    @property
    def counts(self) -> dict[str, int]:
        """Number of samples of each part."""
        found = np.bincount(self.codes, minlength=len(self.split.parts)).tolist()
        return dict(zip(self.split.names, found, strict=True))

    def _code(self, part: str) -> int:
        if part not in self.split.names:
            raise InvalidInputError(f"there is no part {part!r} of the split; there are: {', '.join(self.split.names)}")
        return self.split.names.index(part)


def list_splits(checkout: Holder) -> dict[str, Split]:
    """All splits that are stored in a commit (or staged), by name. Raises as :func:`load_split`."""
    names = [key[len(ATTRIBUTE) :] for key in checkout.attributes if key.startswith(ATTRIBUTE)]
    return {name: load_split(checkout, name) for name in names}


def load_split(checkout: Holder, name: str) -> Split:
    """Load a split that :meth:`Split.save` stored.

    Raises
    ------
    AttributeNotFoundError
        (a ``KeyError``) there is no such split.
    InvalidInputError
        (a ``ValueError``) the attribute is not a split.
    UnsupportedVersionError
        (a ``RuntimeError``) it was made by a newer Hangar.
    """
    recipe = checkout.attributes.get(ATTRIBUTE + name)
    if recipe is None:
        raise _no_split(checkout, name)
    if not isinstance(recipe, dict) or recipe.get("kind") != "hash" or type(recipe.get("version")) is not int:
        raise InvalidInputError(f"the attribute {ATTRIBUTE + name!r} is not a split: {recipe!r:.100}")
    if recipe["version"] > VERSION:
        raise UnsupportedVersionError(
            f"the split {name!r} was made by a newer Hangar (version {recipe['version']}): install a newer version"
        )
    values = {key: value for key, value in recipe.items() if key not in ("kind", "version", "parts")}
    parts = recipe.get("parts")
    pairs = isinstance(parts, list) and all(isinstance(one, list) and len(one) == 2 for one in parts)
    try:
        if not pairs or not values.keys() <= {"salt", "group_column", "group_prefix"}:
            raise InvalidInputError("unknown fields" if pairs else "no list of parts")
        return Split(_checked(parts or []), **_same(hash_split(**values)))
    except (InvalidInputError, InvalidTypeError) as error:
        raise InvalidInputError(f"the attribute {ATTRIBUTE + name!r} is not a split: {error}") from None


def _same(split: Split) -> dict[str, Any]:
    return {"salt": split.salt, "group_column": split.group_column, "group_prefix": split.group_prefix}


def _no_split(checkout: Holder, name: str) -> AttributeNotFoundError:
    found = [key[len(ATTRIBUTE) :] for key in checkout.attributes if key.startswith(ATTRIBUTE)]
    return AttributeNotFoundError(f"there is no split {name!r} here; there are: {', '.join(found) or 'none'}")


def delete_split(checkout: WriterCheckout, name: str) -> None:
    """Remove a stored split from the staging area. Raises AttributeNotFoundError (a ``KeyError``) if there is none."""
    if not isinstance(checkout, WriterCheckout):
        raise AccessError("a split is removed through a checkout that writes: `repo.checkout(write=True)`")
    if ATTRIBUTE + name not in checkout.attributes:
        raise _no_split(checkout, name)
    del checkout.attributes[ATTRIBUTE + name]
