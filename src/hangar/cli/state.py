"""State of one run: the working directory, and its repository, which is opened when it is first used."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from hangar.cli.settings import Settings
from hangar.errors import AccessError, PathNotDirectoryError, PathNotFoundError, RemoteNotFoundError

if TYPE_CHECKING:
    from hangar import Repository
    from hangar.checkout import WriterCheckout
    from hangar.stores import Stores

__all__ = ["State", "pass_state"]

P = ParamSpec("P")
T = TypeVar("T")


class State:
    """The working directory and the repository of one run.

    Parameters
    ----------
    settings
        Values of the global options.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._repository: Repository | None = None

    @classmethod
    def of(cls, repository: Repository) -> State:
        """A state for the open repository ``repository``."""
        state = cls(Settings())
        state._repository = repository
        return state

    @property
    def path(self) -> Path:
        """The directory given by ``-C``, or the current one."""
        return self._settings.directory

    @property
    def directory(self) -> Path:
        """The directory to work in.

        Raises
        ------
        PathNotFoundError, PathNotDirectoryError
            It does not exist, or is not a directory.
        """
        if not self.path.exists():
            raise PathNotFoundError(f"there is no directory {self.path}")
        if not self.path.is_dir():
            raise PathNotDirectoryError(f"{self.path} is not a directory")
        return self.path

    def resolve(self, path: Path) -> Path:
        """A typed path: relative to the working directory, unless it is absolute or begins with ``~``."""
        return self.directory / path.expanduser()

    @property
    def repository(self) -> Repository:
        """The repository of the working directory, or of the nearest parent that has one.

        Raises
        ------
        RepositoryNotFoundError
            There is none.
        """
        if self._repository is None:
            from hangar import Repository

            self._repository = Repository.open(self.directory)
        return self._repository

    @property
    def stores(self) -> Stores:
        """The stores of the repository, for reports that its public methods do not cover."""
        return self.repository.stores

    @contextmanager
    def writer(self, branch: str | None = None) -> Iterator[WriterCheckout]:
        """A write checkout of ``branch``, by default the current branch; it is closed afterwards."""
        with warnings.catch_warnings():
            # That data is at a remote is no news for a command that does not read it.
            warnings.filterwarnings("ignore", message=".*reference-only")
            checkout = self.repository.checkout(write=True, branch=branch or self.repository.head().write_branch)
        try:
            yield checkout
        finally:
            with suppress(AccessError):  # the lock was taken over, which the write has already reported
                checkout.close()

    def remote(self, name: str | None) -> str:
        """The remote that a command means: as given, else ``origin``, else the only one.

        Raises
        ------
        RemoteNotFoundError
            There is none, or there are several others.
        """
        from hangar.refs.remotes import list_remotes

        if name is not None:
            return name
        # Not `repository.remote`, which imports all that stores blobs: `hangar status` asks this each time.
        with self.stores.db.read() as transaction:
            known = list(list_remotes(transaction))
        if "origin" in known or len(known) == 1:
            return "origin" if "origin" in known else known[0]
        listed = ", ".join(known)
        raise RemoteNotFoundError(
            f"give the name of a remote: {listed}"
            if known
            else "there is no remote: add one with `hangar remote add NAME ADDRESS`"
        )

    def close(self) -> None:
        """Close the repository."""
        if self._repository is not None:
            self._repository.close()
            self._repository = None


def pass_state(function: Callable[Concatenate[State, P], T]) -> Callable[P, T]:
    """Decorator of commands: pass the :class:`State` as the first argument."""

    def call(*args: Any, **options: Any) -> T:
        state = click.get_current_context().find_object(State)
        assert state is not None  # the group creates it before any command runs
        return function(state, *args, **options)

    return update_wrapper(call, function)
