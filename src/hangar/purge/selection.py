"""The samples that a user chose to purge, and their entries in a tree."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hangar.columns.keyspace import PAIRS, lookup_prefix
from hangar.errors import InvalidInputError, SampleNotFoundError
from hangar.names import SampleKey
from hangar.objects.lookup import get_many
from hangar.objects.node import Root
from hangar.objects.ranges import entries_of_samples
from hangar.objects.samples import sample_of
from hangar.objects.store import NodeStore
from hangar.purge.report import SampleName
from hangar.schema import ColumnSchema
from hangar.schema.keys import decode_key, lookup_key, split_nested_key

__all__ = ["Selection", "key_list", "sample_name"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Chosen samples of one column.

    Attributes
    ----------
    nested
        Whether the column is nested.
    keys
        Encoded keys: samples of a flat column, or pairs of sample and subsample.
    prefixes
        Prefixes of the encoded keys of whole samples of a nested column.
    """

    nested: bool
    keys: set[bytes] = field(default_factory=set)
    prefixes: set[bytes] = field(default_factory=set)

    @classmethod
    def of(cls, keys: Iterable[Any], column: str, *, nested: bool) -> Selection:
        """Encode keys as users write them. In a nested column ``sample`` is a whole sample, ``(sample, subsample)`` one entry.

        Raises
        ------
        SampleNotFoundError
            No sample can have such a key.
        InvalidTypeError
            Something can never be a key.
        """
        chosen = cls(nested)
        for key in keys:
            pair = isinstance(key, (tuple, list)) and nested
            if pair and len(key) != 2:
                raise InvalidInputError(f"{key!r} is no key of a nested column: write a sample, or (sample, subsample)")
            if pair and key[1] is not Ellipsis:
                encoded, into = PAIRS.lookup(tuple(key)), chosen.keys
            elif nested:
                encoded, into = lookup_prefix(key[0] if pair else key), chosen.prefixes
            else:
                encoded, into = lookup_key(key), chosen.keys
            if encoded is None:
                raise SampleNotFoundError(f"column {column!r} has no sample {key!r}")
            into.add(encoded)
        if not chosen.keys and not chosen.prefixes:
            raise InvalidInputError("name the samples to purge")
        return chosen

    def __contains__(self, encoded: bytes) -> bool:
        return encoded in self.keys or bool(encoded and self.prefixes and sample_of(encoded) in self.prefixes)

    def entries(self, nodes: NodeStore, root: Root | None, schema: ColumnSchema) -> dict[bytes, bytes]:
        """The chosen entries of a tree: cell by encoded key."""
        if root is None:
            return {}
        keys = sorted(self.keys)
        cells = get_many(nodes, schema.form, root.digest, keys) if keys else []
        found = {key: cell for key, cell in zip(keys, cells, strict=True) if cell is not None}
        if self.prefixes:
            for sample in entries_of_samples(nodes, root.digest, sorted(self.prefixes)):
                found.update(zip(sample.keys, sample.cells, strict=True))
        return found

    def require(self, found: Iterable[bytes], column: str, where: str) -> None:
        """Raise SampleNotFoundError unless every chosen sample is among the encoded keys ``found``."""
        there = set(found)
        samples = set(map(sample_of, there)) if self.prefixes else set()
        missing = [sample_name(key, nested=self.nested) for key in sorted(self.keys - there)]
        missing += [(decode_key(one if one[:1] == b"\x10" else one[:-1]),) for one in sorted(self.prefixes - samples)]
        if missing:
            key = missing[0] if len(missing[0]) > 1 else missing[0][0]
            raise SampleNotFoundError(f"column {column!r} of {where} has no sample {key!r}; nothing was purged")


def key_list(keys: Any) -> list[Any]:
    """Keys of a user as a list: one key, or several in a sequence."""
    if isinstance(keys, (str, int)) or not hasattr(keys, "__iter__"):
        return [keys]
    return list(keys)


def sample_name(encoded: bytes, *, nested: bool) -> SampleName:
    """The key of an entry as a user writes it."""
    if nested:
        return split_nested_key(encoded)
    key: SampleKey = decode_key(encoded)
    return (key,)
