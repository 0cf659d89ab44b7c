"""The JSON document of a run manifest: its records, and how positions and the settings of a sampler are written in it.

Files may come from other people, so everything that is read is checked, and nothing in it is run as code.
"""

from __future__ import annotations

import base64
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import unquote_to_bytes

import msgspec
import numpy as np
import numpy.typing as npt

from hangar.dataset.orders import BlockShuffled, Filtered, Order, Sequential, Shuffled
from hangar.dataset.sampler import Sampler
from hangar.dataset.selection import ItemPositions, SelectedColumn, narrow
from hangar.dataset.splits import load_split
from hangar.errors import InvalidInputError, PathNotFoundError, UnsupportedVersionError

__all__ = [
    "FORMAT",
    "VERSION",
    "ColumnRecord",
    "Document",
    "PositionsRecord",
    "StateRecord",
    "decode_path",
    "decode_positions",
    "describe_sampler",
    "encode_path",
    "encode_positions",
    "invalid_manifest",
    "make_sampler",
    "read_document",
    "same_positions",
    "split_positions",
]

VERSION: Final = 1
FORMAT: Final = "hangar run manifest"
_MAX_BYTES: Final = 2**28
_MAX_INT64: Final = 2**63 - 1

_Number = Annotated[int, msgspec.Meta(ge=0, le=_MAX_INT64)]
_Positive = Annotated[int, msgspec.Meta(ge=1, le=2**32)]


class PositionsRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Positions of items in a column. Exactly one of the four fields is set."""

    range: tuple[_Number, _Number, Annotated[int, msgspec.Meta(ge=1, le=_MAX_INT64)]] | None = None
    """First, end and step."""
    split: tuple[str, str] | None = None
    """Name of a split that is stored with the commit, and of its part."""
    packed: str | None = None
    """Any positions: their differences (the first one to 0) as int64 little-endian, compressed with zlib, in base64."""
    same_as: _Number | None = None
    """Index of an earlier column that has the same positions."""


class ColumnRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One column: its name, its commit, and which of its samples the items are; ``whole`` for samples of a nested column."""

    name: str
    commit: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    rows: PositionsRecord
    whole: bool = False


class OrderRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Settings of the sampler."""

    name: str
    batch_size: _Positive | None
    seed: Annotated[int, msgspec.Meta(ge=0)]
    kind: Literal["shuffled", "sequential", "blocks", "other"]
    drop_last: bool = False
    pad: bool = True
    rank: _Number = 0
    world_size: _Positive = 1
    block_size: _Positive | None = None
    window: _Positive | None = None
    where: str | None = None


class StateRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The state of the sampler; see :meth:`hangar.dataset.Sampler.state_dict`."""

    version: int
    epoch: _Number
    position: _Number
    order: str


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The JSON document."""

    format: str
    version: int
    repository: str
    columns: Annotated[list[ColumnRecord], msgspec.Meta(min_length=1, max_length=2**16)]
    sampler: OrderRecord
    state: StateRecord
    as_dict: bool = False


class _Head(msgspec.Struct):
    format: str
    version: int


# ---------------------------------------------------------------------- the document


def encode_path(path: Path) -> str:
    """A path as text for JSON: itself, or a ``file:`` URI if it is not valid UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return path.as_uri()
    return str(path)


def decode_path(text: str) -> Path:
    """The path that :func:`encode_path` encoded."""
    scheme = "file://"
    return Path(os.fsdecode(unquote_to_bytes(text.removeprefix(scheme))) if text.startswith(scheme) else text)


def read_document(path: Path) -> Document:
    """Read and check a file; raises as :meth:`hangar.dataset.Manifest.load`."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise PathNotFoundError(f"there is no manifest {path}") from None
    if size > _MAX_BYTES:
        raise invalid_manifest(path, f"it has {size:,} bytes")
    data = path.read_bytes()
    try:
        head = msgspec.json.decode(data, type=_Head)
        if head.format != FORMAT:
            raise invalid_manifest(path, f"its format is {head.format!r:.60}")
        if head.version > VERSION:
            raise UnsupportedVersionError(
                f"the manifest {path} was written by a newer Hangar (version {head.version}): install a newer version"
            )
        return msgspec.json.decode(data, type=Document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise invalid_manifest(path, str(error)) from None


def invalid_manifest(path: object, why: str) -> InvalidInputError:
    """The error for a file that is not a manifest, and why."""
    return InvalidInputError(f"{path} is not a run manifest: {why}")


def same_positions(one: ItemPositions, other: ItemPositions) -> bool:
    """Whether two columns have the same positions."""
    return one is other or (isinstance(one, range) == isinstance(other, range) and np.array_equal(one, other))


def encode_positions(where: ItemPositions, split: tuple[str, str] | None) -> PositionsRecord:
    """Positions as they are written; if they are a part of a split, its name."""
    if split is not None:
        return PositionsRecord(split=split)
    if isinstance(where, range):
        return (
            PositionsRecord(range=(where.start, where.stop, where.step))
            if where.step > 0
            else PositionsRecord(packed=_pack(np.array(where)))
        )
    return PositionsRecord(packed=_pack(where))


def _pack(positions: npt.NDArray[Any]) -> str:
    differences = np.diff(positions.astype("<i8"), prepend=np.int64(0))
    return base64.b64encode(zlib.compress(differences.astype("<i8").tobytes(), 6)).decode()


def _unpack(packed: str, count: int, what: str) -> npt.NDArray[Any]:
    """Positions below ``count``. A file that holds more of them than there can be memory for is refused before that."""
    try:
        compressed = base64.b64decode(packed, validate=True)
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(compressed, 8 * _MAX_BYTES)
    except (ValueError, zlib.error) as error:
        raise InvalidInputError(f"the manifest is damaged: {what}: {error}") from None
    if not unpacker.eof or len(data) % 8 or not data:
        raise InvalidInputError(f"the manifest is damaged: {what} cannot be unpacked")
    positions = np.cumsum(np.frombuffer(data, "<i8").astype(np.int64))
    if int(positions.min()) < 0 or int(positions.max()) >= count:
        raise InvalidInputError(f"the manifest is damaged: {what} names positions that are not from 0 to {count - 1}")
    return narrow(positions)


def decode_positions(
    column: ColumnRecord, checkout: Any, count: int, earlier: Sequence[SelectedColumn]
) -> ItemPositions:
    """Positions of a column with ``count`` samples; ``earlier`` are the columns before it."""
    rows, what = column.rows, f"column {column.name!r}"
    forms = [name for name in ("range", "split", "packed", "same_as") if getattr(rows, name) is not None]
    if len(forms) != 1:
        raise InvalidInputError(f"the manifest is damaged: {what} has {len(forms)} lists of items")
    if rows.range is not None:
        chosen = range(*rows.range)
        if not chosen or chosen[-1] >= count:
            raise InvalidInputError(f"the manifest is damaged: {what} has {count:,} samples, and no {chosen}")
        return chosen
    if rows.split is not None:
        return narrow(split_positions(checkout, column.name, rows.split))
    if rows.packed is not None:
        return _unpack(rows.packed, count, what)
    assert rows.same_as is not None
    if rows.same_as >= len(earlier):
        raise InvalidInputError(
            f"the manifest is damaged: {what} has the items of a column that does not come before it"
        )
    shared = earlier[rows.same_as].item_positions
    if len(shared) and int(np.max(shared)) >= count:
        raise InvalidInputError(f"the manifest is damaged: {what} has only {count:,} samples")
    return shared


def split_positions(checkout: Any, column: str, split: tuple[str, str]) -> npt.NDArray[np.int64]:
    """Positions of the samples of a part of a stored split."""
    return load_split(checkout, split[0]).assign(checkout, column).positions(split[1])


# ---------------------------------------------------------------------- the sampler


def describe_sampler(sampler: Sampler) -> OrderRecord:
    """The settings from which an equal sampler is made."""
    order, where = sampler.order, None
    if isinstance(order, Filtered):
        where = _pack(order._chosen)
        order = order._order
    kinds: Mapping[type[Any], str] = {Shuffled: "shuffled", Sequential: "sequential", BlockShuffled: "blocks"}
    kind: Any = kinds.get(type(order), "other")
    block, window = (order._block, order._window) if isinstance(order, BlockShuffled) else (None, None)
    return OrderRecord(
        name=sampler.order.name,
        batch_size=sampler.batch_size,
        seed=sampler.seed,
        kind=kind,
        drop_last=sampler.drop_last,
        pad=sampler.pad,
        rank=sampler.rank,
        world_size=sampler.world_size,
        block_size=block,
        window=window,
        where=None if kind == "other" else where,
    )


def make_sampler(described: OrderRecord, count: int, given: Sampler | None) -> Sampler:
    """A sampler of these settings. ``given`` has the order if they do not hold it: with weights or balanced classes."""
    options: dict[str, Any] = {
        "batch_size": described.batch_size,
        "drop_last": described.drop_last,
        "pad": described.pad,
        "rank": described.rank,
        "world_size": described.world_size,
        "seed": described.seed,
    }
    if described.kind == "other":
        if given is None:
            raise InvalidInputError(
                "the sampler of the run had weights or balanced classes, which a manifest does not hold: give a sampler like it, Manifest.load(path, sampler=...)"
            )
        made = Sampler(count, shuffle=False, **options)
        made.order = given.order
    else:
        if described.kind == "blocks":
            options |= {"block_size": described.block_size or 1, "window": described.window or 1}
        if described.where is not None:
            options["where"] = _unpack(described.where, count, "the sampler")
        made = Sampler(count, shuffle=described.kind != "sequential", **options)
    order: Order = made.order
    if order.name != described.name:
        raise InvalidInputError(
            f"the order of the run is {described.name!r:.100}, and that of the data and settings is {order.name!r:.100}"
        )
    return made
