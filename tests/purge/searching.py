"""Searches every file of a repository for bytes, free pages of the database included."""

from __future__ import annotations

from pathlib import Path

__all__ = ["files_with"]


def files_with(path: Path, *needles: bytes) -> list[str]:
    """Files below ``path/.hangar`` that contain one of ``needles`` anywhere; each is read from its first byte to its last."""
    found = []
    for file in sorted((path / ".hangar").rglob("*")):
        if file.is_file():
            data = file.read_bytes()
            if any(needle in data for needle in needles):
                found.append(file.relative_to(path).as_posix())
    return found
