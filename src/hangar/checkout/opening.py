"""Opens write checkouts, and closes the open ones when the process exits."""

from __future__ import annotations

import atexit
import contextlib
import weakref

from hangar.checkout.session import ReaderSession, WriterSession
from hangar.checkout.writer import WriterCheckout
from hangar.columns.base import ResolveColumn
from hangar.config import Config
from hangar.errors import HangarError
from hangar.stores import Stores

__all__ = ["open_writer"]

Sessions = weakref.WeakSet[ReaderSession | WriterSession]

_open_writers: weakref.WeakSet[WriterSession] = weakref.WeakSet()


def open_writer(
    stores: Stores,
    config: Config,
    branch: str,
    sessions: Sessions,
    *,
    move_head: bool = True,
    resolve: ResolveColumn | None = None,
) -> WriterCheckout:
    """A write checkout of ``branch``, whose session is added to ``sessions``; see ``Repository.checkout``.

    Without ``move_head`` it becomes the branch last written with the first write only.
    """
    checkout = None
    try:
        checkout = WriterCheckout(stores, config, branch, move_head=move_head, resolve=resolve)
        sessions.add(checkout.session)
        _open_writers.add(checkout.session)
        return checkout
    except BaseException:
        # The caller does not get the checkout, but the traceback of an interrupt would keep it alive, and with it the lock.
        if checkout is not None:
            checkout.close()
        raise


@atexit.register
def _close_writers() -> None:
    for session in list(_open_writers):
        # It may be closed already, or its lock taken over.
        with contextlib.suppress(HangarError):
            if session.unfinished:
                # Its `with` block did not end, so its batch is incomplete.
                session.abandon()
            else:
                session.close()
