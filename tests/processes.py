"""Child processes for tests: forked, watched, and never left behind."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, Pipe
from typing import Any

TIMEOUT_SECONDS = 60.0


class Child:
    """A forked process that runs a function and hands back its result.

    The function is called with a connection, over which it may talk with the parent (``send`` and ``receive``).
    """

    def __init__(self, function: Callable[[Connection], Any]) -> None:
        self._talk, talk = Pipe()
        self._outcome, outcome = Pipe(duplex=False)
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                self._talk.close()
                self._outcome.close()
                try:
                    message = (True, function(talk))
                    code = 0
                except BaseException:  # noqa: BLE001 - it is shown by the parent
                    message = (False, traceback.format_exc())
                outcome.send_bytes(pickle.dumps(message))
            finally:
                os._exit(code)
        talk.close()
        outcome.close()
        self.status: int | None = None
        self._read = False
        self._said: tuple[bool, Any] | None = None

    def send(self, value: object) -> None:
        self._talk.send(value)

    def messages(self) -> Iterator[Any]:
        """What the child says, until it has ended."""
        with contextlib.suppress(EOFError):
            while True:
                # The outcome is left for ``result``.
                yield self._receive()

    def receive(self, timeout: float = TIMEOUT_SECONDS) -> Any:
        try:
            return self._receive(timeout)
        except EOFError:
            raise EOFError(f"child {self.pid} ended: {self._failure()}") from None

    def _receive(self, timeout: float = TIMEOUT_SECONDS) -> Any:
        if not self._talk.poll(timeout):
            raise TimeoutError(f"child {self.pid} said nothing for {timeout:.0f} s")
        return self._talk.recv()

    def _failure(self) -> str:
        outcome = self._read_outcome()
        return f"without a word, status {self.wait()}" if outcome is None else str(outcome[1])

    def _read_outcome(self) -> tuple[bool, Any] | None:
        if not self._read:
            self._read = True
            with contextlib.suppress(EOFError):
                self._said = pickle.loads(self._outcome.recv_bytes())
        return self._said

    def result(self, timeout: float = TIMEOUT_SECONDS) -> Any:
        """What the function returned; an error in the child fails the test that asks."""
        if not self._read and not self._outcome.poll(timeout):
            self.kill()
            raise TimeoutError(f"child {self.pid} did not end within {timeout:.0f} s")
        outcome = self._read_outcome()
        if outcome is None:
            raise AssertionError(f"child ended without a result, status {self.wait()}")
        worked, value = outcome
        self.wait()
        if not worked:
            raise AssertionError(f"in the child:\n{value}")
        return value

    def kill(self) -> None:
        """End it as a power cut of the process would: no handler runs."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def wait(self, timeout: float = TIMEOUT_SECONDS) -> int:
        """The status as ``os.waitpid`` gives it."""
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise TimeoutError(f"child {self.pid} did not end within {timeout:.0f} s")
            time.sleep(0.001)
        return status

    def poll(self) -> int | None:
        """The status, or None while it runs."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
        return self.status

    def close(self) -> None:
        self.kill()
        self._talk.close()
        self._outcome.close()


@contextlib.contextmanager
def child(function: Callable[[Connection], Any]) -> Iterator[Child]:
    """A forked child, ended with the block."""
    process = Child(function)
    try:
        yield process
    finally:
        process.close()


def in_child(function: Callable[[], Any], timeout: float = TIMEOUT_SECONDS) -> Any:
    """Run a function in a forked child and return what it returns."""
    with child(lambda _: function()) as process:
        return process.result(timeout)
