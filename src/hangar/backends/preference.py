"""Backend preference: the backend that new blobs of a column are written to, on this machine.

A preference is local and no part of history. Without one, ``hangar.backends.heuristic`` chooses from the schema.
"""

from __future__ import annotations

from typing import Any

import msgspec

from hangar.backends.heuristic import choose_backend
from hangar.backends.missing import backend_needs
from hangar.backends.registry import get_backend
from hangar.db import Database, ReadTransaction, WriteTransaction
from hangar.db.tables import META
from hangar.errors import CorruptionError, InvalidInputError, InvalidTypeError
from hangar.schema import ColumnSchema

__all__ = [
    "Preference",
    "check_preference",
    "check_stored_preferences",
    "column_needs",
    "load_preference",
    "store_preference",
]

_KEY = b"backend/"
_decoder = msgspec.msgpack.Decoder(tuple[str, dict[str, Any]])


class Preference(msgspec.Struct, frozen=True):
    """A backend tag and its options; ``chosen``: by a user, and not from the schema."""

    tag: str
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    chosen: bool = True


def check_preference(schema: ColumnSchema, backend: object, options: object) -> Preference | None:
    """Check the preference that a user gave; None if the user gave none.

    Raises
    ------
    InvalidInputError
        The backend is unknown or cannot hold such data, or options were given without a backend.
    InvalidTypeError
        The options are not a dict, or one is unknown to the backend.
    """
    if options is not None and not isinstance(options, dict):
        raise InvalidTypeError(f"backend_options must be a dict, not {type(options).__name__}")
    if backend is None:
        if options:
            raise InvalidInputError("backend_options need a backend: name one with `backend=`")
        return None
    if not isinstance(backend, str):
        raise InvalidInputError(f"backend must be a tag such as '10', not {backend!r}")
    found = get_backend(backend)
    blobs = schema.blob_schema
    if not found.holds(blobs.blob_kind, variable=blobs.variable):
        raise InvalidInputError(
            f"backend {backend!r} cannot hold {schema.kind_name} data of {'variable' if schema.variable else 'fixed'} shape"
        )
    return Preference(backend, found.check_options(dict(options or {})))


def load_preference(db: Database, column_id: bytes, schema: ColumnSchema) -> Preference:
    """The stored preference of a column, or the default for its schema."""
    with db.read() as transaction:
        data = transaction.get(META, _KEY + column_id)
    if data is None:
        tag, options = choose_backend(schema)
        return Preference(tag, get_backend(tag).check_options(options), chosen=False)
    return Preference(*_decode(data))


def _decode(data: bytes) -> tuple[str, dict[str, Any]]:
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, ValueError) as error:
        raise CorruptionError(f"the backend preference of a column cannot be read: {error}") from None


def check_stored_preferences(transaction: ReadTransaction) -> None:
    """Raise CorruptionError if the stored preference of a column cannot be read."""
    for _, data in transaction.scan(META, prefix=_KEY):
        _decode(data)


def column_needs(db: Database, column_id: bytes, schema: ColumnSchema) -> str:
    """Message that names what is missing to read and write the values of a column; ``''`` if nothing is."""
    if schema.needs:
        return schema.needs
    with db.read() as transaction:
        data = transaction.get(META, _KEY + column_id)
    tag, options = choose_backend(schema) if data is None else _decode(data)
    return backend_needs(tag, options)


def store_preference(transaction: WriteTransaction, column_id: bytes, preference: Preference) -> None:
    """Store the preference of a column."""
    transaction.put(META, _KEY + column_id, msgspec.msgpack.encode((preference.tag, preference.options)))
