"""Verify that a tree is canonical: split points, key order, counts. Digests alone do not prove it.

Checks that keys ascend through the whole tree; that every node ends where the boundary rule cuts, or at the end of
its level; that inner nodes are right about their children (last key, entries, samples, level); that leaves have the
form of the column; and that the encoding is canonical. Used by fsck, and for every tree received from another
repository: there, subtrees that were verified before are not walked again.

The nodes of a level are checked in batches, leaves with integer keys without an object for each key. Where a batch is not right,
its nodes are checked one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import accumulate, chain, compress
from operator import lt
from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from hangar.digest import Digest, record_digests
from hangar.errors import HangarError, ResourceLimitError
from hangar.objects.bulk import int_leaves
from hangar.objects.node import Node, Root, TreeForm, encode_node
from hangar.objects.samples import count_samples, sample_of, samples_below
from hangar.objects.split import cuts, int_cuts, marks
from hangar.wording import plural

__all__ = ["Nodes", "Problem", "TreeVerifier", "verify"]

_TOGETHER: Final = 512
"""Maximum number of nodes that are loaded together: about 36,000 entries."""
_MOST_LEAVES: Final = 2**18
"""Facts about so many leaves are kept, about 400 bytes each. Where there are more, leaves that trees share are checked again."""


class Nodes(Protocol):
    """Loads nodes: a :class:`~hangar.objects.store.NodeStore`, or something like it."""

    def load(self, digest: bytes) -> Node:
        """The node of this digest."""

    def load_many(self, digests: Sequence[bytes]) -> list[Node]:
        """The nodes of these digests, in their order."""

    def encoded(self, digests: Sequence[bytes]) -> list[bytes]:
        """The encoded nodes of these digests, in their order."""


Trusted = Callable[[Sequence[Digest]], Sequence[bool]]
"""Which of some nodes were verified before, with everything below them, in a tree of any form."""
Met = Callable[[Sequence[Digest], Sequence[Node]], object]
"""Takes nodes, all of one level, that were found right in themselves. May raise an error, which ends the verification."""
MetRows = Callable[[Sequence[Digest], npt.NDArray[np.uint8]], object]
"""Takes leaves of fixed width with integer keys: their digests, and the entries of all of them, uint8, shape (n, width)."""


class Problem(NamedTuple):
    """One problem of one tree node."""

    digest: Digest
    message: str


class _Subtree(NamedTuple):
    """Facts found below one node, to compare with its parent.

    ``size`` is the number of its own entries; ``open`` the node on its right edge that does not end where the boundary rule
    cuts, and so is valid only at the end of its level, or None.
    """

    level: int
    size: int
    first: bytes
    last: bytes
    entries: int
    samples: int
    open: Digest | None


_Found = dict[Digest, _Subtree | None]


def verify(store: Nodes, form: TreeForm, root: Root) -> Iterator[Problem]:
    """Check one tree (see :meth:`TreeVerifier.problems`)."""
    return TreeVerifier(store, form).problems(root)


class TreeVerifier:
    """Verifier for trees of one form. Nodes that several trees share are checked once.

    Parameters
    ----------
    store
        Has the nodes.
    form
        Expected form of the leaves.
    trusted
        Nodes that are trusted need only be right in their new place. None: no node is.
    checked, checked_rows
        Called with the nodes that were checked; the second one with leaves that were not decoded for it. Both or none.
    placed
        Called with the trusted nodes that were met.
    """

    def __init__(
        self,
        store: Nodes,
        form: TreeForm,
        trusted: Trusted | None = None,
        checked: Met | None = None,
        checked_rows: MetRows | None = None,
        placed: Met | None = None,
    ) -> None:
        self._store = store
        self._form = form
        self._trusted = trusted
        self._checked = checked
        self._checked_rows = checked_rows
        self._placed = placed
        self._inner: _Found = {}
        self._leaves: _Found = {}
        self._reported: set[Digest] = set()

    def problems(self, root: Root) -> Iterator[Problem]:
        """Check a whole tree.

        Yields
        ------
        Problem
            One for each defect. Nodes below an unreadable node are not checked. A node that several trees share is
            reported once.
        """
        found = (yield from self._check([root.digest]))[root.digest]
        if found is None:
            return
        if found.level and found.size == 1:
            yield Problem(root.digest, "the root has a single child, so it is not the canonical root")
        samples = found.samples if self._form.nested else found.entries
        if (found.entries, samples) != (root.entries, root.samples):
            yield Problem(
                root.digest,
                f"the tree has {plural(found.entries, 'entry')} and {plural(samples, 'sample')}, not {root.entries:,} and {root.samples:,}",
            )

    def _check(self, digests: Iterable[Digest], above: int | None = None) -> Generator[Problem, None, _Found]:
        """Check nodes and everything below them, if they are below the level ``above``.

        Returns
        -------
        dict
            Facts about each; None if it cannot be read.
        """
        inner, leaves = self._inner, self._leaves
        found: _Found = {digest: leaves.get(digest) or inner.get(digest) for digest in digests}
        fresh = [digest for digest, facts in found.items() if facts is None and digest not in inner]
        for start in range(0, len(fresh), _TOGETHER):
            found.update((yield from self._check_fresh(fresh[start : start + _TOGETHER], above)))
        return found

    def _check_fresh(self, digests: list[Digest], above: int | None) -> Generator[Problem, None, _Found]:
        trusted = self._trusted(digests) if self._trusted is not None else [False] * len(digests)
        stored = list(compress(digests, trusted))
        new = [digest for digest, good in zip(digests, trusted, strict=True) if not good] if stored else digests
        found = self._check_int_leaves(new) if above == 1 and new else None
        if found is None:
            found = yield from self._check_nodes(new, above, trusted=False)
        if stored:
            found |= yield from self._check_nodes(stored, above, trusted=True)
        return found

    def _check_nodes(
        self, digests: list[Digest], above: int | None, *, trusted: bool
    ) -> Generator[Problem, None, _Found]:
        nodes = yield from self._load(digests)
        found: _Found = {}
        if above is not None:
            for digest, node in nodes.items():
                if node.level >= above:
                    # The parent reports it. Going on could lead down a chain of any length.
                    found[digest] = _Subtree(node.level, len(node.keys), node.keys[0], node.keys[-1], 0, 0, None)
        checked: _Found = dict.fromkeys([digest for digest in digests if digest not in found])
        levels: dict[int, list[Digest]] = {}
        for digest, node in nodes.items():
            if digest not in found:
                levels.setdefault(node.level, []).append(digest)
        for level, names in levels.items():
            check = self._place if trusted else self._check_inner if level else self._check_leaves
            checked.update((yield from check(names, [nodes[digest] for digest in names])))
        self._remember(checked)
        return found | checked

    def _remember(self, checked: _Found) -> None:
        for digest, facts in checked.items():
            (self._inner if facts is None or facts.level else self._leaves)[digest] = facts
        if len(self._leaves) > _MOST_LEAVES:
            self._leaves.clear()

    def _load(self, digests: list[Digest]) -> Generator[Problem, None, dict[Digest, Node]]:
        """The nodes of these digests that can be read."""
        try:
            return dict(zip(digests, self._store.load_many(digests), strict=True))
        except ResourceLimitError:
            raise
        except HangarError as error:
            if len(digests) == 1:
                yield Problem(digests[0], str(error))
                return {}
        found: dict[Digest, Node] = {}
        for digest in digests:
            found.update((yield from self._load([digest])))
        return found

    # ------------------------------------------------------------------ nodes that are not trusted

    def _check_int_leaves(self, digests: list[Digest]) -> _Found | None:
        """Check leaves of fixed width with integer keys, which are not decoded; None if they are not such, or one is not right."""
        try:
            datas = self._store.encoded(digests)
        except HangarError:
            return None
        leaves = int_leaves(datas, self._form)
        if leaves is None or record_digests("node", datas) != digests:
            return None
        numbers = np.ascontiguousarray(leaves.keys[:, 1:]).view(">u8")[:, 0]
        ends = leaves.ends
        cut = int_cuts(leaves.keys, 0)
        if not (numbers[1:] > numbers[:-1]).all() or cut not in (ends, ends[:-1]):
            return None
        if self._checked_rows is not None:
            self._checked_rows(digests, leaves.rows)
        keys = leaves.keys.view(f"V{leaves.keys.shape[1]}")[:, 0]
        starts = [0, *ends[:-1]]
        first, last = keys[starts].tolist(), keys[[end - 1 for end in ends]].tolist()
        found: _Found = {
            digest: _Subtree(0, end - start, low, high, end - start, 0, None)
            for digest, start, end, low, high in zip(digests, starts, ends, first, last, strict=True)
        }
        if cut != ends:
            found[digests[-1]] = found[digests[-1]]._replace(open=digests[-1])  # type: ignore[union-attr]
        self._remember(found)
        return found

    def _check_leaves(self, digests: list[Digest], nodes: list[Node]) -> Generator[Problem, None, _Found]:
        open_ends = yield from self._check_own(digests, nodes)
        if self._checked is not None:
            self._checked(digests, nodes)
        found: _Found = {}
        for digest, node, is_open in zip(digests, nodes, open_ends, strict=True):
            keys = node.keys
            try:
                samples = count_samples(keys) if self._form.nested else 0
            except HangarError as error:
                yield Problem(digest, str(error))
                continue
            found[digest] = _Subtree(0, len(keys), keys[0], keys[-1], len(keys), samples, digest if is_open else None)
        return found

    def _check_inner(self, digests: list[Digest], nodes: list[Node]) -> Generator[Problem, None, _Found]:
        """Check inner nodes of one level; the children of several together."""
        open_ends = yield from self._check_own(digests, nodes)
        if self._checked is not None:
            self._checked(digests, nodes)
        found: _Found = {}
        start = 0
        while start < len(nodes):
            stop, count = start, 0
            while stop < len(nodes) and (stop == start or count + len(nodes[stop].keys) <= _TOGETHER):
                count += len(nodes[stop].keys)
                stop += 1
            children = [node.children() for node in nodes[start:stop]]
            below = yield from self._check(chain.from_iterable(children), nodes[start].level)
            for at, named in enumerate(children, start):
                facts = yield from self._compare(
                    digests[at], nodes[at], [below[child] for child in named], open_ends[at]
                )
                found[digests[at]] = facts
            start = stop
        return found

    def _compare(
        self, digest: Digest, node: Node, below: list[_Subtree | None], is_open: bool
    ) -> Generator[Problem, None, _Subtree | None]:
        """Compare an inner node with facts about its children."""
        above: bytes | None = None
        for i, found in enumerate(below):
            if found is not None:
                try:
                    message = _disagreement(node, i, found, above)
                except HangarError as error:
                    message = f"cannot be compared: {error}"
                if message:
                    yield Problem(digest, f"child {i} ({node.child(i).hex()}) {message}")
                if found.open is not None and i < len(below) - 1 and found.open not in self._reported:
                    self._reported.add(found.open)
                    yield Problem(found.open, _ENDS_WRONGLY)
            above = node.keys[i]
        first, last = below[0], below[-1]
        if first is None:
            return None
        right = digest if is_open else None if last is None else last.open
        return _Subtree(
            node.level, len(node.keys), first.first, node.keys[-1], sum(node.counts), sum(node.samples), right
        )

    def _check_own(self, digests: list[Digest], nodes: list[Node]) -> Generator[Problem, None, list[bool]]:
        """Check nodes of one level, without their children; returns which of them may only be the last of their level."""
        keys = list(chain.from_iterable([node.keys for node in nodes]))
        ends = list(accumulate([len(node.keys) for node in nodes]))
        canonical = record_digests("node", list(map(encode_node, nodes))) == digests
        ascending = all(map(lt, keys, keys[1:]))
        cut = cuts(keys, marks(keys, nodes[0].level))
        fitting = all(_fits(node, self._form) for node in nodes)
        if canonical and ascending and fitting and cut in (ends, ends[:-1]):
            return [False] * (len(nodes) - 1) + [cut != ends]
        if len(nodes) > 1:
            # Nodes are right one by one, too, if they are not neighbours; or else the wrong ones are to be named.
            found: list[bool] = []
            for digest, node in zip(digests, nodes, strict=True):
                found += yield from self._check_own([digest], [node])
            return found
        if not canonical:
            yield Problem(digests[0], "it is not in canonical form")
        if not ascending:
            yield Problem(digests[0], "its keys do not ascend")
        if cut not in (ends, []):
            yield Problem(digests[0], _ENDS_WRONGLY)
        if not fitting:
            yield Problem(digests[0], _misfit(nodes[0], self._form))
        return [not cut]

    # ------------------------------------------------------------------ trusted nodes

    def _place(self, digests: list[Digest], nodes: list[Node]) -> Generator[Problem, None, _Found]:
        """Check that verified subtrees are right where they are now: their form, and where their last nodes end."""
        if self._placed is not None:
            self._placed(digests, nodes)
        found: _Found = {}
        for digest, top in zip(digests, nodes, strict=True):
            try:
                leaf = right = top
                while leaf.level:
                    leaf = self._store.load(leaf.child(0))
                name = digest
                while _ends_at_cut(right) and right.level:
                    name = right.child(len(right.keys) - 1)
                    right = self._store.load(name)
                samples = samples_below(top) if self._form.nested else 0
            except ResourceLimitError:
                raise
            except HangarError as error:
                yield Problem(digest, str(error))
                continue
            for node in {id(leaf): leaf, id(top): top}.values():
                if not _fits(node, self._form):
                    yield Problem(digest, _misfit(node, self._form))
            found[digest] = _Subtree(
                top.level,
                len(top.keys),
                leaf.keys[0],
                top.keys[-1],
                top.entries,
                samples,
                None if _ends_at_cut(right) else name,
            )
        return found


_ENDS_WRONGLY: Final = "it does not end where the boundary rule cuts"


def _ends_at_cut(node: Node) -> bool:
    """Whether a verified node, which holds no cut, ends at one."""
    return bool(cuts(node.keys, marks(node.keys, node.level)))


def _fits(node: Node, form: TreeForm) -> bool:
    if node.level:
        return bool(node.samples) == form.nested
    return (node.kind, node.width) == (form.kind, form.width)


def _misfit(node: Node, form: TreeForm) -> str:
    if node.level:
        return "it has sample counts in a flat column, or lacks them in a nested one"
    return f"its entries have {_form_of(node)}; those of the column have {_form_of(form)}"


def _form_of(what: Node | TreeForm) -> str:
    return f"kind {what.kind}, width {what.width}"


def _disagreement(node: Node, index: int, found: _Subtree, above: bytes | None) -> str | None:
    """Description of the first wrong statement of a node about a child, or None."""
    if found.level != node.level - 1:
        return f"is on level {found.level}, below level {node.level}"
    if found.last != node.keys[index]:
        return "does not end with the last key that its parent names"
    if above is not None and found.first <= above:
        return "begins before its predecessor ends"
    if found.entries != node.counts[index]:
        return f"has {plural(found.entries, 'entry')}, not {node.counts[index]:,}"
    if node.samples:
        shared = above is not None and sample_of(above) == sample_of(found.first)
        if found.samples - shared != node.samples[index]:
            return f"adds {plural(found.samples - shared, 'sample')}, not {node.samples[index]:,}"
    return None
