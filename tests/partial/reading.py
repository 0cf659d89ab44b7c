"""What tests of reads on demand share: the repository that is cloned, and a look into what fetches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from hangar import Repository
from hangar.remote.on_read import FetchOnRead

__all__ = ["fetch_of", "first_commit"]


@contextmanager
def first_commit(place: Path) -> Iterator[Any]:
    """Make a repository; what the block adds to the writer is its first commit."""
    with Repository(place, exists=False) as repo:
        repo.init("Ada", "ada@example.org")
        with closing(repo.checkout(write=True)) as writer:
            yield writer
            writer.commit("all")


def fetch_of(checkout: Any) -> FetchOnRead:
    """What fetches for a checkout that fetches on read."""
    found: FetchOnRead = checkout.session.resolve
    return found
