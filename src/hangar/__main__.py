"""The program ``hangar``: ``python -m hangar`` is the same.

Ctrl-C ends it with exit code 130 and without a word, from here on: while the command line itself is imported, and after the command is
done, while the interpreter ends. In between the command decides.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Final

__all__ = ["run"]

INTERRUPTED: Final = 130


def run() -> None:
    """Run the command line; ends in ``SystemExit``."""
    code = INTERRUPTED

    def end(number: int, frame: FrameType | None) -> None:
        os._exit(code)

    # A parent may have chosen that interrupts are ignored; that stays so.
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, end)
    from hangar.cli import main

    try:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        main(prog_name="hangar")
    except KeyboardInterrupt:
        os._exit(code)
    except SystemExit as error:
        if ours:
            code = error.code if isinstance(error.code, int) else 0
            signal.signal(signal.SIGINT, end)
        raise


if __name__ == "__main__":
    run()
