"""Create a repository.

Everything is built in a temporary directory next to the final one, synced, and moved into place by one rename. So a
crash leaves either no repository or a complete one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from hangar import _fs
from hangar.config import Config, ConfigFile, check_value
from hangar.configcopy import copy_config
from hangar.db import Database, WriteTransaction
from hangar.db.format import FILE_NAME, check_format, lost_format, write_format
from hangar.errors import (
    AccessError,
    CorruptionError,
    HangarError,
    InvalidInputError,
    InvalidTypeError,
    LockedError,
    RepositoryExistsError,
    StorageError,
)
from hangar.lock import create_lock, holder
from hangar.refs import Refs

__all__ = ["DEFAULT_BRANCH", "DIRECTORY", "check_place", "check_request", "initialize"]

DEFAULT_BRANCH = "master"
DIRECTORY = ".hangar"
"""Name of the directory with the files of a repository."""


def check_request(directory: Path, user_name: object, user_email: object, *, remove_old: bool) -> None:
    """Check the arguments of :func:`initialize` and raise its errors, for callers that must close something first."""
    for key, value in (("user.name", user_name), ("user.email", user_email)):
        if not isinstance(value, str):
            raise InvalidTypeError(f"{key} must be a str, not {type(value).__name__}")
        check_value(key, value)
    check_place(directory, remove_old=remove_old)


def check_place(directory: Path, *, remove_old: bool) -> None:
    """Check that a repository can be created in ``directory`` (the ``.hangar``).

    Raises
    ------
    InvalidInputError
        It is inside the ``.hangar`` of another repository.
    RepositoryExistsError
        There is a repository, and ``remove_old`` is not given.
    """
    _refuse_inside(directory.parent)
    if directory.exists() and not remove_old:
        raise RepositoryExistsError(_exists(directory))


def _refuse_inside(place: Path) -> None:
    """Refuse a repository inside the ``.hangar`` of another one."""
    for outer in (place, *place.parents):
        if outer.name == DIRECTORY and (outer / FILE_NAME).exists():
            raise InvalidInputError(
                f"{place} is inside a repository's own files: choose a directory outside of {outer}"
            )


def _exists(directory: Path) -> str:
    """Message for a ``.hangar`` that exists."""
    lost = lost_format(directory)
    if lost is not None:
        return lost
    if (directory / FILE_NAME).exists():
        try:
            check_format(directory)
        except CorruptionError as error:
            return f"there is a repository in {directory.parent}, but {error}"
    else:
        return (
            f"{directory} exists and is not an intact repository. Without data of value in it, move it away; otherwise "
            "restore its files `format` and `db/data.mdb` from a copy"
        )
    return (
        f"there is a repository in {directory.parent} already: see it with `hangar status`, or open it in Python with "
        f"Repository({str(directory.parent)!r}). Nothing was changed"
    )


def initialize(
    directory: Path,
    user_name: str,
    user_email: str,
    *,
    remove_old: bool,
    fill: Callable[[Path], object] | None = None,
) -> None:
    """Create a repository in ``directory`` (the ``.hangar``) with an empty branch ``master``.

    Parameters
    ----------
    fill
        Adds the first content; called with the place of the new repository before it is put in ``directory``. If it
        fails, nothing is left behind, and an old repository stays.

    Raises
    ------
    RepositoryExistsError
        There is a repository, and ``remove_old`` is not given.
    InvalidInputError, InvalidTypeError
        The name or email cannot be stored.
    AccessError
        The directory cannot be written to, or a writer holds the lock of the old repository.
    """
    check_request(directory, user_name, user_email, remove_old=remove_old)
    with _alone(directory.parent):
        # Check again under the lock, when no other process can create one.
        check_request(directory, user_name, user_email, remove_old=remove_old)
        if (directory / FILE_NAME).exists() or lost_format(directory):
            _refuse_live_writer(directory)
        if not os.access(directory.parent, os.W_OK):
            raise AccessError(f"{directory.parent} is not writable")
        fresh = directory.with_name(f"{directory.name}.new")
        try:
            _remove(fresh)
            _build(fresh, user_name, user_email)
            if fill is not None:
                fill(fresh)
            _put_in_place(fresh, directory)
        except OSError as error:
            _remove(fresh)
            if isinstance(error, HangarError):
                raise
            raise StorageError(f"cannot create {directory}: {error}") from error
        except BaseException:
            _remove(fresh)
            raise


@contextlib.contextmanager
def _alone(parent: Path) -> Iterator[None]:
    """Lock ``parent``, so that no other process creates a repository there at the same time."""
    descriptor = _fs.open_file(parent)
    try:
        free = True
        with contextlib.suppress(StorageError):  # some file systems cannot lock a directory
            free = _fs.try_lock(descriptor, shared=False)
        if not free:
            raise LockedError(f"another process is creating a repository in {parent}: wait until it has finished")
        yield
    finally:
        os.close(descriptor)


def _build(directory: Path, user_name: str, user_email: str) -> None:
    for place in (directory, directory / "db", directory / "blobs", directory / "runs"):
        _fs.make_directory(place)
    config = ConfigFile(directory / "config")
    config.set("user.name", user_name)
    config.set("user.email", user_email)

    def set_up(transaction: WriteTransaction) -> None:
        refs.set_up(transaction, DEFAULT_BRANCH)
        copy_config(transaction, Config(directory))

    db = Database.create(directory)
    try:
        refs = Refs(db)
        db.update(set_up)
        create_lock(db)
    finally:
        db.close()
    write_format(directory)


def _refuse_live_writer(directory: Path) -> None:
    db = Database.open(directory, lenient=True)
    try:
        found = holder(db)
    finally:
        db.close()
    if found is not None:
        raise AccessError(
            f"a writer (process {found.pid} on {found.host}) holds the lock of {directory}: stop it first"
        )


def _put_in_place(fresh: Path, directory: Path) -> None:
    """Move a new repository into place. An old one is first renamed, and deleted after the new one is in place."""
    old = directory.with_name(f"{directory.name}.old")
    _remove(old)
    if directory.exists():
        _fs.move_directory(directory, old)
    try:
        _fs.move_directory(fresh, directory)
    except BaseException:
        if old.exists() and not directory.exists():
            _fs.move_directory(old, directory)
        raise
    _remove(old)


def _remove(directory: Path) -> None:
    if directory.exists():
        import shutil  # slow to import, and needed only here

        shutil.rmtree(directory)
