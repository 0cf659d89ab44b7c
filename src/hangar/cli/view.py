"""``hangar view``: look at one sample."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from hangar.cli import complete
from hangar.cli.output import echo, note, visible, visible_lines
from hangar.cli.plugin_command import PluginCommand, check_options
from hangar.cli.samples import one_sample, sample_text
from hangar.cli.state import State, pass_state
from hangar.cli.views import open_view
from hangar.errors import ConflictError, InvalidInputError
from hangar.inputs import file_error

__all__ = ["command"]


@click.command("view", cls=PluginCommand, options_metavar="[OPTIONS] [--KEY VALUE]...")
@click.argument("column", shell_complete=complete.columns)
@click.argument("sample", shell_complete=complete.samples)
@click.argument("rev", required=False, shell_complete=complete.revisions)
@click.option("-w", "--window", is_flag=True, help="Show a picture in a window of the desktop's image viewer.")
@click.option(
    "-o", "--out", metavar="FILE", type=click.Path(path_type=Path), help="Write a PNG file for the screen to FILE."
)
@click.option("-f", "--format", "extension", metavar="SUFFIX", help="Show with the plugin for this format.")
@click.option("--plugin", metavar="NAME", help="Show with this plugin.")
@click.option("--width", type=click.IntRange(4, 1000), help="Width of the drawing in characters.")
@click.pass_context
@pass_state
def command(
    state: State,
    ctx: click.Context,
    column: str,
    sample: str,
    rev: str | None,
    window: bool,
    out: Path | None,
    extension: str | None,
    plugin: str | None,
    width: int | None,
    plugin_options: dict[str, Any],
) -> None:
    """Look at SAMPLE of COLUMN, in the commit REV or, without REV, in the staging area.

    Arrays that can be pictures are drawn in the terminal with colours, or with characters where there are none. Audio is
    drawn as a waveform. Text is printed, other arrays are tables, and bytes are hexadecimal. -o writes the picture to a
    file, and --window opens it. The command never waits.

    Values other than 8 bits are scaled from the smallest to the largest. Of a volume the middle slice is shown. To get
    the exact values use show or export.

    For example:
      hangar view images cat_17
      hangar view images cat_17 master~1 -o before.png
      hangar view scans int:5 --window
    """
    named = plugin is not None or extension is not None
    if named and (out is not None or window or width is not None):
        raise click.UsageError(
            "-o, --window and --width are for pictures drawn without a plugin: leave out -f and --plugin"
        )
    view = open_view(state, rev)
    found: Any = view[column]
    key = one_sample(sample, found, column)
    if found.contains_subsamples and not isinstance(key, tuple):
        raise click.UsageError(f"{sample!r} holds subsamples: name one as {sample}/SUBSAMPLE")
    value = _whole(found[key])
    if named:
        _by_plugin(ctx, value, plugin, extension, plugin_options)
        return
    if plugin_options:
        raise click.UsageError(
            f"--{next(iter(plugin_options))} is an option of a plugin: choose one with -f or --plugin"
        )
    picture = _picture(value, found.column_type)
    if out is not None:
        _save(picture, state.resolve(out))
        return
    if window:
        _open_window(picture, f"{column} {sample_text(key, found)}")
        return
    _draw(value, picture, width)


def _whole(value: Any) -> Any:
    """A value as an array, text or bytes; of a lazy array a part that is small enough to look at."""
    import numpy as np

    if isinstance(value, (str, bytes, np.ndarray)):
        return value
    if hasattr(value, "toarray"):
        return value.toarray()
    shape = getattr(value, "shape", None)
    if shape is None:
        return np.asarray(value)
    middle = tuple(extent // 2 for extent in shape[:-2])
    steps = tuple(slice(None, None, max(1, extent // 512)) for extent in shape[-2:])
    return np.asarray(value[middle + steps] if len(shape) > 2 and shape[-1] > 4 else value[...])


def _picture(value: Any, kind: str) -> Any:
    import numpy as np

    from hangar.viewer import as_picture, waveform

    if not isinstance(value, np.ndarray):
        return None
    audio = value.ndim == 2 and value.shape[1] <= 8 and value.shape[0] >= 1000 and value.dtype.kind in "if"
    if kind == "audio" or audio:
        return waveform(value)
    return as_picture(value)


def _by_plugin(
    ctx: click.Context, value: Any, plugin: str | None, extension: str | None, options: dict[str, Any]
) -> None:
    from hangar.external.manager import manager

    chosen = manager.find("show", plugin, extension)
    check_options(ctx, chosen, "show", options)
    chosen.show(value, **chosen.check_options("show", options))


def _needs_picture(picture: Any) -> Any:
    if picture is None:
        raise InvalidInputError("the sample is no picture: leave out -o and --window to see it as text, or use export")
    return picture


def _save(picture: Any, path: Path) -> None:
    from hangar.imaging.write import encode_png

    data = encode_png(_needs_picture(picture))
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        raise ConflictError(f"{path} exists already: name another file") from None
    except OSError as error:
        raise file_error("write", path, error) from error
    echo(f"Wrote {visible(str(path))}")


def _open_window(picture: Any, title: str) -> None:
    """Give the picture to the desktop's viewer, which runs on its own."""
    import tempfile

    from hangar.imaging.write import encode_png

    data = encode_png(_needs_picture(picture))
    if sys.platform != "darwin" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise InvalidInputError("there is no desktop here (DISPLAY is not set): use -o FILE, or leave out --window")
    opener = shutil.which("open" if sys.platform == "darwin" else "xdg-open")
    if opener is None:
        raise InvalidInputError("there is no program that opens pictures (xdg-open): use -o FILE")
    with tempfile.NamedTemporaryFile("wb", prefix="hangar-", suffix=".png", delete=False) as file:
        file.write(data)
    import subprocess

    with open(os.devnull, "r+b") as nothing:  # noqa: PTH123
        subprocess.Popen([opener, file.name], stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
    note(f"Opened {title} as {file.name}")


def _draw(value: Any, picture: Any, width: int | None) -> None:
    from hangar.viewer import as_text, draw_blocks

    if picture is None:
        for line in as_text(value):
            echo("\n".join(visible_lines(line)))
        return
    size = shutil.get_terminal_size((80, 24))
    terminal = sys.stdout.isatty()
    colours = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    columns = width or size.columns
    rows = max(8, size.lines - 2) if terminal and width is None else 4 * columns
    for line in draw_blocks(picture, columns, rows, colours):
        click.echo(line, color=True)
    echo(f"{value.dtype} {' x '.join(map(str, value.shape))}, from {value.min()} to {value.max()}")
