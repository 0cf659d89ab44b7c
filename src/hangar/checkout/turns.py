"""Turns: mutual exclusion of writing ``with`` statements, which stays correct if an interrupt prevents ``__exit__`` from running.

Only the statement that made a batch may publish it, and only when the batch is complete. ``__exit__`` cannot be relied
on to end a statement: Ctrl-C, or any exception that a signal handler raises, can occur as ``__exit__`` is entered,
before its first instruction. Therefore:

- Each statement has a *turn*. The turns of a session form a chain; the last one is current. A turn is added by one ``dict.setdefault``, which
  two threads cannot both win, so no lock is held that an interrupt could leave locked.
- A turn that ended normally is *over*. A turn that is neither over nor *running* was interrupted. The next turn detects that, and the
  session first rolls back to the state in the database.
- Whether a statement is running is determined from the lifetime of an object that only the interpreter holds (``hangar.statements``).

See docs/design/013-interrupts.rst.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol

from hangar.statements import FreshExit, Running

__all__ = ["BLOCK", "CALL", "CLOSE", "Statement", "Turn", "Turns"]

BLOCK: Final = "block"
"""A ``with`` block of the user."""
CALL: Final = "call"
"""One write."""
CLOSE: Final = "close"
"""The end of the checkout."""

_POLL_SECONDS: Final = 0.02
"""How often a waiting thread checks whether the turn it waits for was interrupted. A normal end wakes it at once."""


class Turn:
    """Turn of an outermost statement to write.

    Attributes
    ----------
    thread
        Thread that has the turn.
    running
        Weak reference that is dead once the statement was left.
    over
        The turn ended normally: memory agrees with the database, and the next turn may begin.
    aligned
        Memory agrees with the database.
    call
        ``running`` of the single write in progress. If it is set and dead, the write was interrupted.
    spoilt
        A write in this turn was dropped, so the other writes must not be published either.
    """

    __slots__ = ("_ended", "_next", "aligned", "call", "over", "running", "spoilt", "thread")

    def __init__(self, running: Running) -> None:
        self.thread = threading.get_ident()
        self.running = running
        self.over = False
        self.aligned = False
        self.call: Running | None = None
        self.spoilt = False
        self._next: dict[str, Turn] = {}
        self._ended = threading.Lock()
        self._ended.acquire()

    def mine(self) -> bool:
        """Whether this thread has the turn."""
        return not self.over and self.thread == threading.get_ident() and self.running() is not None

    def interrupted(self) -> bool:
        """Whether its statement was left without a normal end."""
        return not self.over and self.running() is None

    def finish(self) -> None:
        """Mark the turn as over. May be called again."""
        if not self.over:
            self.over = True
            self._ended.release()

    def wait(self) -> None:
        """Wait until it is over, with a short timeout, because it may have been interrupted."""
        if self._ended.acquire(timeout=_POLL_SECONDS):
            self._ended.release()

    def follow(self, turn: Turn) -> bool:
        """Make ``turn`` the next one; False if another thread was faster."""
        turn.aligned = self.aligned
        return self._next.setdefault("next", turn) is turn

    def last(self) -> Turn:
        """The last turn of the chain that begins here."""
        turn = self
        while (following := turn._next.get("next")) is not None:
            turn = following
        return turn


class Turns:
    """The turns of one session.

    Attributes
    ----------
    known
        The last turn, or an earlier one if nothing was written in the last. A turn that is running is always the last
        one.
    """

    __slots__ = ("known",)

    def __init__(self) -> None:
        self.known = Turn(_always)
        self.known.aligned = True
        self.known.finish()

    @property
    def current(self) -> Turn:
        """The last turn, over or not."""
        turn = self.known = self.known.last()
        return turn

    def take(self, running: Running) -> Turn:
        """Wait for a turn of this thread, and return it. Interrupted turns are not waited for.

        Inside another statement of this thread, return the turn of the outer statement.
        """
        turn = None
        while True:
            last = self.current
            if last.mine():
                return last
            if not last.over and last.running() is not None:
                last.wait()
                continue
            turn = turn or Turn(running)
            if last.follow(turn):
                self.known = turn
                return turn


class Writing(Protocol):
    """Interface of the session that statements write to.

    Attributes
    ----------
    by_hand
        Blocks that were opened by calling ``__enter__`` directly, innermost last.
    """

    by_hand: list[Statement]

    def enter(self, statement: Statement, running: Running) -> None:
        """Begin a statement."""

    def leave(self, statement: Statement, error: BaseException | None) -> None:
        """End a statement."""


def _leave(
    statement: Statement, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> None:
    statement.session.leave(statement, error)


class Statement:
    """Context manager of one batch, or of a single write, on a writer.

    If ``__enter__`` and ``__exit__`` are called directly, without a ``with`` statement, it counts as running until
    ``__exit__`` or the end of its thread.

    Attributes
    ----------
    turn
        Its own turn, or that of the outer statement; None before it begins.
    """

    __slots__ = ("__weakref__", "_thread", "kind", "running", "session", "turn")

    def __init__(self, session: Writing, kind: str) -> None:
        self.session = session
        self.kind = kind
        self.turn: Turn | None = None
        self.running: Running | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        if self.running is not None:
            self.session.enter(self, self.running)
            return
        try:
            self._thread = threading.current_thread()
            self.running = self._open_by_hand
            self.session.enter(self, self.running)
            self.session.by_hand.append(self)
        except BaseException:
            # Its __exit__ will not be called.
            self._thread = None
            raise

    def _open_by_hand(self) -> object:
        return (self._thread is not None and self._thread.is_alive()) or None

    if TYPE_CHECKING:

        def __exit__(self, *_: Any) -> None: ...

    else:
        __exit__ = FreshExit(_leave)

    @property
    def outermost(self) -> bool:
        """Whether the statement has a turn of its own."""
        return self.turn is not None and self.turn.running is self.running


def _always() -> object:
    return True
