"""The command line: one file a command. Nothing but :func:`main` is meant for others."""

from __future__ import annotations

from hangar.cli.main import main

__all__ = ["main"]
