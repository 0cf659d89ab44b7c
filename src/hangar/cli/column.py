"""``hangar column create``, ``remove``, ``list``, ``rename``; ``attributes`` and ``backend`` have their own files."""

from __future__ import annotations

import re
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from hangar.cli import column_backend, complete
from hangar.cli.attributes import attributes
from hangar.cli.groups import SuggestingGroup
from hangar.cli.output import confirm, echo, json_option, note, style, table, visible, write_json
from hangar.cli.records import column_record, place_record
from hangar.cli.state import State, pass_state
from hangar.cli.views import View, open_commit, open_view
from hangar.errors import InvalidInputError, MissingPackageError
from hangar.wording import plural

__all__ = ["command", "list_columns", "schema_text"]

_EXTENT: Final = r"([0-9]{1,18}|[Nn]one)"
_SHAPE: Final = re.compile(rf"[(\[]?\s*({_EXTENT}((\s*[,xX*]\s*|\s+){_EXTENT})*\s*,?)?\s*[)\]]?")
TEXT_DTYPES: Final = ("str", "bytes")
FILE_DTYPES: Final = ("image", "audio", "video")
"""Words for columns without a dtype: of text, and of encoded files."""
COMPLETED_DTYPES: Final = (
    *("BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"),
    *("FLOAT16", "FLOAT32", "FLOAT64", "COMPLEX64", "COMPLEX128", "BFLOAT16", "STR", "BYTES"),
    *("IMAGE", "AUDIO", "VIDEO"),
)


class DtypeType(click.ParamType):  # type: ignore[type-arg]
    """A dtype in any usual spelling (``UINT8``, ``float``, ``f4``, ``np.float32``, ``torch.float32``, ``STR``)."""

    name = "dtype"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """``'str'``, ``'bytes'``, ``'image'``, ``'audio'``, ``'video'``, or the numpy dtype."""
        if not isinstance(value, str) or value.lower() in (*TEXT_DTYPES, *FILE_DTYPES):
            return value.lower() if isinstance(value, str) else value
        from hangar.schema.dtypes import as_dtype, dtype_code

        try:
            dtype = as_dtype(value)
            dtype_code(dtype)
        except (InvalidInputError, MissingPackageError) as error:
            self.fail(str(error), param, ctx)
        return dtype

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The dtype names that begin with ``incomplete``."""
        return [CompletionItem(name) for name in COMPLETED_DTYPES if name.startswith(incomplete.upper())]


def schema_text(column: Any) -> str:
    """The schema of a column as readable text, such as ``'uint8 28 x 28'``."""
    kind, text = column.column_type, column.schema.kind_text
    if kind in ("ndarray", "sparse", "chunked"):
        bounded = any(extent is not None for extent in column.shape)
        shape = " x ".join("any" if extent is None else str(extent) for extent in column.shape)
        text = f"{'' if kind == 'ndarray' else f'{kind} '}{column.schema.dtype_name} {shape}".rstrip()
        text = f"{text} at most" if column.schema_type == "variable_shape" and bounded else text
        text = f"{text}, chunks of {' x '.join(map(str, column.schema.chunks))}" if kind == "chunked" else text
    return f"{text}, nested" if column.contains_subsamples else text


def list_columns(view: View, as_json: bool) -> None:
    """Write the columns of ``view``."""
    if as_json:
        write_json(place_record(view) | {"columns": [column_record(name, column) for name, column in view.items()]})
        return
    from hangar.columns.present import lacks

    rows = [
        (
            style(visible(name), "blue", bold=True),
            schema_text(column),
            plural(len(column), "sample"),
            visible(lacks(column)),
        )
        for name, column in view.items()
    ]
    for line in table(rows, right=(2,)):
        echo(line)


@click.group(
    "column",
    cls=SuggestingGroup,
    hints={
        "add": "Did you mean create?",
        "rm": "Did you mean remove?",
        "ls": "Did you mean list?",
        "mv": "Did you mean rename?",
    },
)
def command() -> None:
    """Create, remove, rename, describe and list columns.

    A column is a named set of samples of one kind: arrays of one dtype and shape, text, bytes, images, audio or video.
    """


def _shape(ctx: click.Context, parameter: click.Parameter, words: tuple[str, ...]) -> tuple[int | None, ...]:
    """A shape in any usual spelling: ``28 28``, ``28,28``, ``28x28`` or, in quotes, ``(28, 28)``; ``none`` is no limit."""
    text = " ".join(words)
    if _SHAPE.fullmatch(text) is None:
        raise click.BadParameter(f"{text!r} is not a shape: write 28 28, 28,28 or 28x28", ctx, parameter)
    return tuple(int(word) if word.isdigit() else None for word in re.findall("[0-9]+|[Nn]one", text))


def _chunks(ctx: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """The shape of a chunk."""
    found = None if text is None else _shape(ctx, parameter, (text,))
    if found is not None and (not found or None in found):
        raise click.BadParameter(f"{text!r} is not a shape of chunks: write 16,128,128", ctx, parameter)
    return found  # type: ignore[return-value]


def _number(ctx: click.Context, parameter: click.Parameter, text: str | None) -> complex | None:
    """A number as Python writes it."""
    if text is None:
        return None
    for kind in (int, float, complex):
        try:
            return kind(text)
        except ValueError:
            continue
    raise click.BadParameter(f"{text!r} is not a number", ctx, parameter)


@command.command("create")
@click.argument("name")
@click.argument("dtype", type=DtypeType(), metavar="DTYPE")
@click.argument("shape", nargs=-1, metavar="[SHAPE]...", callback=_shape)
@click.option(
    "--variable-shape", is_flag=True, help="Samples may differ in shape; SHAPE is the maximum in each dimension."
)
@click.option(
    "--sparse", is_flag=True, help="Samples are sparse arrays: coordinates and values, as scipy.sparse has them."
)
@click.option(
    "--chunks",
    metavar="SHAPE",
    callback=_chunks,
    help="Samples are chunked arrays with chunks of this shape; SHAPE, if given, is the maximum in each dimension.",
)
@click.option(
    "--fill-value", metavar="NUMBER", callback=_number, help="Value of what was not written in chunked arrays."
)
@click.option("--contains-subsamples", is_flag=True, help="Each sample holds named subsamples.")
@click.option("--mode", metavar="MODE", help="Images are read in this mode: L, LA, RGB or RGBA. Default: as stored.")
@click.option("--format", "file_format", metavar="FORMAT", help="Format of arrays in an IMAGE column. Default: PNG.")
@click.option("--quality", type=click.IntRange(1, 100), help="Quality of arrays in an IMAGE column: JPEG and WEBP.")
@click.option(
    "--backend", metavar="TAG", help="Storage backend for new data on this machine. Default: chosen by dtype and shape."
)
@json_option
@pass_state
def create(
    state: State,
    name: str,
    dtype: Any,
    shape: tuple[int | None, ...],
    variable_shape: bool,
    sparse: bool,
    chunks: tuple[int, ...] | None,
    fill_value: complex | None,
    contains_subsamples: bool,
    mode: str | None,
    file_format: str | None,
    quality: int | None,
    backend: str | None,
    as_json: bool,
) -> None:
    """Create the column NAME for arrays of DTYPE and SHAPE, for text (STR), for BYTES, or for files (IMAGE, AUDIO, VIDEO).

    DTYPE, in any case: BOOL, INT8 to INT64, UINT8 to UINT64, FLOAT16, FLOAT32, FLOAT64, COMPLEX64, COMPLEX128,
    BFLOAT16, FLOAT8_..., STR, BYTES, IMAGE, AUDIO, VIDEO. The last three keep files as they are and decode them when they
    are read. The spellings of NumPy and torch work too (f4, np.float32, torch.float32). Without
    SHAPE each sample is a single number. 28 28, 28,28 and 28x28 are the same SHAPE.

    For example:
      hangar column create images UINT8 28 28
      hangar column create photos UINT8 4000 4000 3 --variable-shape
      hangar column create labels INT64
      hangar column create captions STR
      hangar column create pictures IMAGE --mode RGB
      hangar column create ratings FLOAT32 943 1682 --sparse
      hangar column create volumes FLOAT32 --chunks 16,128,128
      hangar column create videos UINT8 none,512,512,3 --chunks 16,128,128,3

    JSON: name, type, layout, dtype, shape, variable_shape, backend, samples, subsamples (null in a flat column),
    attributes.
    """
    if dtype in (*TEXT_DTYPES, *FILE_DTYPES) and (shape or variable_shape or sparse or chunks):
        raise click.UsageError(f"{dtype.upper()} columns have no shape")
    _check_chunks(shape, variable_shape or sparse, chunks, fill_value)
    if dtype != "image" and (mode, file_format, quality) != (None, None, None):
        raise click.UsageError("--mode, --format and --quality are for IMAGE columns")
    extents = tuple(extent for extent in shape if extent is not None)
    with state.writer() as checkout:
        options: dict[str, Any] = {"contains_subsamples": contains_subsamples, "backend": backend}
        if dtype == "str":
            column = checkout.add_str_column(name, **options)
        elif dtype == "bytes":
            column = checkout.add_bytes_column(name, **options)
        elif dtype == "image":
            column = checkout.add_image_column(
                name, mode=mode and mode.upper(), format=file_format, quality=quality, **options
            )
        elif chunks is not None:
            fill = 0 if fill_value is None else fill_value
            column = checkout.add_chunked_column(name, dtype, chunks, shape or None, fill, **options)
        elif dtype == "audio":
            column = checkout.add_audio_column(name, **options)
        elif dtype == "video":
            column = checkout.add_video_column(name, **options)
        elif sparse:
            column = checkout.add_sparse_column(name, dtype, extents, variable_shape=variable_shape, **options)
        else:
            column = checkout.add_ndarray_column(name, extents, dtype, variable_shape=variable_shape, **options)
        if as_json:
            write_json(column_record(name, column))
        else:
            echo(f"Created column {name} of {schema_text(column)}")


def _check_chunks(
    shape: tuple[int | None, ...], other: bool, chunks: tuple[int, ...] | None, fill_value: complex | None
) -> None:
    if chunks is None and None in shape:
        raise click.UsageError("only chunked arrays can be without a maximum: give --chunks")
    if chunks is None and fill_value is not None:
        raise click.UsageError("--fill-value is for chunked arrays: give --chunks")
    if chunks is not None and other:
        raise click.UsageError(
            "--chunks cannot be combined with --sparse or --variable-shape: chunked arrays may differ in shape"
        )


@command.command("remove")
@click.argument("name", shell_complete=complete.columns)
@click.option("-y", "--yes", is_flag=True, help="Do not ask, even if the column cannot be restored.")
@json_option
@pass_state
def remove(state: State, name: str, yes: bool, as_json: bool) -> None:
    """Remove the column NAME with all its samples. Committed samples stay in history.

    A column that was never committed cannot be restored: on a terminal the command asks first.

    JSON: name, samples (how many it had), committed (whether the last commit has it, so that it can be restored).
    """
    with state.writer() as checkout:
        samples = len(checkout.columns[name])
        committed = _committed(state, name)
        if not committed and samples and not yes:
            confirm(
                f"Column {name} was never committed: its {plural(samples, 'sample')} cannot be restored. Remove it?"
            )
        checkout.columns.delete(name)
    if as_json:
        write_json({"name": name, "samples": samples, "committed": bool(committed)})
        return
    echo(f"Removed column {name} ({plural(samples, 'sample')})")
    if committed:
        echo(f"Restore it with `hangar restore {committed}`")
    elif samples:
        note("It was never committed, so it cannot be restored")


def _committed(state: State, name: str) -> str:
    """Name in the last commit of the staged column ``name``; ``''`` if that commit does not have the column."""
    here = open_view(state, None)
    before = open_commit(state, here.commit).entries if here.commit else ()
    identity = here.entry(name).id
    return next((entry.name for entry in before if entry.id == identity), "")


@command.command("list")
@click.argument("rev", required=False, shell_complete=complete.revisions)
@json_option
@pass_state
def list_(state: State, rev: str | None, as_json: bool) -> None:
    """List the columns of the commit REV; by default those of the staging area.

    JSON: branch (null for a commit), commit, columns (each as in `column create`).
    """
    list_columns(open_view(state, rev), as_json)


@command.command("rename")
@click.argument("old", shell_complete=complete.columns)
@click.argument("new")
@json_option
@pass_state
def rename(state: State, old: str, new: str, as_json: bool) -> None:
    """Rename the column OLD to NEW. It stays the same column: older commits have it under its old name.

    JSON: name, renamed_from.
    """
    with state.writer() as checkout:
        checkout.rename_column(old, new)
    if as_json:
        write_json({"name": new, "renamed_from": old})
    else:
        echo(f"Renamed column {old} to {new}")


command.add_command(attributes)
command.add_command(column_backend.command)
