"""How a command ends: what is said on stderr, and the exit code.

Every error of Hangar has its exit code in :mod:`hangar.errors`; usage errors are 2, an interrupt 130, a reader of our output that went
away 141 (what a shell reports of a program that SIGPIPE ended). A traceback is shown
only with ``-v``, or where ``HANGAR_DEBUG`` is set.
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
    """Whoever read our output went away. Not an ``OSError``, which click would turn into an exit of its own."""


def conclude(call: Callable[[], Any]) -> int:
    """Run a command; its exit code."""
    try:
        with _plain_warnings():
            result = call()
            if sys.stdout is not None:  # it is None where there is no stdout at all
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
            _drop_output()  # it is the output that cannot be written: the interpreter would complain once more
        return code
    except Exception as error:  # noqa: BLE001 - never a traceback: what nobody foresaw is said in a line too
        return _failed(error)
    return result if type(result) is int else 0


def _aborted(error: click.Abort) -> int:
    """An interrupt, or a question that nobody answered."""
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
        text = f"this should not have happened: {error!r} (run it again with `hangar -v` and report what it shows, and what `hangar --version` says)"
    click.echo(f"Error: {visible(text)}", err=True)
    return exit_code(error)


def _drop_output() -> None:
    """Let what is still buffered go nowhere, so that the interpreter does not complain of it at its end."""
    try:
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)
    except (OSError, ValueError):
        pass


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show warnings as a line for people, without the place in the code they come from."""
    before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        click.echo(f"Warning: {visible(str(message))}", err=True)

    # A program that runs us inside itself and records warnings has put its own function there.
    if before.__module__ == "warnings":
        warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before
