"""Checking a repository: everything that history, refs and the staging area name is here, whole, and what it says it is.

The structure is checked by walking down from the refs, the reflog and the staging area; each node is looked at once. Every checksummed
row of the database is read, every blob file and run is measured, and with ``data=True`` every blob is read and hashed. Nothing
is changed. What is found is named by digest and file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from hangar.db.tables import ATTRIBUTES, COMMITS, NODES, SCHEMAS
from hangar.digest import Digest, digest_array
from hangar.errors import CorruptionError, HangarError
from hangar.objects.attributes import load_attributes
from hangar.objects.commit import ColumnEntry, Commit
from hangar.objects.node import Node, TreeForm
from hangar.objects.records import load_commit, load_record
from hangar.objects.store import NodeStore
from hangar.progress import Progress
from hangar.schema import ColumnSchema, load_schema
from hangar.schema.base import BY_DIGEST, MIXED
from hangar.staging import Staging, staged_on
from hangar.stores import Stores

__all__ = ["FsckReport", "Problem", "check", "require_sound"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: its kind, the digest it concerns (hex), the file it lies in, and what is the matter."""

    kind: str
    digest: str
    file: str
    detail: str


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What was checked, and every problem found."""

    problems: tuple[Problem, ...]
    commits: int
    columns: int
    nodes: int
    blobs: int
    data: bool

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def check(stores: Stores, *, data: bool = False, progress: Progress = None) -> FsckReport:
    raise NotImplementedError


def require_sound(report: FsckReport) -> bool:
    raise NotImplementedError
