"""Why a blob has no location: a remote has it, it was purged, a remote had promised it and does not have it, or it is lost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hangar.blobs.index import Digests
from hangar.blobs.promises import Promises
from hangar.blobs.tombstones import IN_EFFECT, Tombstone, find_tombstones, purged_error
from hangar.db import Database
from hangar.digest import Digest, digest_array, digest_list
from hangar.errors import NotLocalError, PurgedError
from hangar.wording import plural

__all__ = ["denial", "explain_absence", "not_local", "not_there"]


def explain_absence(db: Database, promises: Promises, digests: Digests) -> bytes | PurgedError | NotLocalError:
    """Error for blobs without a location, or the digest of the first one that is lost.

    Parameters
    ----------
    digests
        uint8, shape (n, 32).
    """
    names = digest_list(digests)
    with db.read() as transaction:
        tombstones = find_tombstones(transaction, names, foreign=True)
    left: list[Digest] = [
        name for name in dict.fromkeys(names) if name not in tombstones or tombstones[name].state != IN_EFFECT
    ]
    if not left:
        return purged_error({name: tombstones[name] for name in dict.fromkeys(names)})
    array = digest_array(left)
    promised = promises.by_remote(array) if promises.possible() else {}
    unpromised = np.flatnonzero(~np.any([np.zeros(len(left), np.bool_), *promised.values()], axis=0))
    names_of = promises.names()
    denied = promises.denied(array[unpromised])
    known = np.any([np.zeros(len(unpromised), np.bool_), *denied.values()], axis=0)
    purged: dict[bytes, Tombstone] = {}
    gone: list[Digest] = []
    for name, explained in zip([left[int(at)] for at in unpromised], known.tolist(), strict=True):
        tombstone = tombstones.get(name)
        # That of another repository explains nothing unless a remote does not have the blob any more.
        if tombstone is not None and (explained or tombstone.state > IN_EFFECT):
            purged[name] = tombstone
        elif explained:
            gone.append(name)
        else:
            return name
    if gone:
        return not_there(len(gone), [names_of[number] for number in denied if number in names_of])
    if promised and len(purged) < len(left):
        holders = [names_of[number] for number, mask in promised.items() if mask.any() and number in names_of]
        return not_local(len(left) - len(purged), holders)
    return purged_error(purged)


def denial(remotes: Sequence[str], count: int = 1) -> str:
    """That remotes had promised values and do not have them."""
    it = "it" if count == 1 else "them"
    asked = "it was asked" if len(remotes) < 2 else "they were asked"
    return f"{' and '.join(map(repr, remotes)) or 'a remote'} had promised {it}, and did not have {it} when {asked}"


def not_local(count: int, remotes: Sequence[str], where: str = "", command: str = "") -> NotLocalError:
    """Error for data that remotes have and this disk has not.

    Parameters
    ----------
    where
        Such as "of column 'images' ".
    command
        The command that fetches it; empty for a general one.
    """
    remote = remotes[0] if remotes else "REMOTE"
    verb = "is" if count == 1 else "are"
    error = NotLocalError(
        f"{plural(count, 'value')} {where}{verb} not on this disk; {' and '.join(map(repr, remotes)) or 'a remote'} has "
        f"{'it' if count == 1 else 'them'}: run `{command or f'hangar fetch-data {remote} REV'}`, or open the checkout with "
        "fetch_on_read=True"
    )
    error.count, error.remotes = count, tuple(remotes)
    return error


def not_there(count: int, remotes: Sequence[str], where: str = "", command: str = "") -> NotLocalError:
    """Error for data that remotes had promised, and that they do not have.

    Parameters
    ----------
    where
        Such as "of column 'images' ".
    command
        The command that fetches it from a remote NAME; empty for a general one.
    """
    verb = "is" if count == 1 else "are"
    error = NotLocalError(
        f"{plural(count, 'value')} {where}{verb} neither on this disk nor at a remote: {denial(remotes, count)}. Add a remote that has "
        f"{'it' if count == 1 else 'them'} with `hangar remote add NAME ADDRESS`, then run `{command or 'hangar fetch-data NAME REV'}`"
    )
    error.count, error.remotes, error.gone = count, tuple(remotes), True
    return error
