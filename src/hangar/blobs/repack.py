"""Removes blobs: drops their locations, and stores what else their files hold in new files.

The order makes every crash harmless. The live blobs of a file are copied to a new file, read back, synced and
published, as in a conversion; both copies count until then. One transaction forgets the dead blobs and the old files
(see :mod:`hangar.blobs.drop`). Then the old files and runs are deleted. What a crash leaves behind has no row, and the
next writer removes it. A reader that has an old location looks it up again; one that has an old file mapped keeps it.

:func:`remove_blobs` frees space, and skips files that other processes have open. :func:`erase_blobs` makes sure that no
file contains the bytes of chosen blobs any more. The caller holds the writer lock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from hangar import limits
from hangar.backends.base import Backend, Options
from hangar.backends.file import BlobFile
from hangar.backends.location import Locations, Words
from hangar.blobs.digests import DigestSet
from hangar.blobs.drop import Drop, Guard
from hangar.blobs.index import Digests
from hangar.blobs.moving import Mover
from hangar.blobs.orphans import remove_orphan_runs, remove_orphans
from hangar.blobs.reader import STALE
from hangar.blobs.recorded import scan_recorded
from hangar.blobs.removal import finish_removals, locked_alone
from hangar.blobs.run import run_bytes
from hangar.blobs.space import FileSpace, IsDead, SpaceUsage, live_blobs_in, measure_space, require_sound
from hangar.blobs.store import BlobStore
from hangar.blobs.writer import BlobWriter
from hangar.errors import CorruptionError
from hangar.lock import WriterLock
from hangar.progress import Progress, Reporter, report
from hangar.publishing import publish

__all__ = ["Choose", "Removal", "erase_blobs", "remove_blobs"]

Choose = Callable[[SpaceUsage], Collection[int]]
"""Chooses the files to rewrite: ids of files that are not fixed."""

_STEP_BYTES: Final = 4 * limits.BLOB_FILE_BYTES
"""Copied bytes after which old files are removed, so that rewriting does not need the size of all files twice."""
_STEP_BLOBS: Final = 2**21
"""Copied blobs after which the same is done, which bounds memory."""


@dataclass(frozen=True, slots=True)
class Removal:
    """Result of removing blobs.

    Attributes
    ----------
    blobs
        Number of blobs whose locations were dropped.
    moved, moved_nbytes
        Number of blobs that were copied to new files, and their logical bytes.
    files, nbytes
        Number of blob files that were removed, and their size.
    runs
        Number of runs and unfinished files that were removed.
    headers
        Number of headers that no blob has any more.
    kept
        Reason by name of each file that has free space and could not be rewritten or removed.
    damaged
        Error message by digest of each blob that cannot be read. Its file was kept.
    """

    blobs: int = 0
    moved: int = 0
    moved_nbytes: int = 0
    files: int = 0
    nbytes: int = 0
    runs: int = 0
    headers: int = 0
    kept: dict[str, str] = field(default_factory=dict)
    damaged: dict[bytes, str] = field(default_factory=dict)


def remove_blobs(
    store: BlobStore,
    lock: WriterLock,
    dead: IsDead,
    choose: Choose,
    *,
    spared: Collection[int] = (),
    guard: Guard | None = None,
    progress: Progress = None,
) -> Removal:
    """Forget dead blobs, and reclaim their space where it is worth it.

    Parameters
    ----------
    dead
        Which blobs of a batch are not needed any more. It must give the same answer each time, but for ``guard``.
    choose
        Chooses the files to rewrite. Files without live blobs are removed anyway, if no process has them open.
    spared
        Files that must stay as they are, with all their blobs.
    guard
        Keeps ``dead`` right while the repository changes; None: nothing can change it.
    progress
        See :mod:`hangar.progress`; the unit is blobs.

    Raises
    ------
    CorruptionError
        A run or a row is damaged, so that not all locations are known. Nothing was changed.
    DiskFullError, StorageError
        Nothing was lost. The next call continues.
    """
    _clean(store, lock)
    found = measure_space(store, dead, spared)
    chosen = {file_id for file_id in choose(found) if not found.files[file_id].fixed}
    return _Repack(store, lock, dead, spared, found, even_open=False, guard=guard).run(chosen, progress)


def erase_blobs(store: BlobStore, lock: WriterLock, chosen: DigestSet, *, progress: Progress = None) -> Removal:
    """Forget chosen blobs, and rewrite every file that contains, or may contain, their bytes.

    Older copies count too: files that no location names them in any more, but that have bytes which nothing names, are
    rewritten as well; so are files that other processes have open (their maps stay readable until they close them)
    and those that are kept for an older copy of the database.

    Raises
    ------
    CorruptionError
        A run or a row is damaged. Nothing was changed.
    MissingPackageError
        A file can only be rewritten with a package that is not installed. Nothing was changed.
    DiskFullError, StorageError
        The next call continues.
    """
    _clean(store, lock)
    found = measure_space(store, chosen.holds, measure=False)
    for use in found.files.values():
        use.fixed = ""
    rewritten = _naming(store, chosen)
    rewritten |= _not_covered(store, set(found.files) - rewritten)
    for file_id in rewritten & {use.file_id for use in found.files.values() if use.live}:
        store.files.get(file_id)
    return _Repack(store, lock, chosen.holds, (), found, even_open=True).run(rewritten, progress)


def _clean(store: BlobStore, lock: WriterLock) -> None:
    store.refresh()
    finish_removals(store.db, store.directory, lock)
    remove_orphans(store.db, store.directory)
    remove_orphan_runs(store.db, store.directory)


# ------------------------------------------------------------------ what erasing must rewrite


def _naming(store: BlobStore, chosen: DigestSet) -> set[int]:
    """Files that any location of a chosen blob names, also one that was replaced."""
    recorded = scan_recorded(store)
    require_sound(recorded)
    found: set[int] = set()
    for index in recorded.indexes:
        for start in range(0, index.count, _STEP_BLOBS):
            piece = index.part(start, start + _STEP_BLOBS)
            files = piece.locations().file[chosen.holds(piece.digests())]
            found.update(np.unique(files).tolist())
    return found & set(recorded.files)


def _not_covered(store: BlobStore, files: set[int]) -> set[int]:
    """Files that may have bytes of samples at no newest location."""
    found: set[int] = set()
    for group in _groups(store, files):
        parts: dict[int, list[Words]] = {file_id: [] for file_id in group}
        for file_id, _, words in live_blobs_in(scan_recorded(store).indexes, _none, group):
            parts[file_id].append(words)
        for file_id, words_of in parts.items():
            if not words_of:
                found.add(file_id)
                continue
            file, backend = store.files.get(file_id)
            if not backend.holds_only(file, Locations(np.concatenate(words_of))):
                found.add(file_id)
    return found


def _none(digests: Digests) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.zeros(len(digests), np.bool_)


def _groups(store: BlobStore, files: Collection[int]) -> Iterator[list[int]]:
    """A few files at a time, so that the locations in them fit into memory."""
    counts = dict.fromkeys(files, 0)
    for file_id, digests, _ in live_blobs_in(scan_recorded(store).indexes, _none, files):
        counts[file_id] += len(digests)
    group: list[int] = []
    held = 0
    for file_id, count in counts.items():
        if group and held + count > _STEP_BLOBS:
            yield group
            group, held = [], 0
        group.append(file_id)
        held += count
    if group:
        yield group


# ------------------------------------------------------------------ rewriting


class _Repack:
    def __init__(
        self,
        store: BlobStore,
        lock: WriterLock,
        dead: IsDead,
        spared: Collection[int],
        found: SpaceUsage,
        *,
        even_open: bool,
        guard: Guard | None = None,
    ) -> None:
        self._store = store
        self._lock = lock
        self._dead = dead
        self._spared = spared
        self._found = found
        self._even_open = even_open
        self._guard = guard
        self._movers: dict[tuple[str, str], Mover] = {}
        self._damaged: dict[bytes, str] = {}
        self._removed: dict[int, int] = {}
        self._headers = self._runs = 0

    def run(self, rewritten: Collection[int], progress: Progress) -> Removal:
        """Rewrite files, and remove dead blobs."""
        uses = [self._found.files[file_id] for file_id in sorted(rewritten) if self._found.files[file_id].live]
        total = sum(use.live for use in uses)
        with (
            closing(BlobWriter(self._store, self._lock, own_files=True)) as writer,
            report(progress, total, "blobs", "rewriting files") as reporter,
        ):
            for step in self._steps(uses):
                self._rewrite(writer, step, reporter)
                if step is not uses:
                    self._drop()
        self._drop()
        movers = self._movers.values()
        return Removal(
            self._found.dead,
            sum(mover.moved for mover in movers),
            sum(mover.nbytes for mover in movers),
            len(self._removed),
            sum(self._removed.values()),
            self._runs,
            self._headers,
            self._kept(),
            self._damaged,
        )

    def _steps(self, uses: list[FileSpace]) -> Iterator[list[FileSpace]]:
        # Each step writes the run with all locations again, so a step must be large compared with that.
        most = max(_STEP_BYTES, 16 * run_bytes(self._found.live))
        step: list[FileSpace] = []
        blobs = nbytes = 0
        for use in uses:
            if step and (blobs + use.live > _STEP_BLOBS or nbytes + use.size > most):
                yield step
                step, blobs, nbytes = [], 0, 0
            step.append(use)
            blobs, nbytes = blobs + use.live, nbytes + use.size
        if step:
            yield uses if len(step) == len(uses) else step

    def _rewrite(self, writer: BlobWriter, uses: Sequence[FileSpace], reporter: Reporter) -> None:
        """Copy the live blobs of some files."""
        recorded = scan_recorded(self._store)
        require_sound(recorded)
        parts: dict[int, list[tuple[Digests, Words]]] = {}
        for file_id, digests, words in live_blobs_in(recorded.indexes, self._dead, [use.file_id for use in uses]):
            parts.setdefault(file_id, []).append((digests, words))
        for file_id in sorted(parts):
            digests = np.concatenate([part for part, _ in parts[file_id]])
            words = np.concatenate([part for _, part in parts.pop(file_id)])
            self._copy(writer, file_id, digests, words, reporter)
        for mover in self._movers.values():
            mover.publish()
            self._damaged.update(mover.damaged)

    def _copy(self, writer: BlobWriter, file_id: int, digests: Digests, words: Words, reporter: Reporter) -> None:
        try:
            file, backend = self._store.files.get(file_id)
        except STALE as error:
            self._damaged.update((digest.tobytes(), str(error)) for digest in digests)
            return
        for options, part in self._by_options(file, backend, digests, words):
            key = backend.tag, repr(sorted(options.items()))
            mover = self._movers.get(key)
            if mover is None:
                mover = Mover(self._store, self._lock, writer, backend.tag, options)
                self._movers[key] = mover
            mover.move_at(np.ascontiguousarray(digests[part]), words[part], np.arange(len(part)), reporter.advance)

    def _by_options(
        self, file: BlobFile, backend: Backend, digests: Digests, words: Words
    ) -> Iterator[tuple[Options, np.ndarray[tuple[int], np.dtype[np.intp]]]]:
        """Group blobs by their options. Those whose form cannot be read are found by bisection, and left out."""
        todo = [np.arange(len(words))]
        while todo:
            part = todo.pop()
            try:
                groups = backend.stored_options(file, Locations(words[part]))
            except CorruptionError as error:
                if len(part) == 1:
                    self._damaged[digests[part[0]].tobytes()] = str(error)
                else:
                    todo += np.array_split(part, 2)
                continue
            yield from ((options, part[chosen]) for options, chosen in groups)

    # ------------------------------------------------------------------ forgetting

    def _drop(self) -> None:
        """Forget dead blobs and all files that no live blob needs any more."""
        store, found = self._store, self._found
        store.refresh()
        candidates = {
            use.file_id: use.row.tag
            for use in found.files.values()
            if use.file_id not in self._removed and not use.fixed and use.file_id not in store.files.written
        }
        named = self._named(candidates)
        candidates = {file_id: tag for file_id, tag in candidates.items() if file_id not in named}
        if not (candidates or found.dead or found.repeated or found.runs > 1):
            return
        with locked_alone(store.directory, candidates) as locked:
            going = {file_id: found.files[file_id].size for file_id in candidates} if self._even_open else locked
            change = Drop(store, self._dead, self._spared, going, self._guard)
            publish(store.db, self._lock, change)
            finish_removals(store.db, store.directory, self._lock)
        self._removed.update(change.removed)
        self._headers += change.headers
        self._runs += remove_orphan_runs(store.db, store.directory)

    def _named(self, files: Collection[int]) -> set[int]:
        return {file_id for file_id, _, _ in live_blobs_in(scan_recorded(self._store).indexes, self._dead, files)}

    def _kept(self) -> dict[str, str]:
        """Reasons of the files with free space that are still there."""
        kept = {}
        for use in self._found.files.values():
            if use.fixed and use.free and use.file_id not in self._removed:
                kept[use.name] = use.fixed
        return kept
