"""The words of ``hangar diff``: which two states are compared, and which columns and samples.

As in git: nothing compares the staging area with its commit, one revision compares that with the staging area, two
revisions compare the first with the second. ``A..B`` is the same as ``A B``, ``A...B`` compares the common ancestor of
both with B; a side that is left out is the last commit of the current branch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from hangar.cli.samples import address_of, addresses, is_pattern, matcher
from hangar.cli.views import View, open_commit, open_nothing, open_view
from hangar.errors import ColumnNotFoundError, InvalidStateError, RevisionNotFoundError

if TYPE_CHECKING:
    from hangar.cli.state import State

__all__ = ["PATH", "Chosen", "choose", "sides"]

PATH: Final = "--column"
"""Option that the words after ``--`` become."""
_COLUMN: Final = re.compile(r"[\w.-]+")
"""What may be the name of a column, and not only a revision such as ``HEAD~1``."""


def sides(state: State, words: Sequence[str]) -> tuple[View, View, list[str]]:
    """The two states that ``words`` name, and the words after them, which name columns and samples.

    Raises
    ------
    RevisionNotFoundError
        A word is neither a revision nor a column.
    click.UsageError
        A word is both.
    """
    revisions, paths, unknown = _split(state, words)
    if len(revisions) == 1 and ".." in revisions[0]:
        before, after = _range(state, revisions[0])
    elif not revisions:
        after = open_view(state, None)
        before = open_commit(state, after.commit) if after.commit else open_nothing(state)
    else:
        before = open_commit(state, revisions[0])
        after = open_commit(state, revisions[1]) if len(revisions) == 2 else open_view(state, None)
    if unknown is not None and not _names_column(paths[0], before, after):
        name = paths[0].partition("/")[0]
        if not _COLUMN.fullmatch(name):
            raise unknown
        raise RevisionNotFoundError(f"{unknown}; there is no column {name!r} either")
    return before, after, paths


def _split(state: State, words: Sequence[str]) -> tuple[list[str], list[str], RevisionNotFoundError | None]:
    """The revisions at the beginning of ``words``, the others, and the error of the first of these as a revision."""
    revisions: list[str] = []
    unknown = None
    columns: set[str] | None = None
    for at, word in enumerate(words):
        if len(revisions) == 2 or (revisions and ".." in revisions[0]) or is_pattern(word):
            return revisions, list(words[at:]), None
        if ".." in word:
            if revisions:
                return revisions, list(words[at:]), _resolution(state, word)
            revisions.append(word)
            continue
        unknown = _resolution(state, word)
        if unknown is not None:
            return revisions, list(words[at:]), unknown
        columns = set(open_view(state, None)) if columns is None else columns
        if word in columns:
            raise click.UsageError(
                f"{word!r} is a revision and a column: write `-- {word}` for the column, or heads/{word} for a branch"
            )
        revisions.append(word)
    return revisions, [], None


def _resolution(state: State, word: str) -> RevisionNotFoundError | None:
    """The error of a word that is no revision."""
    from hangar.revisions import resolve

    try:
        resolve(state.stores.db, state.stores.refs, word)
    except RevisionNotFoundError as error:
        return error
    return None


def _range(state: State, word: str) -> tuple[View, View]:
    """The two sides of ``A..B`` or ``A...B``."""
    dots = "..." if "..." in word else ".."
    first, _, second = word.partition(dots)
    before, after = (open_commit(state, one or "HEAD") for one in (first, second))
    return (_common(state, before, after) if dots == "..." else before), after


def _common(state: State, before: View, after: View) -> View:
    """The common ancestor of two commits; one of them, if there are several."""
    from hangar.objects.graph import merge_bases

    ours, theirs = before.snapshot.commit, after.snapshot.commit
    bases = merge_bases(state.stores.db, ours, theirs) if ours and theirs else []
    if not bases:
        raise InvalidStateError(
            f"{before.label} and {after.label} have no common ancestor: compare them as two revisions"
        )
    return open_commit(state, bases[0].hex())


def _names_column(path: str, before: View, after: View) -> bool:
    name = path.partition("/")[0]
    match = matcher(name) if is_pattern(name) else name.__eq__
    return any(match(one) for view in (before, after) for one in view)


class Chosen:
    """The columns and samples that some words choose: ``COLUMN``, ``COLUMN/SAMPLE``, or patterns of both.

    Attributes
    ----------
    column
        Predicate of the name of a column; None: all.
    sample
        Predicate of the name of a column and a key; None: all.
    """

    def __init__(self, paths: Sequence[str], before: View, after: View) -> None:
        for path in paths:
            if not _names_column(path, before, after):
                labels = dict.fromkeys((before.label, after.label))
                raise ColumnNotFoundError(
                    f"there is no column {path.partition('/')[0]!r} in {', nor in '.join(labels)}"
                )
        names = [_predicate(path.partition("/")[0]) for path in paths]
        self.column: Callable[[str], object] | None = (lambda name: any(one(name) for one in names)) if paths else None
        self.sample: Callable[[str, Any], object] | None = None
        if any("/" in path for path in paths):
            # A change has the last name of its column, which may be chosen by an earlier one.
            earlier = _earlier_names(before, after)
            tests = [_sample_test(path) for path in paths]
            self.sample = lambda name, key: any(test({name, earlier.get(name, name)}, key) for test in tests)


def _predicate(name: str) -> Callable[[str], object]:
    return matcher(name) if is_pattern(name) else name.__eq__


def _earlier_names(before: View, after: View) -> dict[str, str]:
    """The name before, by the name after, of each column that is on both sides."""
    known = {entry.id: entry.name for entry in before.entries}
    return {entry.name: known[entry.id] for entry in after.entries if entry.id in known}


def _sample_test(path: str) -> Callable[[set[str], Any], object]:
    """Whether a path chooses a sample, given the names of its column and its key."""
    column, slash, text = path.partition("/")
    match = _predicate(column)
    chosen = _key_test(text) if slash else lambda address: True
    return lambda names, key: any(map(match, names)) and chosen(address_of(key))


def _key_test(text: str) -> Callable[[Any], object]:
    """Whether a sample or subsample, given as its address, is one that ``text`` names."""
    if is_pattern(text):
        kind, colon, rest = text.partition(":")
        only = {"int": int, "str": str}.get(kind) if colon else None
        match = matcher(text if only is None else rest)
        return lambda address: _pattern_fits(match, only, address)
    wanted = {*addresses(text, nested=False), *addresses(text, nested=True)}
    return lambda address: address in wanted or (isinstance(address, tuple) and address[0] in wanted)


def _pattern_fits(match: Callable[[str], object], only: type | None, address: Any) -> bool:
    parts = address if isinstance(address, tuple) else (address,)
    if only is not None and not isinstance(parts[0], only):
        return False
    return bool(match(str(parts[0]))) or (len(parts) > 1 and bool(match("/".join(map(str, parts)))))


def choose(state: State, words: Sequence[str], paths: Sequence[str]) -> tuple[View, View, Chosen]:
    """The two states, and what is chosen of them, of the words and of the option ``--column``."""
    before, after, more = sides(state, words)
    return before, after, Chosen([*more, *paths], before, after)
