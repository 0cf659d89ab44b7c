"""Making a repository.

Everything is built in a directory beside the final one, synced, and moved into place by one rename: a crash leaves either no repository
or a whole one.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from hangar import _fs
from hangar.config import ConfigFile, check_value
from hangar.db import Database
from hangar.db.format import FILE_NAME, write_format
from hangar.errors import AccessError, InvalidTypeError, RepositoryExistsError, StorageError
from hangar.lock import create_lock, holder
from hangar.refs import Refs

__all__ = ["DEFAULT_BRANCH", "initialize"]

DEFAULT_BRANCH = "master"


def initialize(directory: Path, user_name: str, user_email: str, *, remove_old: bool) -> None:
    """Make a repository in ``directory`` (the ``.hangar``) with an empty branch ``master``.

    Raises
    ------
    RepositoryExistsError
        One is there, and ``remove_old`` is not given.
    InvalidInputError, InvalidTypeError
        The name or email cannot be stored.
    AccessError
        The directory cannot be written to, or a writer holds the lock of the old repository.
    """
    for key, value in (("user.name", user_name), ("user.email", user_email)):
        if not isinstance(value, str):
            raise InvalidTypeError(f"{key} must be a str, not {type(value).__name__}")
        check_value(key, value)
    exists = (directory / FILE_NAME).exists()
    if directory.exists() and not remove_old:
        what = "a repository" if exists else "something that is no sound repository"
        raise RepositoryExistsError(
            f"there is {what} in {directory}: use remove_old=True (`--overwrite`) to replace it"
        )
    if not os.access(directory.parent, os.W_OK):
        raise AccessError(f"{directory.parent} is not writable")
    if exists:
        _refuse_live_writer(directory)
    fresh = directory.with_name(f"{directory.name}.new")
    try:
        _remove(fresh)
        _build(fresh, user_name, user_email)
        if directory.exists():
            _retire(directory)
        fresh.rename(directory)
    except OSError as error:
        _remove(fresh)
        raise StorageError(f"{directory} cannot be made: {error}") from error
    except BaseException:
        _remove(fresh)
        raise
    _fs.sync_directory(directory.parent)


def _build(directory: Path, user_name: str, user_email: str) -> None:
    for place in (directory, directory / "db", directory / "blobs", directory / "runs"):
        _fs.make_directory(place)
    db = Database.create(directory)
    try:
        refs = Refs(db)
        db.update(lambda transaction: refs.set_up(transaction, DEFAULT_BRANCH))
        create_lock(db)
    finally:
        db.close()
    config = ConfigFile(directory / "config")
    config.set("user.name", user_name)
    config.set("user.email", user_email)
    write_format(directory)


def _refuse_live_writer(directory: Path) -> None:
    db = Database.open(directory)
    try:
        found = holder(db)
    finally:
        db.close()
    if found is not None:
        raise AccessError(
            f"a writer (process {found.pid} on {found.host}) holds the lock of {directory}: stop it first"
        )


def _retire(directory: Path) -> None:
    """Move an old repository away before it is deleted, so that no half of it is ever in place."""
    old = directory.with_name(f"{directory.name}.old")
    _remove(old)
    directory.rename(old)
    _remove(old)


def _remove(directory: Path) -> None:
    if directory.exists():
        shutil.rmtree(directory)
