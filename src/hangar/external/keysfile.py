"""The keys that file names alone cannot give back: ``.hangar-keys``, in a folder that was exported.

An export writes there, a line each, the path of a file and the key of its sample, where importing the file would give it another: integers,
and texts that no file name holds as they are. An import of the folder takes these keys; all other files are named by their paths.
Each line is a JSON list: ``["12.png", 12]``, or in a nested column ``["7/front.png", [7, "front"]]``. The file is read as what it is, a stranger's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Final, TypeAlias

from hangar.errors import InvalidInputError
from hangar.external.safe_io import OutputDirectory, open_input
from hangar.names import SampleKey, check_key

__all__ = ["KEYS_FILE", "Key", "read_keys", "write_keys"]

Key: TypeAlias = "SampleKey | tuple[SampleKey, SampleKey]"
"""A sample or, of a nested column, a sample and one of its subsamples."""

KEYS_FILE: Final = ".hangar-keys"
MAX_LINE_BYTES: Final = 64 * 1024


def read_keys(folder: str) -> dict[str, Key]:
    """The keys that ``folder`` tells, by the path of the file below it; none where it tells nothing.

    Raises
    ------
    InvalidInputError
        Something is there that no export wrote.
    AccessError, StorageError
        It cannot be read.
    """
    path = f"{folder.rstrip('/') or ''}/{KEYS_FILE}"
    if not os.path.lexists(path):
        return {}
    if os.path.islink(path):  # noqa: PTH114  as this module takes paths
        raise InvalidInputError(f"{path} is a link: put the file itself there, or remove it")
    keys: dict[str, Key] = {}
    with open_input(path) as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            try:
                relative, key = json.loads(line) if len(line) <= MAX_LINE_BYTES else (None, None)
                if type(relative) is not str:
                    raise ValueError("no path")
                keys[relative] = _checked(key)
            except (ValueError, TypeError, RecursionError):
                raise InvalidInputError(
                    f"line {number} of {path} is no path and key: remove that file to name samples by their files"
                ) from None
    return keys


def _checked(told: object) -> Key:
    """A key as JSON tells it."""
    if isinstance(told, list) and len(told) == 2:
        sample, subsample = map(_checked_one, told)
        return sample, subsample
    return _checked_one(told)


def _checked_one(told: object) -> SampleKey:
    if type(told) is int or type(told) is str:
        return check_key(told)
    raise ValueError("no key")


def write_keys(directory: OutputDirectory, before: Mapping[str, Key], keys: Mapping[str, Key | None]) -> None:
    """Tell the keys of files that were written; None: the file gives the key by its name.

    Parameters
    ----------
    directory
        Where the files are.
    before
        What :func:`read_keys` gave of it, before they were written.
    keys
        By the path of the file below it.
    """
    told = dict(before)
    for relative, key in keys.items():
        if key is None:
            told.pop(relative, None)
        else:
            told[relative] = key
    if told != before:
        lines = [json.dumps([relative, key], ensure_ascii=False) for relative, key in sorted(told.items())]
        directory.write((KEYS_FILE,), "".join(f"{line}\n" for line in lines).encode())
