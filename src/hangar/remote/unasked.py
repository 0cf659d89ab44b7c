"""Objects that a push brings although nothing named them yet, counted over all pushes.

Where an object of a push is, is kept in memory. An honest client sends what is named before: so few objects come too early
that they can be bounded, and without a bound a stream of tiny objects that belong to nothing would take all memory.

Names of objects that have not come are bounded too. Those beyond the bound are read again later, from the objects that have them.
"""

from __future__ import annotations

import threading
from typing import Final

from hangar.errors import ResourceLimitError

__all__ = ["NamedCount", "Unasked", "UnaskedCount"]

MOST: Final = 2**16
"""Of all pushes together; each takes about 200 bytes."""
_ALWAYS: Final = 512
"""Of one push, also if the others have taken all."""
MOST_NAMED: Final = 2**18
"""Names of all pushes together; each takes about 130 bytes."""
_ALWAYS_NAMED: Final = 2_048


class Unasked:
    """The bound that the pushes of a server share.

    Parameters
    ----------
    most
        Objects of all pushes together, beyond the first ones of each.

    Attributes
    ----------
    named
        The bound of the names of objects that have not come; None for that bound itself.
    """

    def __init__(self, most: int = MOST, most_named: int | None = MOST_NAMED) -> None:
        self.named = None if most_named is None else Unasked(most_named, None)
        self._left = most
        self._lock = threading.Lock()

    def take(self, count: int) -> bool:
        """Whether there is room for so many more; then it is taken."""
        with self._lock:
            if count > self._left:
                return False
            self._left -= count
            return True

    def give(self, count: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self._left += count


class UnaskedCount:
    """The part of one push.

    Attributes
    ----------
    taken
        How many of the shared bound it holds.
    named
        Its names of objects that have not come.
    """

    def __init__(self, shared: Unasked) -> None:
        self._shared = shared
        self.named = NamedCount(shared.named or shared)
        self._count = self.taken = 0

    def add(self, count: int) -> None:
        """Count objects that nothing named.

        Raises
        ------
        ResourceLimitError
            They are too many. What the push holds is given back when it is closed, and not before: otherwise other
            streams of this kind would take it at once, and memory would grow.
        """
        self._count += count
        more = max(0, self._count - _ALWAYS) - self.taken
        if more > 0:
            if not self._shared.take(more):
                raise ResourceLimitError(
                    "pushes in progress brought too many objects that nothing names: push again later"
                )
            self.taken += more

    def close(self) -> None:
        """The push is over."""
        taken, self.taken, self._count = self.taken, 0, 0
        self._shared.give(taken)
        self.named.hold(0)


class NamedCount:
    """The names of one push."""

    def __init__(self, shared: Unasked) -> None:
        self._shared = shared
        self._taken = 0

    def hold(self, count: int) -> bool:
        """Whether there is room for so many names; then it is taken, and what is not needed any more is given back."""
        more = max(0, count - _ALWAYS_NAMED) - self._taken
        if more > 0 and not self._shared.take(more):
            return False
        if more < 0:
            self._shared.give(-more)
        self._taken += more
        return True
