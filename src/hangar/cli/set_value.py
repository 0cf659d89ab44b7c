"""``hangar set``: one value of one sample."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import click

from hangar.cli import complete
from hangar.cli.groups import Command
from hangar.cli.output import echo, json_option, visible, write_json
from hangar.cli.samples import Address, addresses, meanings, sample_text, unambiguous
from hangar.cli.state import State, pass_state
from hangar.errors import InvalidInputError
from hangar.limits import MAX_TEXT_BYTES

__all__ = ["command"]

_FILE: Final = "@"


@click.command("set", cls=Command, context_settings={"ignore_unknown_options": True})
@click.argument("column", shell_complete=complete.columns)
@click.argument("sample", shell_complete=complete.samples)
@click.argument("value", type=click.UNPROCESSED)
@json_option
@pass_state
def command(state: State, column: str, sample: str, value: str, as_json: bool) -> None:
    """Set SAMPLE of COLUMN to VALUE, on the current branch. A new sample is added.

    VALUE is a number, or a class name if the column has class names; for arrays a JSON list such as [1, 2, 3]; for text
    the text itself. @FILE reads the value from a file as an import does, and - from stdin as text. Nothing is converted
    with loss: a value that the column cannot hold is an error.

    A new sample whose name is a number is an integer key only if it is written as int:5.

    For example:
      hangar set labels cat_17 3
      hangar set labels cat_17 dog
      hangar set boxes cat_17/left "[10, 20, 64, 48]"
      hangar set captions cat_17 "A cat on a mat"
      hangar set images cat_17 @better.png

    JSON: column, sample, before (null if there was none), after.
    """
    with state.writer() as checkout:
        target: Any = checkout.columns[column]
        key = _key(sample, target)
        whole = target.column_type == "chunked" and value.startswith(_FILE) and len(value) > 1
        stored = None if whole else _value(state, target, value)
        there = _has(target, key)
        before = target[key] if there else None
        if whole:
            _copy_array(state.resolve(Path(value[1:])), target, key)
        else:
            target[key] = stored
        after = target[key]
        shown = [None if one is None else _shown(target, one) for one in (before, after)]
        text = sample_text(key, target)
    if as_json:
        write_json({"column": column, "sample": _plain_key(key), "before": shown[0], "after": shown[1]})
    else:
        was = f" (was {visible(_brief(shown[0]))})" if there else ""
        echo(f"{column}/{text} = {visible(_brief(shown[1]))}{was}")


def _plain_key(key: Address) -> Any:
    return list(key) if isinstance(key, tuple) else key


def _key(text: str, column: Any) -> Address:
    """The key that ``text`` names: an existing one, else a new one."""
    nested = column.contains_subsamples
    there = [key for key in meanings(text, column) if isinstance(key, tuple) == nested]
    if there:
        return unambiguous(text, there)
    possible = [key for key in addresses(text, nested=nested) if isinstance(key, tuple) == nested]
    if not possible:
        raise click.UsageError(
            f"{text!r} is no subsample: write SAMPLE/SUBSAMPLE, as column {column.column!r} is nested"
        )
    return possible[-1] if not nested else possible[0]


def _has(column: Any, key: Address) -> bool:
    if isinstance(key, tuple):
        return key[0] in column and key[1] in column[key[0]]
    return key in column


def _value(state: State, column: Any, text: str) -> Any:
    """The value that ``text`` stands for in ``column``."""
    if text.startswith(_FILE) and len(text) > 1:
        return _from_file(state.resolve(Path(text[1:])), column)
    if text == "-":
        text = sys.stdin.read(MAX_TEXT_BYTES)
    if column.column_type == "str":
        return text
    if column.column_type == "bytes":
        return text.encode("utf-8")
    if column.column_type != "ndarray":
        raise InvalidInputError(f"column {column.column!r} holds {column.column_type} samples: name a file as @FILE")
    return _array(text.strip(), column)


def _array(text: str, column: Any) -> Any:
    import numpy as np

    from hangar.external.classes import class_names

    names = class_names(column) or []
    if text in names:
        return np.array(names.index(text), column.dtype)
    try:
        value = json.loads({"true": "true", "True": "true", "false": "false", "False": "false"}.get(text, text))
        found = np.asarray(value)
        if found.dtype.kind not in "biuf":
            raise ValueError("not a number")
    except (ValueError, RecursionError):
        classes = f", nor one of the classes {', '.join(names[:20])}" if names else ""
        raise InvalidInputError(f"{text!r} is no number and no JSON list of numbers{classes}") from None
    dtype = np.dtype(column.dtype)
    with np.errstate(all="ignore"):
        try:
            made = np.array(value, dtype)
        except (OverflowError, ValueError, TypeError):
            made = None
    exact = made is not None and (dtype.kind == "b") == (found.dtype.kind == "b")
    if exact and made is not None and dtype.kind in "iub":
        exact = bool((made == found).all())
    elif exact and made is not None:
        exact = bool(np.isfinite(made.astype(np.complex128)).all())
    if not exact:
        raise InvalidInputError(f"column {column.column!r} holds {dtype.name}, which cannot be {text}")
    if made is not None and made.shape == () and column.shape == (1,):
        made = made.reshape(1)
    return made


def _from_file(path: Path, column: Any) -> Any:
    from hangar.external.fit import ColumnRequirements
    from hangar.external.loading import check_fit, first_value, plan_import
    from hangar.external.naming import find_files

    jobs, _ = plan_import(find_files(path), column.column_type)
    if len(jobs) != 1:
        raise InvalidInputError(f"{path} is not one file that can be a {column.column_type} sample")
    try:
        value = first_value(jobs[0])
    except StopIteration:
        raise InvalidInputError(f"{path} holds no sample") from None
    requirements = ColumnRequirements.of(column)
    value = requirements.typed(value)
    check_fit(value, requirements, jobs[0])
    return value


def _copy_array(path: Path, column: Any, key: Address) -> None:
    """Copy the array of a file into a chunked column, block by block."""
    from hangar.external.chunked import copy_to_column, open_arrays, reads
    from hangar.external.naming import find_files

    find_files(path)  # raises if there is none
    if not reads(str(path)):
        raise InvalidInputError(f"chunked columns take .npy, .h5 and .zarr files: {path} is none")
    with open_arrays(str(path)) as arrays:
        if len(arrays) != 1:
            raise InvalidInputError(f"{path} has {len(arrays)} arrays: import one of them with `--dataset NAME`")
        (array,) = arrays.values()
        try:
            copy_to_column(column, key, array)
        except InvalidInputError as error:
            raise InvalidInputError(f"{path} {error}") from None


def _shown(column: Any, value: Any) -> Any:
    """A value for JSON: numbers and lists, texts, hexadecimal bytes; large ones by size."""
    import numpy as np

    if isinstance(value, bytes):
        return value.hex() if len(value) <= 256 else f"{len(value):,} bytes"
    if not isinstance(value, np.ndarray):
        return value if isinstance(value, str) else f"<{column.column_type}>"
    if value.size > 1000 or value.dtype.kind not in "biuf":
        return f"array of {value.dtype} {value.shape}"
    plain = value.tolist()
    from hangar.external.classes import class_names

    names = class_names(column)
    return names[plain] if names and isinstance(plain, int) and 0 <= plain < len(names) else plain


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 100 else f"{text[:100]} ..."
