"""``hangar resolve``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hangar.cli import complete
from hangar.cli.attributes import parse_value
from hangar.cli.conflicts import all_resolved, sample_of, state_of
from hangar.cli.groups import Command
from hangar.cli.output import echo, json_option, write_json
from hangar.cli.samples import is_pattern, matcher
from hangar.cli.state import State, pass_state
from hangar.errors import (
    InvalidInputError,
    InvalidStateError,
    PathNotFoundError,
    SampleNotFoundError,
)
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.diff.threeway import Conflict
    from hangar.merge.state import MergeState

__all__ = ["command"]


@click.command("resolve", cls=Command)
@click.argument("column", required=False, shell_complete=complete.columns)
@click.argument("samples", nargs=-1, metavar="[SAMPLE]...", shell_complete=complete.samples)
@click.option("--ours", "side", flag_value="ours", help="Take what the current branch has.")
@click.option("--theirs", "side", flag_value="theirs", help="Take what the merged or picked revision has.")
@click.option("--base", "side", flag_value="base", help="Take what their common ancestor has.")
@click.option("--staged", "side", flag_value="staged", help="Take what is staged now, written or imported by hand.")
@click.option(
    "--value", metavar="V", help="Take this value: a number, a list, a text, @FILE, or a new name of a column."
)
@click.option("--attribute", metavar="KEY", help="Resolve this attribute of COLUMN, or without COLUMN of the commit.")
@click.option("--all", "every", is_flag=True, help="Resolve all open conflicts.")
@json_option
@pass_state
def command(
    state: State,
    column: str | None,
    samples: tuple[str, ...],
    side: str | None,
    value: str | None,
    attribute: str | None,
    every: bool,
    as_json: bool,
) -> None:
    """Resolve conflicts of the merge, cherry-pick or revert in progress: of samples of COLUMN, of the whole column, or all.

    A conflict can be resolved again in another way until it is committed. SAMPLE may be a pattern with * and ?, in
    quotes. V is JSON for numbers and arrays, and text for columns of text; @FILE reads a .npy file, or for text and bytes
    any file. If columns are in conflict because of their names, V is a new name.

    For example:
      hangar resolve labels 37 --theirs
      hangar resolve labels 38 --value 5
      hangar resolve labels --ours
      hangar resolve --all --theirs

    JSON: resolved, unresolved.
    """
    if (side is None) == (value is None):
        raise click.UsageError("give one of --ours, --theirs, --base, --staged and --value")
    if every + (column is not None or attribute is not None) != 1:
        raise click.UsageError("name a COLUMN, or give --all")
    if attribute is not None and samples:
        raise click.UsageError("--attribute takes no SAMPLE")
    merge = state_of(state)
    if merge is None:
        raise InvalidStateError("nothing is in progress that could have conflicts: `hangar merge REV` begins a merge")
    keys = None if every else _keys(merge, column, samples, attribute)
    before = merge.left
    given = (
        side
        if value is None
        else _value(state, merge, column, value, is_sample=bool(samples), is_attribute=attribute is not None)
    )
    left = state.repository.resolve(keys, given, literal=value is not None)
    if as_json:
        write_json({"resolved": before - left, "unresolved": left})
    elif left:
        echo(f"{plural(left, 'conflict')} left: see `hangar conflicts`")
    else:
        echo(all_resolved(merge.operation.kind))


def _keys(merge: MergeState, column: str | None, samples: Sequence[str], attribute: str | None) -> Any:
    """The conflicts that the words name, as ``Repository.resolve`` takes them."""
    from hangar.diff import AttributeKey

    if attribute is not None:
        return AttributeKey(column, attribute)
    if not samples:
        return column
    named: dict[str, dict[tuple[Any, ...], None]] = {}
    for text, key in _texts(merge, column):
        named.setdefault(text, {})[key] = None
    keys: list[tuple[Any, ...]] = []
    for text in samples:
        wanted = matcher(text) if is_pattern(text) else None
        found = [
            key for one, key_set in named.items() if (one == text if wanted is None else wanted(one)) for key in key_set
        ]
        if not found:
            raise SampleNotFoundError(
                f"sample {text!r} of column {column!r} is not in conflict: `hangar conflicts --all` lists what is"
            )
        if wanted is None and len(found) > 1:
            raise InvalidInputError(f"{text!r} is the key of two samples: write int:{text} or str:{text}")
        keys += found
    return keys


def _texts(merge: MergeState, column: str | None) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Every way to write a sample of the column that is in conflict, and its key."""
    from hangar.merge.state import label
    from hangar.objects.commit import NESTED

    for conflict in merge.all_conflicts():
        if conflict.subject == "sample" and label(conflict, merge.columns) == column:
            assert conflict.column is not None
            key = sample_of(conflict, merge.columns[conflict.column].layout == NESTED)
            if isinstance(key, list):
                sample, subsample = key
                for one in _forms(sample):
                    yield one, (column, sample)
                    for other in _forms(subsample):
                        yield f"{one}/{other}", (column, sample, subsample)
            else:
                for one in _forms(key):
                    yield one, (column, key)


def _forms(key: Any) -> tuple[str, str]:
    return str(key), f"{'int' if isinstance(key, int) else 'str'}:{key}"


def _value(
    state: State, merge: MergeState, column: str | None, text: str, *, is_sample: bool, is_attribute: bool
) -> Any:
    """A typed value as the column, attribute or name takes it."""
    if is_attribute:
        return parse_value(text)
    found = [one for one in merge.all_conflicts() if column is None or _is_of(merge, one, column)]
    subjects = {one.subject for one in found}
    if not is_sample and subjects - {"sample"}:
        return parse_value(text) if subjects == {"attribute"} else text
    schemas = {one.column for one in found if one.subject == "sample" and one.column is not None}
    if len(schemas) != 1:
        return text
    return _parsed(state, merge.schema(state.stores.db, schemas.pop()), text)


def _is_of(merge: MergeState, conflict: Conflict, column: str) -> bool:
    from hangar.merge.state import label

    return label(conflict, merge.columns) == column


def _parsed(state: State, schema: Any, text: str) -> Any:
    """A value of a sample from text, or from the file that ``@FILE`` names."""
    import numpy as np

    schema.require()
    path = state.resolve(Path(text[1:])) if text.startswith("@") else None
    if path is not None and not path.is_file():
        raise PathNotFoundError(f"there is no file {path}")
    if schema.kind_name == "sparse":
        return _sparse(path, text)
    if schema.kind_name not in ("ndarray", "chunked"):
        data = text.encode() if path is None else path.read_bytes()
        try:
            return data.decode() if schema.kind_name == "str" else data
        except UnicodeDecodeError:
            raise InvalidInputError(f"{path} is no text in UTF-8") from None
    try:
        if path is not None:
            # A chunked array may be larger than memory.
            return np.load(path, allow_pickle=False, mmap_mode="r" if schema.kind_name == "chunked" else None)
        numbers = json.loads(text)
        array = np.asarray(numbers, dtype=schema.dtype)
    except (ValueError, TypeError, OverflowError, OSError) as error:
        raise InvalidInputError(f"{text!r} is no value of type {schema.dtype_name}: {error}") from None
    if array.tolist() != numbers and schema.dtype.kind != "f":
        raise InvalidInputError(f"{text!r} is no value of type {schema.dtype_name}")
    return array


def _sparse(path: Path | None, text: str) -> Any:
    """A sparse array from a file of ``scipy.sparse.save_npz``."""
    if path is None:
        raise InvalidInputError(
            f"a sparse array comes from a file of scipy.sparse.save_npz: give @FILE.npz, not {text!r}"
        )
    from hangar.external.plugins.sparse import SparsePlugin

    return SparsePlugin(("load",), ("npz",)).load(str(path))[0]
