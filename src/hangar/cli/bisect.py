"""``hangar bisect``: binary search in history, with its state kept in the repository."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

from hangar.cli import complete
from hangar.cli.groups import SuggestingGroup
from hangar.cli.output import SHORT_DIGEST, echo, echo_lines, json_option, note, style, visible, write_json
from hangar.cli.samples import addresses, unambiguous
from hangar.cli.state import State, pass_state
from hangar.cli.views import View, open_commit
from hangar.errors import InvalidStateError, NothingToDoError, SampleNotFoundError
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.digest import Digest
    from hangar.history.bisect import Search, Step, Verdict

__all__ = ["command"]

VARIABLE: Final = "HANGAR_BISECT_COMMIT"
SKIP: Final = 125
MOST_BAD: Final = 127


@click.group("bisect", cls=SuggestingGroup)
def command() -> None:
    """Find the commit that turned good into bad, by binary search.

    Start with a bad and a good commit. Each step names a commit to test: look at it, and say good, bad or skip. Or let
    `bisect run` test. There is no working directory: the commands you test with name the commit. Staged changes and
    branches are not touched, and the search can be continued later.

    For example:
      hangar bisect start master v1
      hangar export images -o out HEAD~8
      hangar bisect good
      hangar bisect bad
      hangar bisect run python check.py {}
      hangar bisect reset
    """


@command.command("start")
@click.argument("bad", required=False, shell_complete=complete.revisions)
@click.argument("good", nargs=-1, shell_complete=complete.revisions)
@json_option
@pass_state
def start(state: State, bad: str | None, good: tuple[str, ...], as_json: bool) -> None:
    """Start a search.

    BAD and GOOD can be given now, or with `bisect bad` and `bisect good`.

    JSON: test (the commit to test next, or null), found (the first bad commit, or null), suspects (digests), left (about
    how many tests).
    """
    from hangar.history.bisect import Search, read_search

    if read_search(state.stores.db) is not None:
        raise InvalidStateError("a bisection is in progress: end it with `hangar bisect reset` first")
    search = Search()
    if bad is not None:
        search.verdicts.append(("bad", _commit(state, bad)))
    search.verdicts += [("good", _commit(state, one)) for one in good]
    _go_on(state, search, as_json)


_DEFAULT: Final = (
    "By default REV is the commit that was to be tested, and before there is one the last commit of the current branch."
)


def _verdict(name: Verdict, help_text: str, several: bool) -> None:
    """Define the command that gives a verdict."""

    def give(state: State, revs: tuple[str, ...], as_json: bool) -> None:
        search = _search(state)
        commits = [_commit(state, rev) for rev in revs] or [_to_test(state, search)]
        search.verdicts += [(name, commit) for commit in commits]
        _go_on(state, search, as_json)

    give.__doc__ = f"{help_text}\n\n    {_DEFAULT}\n\n    JSON: as in `bisect start`.\n    "
    metavar = "[REV]..." if several else "[REV]"
    nargs = -1 if several else 1
    argument = click.argument(
        "revs",
        nargs=nargs,
        required=False,
        metavar=metavar,
        callback=_as_tuple,
        shell_complete=complete.revisions,
    )
    command.command(name)(argument(json_option(pass_state(give))))


def _as_tuple(ctx: click.Context, parameter: click.Parameter, value: Any) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(value)


_verdict("good", "Say that REV is good.", several=True)
_verdict("bad", "Say that REV is bad.", several=False)
_verdict("skip", "Say that REV cannot be tested.", several=True)


@command.command("status")
@json_option
@pass_state
def status(state: State, as_json: bool) -> None:
    """Show which commit is to be tested next.

    JSON: as in `bisect start`.
    """
    _tell(state, _search(state), as_json)


@command.command("log")
@json_option
@pass_state
def log(state: State, as_json: bool) -> None:
    """Show the verdicts so far, the first one first.

    JSON: verdicts (verdict, digest).
    """
    search = _search(state)
    if as_json:
        write_json({"verdicts": [{"verdict": said, "digest": one.hex()} for said, one in search.verdicts]})
    else:
        echo_lines(f"{said}: {_subject(state, one)}" for said, one in search.verdicts)


@command.command("reset")
@pass_state
def reset(state: State) -> None:
    """End the search and forget its state."""
    from hangar.history.bisect import end_search, is_searching

    if not is_searching(state.stores.db):
        echo("No bisection is in progress")
        return
    end_search(state.stores.db)
    echo("The bisection was ended")


@command.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--sample",
    "sample",
    nargs=2,
    metavar="COLUMN SAMPLE",
    help="Instead of a command: a commit is good if it has the value that the good commit has.",
)
@click.argument("words", nargs=-1, metavar="[COMMAND]...", type=click.UNPROCESSED)
@json_option
@pass_state
def run(state: State, sample: tuple[str, str] | None, words: tuple[str, ...], as_json: bool) -> None:
    """Test with COMMAND until the first bad commit is found.

    COMMAND ends with 0 for a good commit, with 125 for one that cannot be tested, and with 1 to 127 for a bad one; anything
    else stops the search, which can be continued. The commit is in $HANGAR_BISECT_COMMIT, and {} in COMMAND stands for it.

    For example:
      hangar bisect run sh -c 'hangar show {}:labels/int:5 | grep 3'
      hangar bisect run --sample labels int:5

    JSON: as in `bisect start`; options stand before COMMAND.
    """
    if bool(words) == (sample is not None):
        raise click.UsageError("give a COMMAND, or --sample COLUMN SAMPLE")
    search = _search(state)
    test = _by_command(state, words) if sample is None else _by_sample(state, search, *sample)
    while True:
        step = _step(state, search)
        if step is None:
            raise InvalidStateError(_MISSING)
        if step.test is None:
            break
        said = test(step.test)
        note(f"{said}: {_subject(state, step.test)}")
        search.verdicts.append((said, step.test))
        _write(state, search)
    _tell(state, search, as_json)
    if step.found is None:
        raise click.exceptions.Exit(1)


_MISSING: Final = "a good and a bad commit are needed first: `hangar bisect good REV` and `hangar bisect bad REV`"


def _by_command(state: State, words: tuple[str, ...]) -> Callable[[Digest], Verdict]:
    def test(commit: Digest) -> Verdict:
        text = commit.hex()
        typed = [word.replace("{}", text) for word in words]
        try:
            code = subprocess.run(
                typed, env={**os.environ, VARIABLE: text}, cwd=state.directory, check=False
            ).returncode
        except OSError as error:
            raise click.UsageError(f"{typed[0]!r} cannot be run: {error.strerror}") from None
        if code == 0:
            return "good"
        if code == SKIP:
            return "skip"
        if 0 < code <= MOST_BAD:
            return "bad"
        raise InvalidStateError(
            f"the command ended with {code}, so commit {text[:SHORT_DIGEST]} was not judged; the search can be continued"
        )

    return test


def _by_sample(state: State, search: Search, column: str, sample: str) -> Callable[[Digest], Verdict]:
    """A commit is good where the sample is what it is in the first good commit."""
    from hangar.history.blame import value_of

    bad, good = search.bad, search.good
    if bad is None or not good:
        raise InvalidStateError(_MISSING)
    key = _key(state, [bad, good[0]], column, sample)
    stores = state.stores
    identity = next(
        (entry.id for one in (bad, good[0]) for entry in _view(state, one).entries if entry.name == column), b""
    )
    wanted = value_of(stores, good[0], identity, key)
    if wanted == value_of(stores, bad, identity, key):
        raise InvalidStateError(f"sample {sample!r} of column {column!r} is the same in the good and in the bad commit")
    return lambda commit: "good" if value_of(stores, commit, identity, key) == wanted else "bad"


def _key(state: State, commits: list[Digest], column: str, sample: str) -> Any:
    """The key that a text names in the column of one of the commits."""
    from hangar.cli.samples import meanings

    known = [view[column] for view in (_view(state, one) for one in commits) if column in view]
    if not known:
        _view(state, commits[0])[column]
    for there in known:
        found = meanings(sample, there)
        if found:
            return unambiguous(sample, found)
    possible = addresses(sample, nested=bool(known[0].contains_subsamples))
    raise SampleNotFoundError(f"neither the bad nor the good commit has a sample {possible[0]!r} in column {column!r}")


def _view(state: State, commit: Digest) -> View:
    return open_commit(state, commit.hex())


# ---------------------------------------------------------------------- shared


def _commit(state: State, rev: str) -> Digest:
    from hangar.revisions import resolve_commit

    return resolve_commit(state.stores.db, state.stores.refs, rev)


def _search(state: State) -> Search:
    from hangar.history.bisect import read_search

    found = read_search(state.stores.db)
    if found is None:
        raise InvalidStateError("no bisection is in progress: begin with `hangar bisect start BAD GOOD`")
    return found


def _step(state: State, search: Search) -> Step | None:
    from hangar.history.bisect import next_step

    return next_step(state.stores.db, search)


def _to_test(state: State, search: Search) -> Digest:
    step = _step(state, search)
    if step is None:
        return _commit(state, "HEAD")
    if step.test is None:
        raise NothingToDoError("nothing is left to test: `hangar bisect status` shows what was found")
    return step.test


def _write(state: State, search: Search) -> None:
    from hangar.history.bisect import write_search

    write_search(state.stores.db, search)


def _go_on(state: State, search: Search, as_json: bool) -> None:
    """Store the search, if it makes sense, and show the next step."""
    _step(state, search)
    _write(state, search)
    _tell(state, search, as_json)


def _tell(state: State, search: Search, as_json: bool) -> None:
    step = _step(state, search)
    if as_json:
        found = step.found if step else None
        write_json(
            {
                "test": step.test.hex() if step and step.test else None,
                "found": found.hex() if found else None,
                "suspects": [one.hex() for one in step.suspects] if step else [],
                "left": step.left if step else None,
            }
        )
    elif step is None:
        missing = [] if search.good else [("good", "`hangar bisect good REV`")]
        missing += [] if search.bad is not None else [("bad", "`hangar bisect bad REV`")]
        words, commands = zip(*missing, strict=True)
        echo(f"Waiting for a {' and a '.join(words)} commit: {', '.join(commands)}")
    elif step.test is not None:
        echo(
            f"{plural(len(step.suspects), 'suspect')} left, about {plural(step.left, 'test')} to go. Test this commit:"
        )
        echo(_subject(state, step.test))
    elif step.found is not None:
        echo("The first bad commit is")
        echo(_subject(state, step.found))
    else:
        echo("Only skipped commits are left to test. The first bad commit is one of:")
        echo_lines(_subject(state, one) for one in step.suspects)


def _subject(state: State, commit: Digest) -> str:
    message = state.repository.commit_info(commit.hex()).message
    return f"{style(commit.hex()[:SHORT_DIGEST], 'yellow')} {visible(message.partition(chr(10))[0])}"
