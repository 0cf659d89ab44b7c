"""The remotes that a repository knows: name, number, address and settings.

A remote is a row ``remote/NAME`` of the table ``meta``. Its number is never given to another remote, so that a promise
(``hangar.blobs.promises``) names it in four bytes and survives a change of its address. The row holds no secret: a token
is named by the file or the environment variable that has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from hangar.db.tables import META
from hangar.errors import CorruptionError, InvalidInputError, NameTakenError, RemoteNotFoundError
from hangar.names import check_name, plain_text

if TYPE_CHECKING:
    from hangar.db.transaction import ReadTransaction, WriteTransaction

__all__ = ["RemoteRow", "add_remote", "change_remote", "delete_remote", "get_remote", "list_remotes", "remote_names"]

_PREFIX: Final = b"remote/"
_MAX_ADDRESS: Final = 1_000


class RemoteRow(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The stored form of a remote.

    Attributes
    ----------
    number
        Its number, from 1 on.
    address
        Where it is: ``host:port``, or a path.
    settings
        How it is reached: ``ca`` (a file of certificates), ``token-file``, ``token-env``, ``insecure``.
    """

    number: int
    address: str
    settings: dict[str, str]


def list_remotes(transaction: ReadTransaction) -> dict[str, RemoteRow]:
    """All remotes by name, sorted."""
    return {key[len(_PREFIX) :].decode(): _decode(key, row) for key, row in transaction.scan(META, prefix=_PREFIX)}


def get_remote(transaction: ReadTransaction, name: object) -> RemoteRow:
    """One remote.

    Raises
    ------
    RemoteNotFoundError
        (a ``KeyError`` and a ``ValueError``) there is none of this name.
    """
    key = _PREFIX + plain_text(name).encode(errors="replace")
    row = transaction.get(META, key) if len(key) < 128 else None
    if row is None:
        known = ", ".join(list_remotes(transaction)) or "none"
        raise RemoteNotFoundError(f"there is no remote {plain_text(name)!r}; there are: {known}")
    return _decode(key, row)


def remote_names(transaction: ReadTransaction) -> dict[int, str]:
    """Names of the remotes by their number."""
    return {row.number: name for name, row in list_remotes(transaction).items()}


def add_remote(
    transaction: WriteTransaction, name: str, address: str, settings: dict[str, str] | None = None
) -> RemoteRow:
    """Record a new remote, and give it a number. The caller checks that no branch begins with its name.

    Raises
    ------
    InvalidInputError, NameTakenError
        (``ValueError``) a bad name or address; a taken name.
    """
    key = _PREFIX + check_name(name, "remote").encode()
    if transaction.get(META, key) is not None:
        raise NameTakenError(f"there is a remote {name!r}: choose another name, or remove it first")
    row = RemoteRow(transaction.next_id("remote"), check_address(address), dict(settings or {}))
    transaction.put(META, key, msgspec.msgpack.encode(row))
    return row


def change_remote(
    transaction: WriteTransaction, name: str, *, address: str | None = None, settings: dict[str, str] | None = None
) -> None:
    """Change the address or the settings of a remote; its number and promises stay."""
    row = get_remote(transaction, name)
    new = RemoteRow(
        row.number,
        row.address if address is None else check_address(address),
        row.settings if settings is None else dict(settings),
    )
    transaction.put(META, _PREFIX + name.encode(), msgspec.msgpack.encode(new))


def delete_remote(transaction: WriteTransaction, name: str) -> RemoteRow:
    """Delete the row of a remote. Its refs and promises are the caller's."""
    row = get_remote(transaction, name)
    transaction.delete(META, _PREFIX + name.encode())
    return row


def check_address(address: object) -> str:
    """Return ``address`` if it can be one."""
    if not isinstance(address, str) or not 0 < len(address) <= _MAX_ADDRESS or not address.isprintable():
        raise InvalidInputError(f"the address of a remote is text such as 'host:50051', not {address!r}")
    if address != address.strip():
        raise InvalidInputError(f"the address {address!r} begins or ends with white space")
    return address


_decoder: Final = msgspec.msgpack.Decoder(RemoteRow)


def _decode(key: bytes, row: bytes) -> RemoteRow:
    try:
        return _decoder.decode(row)
    except (msgspec.DecodeError, ValueError) as error:
        name = key[len(_PREFIX) :].decode(errors="replace")
        raise CorruptionError(f"the record of remote {name!r} cannot be read: {error}") from None
