"""Long output through a pager, as git does it: on a terminal alone, unless ``--no-pager`` is given.

The pager is ``$HANGAR_PAGER``, else ``$PAGER``, else ``less -FRX``; an empty one, or ``cat``, means none. It is started by the first
output, so that a command that only fails needs none, and it is waited for before an error is shown. A pager that is left early ends the
command quietly.
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
    """Let what a command writes go through the pager where there is one."""

    def call(*args: P.args, **options: P.kwargs) -> T | None:
        ctx = click.get_current_context()
        command = pager_command() if settings_of(ctx).pager and _on_terminal() else None
        # None is returned where the pager was left early: no command of these has anything to say then.
        with nullcontext() if command is None else _pager(ctx, command):
            return function(*args, **options)

    return update_wrapper(call, function)


def _on_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def pager_command() -> str | None:
    """The pager of this user; None where there is none."""
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
    # Click sees a pipe now, and behind it is a terminal.
    ctx.color = True if colour is None else colour
    try:
        with redirect_stdout(stream):
            yield
            stream.flush()
    except BrokenPipeError:
        pass  # whoever reads has seen enough
    finally:
        ctx.color = colour
        with suppress(BrokenPipeError):
            stream.close()


class _PagerPipe(io.RawIOBase):
    """The standard input of a pager, which is started by the first write."""

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

        # As git sets them: quit where all fits on a screen, let colours through, leave the text where it was.
        env = {"LESS": "FRX", "LV": "-c"} | os.environ
        # The user's own command line, as man and git take it.
        return subprocess.Popen(self._command, shell=True, stdin=subprocess.PIPE, bufsize=0, env=env)  # noqa: S602

    def close(self) -> None:
        """Let the pager see the end, and wait until it is left."""
        if self.closed:
            return
        super().close()
        if self._process is not None:
            assert self._process.stdin is not None
            with suppress(BrokenPipeError):
                self._process.stdin.close()
            _wait(self._process)


def _wait(process: Popen[Any]) -> None:
    """Wait for the pager. Ctrl-C is its own: less uses it to stop a search."""
    while True:
        with suppress(KeyboardInterrupt):
            process.wait()
            return
