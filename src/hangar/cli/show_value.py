"""One sample as ``hangar show`` shows it: a JSON record, rows of a table, and lines of its content."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hangar.cli.output import visible_lines
from hangar.wording import plural

if TYPE_CHECKING:
    import numpy as np

    from hangar.cli.samples import Address

__all__ = ["Shown", "shown_value"]

SMALL_ARRAY: Final = 1000
"""Most elements of an array that is shown whole."""
SAMPLED_BYTES: Final = 32 * 2**20
"""Most bytes of chunks that are read for the statistics of a chunked array."""
MOST_LISTED: Final = 65_536
"""Most chunks among which those are chosen."""
FIRST_ELEMENTS: Final = 10
"""Most elements of a sparse array that are listed."""


class Shown(NamedTuple):
    """A sample: its JSON record, which has ``nbytes`` and ``digest``; rows of label and text; lines of its content."""

    record: dict[str, Any]
    rows: list[tuple[str, str]]
    lines: list[str]


def shown_value(column: Any, key: Address, export: str) -> Shown:
    """The sample ``key`` of a column. ``export`` is the command that writes it to a file."""
    if column.column_type == "sparse":
        return _sparse(column, key)
    if column.column_type == "chunked":
        return _chunked(column[key], export)
    if column.column_type in ("image", "audio", "video"):
        return _media(column, key, export)
    value = column[key]
    record = _plain_record(column, value)
    if isinstance(value, str):
        return Shown(record | {"text": value}, [("Type:", "str")], visible_lines(value))
    if isinstance(value, bytes):
        lines = [value[:256].hex(" ", 4) + (" ..." if len(value) > 256 else "")]
        return Shown(record | {"hex": value.hex()}, [("Type:", "bytes")], lines)
    values = value.tolist() if value.size <= SMALL_ARRAY and value.dtype.kind in "biuf" else None
    about = {"dtype": str(value.dtype), "shape": list(value.shape)} | _statistics(value)
    rows = [("Type:", f"{value.dtype} {_extents(value.shape)}"), *(_statistics_rows(about) if value.size > 1 else [])]
    return Shown(record | about | {"values": values}, rows, _array_lines(value, export))


def _plain_record(column: Any, value: Any) -> dict[str, Any]:
    from hangar.digest import blob_digest

    header, buffer = column.schema.encode(value)
    nbytes = len(buffer) if isinstance(buffer, bytes) else int(buffer.nbytes)
    return {"type": column.column_type, "digest": blob_digest(header, buffer).hex(), "nbytes": nbytes}


def _extents(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one number"


def _sparse(column: Any, key: Address) -> Shown:
    """A sparse array, read as coordinates: scipy is not needed."""
    where, values, shape = found = column.as_coo(key)
    about = {"dtype": str(values.dtype), "shape": list(shape), "stored": len(values)} | _statistics(values)
    rows = [
        ("Type:", f"sparse {values.dtype} {_extents(shape)}"),
        ("Stored:", f"{len(values):,} elements that are not zero"),
        *(_statistics_rows(about) if len(values) > 1 else []),
    ]
    first = [
        f"({', '.join(map(str, at))})  {value}"
        for at, value in zip(where[:, :FIRST_ELEMENTS].T.tolist(), values[:FIRST_ELEMENTS], strict=True)
    ]
    return Shown(_plain_record(column, found) | about, rows, [*first, *(["..."] if len(values) > len(first) else [])])


def _media(column: Any, key: Address, export: str) -> Shown:
    """An encoded file: what its header says. It is not decoded."""
    from dataclasses import asdict

    from hangar.digest import blob_digest
    from hangar.errors import InvalidInputError, MissingPackageError

    data = column.encoded(key)
    kind = column.column_type
    record = {"type": kind, "digest": blob_digest(column.schema.header, data).hex(), "nbytes": len(data)}
    lines = [f"(write the file with `{export}`)"]
    try:
        about = asdict(column.schema.info(data))
    except (InvalidInputError, MissingPackageError) as error:
        return Shown(record | {"info": None}, [("Type:", kind)], [*visible_lines(str(error)), *lines])
    rows = [("Type:", kind), *((f"{name.capitalize()}:", str(value)) for name, value in about.items())]
    return Shown(record | {"info": about}, rows, lines)


def _chunked(array: Any, export: str) -> Shown:
    """A chunked array, of which a few chunks are read."""
    import numpy as np

    total = math.prod(-(-extent // size) for extent, size in zip(array.shape, array.chunks, strict=True))
    stored = array.nchunks_initialized
    regions = list(islice(array.iter_chunks(initialized=True), MOST_LISTED))
    most = max(1, SAMPLED_BYTES // (math.prod(array.chunks) * array.dtype.itemsize))
    chosen = (
        [regions[at] for at in sorted(set(np.linspace(0, len(regions) - 1, most).astype(int).tolist()))]
        if regions
        else []
    )
    values = [array[region].reshape(-1) for region in chosen]
    about = {
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "chunks": list(array.chunks),
        "fill_value": array.fill_value.item() if array.dtype.kind in "biuf" else str(array.fill_value),
        "chunks_stored": stored,
        "chunks_total": total,
        "chunks_read": len(chosen),
    } | _statistics(np.concatenate(values) if values else np.empty(0, array.dtype))
    rows = [
        ("Type:", f"chunked {array.dtype} {_extents(array.shape)}"),
        ("Chunks:", f"{stored:,} of {total:,} stored, of {_extents(array.chunks)}; elsewhere {array.fill_value}"),
        *((name, f"{text} (of {plural(len(chosen), 'stored chunk')})") for name, text in _statistics_rows(about)),
    ]
    record = {"type": "chunked", "digest": array.digest, "nbytes": array.nbytes}
    small = array.size <= SMALL_ARRAY
    lines = _array_lines(array[...], export) if small else [f"(too large to show; write it to a file with `{export}`)"]
    return Shown(record | about, rows, lines)


def _statistics(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Minimum, maximum and mean; None if undefined."""
    import numpy as np

    if array.size == 0 or array.dtype.kind == "c":
        return {"min": None, "max": None, "mean": None}
    with np.errstate(all="ignore"):
        least, greatest, mean = array.min().item(), array.max().item(), float(array.mean(dtype=np.float64))
    return {"min": least, "max": greatest, "mean": mean}


def _statistics_rows(record: dict[str, Any]) -> list[tuple[str, str]]:
    if record["mean"] is None:
        return []
    return [("Values:", f"{record['min']} to {record['max']}, mean {record['mean']:.6g}")]


def _array_lines(value: np.ndarray[Any, Any], export: str) -> list[str]:
    import numpy as np

    if value.size > SMALL_ARRAY:
        return [f"(too large to show; write it to a file with `{export}`)"]
    return np.array2string(value, max_line_width=120, threshold=SMALL_ARRAY).split("\n")
