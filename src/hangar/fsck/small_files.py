"""The small files of a repository: ``format``, ``config``, ``db.lock``, ``lock.mdb``, and permission bits.

Each can be written again from the database, so a repository does not become unusable if one of them is lost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from hangar import _fs, permissions
from hangar.config import KEYS, ConfigFile, check_value
from hangar.configcopy import copied_config
from hangar.db.format import FILE_NAME, FORMAT_VERSION, check_format, recorded_version, write_format
from hangar.db.opening import DATABASE_LOCK, LOCK_FILE
from hangar.errors import CorruptionError, HangarError, NotFoundError, UnsupportedVersionError
from hangar.fsck.lostfound import LostFound
from hangar.fsck.report import Problem, Repair
from hangar.objects.graph import ancestors
from hangar.rollback import BLOB_DIRECTORY, RUN_DIRECTORY
from hangar.stores import Stores

__all__ = ["CONFIG", "REPAIRABLE", "config_problem", "repair_config", "repair_small_files", "small_file_problems"]

REPAIRABLE = "`hangar fsck --repair` writes it again"
CONFIG = "config"


def small_file_problems(directory: Path) -> Iterator[Problem]:
    """Problems of the small files, except the lock file of the writer.

    Parameters
    ----------
    directory
        The ``.hangar`` directory.
    """
    try:
        check_format(directory)
    except (CorruptionError, NotFoundError) as error:
        yield Problem("format", "", FILE_NAME, str(error), remedy=REPAIRABLE)
    if not (directory / DATABASE_LOCK).is_file():
        detail = "it is missing, or is not a file; without it the database cannot be compacted"
        yield Problem("lock", "", DATABASE_LOCK, detail, remedy=REPAIRABLE)
    for name in (BLOB_DIRECTORY, RUN_DIRECTORY, "cache"):
        if (directory / name).exists() and not (directory / name).is_dir():
            yield Problem("file", "", name, "it is not a directory", remedy="`hangar fsck --repair` moves it away")


def repair_small_files(directory: Path) -> Iterator[Repair]:
    """Repair the files without which the database cannot be opened. The database must not be open.

    Raises
    ------
    AccessError
        This user may not write there.
    """
    number = 0
    for path in permissions.lacking(directory, writing=True):
        with contextlib.suppress(OSError):
            permissions.restore(path)
            number += 1
    if number:
        yield Repair("file", f"gave the owner permission again to read and write {number:,} files or directories")
    lost = LostFound(directory)
    for name in (BLOB_DIRECTORY, RUN_DIRECTORY, "cache"):
        if (directory / name).exists() and not (directory / name).is_dir():
            yield Repair("file", f"{name} was not a directory", lost.move(directory / name))
    lock = directory / "db" / LOCK_FILE
    if lock.exists() and not lock.is_file():
        yield Repair("lock", f"db/{LOCK_FILE} was not a file; LMDB makes a new one", lost.move(lock))
    if not (directory / DATABASE_LOCK).is_file():
        kept = lost.move(directory / DATABASE_LOCK) if (directory / DATABASE_LOCK).exists() else ""
        _fs.write_new_file(directory / DATABASE_LOCK, [])
        yield Repair("lock", f"wrote {DATABASE_LOCK} again", kept)
    yield from _repair_format(directory, lost)


def _repair_format(directory: Path, lost: LostFound) -> Iterator[Repair]:
    try:
        check_format(directory)
        return
    except UnsupportedVersionError:
        raise
    except (CorruptionError, NotFoundError):
        recorded = recorded_version(directory)
        if recorded is None or recorded > FORMAT_VERSION:
            raise
    path = directory / FILE_NAME
    kept = lost.move(path) if _holds_something(path) else ""
    write_format(directory)
    yield Repair("format", f"wrote the file {FILE_NAME} again: the database has version {recorded}", kept)


def _holds_something(path: Path) -> bool:
    return path.is_dir() or (path.exists() and path.stat().st_size > 0)


def config_problem(stores: Stores) -> str | None:
    """Problem of the configuration file; None if it is intact."""
    path = stores.directory / CONFIG
    try:
        if not _fs.exists(path):
            return "it is missing"
        found = ConfigFile(path).items()
        text = path.read_bytes()
        with stores.db.read() as transaction:
            copied = copied_config(transaction)
    except (HangarError, OSError) as error:
        return str(error)
    if copied.items() <= found.items() or text.endswith(b"\n"):
        return None  # what differs was changed by hand
    return "it was cut: it does not end in a whole line, and lacks values that it had" if text else "it is empty"


def repair_config(stores: Stores) -> Iterator[Repair]:
    """Write a lost or damaged configuration file again, from its copy in the database or the last commit."""
    path = stores.directory / CONFIG
    if config_problem(stores) is None:
        return
    values, source = _known_config(stores)
    kept = LostFound(stores.directory).move(path) if _holds_something(path) or path.is_symlink() else ""
    ConfigFile(path).replace(values)
    yield Repair("config", f"wrote the file {CONFIG} again, {source}", kept)


def _known_config(stores: Stores) -> tuple[dict[str, str], str]:
    with contextlib.suppress(CorruptionError), stores.db.read() as transaction:
        copied = copied_config(transaction)
        good = {key: value for key, value in copied.items() if key in KEYS and _is_valid(key, value)}
        if good:
            return good, "from its copy in the database"
    with contextlib.suppress(HangarError):
        heads = [digest for _, digest in stores.refs.items("") if digest is not None]
        for _, commit in ancestors(stores.db, heads):
            values = {"user.name": commit.author, "user.email": commit.email}
            if all(_is_valid(key, value) for key, value in values.items()):
                return values, "with the author of the newest commit"
    return {}, "without values: set user.name and user.email with `hangar config`"


def _is_valid(key: str, value: str) -> bool:
    try:
        check_value(key, value)
    except HangarError:
        return False
    return True
