"""The program ``hangar``: ``python -m hangar`` is the same.

Ctrl-C ends it with exit code 130 and without a word, from here on, while the command line itself is imported. Then the command decides.
When it is done there is nothing left to interrupt, and Ctrl-C is ignored while the interpreter ends.
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

    def end(number: int, frame: FrameType | None) -> None:
        os._exit(INTERRUPTED)

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
        os._exit(INTERRUPTED)
    except SystemExit:
        if ours:
            # Not a handler: the interpreter takes those away at its end, and would then die of the signal instead.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise


if __name__ == "__main__":
    run()
