"""Worker process of a bulk import: receives chunks of items, and sends their results.

It is a fresh interpreter, not a fork: the process that imports has threads, locks and an open database. A worker never
opens the repository. It ends at once when the importing process ends, in whatever way.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, Final

from hangar.bulk_importer.encode import Chunk, ChunkEncoder, Target
from hangar.bulk_importer.slots import Slot
from hangar.threads import start_thread

__all__ = ["main"]

_HINT: Final = (
    ". It ran the main program again, to find the function there: put the call of the import under "
    "`if __name__ == '__main__':`, or run `pip install 'hangar[bulk]'`"
)


def main(descriptor: int, slots: list[int]) -> None:
    """Work until the connection ends.

    Parameters
    ----------
    descriptor
        Descriptor of the connection to the importing process.
    slots
        Descriptors of the slots.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection: Connection[Any, Any] = Connection(descriptor)
    messages: SimpleQueue[Any] = SimpleQueue()
    # It reads all the time, so that neither side ever waits for the other to read, and it notices the end of the other.
    if start_thread(lambda: _receive(connection, messages), "hangar-import-receive", daemon=True) is None:
        os._exit(1)
    shared = [Slot(one) for one in slots]
    try:
        encoder = _encoder(messages.get())
    except BaseException as error:  # noqa: BLE001  sent to the importing process
        _send(connection, f"{type(error).__name__}: {error}{_HINT * ('__mp_main__' in sys.modules)}")
        return
    _send(connection, None)
    while True:
        number, data = messages.get()
        try:
            chunk = Chunk(*pickle.loads(data))  # noqa: S301  sent by the importing process
        except BaseException as error:  # noqa: BLE001
            _send(connection, f"items cannot be loaded in a worker process: {type(error).__name__}: {error}")
            return
        _send(connection, (number, encoder.run(chunk, shared[number])))


def _encoder(message: Any) -> ChunkEncoder:
    main_module, function, targets = message
    if main_module is not None:
        from multiprocessing import spawn

        spawn.prepare(main_module)
    return ChunkEncoder(pickle.loads(function), [Target(*one) for one in targets])  # noqa: S301


def _receive(connection: Connection[Any, Any], messages: SimpleQueue[Any]) -> None:
    while True:
        try:
            messages.put(connection.recv())
        except (EOFError, OSError):
            # The importing process has ended, or does not need this worker any more.
            os._exit(0)


def _send(connection: Connection[Any, Any], message: Any) -> None:
    try:
        connection.send(message)
    except OSError:
        os._exit(0)
