"""Whose turn it is to write: one ``with`` statement at a time, also where an interrupt keeps its end from being noted.

What a writer gathers in memory may be published only by the statement that gathered it, when all of it was gathered. ``__exit__`` is the
natural place to note that a statement is over, and not a safe one: Ctrl-C, or any exception that a signal handler raises, can
strike as ``__exit__`` is entered, before its first instruction. Therefore:

- Each statement has a *turn*. The turns of a session form a chain; the last one is current. A turn is added by one ``dict.setdefault``, which
  two threads cannot both win, so no lock is held that an interrupt could leave locked.
- A turn that came to its end in order is *over*. One that is not over and not *running* was interrupted. The next turn sees that, and the
  session goes back to what is stored before it does anything else.
- Whether it is running is read off the interpreter itself, as ``hangar.statements`` says.

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
"""How soon a waiting thread sees that the turn it waits for was interrupted; the end of one wakes it at once."""


class Turn:
    """One turn to write: that of an outermost statement.

    Attributes
    ----------
    thread
        Who has it.
    running
        Whether its statement has not been left yet.
    over
        It ended in order: memory is in line with the database, and the next turn may begin.
    aligned
        Memory is in line with the database.
    call
        The write that is being made: ``running`` of its statement. Still there when that is not running any more: it was interrupted.
    spoilt
        Something that was written in this turn was dropped, so that the rest must not be published either.
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
        """Whether this thread is in it."""
        return not self.over and self.thread == threading.get_ident() and self.running() is not None

    def interrupted(self) -> bool:
        """Whether its statement was left without coming to its end."""
        return not self.over and self.running() is None

    def finish(self) -> None:
        """It came to its end in order. May be repeated."""
        if not self.over:
            self.over = True
            self._ended.release()

    def wait(self) -> None:
        """Wait until it is over, or a moment: it may have been interrupted."""
        if self._ended.acquire(timeout=_POLL_SECONDS):
            self._ended.release()

    def follow(self, turn: Turn) -> bool:
        """Make ``turn`` the next one; False where another thread was faster."""
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
        The last turn, or an earlier one if nothing was written in the last. A turn that is running is always the last one.
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
        """Wait for a turn, which is this thread's then; the turn of an interrupted statement is not waited for.

        The turn of the statement around this one, where there is one.
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
    """The session that statements write to.

    Attributes
    ----------
    by_hand
        Blocks that were opened by a call of ``__enter__``, innermost last.
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
    """A ``with`` statement on a writer: the context manager of one batch, or of one write.

    Without a ``with`` statement, where ``__enter__`` and ``__exit__`` are called by hand, it is taken to run until ``__exit__`` or the end of
    its thread.

    Attributes
    ----------
    turn
        Its own turn, or that of the statement around it; None before it begins.
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
            # Nobody will come to its end.
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
        """Whether the turn is its own."""
        return self.turn is not None and self.turn.running is self.running


def _always() -> object:
    return True
