"""Progress reporting: a callback, or a progress bar on a terminal.

Every function that may take long has an argument ``progress``:

- ``None``: a bar on stderr when stderr is a terminal and the work lasts longer than half a second, else nothing;
- ``True``: a bar on stderr from the start, also if stderr is not a terminal (then one line at the end); ``False``: nothing;
- a callable: called as ``progress(done, total, unit)``, where ``total`` is None if it is not known; first with 0, last
  with the final count, and at most ten times a second in between. An exception of the callable stops the work; this is
  how a caller cancels it.

The work reports to a :class:`Reporter` once a batch, not once an item. If the terminal is closed, the bar stops and
the work continues.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, TypeAlias

from hangar.errors import InvalidTypeError
from hangar.wording import plural

__all__ = ["Progress", "ProgressCallback", "Reporter", "format_bytes", "report"]

ProgressCallback: TypeAlias = "Callable[[int, int | None, str], object]"
Progress: TypeAlias = "ProgressCallback | bool | None"

DRAW_SECONDS: Final = 0.1
DELAY_SECONDS: Final = 0.5
"""Work shorter than this shows no bar unless one was asked for."""
RATE_DRAWS: Final = 50
"""Number of redraws (about five seconds) over which the rate is averaged."""
BAR_CELLS: Final = 24
BYTES: Final = "bytes"
"""The unit for which amounts are shown as kB, MB ..."""
_NO_RATES: Final = (0.0, 0.0)


def format_bytes(count: float) -> str:
    """Format a number of bytes, such as ``'62.44 kB'`` (powers of 1000)."""
    if abs(count) < 1000:
        return plural(int(count), "byte")
    for unit in ("kB", "MB", "GB", "TB"):
        count /= 1000
        if abs(count) < 999.995:
            return f"{count:.2f} {unit}"
    return f"{count / 1000:.2f} PB"


def _format_seconds(seconds: float) -> str:
    whole = round(seconds)
    if whole >= 360_000:
        return "> 99 h"
    minutes, rest = divmod(whole, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes:02}:{rest:02}"


class Reporter:
    """Reports the progress of one operation to a listener; a context manager.

    Leaving the block reports the final count and, if a bar was drawn, ends its line.

    Parameters
    ----------
    total
        Total amount of work; None if it is not known.
    unit
        Name of the counted things, in the plural (``'samples'``); ``'bytes'`` are shown as kB, MB ...
    label
        Name of the operation, for the bar.

    Attributes
    ----------
    done
        Amount of work done.
    total
        May be set later, when it becomes known.
    nbytes
        Bytes done, if reported; a bar shows their rate too.
    """

    __slots__ = ("_due", "_emit", "_started", "done", "label", "nbytes", "total", "unit")

    def __init__(self, emit: _Listener | None, total: int | None, unit: str, label: str, delay: float = 0.0) -> None:
        self.done = 0
        self.nbytes = 0
        self.total = total
        self.unit = unit
        self.label = label
        self._emit = emit
        self._started = time.monotonic()
        self._due = self._started + delay

    def advance(self, count: int = 1, nbytes: int = 0) -> None:
        """Add ``count`` to the amount done, and ``nbytes`` to its bytes."""
        self.done += count
        self.nbytes += nbytes
        if self._emit is not None:
            now = time.monotonic()
            if now >= self._due:
                self._due = now + DRAW_SECONDS
                self._emit.tell(self, now - self._started)

    def update(self, done: int) -> None:
        """Set the amount done."""
        self.advance(done - self.done)

    def __enter__(self) -> Reporter:
        now = time.monotonic()
        if self._emit is not None and self._due <= now:
            self._due = now + DRAW_SECONDS
            self._emit.tell(self, 0.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._emit is not None:
            emit, self._emit = self._emit, None
            emit.finish(self, time.monotonic() - self._started, failed=kind is not None)


class _Listener:
    """Receiver of the reports of a :class:`Reporter`."""

    def tell(self, reporter: Reporter, seconds: float) -> None:
        raise NotImplementedError

    def finish(self, reporter: Reporter, seconds: float, *, failed: bool) -> None:
        raise NotImplementedError


class _Callback(_Listener):
    def __init__(self, function: ProgressCallback) -> None:
        self._function = function

    def tell(self, reporter: Reporter, seconds: float) -> None:
        self._function(reporter.done, reporter.total, reporter.unit)

    def finish(self, reporter: Reporter, seconds: float, *, failed: bool) -> None:
        # After an error the callback is not called: it may have raised the error, and a second one would hide the first.
        if not failed:
            self.tell(reporter, seconds)


def _terminal_width() -> int:
    import shutil  # slow to import, and needed only by a bar

    return shutil.get_terminal_size().columns


class _Bar(_Listener):
    """One line on stderr, drawn over itself."""

    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal
        self._recent: deque[tuple[float, int, int]] = deque(maxlen=RATE_DRAWS)
        self._drawn = 0

    def tell(self, reporter: Reporter, seconds: float) -> None:
        self._recent.append((seconds, reporter.done, reporter.nbytes))
        if self._terminal:
            width = _terminal_width() - 1
            first_seconds, first_done, first_bytes = self._recent[0]
            passed = seconds - first_seconds
            rates = (
                ((reporter.done - first_done) / passed, (reporter.nbytes - first_bytes) / passed)
                if passed > 0
                else _NO_RATES
            )
            self._draw(_line(reporter, *rates, None)[: max(width, 1)])

    def finish(self, reporter: Reporter, seconds: float, *, failed: bool) -> None:
        if self._drawn or not self._terminal:
            rates = (reporter.done / seconds, reporter.nbytes / seconds) if seconds > 0 else _NO_RATES
            width = _terminal_width() - 1 if self._terminal else 1000
            self._draw(_line(reporter, *rates, seconds)[: max(width, 1)])
            self._write("\n")

    def _draw(self, line: str) -> None:
        blank = " " * (self._drawn - len(line))
        self._write(f"\r{line}{blank}" if self._terminal else line)
        self._drawn = len(line)

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (AttributeError, OSError, ValueError):
            # stderr is missing, closed, a broken pipe, or cannot encode the text: continue the work without a bar.
            pass


def _line(reporter: Reporter, rate: float, byte_rate: float, seconds: float | None) -> str:
    """The text of a bar; ``rate`` and ``byte_rate`` are per second, ``seconds`` is the duration after the end."""
    done, total, unit = reporter.done, reporter.total, reporter.unit

    def amount(count: float) -> str:
        return format_bytes(count) if unit == BYTES else f"{count:,.0f}"

    parts = [reporter.label] if reporter.label else []
    if total:
        share = min(done / total, 1.0)
        cells = int(share * BAR_CELLS)
        parts.append(f"{int(share * 100):3}% [{'#' * cells}{'.' * (BAR_CELLS - cells)}]")
    counted = amount(done) if total is None else f"{amount(done)} / {amount(total)}"
    parts.append(counted if unit == BYTES else f"{counted} {unit}")
    if rate > 0:
        parts.append(f"{amount(rate)}/s" if unit == BYTES or rate >= 10 else f"{rate:.1f}/s")
    if byte_rate > 0:
        parts.append(f"{format_bytes(byte_rate)}/s")
    if seconds is not None:
        parts.append(f"in {_format_seconds(seconds)}" if seconds >= 1 else f"in {seconds:.1f} s")
    elif rate > 0 and total is not None and total > done:
        parts.append(f"{_format_seconds((total - done) / rate)} left")
    return "  ".join(parts)


def _stderr_is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False


def report(progress: Progress, total: int | None, unit: str, label: str = "") -> Reporter:
    """Make the reporter of one operation; use it as ``with report(...) as reporter``.

    Parameters
    ----------
    progress
        The ``progress`` argument of the caller; see the docstring of this module.
    total, unit, label
        See :class:`Reporter`.

    Raises
    ------
    InvalidTypeError
        ``progress`` is not a bool, callable or None.
    """
    if progress is None:
        return Reporter(_Bar(True) if _stderr_is_terminal() else None, total, unit, label, DELAY_SECONDS)
    if progress is True:
        return Reporter(_Bar(_stderr_is_terminal()), total, unit, label)
    if progress is False:
        return Reporter(None, total, unit, label)
    if not callable(progress):
        raise InvalidTypeError(f"progress must be None, True, False or a function, not {type(progress).__name__}")
    return Reporter(_Callback(progress), total, unit, label)
