"""The list of peers. A peer's file is imported only in the process that measures it, so none of them has to be installed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.contract import Peer
from benchmarks.workloads import Workload

__all__ = ["BASELINE", "ENTRIES", "Entry", "entries"]

BASELINE = "memmap"


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    Parameters
    ----------
    place
        ``module:Class`` below ``benchmarks.peers``.
    packages
        Distributions whose versions the table names; pip installs the peer by these names.
    options
        Attributes of the class that are set for this row.
    environment
        Set before the peer is imported.
    only
        Workloads this row is for; empty: all.
    never
        Beginnings of the names of those it is not for.
    """

    name: str
    place: str
    packages: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    only: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    trains: bool = False
    """Whether it is one of those that epochs are compared with."""

    def takes(self, workload: str) -> bool:
        """Whether the row is for a workload."""
        if workload.startswith("epochs-"):
            return self.trains
        return (not self.only or workload in self.only) and not workload.startswith(self.never or "-")

    def load(self) -> Callable[[Path, Workload], Peer]:
        """Import the peer."""
        os.environ.update(self.environment)
        module, _, name = self.place.partition(":")
        found: type[Peer] = getattr(import_module(f"benchmarks.peers.{module}"), name)
        return type(name, (found,), self.options) if self.options else found


_ARRAYS = ("small", "medium", "large", "small-dup", "medium-dup", "large-dup")
_NO_LABELS = ("labels",)
"""For peers without history that write one sample at a time: a million labels would take minutes."""

ENTRIES = {
    entry.name: entry
    for entry in (
        Entry("memmap", "memmap:Memmap", ("numpy",), trains=True),
        Entry("LMDB", "lmdb:Lmdb", ("lmdb",)),
        Entry("h5py", "hdf5:Hdf5", ("h5py", "hdf5plugin")),
        Entry("zarr", "zarr:Zarr", ("zarr",)),
        Entry("icechunk", "icechunk:Icechunk", ("icechunk",)),
        Entry("Lance", "lance:Lance", ("pylance",), trains=True),
        Entry("DeepLake", "deeplake:DeepLake", ("deeplake",), trains=True),
        Entry("MosaicML", "streaming:Streaming", ("mosaicml-streaming",), never=_NO_LABELS, trains=True),
        Entry("WebDataset", "webdataset:WebDataset", ("webdataset",), never=_NO_LABELS, trains=True),
        Entry("hangar", "hangar:Hangar", ("hangar",), trains=True),
        Entry("hangar:10", "hangar:Hangar", ("hangar",), {"backend": "10"}, only=_ARRAYS, trains=True),
        Entry("hangar:00", "hangar:Hangar", ("hangar",), {"backend": "00"}, only=_ARRAYS),
        Entry("hangar:01", "hangar:Hangar", ("hangar",), {"backend": "01"}, only=("medium", "large")),
        Entry(
            "hangar:no-kernel",
            "hangar:Hangar",
            ("hangar",),
            {},
            {"HANGAR_NO_KERNEL": "1"},
            only=("small", "medium", "text"),
        ),
    )
}


def entries(names: list[str]) -> list[Entry]:
    """The rows with these names, the baseline first. ``hangar`` also selects all ``hangar:...``."""
    known = {name.lower(): entry for name, entry in ENTRIES.items()}
    chosen = [BASELINE]
    for name in names or list(known):
        found = [one for one in known if one == name.lower() or one.startswith(name.lower() + ":")]
        if not found:
            raise SystemExit(f"there is no peer {name!r}; known are {', '.join(ENTRIES)}")
        chosen += [one for one in found if one not in chosen]
    return [known[name] for name in chosen]
