"""Objects as they come in: they are kept in quarantine, and what they name is noted.

An object that names others is decoded for this, and must be the encoding of what it decodes to. Nothing else is checked
here but sizes: leaves, and whether objects are right where they are named (trees, connections), are checked when all are
there, see ``verify``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import compress, islice
from operator import not_
from typing import Final

import numpy as np

from hangar import limits
from hangar.blobs.index import Digests
from hangar.digest import DIGEST_BYTES, RecordClass, digest_array, digest_list
from hangar.errors import CorruptionError, InvalidInputError, UnsupportedVersionError
from hangar.objects.arrays import decode_array
from hangar.objects.attributes import decode_attributes
from hangar.objects.children import Children, children_of_array, children_of_node, names_records
from hangar.objects.commit import decode_commit
from hangar.objects.node import decode_node, encode_node
from hangar.remote.peer import Names, Objects
from hangar.remote.quarantine import CLASSES, Quarantine
from hangar.remote.sending import join_digests
from hangar.remote.source import ObjectSource
from hangar.remote.unasked import UnaskedCount
from hangar.schema import open_schema
from hangar.wording import plural

__all__ = ["ObjectsIn"]

Named = list[tuple[RecordClass, Digests]]

_MAX_BYTES: Final[dict[str, int]] = {
    "commit": 2**26,
    "schema": 2**16,
    "attributes": limits.MAX_ATTRIBUTES_BYTES,
    "node": limits.NODE_MAX_BYTES,
    "array": 2**12,
}
"""Bytes of one object. A commit has up to 65,536 columns."""
_AT_ONCE: Final = 1_024
_FEW: Final = 16
"""Objects whose names are read later are read so many at a time."""


class ObjectsIn:
    """Received objects in a quarantine, and what they name that is neither there nor in the repository.

    Parameters
    ----------
    quarantine
        Its objects are checked again first: they may be those of an interrupted transfer.
    most_bytes
        Bytes of all objects; None: no limit.
    unasked
        Counts the objects that nothing named, and bounds what is named; None: neither.
    """

    def __init__(
        self,
        source: ObjectSource,
        quarantine: Quarantine,
        most_bytes: int | None = None,
        unasked: UnaskedCount | None = None,
    ) -> None:
        self._unasked = unasked
        self.quarantine = quarantine
        self._source = source
        self._most_bytes = most_bytes
        # What is named and not in quarantine. It may be in the repository.
        self._named: dict[RecordClass, dict[bytes, None]] = {}
        # Objects whose names were too many to note, how many names these are, and how many objects came that may be among them.
        self._later: dict[RecordClass, dict[bytes, None]] = {}
        self._later_names = self._later_came = 0
        try:
            self.rescan()
        except (CorruptionError, InvalidInputError, UnsupportedVersionError):
            # A power loss left other bytes in the file than those that came: they come again.
            quarantine.clear()
            self.rescan()

    def rescan(self) -> None:
        """Note again what all the objects name: the repository may have less than it had."""
        self._named = {kind: {} for kind in CLASSES}
        self._later = {kind: {} for kind in CLASSES}
        self._later_names = self._later_came = 0
        for kind in CLASSES:
            digests = self.quarantine.digests(kind)
            for start in range(0, len(digests), _AT_ONCE):
                part = digests[start : start + _AT_ONCE]
                self._note_of(kind, part, self._names_of(kind, part))

    def add(self, frame: Objects) -> None:
        """Check and keep the objects of a frame.

        Raises
        ------
        InvalidInputError
            One of them is not valid, or they are too many.
        UnsupportedVersionError
            A newer Hangar wrote one.
        ResourceLimitError
            Too many of them are named by nothing.
        """
        if frame.kind not in CLASSES:
            raise InvalidInputError(f"objects of the class {frame.kind[:40]!r} are not known here")
        kind: RecordClass = frame.kind
        datas = list(frame.items)
        longest = max(map(len, datas), default=0)
        if longest > _MAX_BYTES[kind]:
            raise InvalidInputError(
                f"a received {kind} of {plural(longest, 'byte')} exceeds the limit of {_MAX_BYTES[kind]:,}"
            )
        if self._most_bytes is not None and self.quarantine.nbytes + sum(map(len, datas)) > self._most_bytes:
            raise InvalidInputError(
                f"the objects of one transfer exceed the limit of {plural(self._most_bytes, 'byte')}"
            )
        try:
            named = _named_by(kind, datas)
        except CorruptionError as error:
            raise InvalidInputError(f"a received {kind} is not valid: {error}") from None
        waiting = self._named[kind]
        count, asked = self.quarantine.count, len(waiting)
        digests = self.quarantine.add(kind, datas)
        for digest in digests:
            waiting.pop(digest, None)
        early = self.quarantine.count - count - (asked - len(waiting))
        if self._unasked is not None and early > 0:
            own = {digest for name, names in named if name == kind for digest in digest_list(names)}
            early = max(0, early - len(own.intersection(digests)))  # named by others of the frame
            later = min(early, self._later_names - self._later_came)
            self._later_came += later
            self._unasked.add(early - later)
        self._note_of(kind, digests, named)

    def want(self, kind: RecordClass, digests: Digests) -> None:
        """Note that objects are needed."""
        self._note([(kind, digests)])

    def _names_of(self, kind: RecordClass, digests: list[bytes]) -> Named:
        """What objects in quarantine name."""
        datas = self.quarantine.get_many(kind, digests)
        return _named_by(kind, [data for data in datas if data is not None])

    def _note_of(self, kind: RecordClass, digests: Sequence[bytes], named: Named) -> None:
        """Note what received objects name, or remember them to note it later."""
        count = sum(len(names) for _, names in named)
        if self._unasked is None or not count or self._unasked.named.hold(self._count() + count):
            self._note(named)
        else:
            self._later[kind].update(dict.fromkeys(digests))
            self._later_names += count

    def _note_later(self, most: int) -> None:
        """Note what some of the remembered objects name."""
        for kind, objects in self._later.items():
            while objects and self._count() < most:
                part = [objects.popitem()[0] for _ in range(min(_FEW, len(objects)))]
                self._note(self._names_of(kind, part))
        if not any(self._later.values()):
            self._later_names = self._later_came = 0

    def _count(self) -> int:
        return sum(map(len, self._named.values()))

    def _note(self, named: Named) -> None:
        for kind, digests in named:
            holds = self.quarantine.holds
            self._named[kind].update(
                dict.fromkeys([digest for digest in digest_list(digests) if not holds(kind, digest)])
            )

    def missing(self, most: int) -> tuple[list[Names], bool]:
        """What is named and missing: at most so many objects, and whether there are more."""
        self._drop_stored()
        while any(self._later.values()) and self._count() < most:
            self._note_later(most)
            self._drop_stored()
        if self._unasked is not None:
            self._unasked.named.hold(self._count())
        found: list[Names] = []
        more = any(self._later.values())
        for kind, named in self._named.items():
            absent = list(islice(named, most))
            if absent:
                found.append(Names(kind, join_digests(absent)))
            more |= len(named) > most
            most -= len(absent)
        return found, more

    def _drop_stored(self) -> None:
        """Forget names of objects that the repository has."""
        for kind, named in self._named.items():
            stored = self._source.stored(kind, list(named))
            self._named[kind] = dict.fromkeys(compress(named, map(not_, stored)))

    @property
    def complete(self) -> bool:
        """Whether nothing that was named is missing."""
        return not self.missing(1)[0]


def _named_by(kind: RecordClass, datas: list[bytes]) -> Named:
    return [(name, digests) for name, digests in _NAMED[kind](datas) if len(digests)]


def _by_commits(datas: list[bytes]) -> Iterator[tuple[RecordClass, Digests]]:
    found: dict[RecordClass, dict[bytes, None]] = {kind: {} for kind in CLASSES}
    for commit in map(decode_commit, datas):
        found["commit"].update(dict.fromkeys(commit.parents))
        for entry in commit.columns:
            found["schema"][entry.schema] = None
            found["attributes"].update(dict.fromkeys([entry.attributes] if entry.attributes else []))
            found["node"].update(dict.fromkeys([entry.root] if entry.root else []))
        found["attributes"].update(dict.fromkeys([commit.attributes] if commit.attributes else []))
    for kind, names in found.items():
        yield kind, digest_array(list(names))


def _by_nodes(datas: list[bytes]) -> Iterator[tuple[RecordClass, Digests]]:
    datas = [data for data in datas if names_records(data)]
    nodes = list(map(decode_node, datas))
    if [encode_node(node) for node in nodes] != datas:
        raise CorruptionError("a tree node is not in canonical form")
    yield from _records(list(map(children_of_node, nodes)))


def _by_arrays(datas: list[bytes]) -> Iterator[tuple[RecordClass, Digests]]:
    yield from _records([children_of_array(decode_array(data)) for data in datas])


def _records(children: list[Children]) -> Iterator[tuple[RecordClass, Digests]]:
    none = np.empty((0, DIGEST_BYTES), np.uint8)
    yield "node", np.concatenate([none, *(one.nodes for one in children)])
    yield "array", np.concatenate([none, *(one.arrays for one in children)])


def _by_plain(decode: Callable[[bytes], object]) -> Callable[[list[bytes]], Iterator[tuple[RecordClass, Digests]]]:
    def named(datas: list[bytes]) -> Iterator[tuple[RecordClass, Digests]]:
        for data in datas:
            decode(data)
        yield from ()

    return named


_NAMED: Final[dict[RecordClass, Callable[[list[bytes]], Iterator[tuple[RecordClass, Digests]]]]] = {
    "commit": _by_commits,
    "schema": _by_plain(open_schema),
    "attributes": _by_plain(decode_attributes),
    "node": _by_nodes,
    "array": _by_arrays,
}
