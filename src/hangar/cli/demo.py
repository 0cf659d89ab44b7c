"""``hangar demo``."""

from __future__ import annotations

import io
import os
import shlex
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from dataclasses import asdict
from pathlib import Path

import click

from hangar.cli.groups import Command
from hangar.cli.output import echo, json_option, style, visible, write_json
from hangar.cli.state import State, pass_state

__all__ = ["command"]

PAUSE_SECONDS = 0.6
"""Pause after each step, on a terminal."""


class _Presenter:
    """Prints the steps of the demonstration, unless it is quiet."""

    def __init__(self, directory: Path, *, quiet: bool, pause: float) -> None:
        self._directory = directory
        self._quiet = quiet
        self._pause = pause

    def say(self, text: str) -> None:
        """Print a paragraph."""
        if not self._quiet:
            self._rest()
            echo("\n" + style(textwrap.fill(text, 100), "cyan"))

    def run(self, *words: str) -> None:
        """Print a command as it would be typed, and run it."""
        from hangar.cli.main import main

        self._show(f"$ {shlex.join(('hangar', *words))}")
        silent = io.StringIO()
        with (
            redirect_stdout(silent) if self._quiet else nullcontext(),
            redirect_stderr(silent) if self._quiet else nullcontext(),
        ):
            main.main(["--no-pager", "-C", str(self._directory), *words], standalone_mode=False)

    def python(self, code: str, action: Callable[[], None]) -> None:
        """Print the code, then call ``action``, which does the same."""
        first, *others = textwrap.dedent(code).strip().split("\n")
        self._show("\n".join([f">>> {first}", *(f"{'...' if line[:1] == ' ' else '>>>'} {line}" for line in others)]))
        action()

    def _show(self, text: str) -> None:
        if not self._quiet:
            echo()
            echo("\n".join(style(line, "green", bold=True) for line in text.split("\n")))

    def _rest(self) -> None:
        sys.stdout.flush()
        time.sleep(self._pause)


@click.command("demo", cls=Command)
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option("--no-pause", is_flag=True, help="Do not wait between the steps.")
@json_option
@pass_state
def command(state: State, directory: Path | None, no_pause: bool, as_json: bool) -> None:
    """Demonstrate Hangar on scikit-learn's handwritten digits and photographs, with each command as you would type it.

    At the end a small network is trained on two commits. The curves of both runs are saved as a picture, accuracy.svg.

    The repository is created in DIRECTORY and stays there. Without DIRECTORY it is created in a temporary directory and
    deleted at the end. Needs scikit-learn and Pillow: pip install 'hangar[demo]'.

    JSON: directory (null when it was temporary), first_commit, second_commit, samples, relabelled, compared,
    first_accuracy, second_accuracy, resumed_batches, picture (a path), seconds.
    """
    from hangar.demo import run_demo

    began = time.perf_counter()
    temporary = tempfile.TemporaryDirectory(prefix="hangar-demo-") if directory is None else None
    with temporary if temporary is not None else nullcontext() as made:
        place = Path(made) if made is not None else state.resolve(directory or Path()).absolute()
        place.mkdir(parents=True, exist_ok=True)
        pause = PAUSE_SECONDS if sys.stdout.isatty() and not no_pause else 0.0
        picture = None
        if directory is None:  # the picture outlives the repository
            handle, name = tempfile.mkstemp(prefix="hangar-demo-", suffix=".svg")
            os.close(handle)
            picture = Path(name)
        report = run_demo(place, _Presenter(place, quiet=as_json, pause=pause), picture)
    seconds = time.perf_counter() - began
    if as_json:
        write_json(
            asdict(report) | {"directory": None if directory is None else str(place), "seconds": round(seconds, 3)}
        )
        return
    echo()
    if directory is None:
        echo("The temporary repository was deleted. To keep it, run `hangar demo DIRECTORY`")
    else:
        echo(
            f"The repository is in {visible(str(place))}: explore it with `hangar log`, `hangar ls` and `hangar show`."
        )
