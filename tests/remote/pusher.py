"""A client of row 17, as a program: ``python -m tests.remote.pusher DIRECTORY ADDRESS NUMBER``.

It makes a commit on the branch of the server when it reads a line, pushes it when it reads another one, and says how that went.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from hangar.digest import Digest
from hangar.errors import HangarError
from hangar.remote.dial import connect_server
from hangar.remote.peer import Hello
from hangar.remote.transfer import push
from tests.remote.world import WHO, Place, fetch, update


def main(directory: str, address: str, number: str) -> None:
    place = Place(Path(directory))
    with connect_server(address) as peer:
        peer.hello(Hello())
        for line in sys.stdin:
            branch = f"round{line.strip()}"
            fetch(place, peer, ["master"])
            base = place.stores.refs.get("remotes/origin/master")
            assert base is not None
            place.repo.create_branch(branch, base_commit=base.hex())
            key = int(line) * 1_000 + int(number) + 1
            head = place.commit(lambda writer, key=key: writer["label"].write([key], np.array([key])), branch)  # type: ignore[misc]
            print(base.hex(), head.hex(), flush=True)
            sys.stdin.readline()
            try:
                push(place.stores, peer, [update("heads/master", Digest(base), head)], who=WHO)
                print("won", flush=True)
            except HangarError as error:
                print(type(error).__mro__[1].__name__, str(error)[:200], flush=True)
    place.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
