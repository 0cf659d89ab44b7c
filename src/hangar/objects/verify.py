"""Verify that a tree is canonical: split points, key order, counts. Digests alone do not prove it.

Checks that keys ascend through the whole tree; that every node ends where the boundary rule cuts, or at the end of
its level; that inner nodes are right about their children (last key, entries, samples, level); that leaves have the
form of the column; and that the encoding is canonical. Used by fsck, and for every tree received from another
repository: there, subtrees that were verified before are not walked again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from operator import lt
from typing import Final, NamedTuple, Protocol

from hangar.digest import Digest, record_digest
from hangar.errors import HangarError, ResourceLimitError
from hangar.objects.node import Node, Root, TreeForm, encode_node
from hangar.objects.samples import count_samples, sample_of, samples_below
from hangar.objects.split import cuts, marks
from hangar.wording import plural

__all__ = ["Nodes", "Problem", "TreeVerifier", "verify"]


class Nodes(Protocol):
    """Loads nodes: a :class:`~hangar.objects.store.NodeStore`, or something like it."""

    def load(self, digest: bytes) -> Node:
        """The node of this digest."""

    def load_many(self, digests: Sequence[bytes]) -> list[Node]:
        """The nodes of these digests, in their order."""


class Problem(NamedTuple):
    """One problem of one tree node."""

    digest: Digest
    message: str


class _Subtree(NamedTuple):
    """Facts found below one node, to compare with its parent."""

    level: int
    first: bytes
    last: bytes
    entries: int
    samples: int


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
        Whether a node and everything below it was verified before, in a tree of any form. It must then still be right in its
        new place. None: no node was.
    """

    def __init__(self, store: Nodes, form: TreeForm, trusted: Callable[[Digest], bool] | None = None) -> None:
        self._store = store
        self._form = form
        self._trusted = trusted
        # By digest and whether the node is the last of its level: a short node is valid only as the last one.
        self._known: dict[tuple[Digest, bool], _Subtree | None] = {}

    def problems(self, root: Root) -> Iterator[Problem]:
        """Check a whole tree.

        Yields
        ------
        Problem
            One for each defect. Nodes below an unreadable node are not checked. A node that several trees share is
            reported once.
        """
        found = yield from self._check(root.digest, True)
        if found is None:
            return
        if found.level and len(self._store.load(root.digest).keys) == 1:
            yield Problem(root.digest, "the root has a single child, so it is not the canonical root")
        samples = found.samples if self._form.nested else found.entries
        if (found.entries, samples) != (root.entries, root.samples):
            yield Problem(
                root.digest,
                f"the tree has {plural(found.entries, 'entry')} and {plural(samples, 'sample')}, not {root.entries:,} and {root.samples:,}",
            )

    def _check(
        self, digest: Digest, ends_level: bool, above: int | None = None
    ) -> Generator[Problem, None, _Subtree | None]:
        """Check a node and everything below it, if it is below the level ``above``; returns facts about it, None if it cannot be read."""
        if (digest, ends_level) in self._known:
            return self._known[digest, ends_level]
        found: _Subtree | None = None
        try:
            node = self._store.load(digest)
            if above is not None and node.level >= above:
                # The parent reports it. Going on could lead down a chain of any length.
                return _Subtree(node.level, node.keys[0], node.keys[-1], 0, 0)
            if self._trusted is not None and self._trusted(digest):
                found = yield from self._check_place(digest, node, ends_level)
                self._known[digest, ends_level] = found
                return found
            for message in _own_problems(node, self._form, digest, ends_level):
                yield Problem(digest, message)
            if node.level:
                found = yield from self._check_children(digest, node, ends_level)
            else:
                samples = count_samples(node.keys) if self._form.nested else 0
                found = _Subtree(0, node.keys[0], node.keys[-1], len(node.keys), samples)
        except ResourceLimitError:
            raise
        except HangarError as error:
            yield Problem(digest, str(error))
        self._known[digest, ends_level] = found
        return found

    def _check_children(
        self, digest: Digest, node: Node, ends_level: bool
    ) -> Generator[Problem, None, _Subtree | None]:
        children = node.children()
        self._load_ahead(children)
        known = self._known
        first: bytes | None = None
        above: bytes | None = None
        for i, child in enumerate(children):
            key = child, ends_level and i == len(children) - 1
            # Nearly all children are known from other trees.
            found = known[key] if key in known else (yield from self._check(*key, node.level))
            if found is not None:
                message = _disagreement(node, i, found, above)
                if message:
                    yield Problem(digest, f"child {i} ({child.hex()}) {message}")
                first = found.first if i == 0 else first
            above = node.keys[i]
        if first is None:
            return None
        return _Subtree(node.level, first, node.keys[-1], sum(node.counts), sum(node.samples))

    def _check_place(self, digest: Digest, top: Node, ends_level: bool) -> Generator[Problem, None, _Subtree]:
        """Check that a verified subtree is right where it is now: its form, and where its last nodes end."""
        leaf = node = top
        while leaf.level:
            leaf = self._store.load(leaf.child(0))
        if (leaf.kind, leaf.width) != (self._form.kind, self._form.width):
            yield Problem(digest, f"its entries have {_form_of(leaf)}; those of the column have {_form_of(self._form)}")
        if top.level and bool(top.samples) != self._form.nested:
            yield Problem(digest, _SAMPLE_COUNTS)
        while not ends_level:
            if cuts(node.keys, marks(node.keys, node.level)) != [len(node.keys)]:
                yield Problem(digest, "it does not end where the boundary rule cuts")
                break
            if not node.level:
                break
            node = self._store.load(node.child(len(node.keys) - 1))
        samples = samples_below(top) if self._form.nested else 0
        return _Subtree(top.level, leaf.keys[0], top.keys[-1], top.entries, samples)

    def _load_ahead(self, children: list[Digest]) -> None:
        fresh = [child for child in children if (child, False) not in self._known]
        try:
            self._store.load_many(fresh)
        except HangarError:
            return  # The same error is reported with the digest when the child itself is checked.


def _own_problems(node: Node, form: TreeForm, digest: Digest, ends_level: bool) -> Iterator[str]:
    """Problems of a node itself, without its children."""
    if record_digest("node", encode_node(node)) != digest:
        yield "it is not in canonical form"
    if not all(map(lt, node.keys, node.keys[1:])):
        yield "its keys do not ascend"
    ends = cuts(node.keys, marks(node.keys, node.level))
    if ends != [len(node.keys)] and (ends or not ends_level):
        yield "it does not end where the boundary rule cuts"
    if node.level == 0 and (node.kind, node.width) != (form.kind, form.width):
        yield f"its entries have {_form_of(node)}; those of the column have {_form_of(form)}"
    if node.level and bool(node.samples) != form.nested:
        yield _SAMPLE_COUNTS


_SAMPLE_COUNTS: Final = "it has sample counts in a flat column, or lacks them in a nested one"


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
