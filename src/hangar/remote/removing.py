"""What would be lost with a remote: data of the history here that nobody else has."""

from __future__ import annotations

import numpy as np

from hangar.errors import HangarError
from hangar.refs.remotes import list_remotes
from hangar.remote.asking import asked
from hangar.remote.connect import connected
from hangar.remote.correcting import correct
from hangar.remote.states import BlobState
from hangar.stores import Stores

__all__ = ["lost_without"]


def lost_without(stores: Stores, number: int) -> tuple[int, list[str]]:
    """How many values are lost here if a remote is removed, and which other remotes could not be asked.

    A remote that is a partial clone, or a bundle without all data, promises with its history what it does not have. So the
    other remotes are asked for the values that they have promised too.

    Parameters
    ----------
    number
        Number of the remote.
    """
    mine = stores.blobs.promises.absent_at(number)
    kept = np.zeros(len(mine), np.bool_)
    silent: list[str] = []
    with stores.db.read() as transaction:
        remotes = {row.number: (name, row) for name, row in list_remotes(transaction).items()}
    for other, mask in stores.blobs.promises.by_remote(mine).items():
        places = np.flatnonzero(mask & ~kept)
        if other == number or other not in remotes or not len(places):
            continue
        name, row = remotes[other]
        try:
            with connected(name, row, other_than=stores.directory) as reader:
                answer = asked(reader, mine[places])
                kept[places] = answer.mask(BlobState.HERE)
                gone = answer.mask(BlobState.ABSENT, BlobState.PROMISED)
                correct(stores, other, absent=mine[places[gone]], reader=reader)
        except HangarError:
            silent.append(name)
    return int((~kept).sum()), silent
