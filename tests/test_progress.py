from __future__ import annotations

import io
import subprocess
import sys
from types import SimpleNamespace

import pytest

from hangar import progress
from hangar.errors import InvalidTypeError
from hangar.progress import Reporter, format_bytes, report


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def use_stderr(monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO | None) -> None:
    # pytest puts back sys.stderr itself between the phases of a test.
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=stderr))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    made = Terminal()
    use_stderr(monkeypatch, made)
    monkeypatch.setenv("COLUMNS", "100")
    return made


def work(reporter: Reporter, clock: Clock, batches: int, seconds: float, size: int = 10) -> None:
    with reporter:
        for _ in range(batches):
            clock.now += seconds
            reporter.advance(size)


def test_callback_is_told_first_last_and_ten_times_a_second(clock: Clock) -> None:
    told: list[tuple[int, int | None, str]] = []
    work(report(lambda *what: told.append(what), 10_000, "samples"), clock, 1_000, 0.01)
    assert told[0] == (0, 10_000, "samples")
    assert told[-1] == (10_000, 10_000, "samples")
    assert 80 <= len(told) <= 105
    assert told == sorted(told)


def test_callback_with_unknown_total_and_update(clock: Clock) -> None:
    told: list[tuple[int, int | None, str]] = []
    with report(lambda *what: told.append(what), None, "files") as reporter:
        clock.now += 1
        reporter.update(7)
        reporter.total = 8
        clock.now += 1
        reporter.update(8)
    assert told == [(0, None, "files"), (7, None, "files"), (8, 8, "files"), (8, 8, "files")]


def test_callback_stops_the_work(clock: Clock) -> None:
    calls = []

    def stop(done: int, total: int | None, unit: str) -> None:
        calls.append(done)
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(report(stop, 100, "samples"), clock, 10, 1.0)
    assert calls == [0, 10]


def test_bar_on_a_terminal_waits_half_a_second(clock: Clock, terminal: Terminal) -> None:
    work(report(None, 100, "samples", "reading"), clock, 10, 0.04)
    assert terminal.getvalue() == ""
    work(report(None, 100, "samples", "reading"), clock, 10, 0.2)
    assert "reading" in terminal.getvalue()


def test_bar_shows_share_rate_and_time_left(clock: Clock, terminal: Terminal) -> None:
    with report(True, 3_000, "samples", "reading") as reporter:
        clock.now += 10
        reporter.advance(1_000)
        drawn = terminal.getvalue().split("\r")[-1]
        assert "reading" in drawn
        assert " 33% [########................]" in drawn
        assert "1,000 / 3,000 samples" in drawn
        assert "100/s" in drawn
        assert "00:20 left" in drawn
        reporter.update(3_000)
    text = terminal.getvalue()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    assert "100% [########################]" in text
    assert "in 00:10" in text.split("\r")[-1]


def test_bar_of_bytes_without_total(clock: Clock, terminal: Terminal) -> None:
    with report(True, None, "bytes") as reporter:
        clock.now += 2
        reporter.advance(5_000_000)
    assert "5.00 MB  2.50 MB/s" in terminal.getvalue()
    assert "%" not in terminal.getvalue()


def test_bar_covers_what_it_drew_and_fits_the_terminal(
    clock: Clock, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    work(report(True, 1_000, "samples", "a long label for a narrow window"), clock, 100, 0.5)
    lines = terminal.getvalue().rstrip("\n").split("\r")
    assert len(lines) > 50
    assert max(map(len, lines)) <= 39


def test_without_a_terminal(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    use_stderr(monkeypatch, stderr)
    work(report(None, 100, "samples"), clock, 10, 1.0)
    work(report(False, 100, "samples"), clock, 10, 1.0)
    assert stderr.getvalue() == ""
    work(report(True, 100, "samples", "reading"), clock, 10, 1.0)
    assert stderr.getvalue().count("\n") == 1
    assert "\r" not in stderr.getvalue()


@pytest.mark.parametrize("error", [BrokenPipeError, ValueError])
def test_a_lost_terminal_does_not_stop_the_work(
    error: type[Exception], clock: Clock, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(text: str) -> int:
        raise error("gone")

    monkeypatch.setattr(terminal, "write", lost)
    reporter = report(True, 100, "samples")
    work(reporter, clock, 10, 1.0)
    assert reporter.done == 100


def test_no_stderr_at_all(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    use_stderr(monkeypatch, None)
    for value in (None, True, False):
        work(report(value, 100, "samples"), clock, 10, 1.0)


def test_empty_work(clock: Clock, terminal: Terminal) -> None:
    with report(True, 0, "samples"):
        pass
    assert "0 / 0 samples" in terminal.getvalue()


def test_error_inside_ends_the_line(clock: Clock, terminal: Terminal) -> None:
    with pytest.raises(KeyError), report(True, 10, "samples"):
        raise KeyError
    assert terminal.getvalue().endswith("\n")


def test_wrong_type() -> None:
    with pytest.raises(InvalidTypeError):
        report("yes", 1, "samples")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1_000, "1.00 kB"), (62_440, "62.44 kB"), (999_999, "1.00 MB"),
     (5 * 10**9, "5.00 GB"), (2**80, "1208925819.61 PB")],
)  # fmt: skip
def test_format_bytes(count: int, text: str) -> None:
    assert format_bytes(count) == text


def test_import_is_light() -> None:
    code = "import sys, hangar.progress; print(sorted({'click', 'rich', 'configparser'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
