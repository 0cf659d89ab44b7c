"""Long output through a pager, as in git: only on a terminal, and not with ``--no-pager``.

The pager is ``$HANGAR_PAGER``, else ``$PAGER``, else ``less -FRX``; an empty value, or ``cat``, means no pager. The
first output starts the pager, so a command that only fails does not start one. An error is shown after the pager has
ended. Quitting the pager early ends the command without an error.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import click

from hangar.cli.settings import settings_of

if TYPE_CHECKING:
    from subprocess import Popen

    from typing_extensions import Buffer

__all__ = ["paged", "pager_command"]

P = ParamSpec("P")
T = TypeVar("T")
DEFAULT: Final = ("less -FRX", "more")
_SHELL: Final = frozenset("|&;<>()$`\\\"' \t\n*?[#~=%")


def paged(function: Callable[P, T]) -> Callable[P, T | None]:
    """Decorator of commands: send their output through the pager, if there is one."""

    def call(*args: P.args, **options: P.kwargs) -> T | None:
        ctx = click.get_current_context()
        command = pager_command() if settings_of(ctx).pager and _on_terminal() else None
        # Returns None if the user quit the pager early.
        with nullcontext() if command is None else _pager(ctx, command):
            return function(*args, **options)

    return update_wrapper(call, function)


def _on_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def pager_command() -> str | None:
    """The user's pager command, or None for no pager."""
    import shutil

    for name in ("HANGAR_PAGER", "PAGER"):
        command = os.environ.get(name)
        if command is not None:
            known = command.strip() and (not _SHELL.isdisjoint(command.strip()) or shutil.which(command.strip()))
            return command if known and command.strip() != "cat" else None
    return next((one for one in DEFAULT if shutil.which(one.partition(" ")[0])), None)


@contextmanager
def _pager(ctx: click.Context, command: str) -> Iterator[None]:
    pipe = _PagerPipe(command)
    stream = io.TextIOWrapper(io.BufferedWriter(pipe), encoding=sys.stdout.encoding, errors="backslashreplace")
    colour = ctx.color
    # Click sees a pipe and would drop colours, but the pager writes to a terminal.
    ctx.color = True if colour is None else colour
    try:
        with redirect_stdout(stream):
            yield
            stream.flush()
    except BrokenPipeError:
        pass  # the user quit the pager
    finally:
        ctx.color = colour
        with suppress(BrokenPipeError):
            stream.close()


class _PagerPipe(io.RawIOBase):
    """The standard input of a pager; the first write starts the pager."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._process: Popen[bytes] | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int | None:
        if self._process is None:
            self._process = self._start()
        assert self._process.stdin is not None
        return self._process.stdin.write(data)

    def _start(self) -> Popen[bytes]:
        import subprocess

        # As git sets them: quit if the output fits on one screen, pass colours through, do not clear the screen.
        env = {"LESS": "FRX", "LV": "-c"} | os.environ
        # The user's own command line, as man and git take it.
        return subprocess.Popen(self._command, shell=True, stdin=subprocess.PIPE, bufsize=0, env=env)  # noqa: S602

    def close(self) -> None:
        """Close the pager's input, and wait until the user quits it."""
        if self.closed:
            return
        super().close()
        if self._process is not None:
            assert self._process.stdin is not None
            with suppress(BrokenPipeError):
                self._process.stdin.close()
            _wait(self._process)


def _wait(process: Popen[Any]) -> None:
    """Wait for the pager. Ctrl-C is left to the pager: less uses it to stop a search."""
    while True:
        with suppress(KeyboardInterrupt):
            process.wait()
            return
