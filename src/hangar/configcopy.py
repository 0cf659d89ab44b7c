"""Copy of the repository's configuration in the database, from which fsck writes a lost or damaged file ``config`` again.

The file is what counts. The copy follows it: when the repository is created, when ``hangar config`` changes the file, and
with each commit.
"""

from __future__ import annotations

from typing import Final

import msgspec

from hangar.config import KEYS, Config
from hangar.db import ReadTransaction, WriteTransaction
from hangar.db.tables import META
from hangar.errors import CorruptionError, HangarError

__all__ = ["CONFIG_KEY", "copied_config", "copy_config"]

CONFIG_KEY: Final = b"configuration"
"""Key of the row of ``meta``: a map of str to str."""

_decode: Final = msgspec.msgpack.Decoder(dict[str, str]).decode


def copy_config(transaction: WriteTransaction, config: Config) -> None:
    """Copy the values of the repository's configuration file, if they changed; those that cannot be read are left as they are."""
    try:
        found = config.file("repository").items()
    except HangarError:
        return
    data = msgspec.msgpack.encode({key: found[key] for key in KEYS if key in found})
    if transaction.get(META, CONFIG_KEY) != data:
        transaction.put(META, CONFIG_KEY, data)


def copied_config(transaction: ReadTransaction) -> dict[str, str]:
    """The copied values; none if there is no copy.

    Raises
    ------
    CorruptionError
        The row is damaged.
    """
    data = transaction.get(META, CONFIG_KEY)
    if data is None:
        return {}
    try:
        return _decode(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise CorruptionError(f"the copy of the configuration in the database cannot be read: {error}") from None
