"""Start and end worker processes.

A worker is started as a new interpreter with the same path for modules. A function of the main program is sent by
value if ``cloudpickle`` is installed; else the worker runs the main program again as a module, as
:mod:`multiprocessing` does, so the program needs ``if __name__ == "__main__":``.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing import Pipe, spawn
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hangar.bulk_importer.encode import Target
from hangar.errors import InvalidStateError, ResourceLimitError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

__all__ = ["Program", "WorkerProcess", "dumps"]

_PROGRAM: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from hangar.bulk_importer.worker import main; main(int(sys.argv[2]), json.loads(sys.argv[3]))"
)
_END_SECONDS: Final = 1.0


def dumps(value: Any, what: str) -> bytes:
    """Pickle something for a worker, functions of the main program by value if possible.

    Raises
    ------
    InvalidStateError
        It cannot be pickled.
    """
    data, problem = None, None
    try:
        data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        if b"__main__" not in data:
            return data
    except Exception as error:  # noqa: BLE001  a local function, for example, or an error of the user's class
        problem = error
    try:
        import cloudpickle

        by_value: bytes = cloudpickle.dumps(value)
        return by_value
    except ImportError:
        if data is not None:
            return data
        raise _not_sendable(what, problem) from problem
    except Exception as error:
        raise _not_sendable(what, error) from error


def _not_sendable(what: str, error: Exception | None) -> InvalidStateError:
    hint = "" if _has_cloudpickle() else " (functions inside functions need cloudpickle: `pip install 'hangar[bulk]'`)"
    return InvalidStateError(f"{what} cannot be sent to a worker process{hint}: {type(error).__name__}: {error}")


def _has_cloudpickle() -> bool:
    """Whether cloudpickle was loaded, which :func:`dumps` tries where it is needed."""
    return sys.modules.get("cloudpickle") is not None


class Program:
    """What a worker needs to begin: the function and the columns, ready to be sent.

    Raises
    ------
    InvalidStateError
        The function cannot be sent to a process.
    """

    def __init__(self, function: Any, targets: Sequence[Target]) -> None:
        self._function = dumps(function, "the function of the import")
        by_name = b"__main__" in self._function and not _has_cloudpickle()
        self._main = spawn.get_preparation_data("hangar-import") if by_name else None
        if self._main is not None:
            self._main = {
                key: value for key, value in self._main.items() if key.startswith(("init_main", "dir", "orig_dir"))
            }
        self._targets = [tuple(target) for target in targets]

    def message(self) -> Any:
        """The first message to a worker."""
        return self._main, self._function, self._targets


class WorkerProcess:
    """One worker process, and the connection to it.

    Raises
    ------
    ResourceLimitError
        No process can be started.
    """

    def __init__(self, program: Program, slots: Sequence[int]) -> None:
        ours, theirs = Pipe()
        self.connection: Connection[Any, Any] = ours
        self.ready = False
        path = [str(Path.cwd()) if entry == "" else entry for entry in sys.path]
        command = [sys.executable, "-c", _PROGRAM, json.dumps(path), str(theirs.fileno()), json.dumps(list(slots))]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *slots),
                start_new_session=True,  # Ctrl-C is for the importing process, which then ends its workers
            )
            self.connection.send(program.message())
        except OSError as error:
            ours.close()
            raise ResourceLimitError(f"no worker process can be started: {error}") from error
        finally:
            theirs.close()

    @property
    def id(self) -> int:
        """Process id."""
        return self._process.pid

    def ending(self) -> str:
        """How it ended, for messages."""
        try:
            code = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return "it closed its connection"
        return f"it was ended by signal {-code}" if code < 0 else f"it ended with exit code {code}"

    def close(self) -> None:
        """End it at once, and wait until it has ended."""
        self.connection.close()
        self._process.kill()
        self._process.wait()
