"""Pool of worker processes: chunks of items go out, and results come back in the order of the items.

The order makes the result independent of the speed of the workers. Every chunk has a slot from the moment it is sent,
so the next chunk in order is always in progress or ready, whatever the others do. The size of chunks adapts to the time
and the bytes that items take.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from functools import partial
from multiprocessing.connection import wait
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from hangar.bulk_importer.encode import Chunk, ChunkEncoder, ChunkResult, Target, Values
from hangar.bulk_importer.processes import Program, WorkerProcess, dumps
from hangar.bulk_importer.slots import NO_ITEM, Slot, new_slot
from hangar.errors import InvalidStateError, ResourceLimitError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Result", "Work", "run_here", "run_in_processes"]

CHUNK_SECONDS: Final = 0.1
CHUNK_BYTES: Final = 4 * 2**20
CHUNK_ITEMS: Final = 4096
AHEAD: Final = 4
"""Chunks that each worker has at a time, so that it has work while this process writes and syncs."""
SPARE_SLOTS: Final = 8
WAIT_SECONDS: Final = 1.0
MOST_DEATHS: Final = 20
"""So many deaths of workers in a row, with no chunk done in between, end the import."""


class Result:
    """A result, and the memory with its blobs, which must be released."""

    __slots__ = ("_release", "chunk", "slot")

    def __init__(self, chunk: ChunkResult, slot: Slot, release: Callable[[], None]) -> None:
        self.chunk = chunk
        self.slot = slot
        self._release = release

    def release(self) -> None:
        """Give the slot back; views of it must be dropped before."""
        self._release()


class Work:
    """The items of an import in their order, handed out in chunks.

    Parameters
    ----------
    items
        All items of the recipe.
    indices
        Indices of the items to do.
    """

    def __init__(self, items: Sequence[Any], indices: Sequence[int]) -> None:
        self._items = items
        self._indices = indices
        self.next = 0
        self._size = 1.0

    @property
    def total(self) -> int:
        """Number of items to do."""
        return len(self._indices)

    def take(self, workers: int) -> Chunk:
        """The next chunk. Towards the end chunks are smaller, so that all workers end together."""
        count = max(1, min(int(self._size), -(-(self.total - self.next) // (2 * workers))))
        indices = self._indices[self.next : self.next + count]
        chunk = Chunk(self.next, indices, [self._items[index] for index in indices])
        self.next += len(indices)
        return chunk

    def learn(self, result: ChunkResult) -> None:
        """Adapt the size of chunks to a result."""
        count = len(result.indices)
        by_time = count * CHUNK_SECONDS / max(result.seconds, 1e-6)
        by_bytes = count * CHUNK_BYTES / max(result.used, 1)
        self._size = max(1.0, min(2 * self._size, by_time, by_bytes, CHUNK_ITEMS))


def run_here(
    function: Callable[[Any], Values], targets: Sequence[Target], work: Work
) -> Generator[Result | None, None, None]:
    """Run the function in this process; yields as :func:`run_in_processes` does."""
    encoder = ChunkEncoder(function, targets)
    slots = [new_slot() for _ in range(SPARE_SLOTS)]
    free = deque(slots)

    def release(slot: Slot) -> None:
        slot.free()
        free.append(slot)

    try:
        while work.next < work.total:
            if not free:
                yield None
            slot = free.popleft()
            result = encoder.run(work.take(1), slot)
            work.learn(result)
            yield Result(result, slot, partial(release, slot))
        yield None  # the slots end with this generator
    finally:
        for slot in slots:
            slot.close()


def run_in_processes(
    function: Callable[[Any], Values], targets: Sequence[Target], work: Work, workers: int
) -> Generator[Result | None, None, None]:
    """Run the function in worker processes; yields results in order, and None if the results so far must be released.

    Close the iterator to end the processes.

    Raises
    ------
    InvalidStateError
        The function or an item cannot be sent to a process.
    ResourceLimitError
        No process can be started, or the processes die again and again.
    """
    with _Pool(Program(function, targets), workers) as pool:
        yield from pool.results(work)
        yield None  # the slots end with the pool


class _Pool:
    """Processes, slots, and the chunks that are on their way."""

    def __init__(self, program: Program, workers: int) -> None:
        self._program = program
        self._count = workers
        self._workers: list[WorkerProcess] = []
        self._slots: list[Slot] = []
        self._free: deque[int] = deque()
        self._sent: dict[WorkerProcess, deque[tuple[int, Chunk]]] = {}
        self._waiting: deque[tuple[int, Chunk]] = deque()
        self._ready: dict[int, tuple[int, ChunkResult]] = {}
        self._died: set[int] = set()
        self._deaths = 0

    def __enter__(self) -> Self:
        try:
            self._slots += [new_slot() for _ in range(self._count * AHEAD + SPARE_SLOTS)]
            self._free.extend(range(len(self._slots)))
            for _ in range(self._count):
                self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        for worker in self._workers:
            worker.close()
        for slot in self._slots:
            slot.close()
        self._workers, self._slots = [], []

    def _start(self) -> None:
        worker = WorkerProcess(self._program, [slot.descriptor for slot in self._slots])
        self._workers.append(worker)
        self._sent[worker] = deque()

    def results(self, work: Work) -> Generator[Result | None, None, None]:
        """Yield the results of all items, in order; None as :func:`run_in_processes` says."""
        position = 0
        while position < work.total:
            self._send(work)
            if position in self._ready:
                number, result = self._ready.pop(position)
                position += len(result.indices)
                yield Result(result, self._slots[number], partial(self._release, number))
            elif not self._receive(work, 0.0 if not self._free else WAIT_SECONDS):
                yield None
                self._send(work)
                self._receive(work, WAIT_SECONDS)

    def _release(self, number: int) -> None:
        self._slots[number].free()
        self._free.append(number)

    def _send(self, work: Work) -> None:
        """Give every worker its chunks."""
        for depth in range(1, AHEAD + 1):
            for worker in list(self._workers):
                if len(self._sent[worker]) >= depth:
                    continue
                if self._waiting:
                    number, chunk = self._waiting.popleft()
                elif self._free and work.next < work.total:
                    number, chunk = self._free.popleft(), work.take(self._count)
                else:
                    return
                self._send_to(worker, number, chunk)

    def _send_to(self, worker: WorkerProcess, number: int, chunk: Chunk) -> None:
        data = dumps(tuple(chunk), "an item of the import")
        self._sent[worker].append((number, chunk))
        try:
            worker.connection.send((number, data))
        except OSError:
            self._bury(worker)

    def _receive(self, work: Work, seconds: float) -> bool:
        """Wait for messages of workers, and handle them. Returns whether there were any."""
        found = wait([worker.connection for worker in self._workers], seconds)
        for worker in [worker for worker in self._workers if worker.connection in found]:
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):
                self._bury(worker)
                continue
            if isinstance(message, str):
                raise InvalidStateError(f"a worker process of the import cannot work: {message}")
            if message is None:
                worker.ready = True
                continue
            number, result = message
            self._sent[worker].popleft()
            self._ready[result.position] = number, result
            self._deaths = 0
            work.learn(result)
        return bool(found)

    def _bury(self, worker: WorkerProcess) -> None:
        """Replace a worker that died. Its chunks are done again; an item at which two workers died is left out."""
        if worker not in self._workers:
            return
        how = worker.ending()
        self._workers.remove(worker)
        worker.close()
        chunks = self._sent.pop(worker)
        self._deaths += 1
        if not worker.ready:
            raise InvalidStateError(f"a worker process of the import cannot be started: {how}")
        if self._deaths > MOST_DEATHS:
            raise ResourceLimitError(f"the worker processes of the import die again and again; the last: {how}")
        if chunks:
            number, chunk = chunks[0]
            item = self._slots[number].item()
            if item in self._died:
                chunks[0] = number, chunk._replace(dead={*chunk.dead, item})
            elif item != NO_ITEM:
                self._died.add(item)
        self._waiting.extendleft(reversed(chunks))
        self._start()
