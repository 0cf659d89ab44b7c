"""Runs commands on a real terminal, a pseudo-terminal of a given size."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

__all__ = ["OnTerminal", "on_terminal"]

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
INTERRUPT: Final = b"\x03"
_LEFT_OUT = ("NO_COLOR", "PAGER", "HANGAR_PAGER", "LESS")


class OnTerminal(NamedTuple):
    """What a command wrote on the terminal, with line ends as the program wrote them, and its exit code."""

    text: str
    code: int

    @property
    def coloured(self) -> bool:
        """Whether there are colours in it."""
        return re.search(r"\x1b\[[0-9;]*[0-9]m", self.text) is not None


def on_terminal(
    path: Path,
    *words: object,
    keys: Sequence[tuple[str, str]] = (),
    rows: int = 24,
    env: Mapping[str, str] = NOTHING,
) -> OnTerminal:
    """Run ``hangar`` in ``path``.

    Parameters
    ----------
    keys
        Pairs: what to type when the text has appeared behind what came before.
    env
        Environment besides that of the tests, which is without colours and pagers of its own.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
    environment |= {"TERM": "xterm"} | dict(env)
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(path)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.execvpe(sys.executable, [sys.executable, "-m", "hangar", *map(str, words)], environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 100, 0, 0))
    typed = list(keys)
    text, seen, interrupted, deadline = "", 0, False, time.monotonic() + 60
    while True:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            break
        if not select.select([terminal], [], [], 0.5)[0]:
            if interrupted:
                # The interpreter does not see an interrupt that comes just before it waits for a line.
                os.write(terminal, INTERRUPT)
            continue
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # how Linux says that the other side is closed
            break
        if not chunk:
            break
        text += chunk.decode(errors="replace")
        if typed and typed[0][0] in text[seen:]:
            seen = len(text)
            typing = typed.pop(0)[1].encode()
            interrupted = typing == INTERRUPT
            os.write(terminal, typing)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    return OnTerminal(text.replace("\r\n", "\n"), os.waitstatus_to_exitcode(status))
