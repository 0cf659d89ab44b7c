"""What the commands of one run share: where they were told to work, and the repository there, opened when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from hangar.cli.settings import Settings
from hangar.errors import AccessError, PathNotDirectoryError, PathNotFoundError

if TYPE_CHECKING:
    from hangar import Repository
    from hangar.checkout import WriterCheckout
    from hangar.stores import Stores

__all__ = ["State", "pass_state"]

P = ParamSpec("P")
T = TypeVar("T")


class State:
    """Where the commands of one run work.

    Parameters
    ----------
    settings
        The options of the run.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._repository: Repository | None = None

    @classmethod
    def of(cls, repository: Repository) -> State:
        """A state that works with ``repository``, which is open."""
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
            It is none.
        """
        if not self.path.exists():
            raise PathNotFoundError(f"there is no directory {self.path}")
        if not self.path.is_dir():
            raise PathNotDirectoryError(f"{self.path} is not a directory")
        return self.path

    def resolve(self, path: Path) -> Path:
        """``path`` as it was typed: below the directory to work in, unless it is absolute or begins with ``~``."""
        return self.directory / path.expanduser()

    @property
    def repository(self) -> Repository:
        """The repository of the directory or of one above it.

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
        """The stores of the repository, for what reports ask that its public methods do not answer."""
        return self.repository.stores

    @contextmanager
    def writer(self, branch: str | None = None) -> Iterator[WriterCheckout]:
        """A writer of ``branch``, by default the branch to write; the lock is free again afterwards."""
        checkout = self.repository.checkout(write=True, branch=branch or self.repository.head().write_branch)
        try:
            yield checkout
        finally:
            with suppress(AccessError):  # the lock was taken over: whoever wrote was told
                checkout.close()

    def close(self) -> None:
        """Close the repository."""
        if self._repository is not None:
            self._repository.close()
            self._repository = None


def pass_state(function: Callable[Concatenate[State, P], T]) -> Callable[P, T]:
    """Hand the :class:`State` to a command as its first argument."""

    def call(*args: Any, **options: Any) -> T:
        state = click.get_current_context().find_object(State)
        assert state is not None  # the group makes one before any command runs
        return function(state, *args, **options)

    return update_wrapper(call, function)
