"""``.hangar-keys``: a file in an exported folder that stores the keys which file names cannot represent.

These are integer keys, and text keys with characters that a file name cannot contain. Each line is a JSON list of a
file path and a key: ``["12.png", 12]``, or in a nested column ``["7/front.png", [7, "front"]]``. An import uses these
keys, and derives the other keys from the paths of the files. The file is untrusted input: all of it is checked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Final, TypeAlias

from hangar.errors import InvalidInputError
from hangar.external.safe_io import OutputDirectory, open_input
from hangar.names import SampleKey, check_key

__all__ = ["KEYS_FILE", "Key", "checked_key", "read_keys", "write_keys"]

Key: TypeAlias = "SampleKey | tuple[SampleKey, SampleKey]"
"""Key of a sample; in a nested column, the pair of sample key and subsample key."""

KEYS_FILE: Final = ".hangar-keys"
MAX_LINE_BYTES: Final = 64 * 1024


def read_keys(folder: str) -> dict[str, Key]:
    """Read the keys stored in ``folder``.

    The result maps the path of a file, relative to the folder, to a key. It is empty if there is no keys file.

    Raises
    ------
    InvalidInputError
        The keys file is a link or has invalid content.
    AccessError, StorageError
        The keys file cannot be read.
    """
    path = f"{folder.rstrip('/') or ''}/{KEYS_FILE}"
    if not os.path.lexists(path):
        return {}
    if os.path.islink(path):  # noqa: PTH114  paths are str in this module
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
                keys[relative] = checked_key(key)
            except (ValueError, TypeError, RecursionError):
                raise InvalidInputError(
                    f"line {number} of {path} is no path and key: remove that file to name samples by their files"
                ) from None
    return keys


def checked_key(value: object) -> Key:
    """Validate a key that was parsed from JSON."""
    if isinstance(value, list) and len(value) == 2:
        sample, subsample = map(_checked_one, value)
        return sample, subsample
    return _checked_one(value)


def _checked_one(value: object) -> SampleKey:
    if type(value) is int or type(value) is str:
        return check_key(value)
    raise ValueError("no key")


def write_keys(directory: OutputDirectory, before: Mapping[str, Key], keys: Mapping[str, Key | None]) -> None:
    """Update the keys file after files were written.

    Parameters
    ----------
    directory
        The directory of the files.
    before
        Result of :func:`read_keys` before the files were written.
    keys
        From file path, relative to the directory, to key. None: the name of the file represents the key, so it is not
        stored.
    """
    stored = dict(before)
    for relative, key in keys.items():
        if key is None:
            stored.pop(relative, None)
        else:
            stored[relative] = key
    if stored != before:
        lines = [json.dumps([relative, key], ensure_ascii=False) for relative, key in sorted(stored.items())]
        directory.write((KEYS_FILE,), "".join(f"{line}\n" for line in lines).encode())
