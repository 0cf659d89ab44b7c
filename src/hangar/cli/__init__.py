"""The command line, with one file for each command. Only :func:`main` is used from outside."""

from __future__ import annotations

from hangar.cli.main import main

__all__ = ["main"]
