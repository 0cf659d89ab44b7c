"""The end of a command: the message on stderr, and the exit code.

Every error of Hangar has its exit code in :mod:`hangar.errors`; usage errors are 2, an interrupt is 130, and a closed
output pipe is 141 (128 + SIGPIPE, as shells report it). A traceback is shown only with ``-v``, or if ``HANGAR_DEBUG``
is set.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from hangar.cli.output import visible
from hangar.errors import HangarError, exit_code

__all__ = ["INTERRUPTED", "PIPE_BROKEN", "OutputClosedError", "conclude"]

INTERRUPTED: Final = 130
PIPE_BROKEN: Final = 141
BUG: Final = 1


class OutputClosedError(Exception):
    """The reader of our output closed the pipe. Not an ``OSError``, which click would handle itself."""


def conclude(call: Callable[[], Any]) -> int:
    """Run a command and return its exit code."""
    try:
        with _plain_warnings():
            result = call()
            if sys.stdout is not None:  # None if the process has no stdout
                sys.stdout.flush()
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort as error:
        return _aborted(error)
    except (OutputClosedError, BrokenPipeError):
        _drop_output()
        return PIPE_BROKEN
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        code = _failed(error)
        try:
            sys.stdout.flush()
        except OSError:
            _drop_output()  # the output itself cannot be written: prevent a second error when the interpreter exits
        return code
    except Exception as error:  # noqa: BLE001 - never a traceback: unexpected errors are one line too
        return _failed(error)
    return result if type(result) is int else 0


def _aborted(error: click.Abort) -> int:
    """The exit code of an interrupt, or of a question without an answer."""
    if isinstance(error.__cause__ or error.__context__, KeyboardInterrupt):
        return INTERRUPTED
    click.echo("Error: no answer was given", err=True)
    return BUG


def _failed(error: Exception) -> int:
    if isinstance(error, HangarError):
        text = str(error)
    elif isinstance(error, MemoryError):
        text = f"there is not enough memory{f': {error}' if str(error) else ''}"
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    else:
        text = (
            f"internal error: {error!r} (please report it, with the output of the same command with `hangar -v`, "
            "and of `hangar --version`)"
        )
    click.echo(f"Error: {visible(text)}", err=True)
    return exit_code(error)


def _drop_output() -> None:
    """Redirect stdout to the null device, so that flushing it at exit does not fail."""
    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)
    except (OSError, ValueError):
        pass


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show warnings as one line, without the location in the code."""
    before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        click.echo(f"Warning: {visible(str(message))}", err=True)

    # A program that calls us and records warnings (pytest) has its own function there.
    if before.__module__ == "warnings":
        warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before
