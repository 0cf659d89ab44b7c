"""The public class ``Repository``, which delegates to the packages that do the work.

Creating a ``Repository`` is cheap. It opens its stores at their first use and shares them with its checkouts, which
keep them open. The modules that read and write columns are imported with the first checkout, not for history alone.
Its methods are grouped by topic: one class a module, all based on ``RepositoryBase``.
"""

from __future__ import annotations

from hangar.repository.checkouts import CheckoutMethods
from hangar.repository.comparing import CompareMethods
from hangar.repository.maintenance import MaintenanceMethods
from hangar.repository.purging import PurgeMethods
from hangar.repository.remotes import RemoteMethods
from hangar.repository.replaying import ReplayMethods
from hangar.repository.undo import UndoMethods

__all__ = ["Repository"]


class Repository(
    CheckoutMethods, ReplayMethods, UndoMethods, CompareMethods, MaintenanceMethods, PurgeMethods, RemoteMethods
):
    """A repository in ``path``.

    Parameters
    ----------
    path
        An existing directory (``~`` is expanded); the repository is its subdirectory ``.hangar``.
    exists
        Warn if there is no repository yet; :meth:`init` creates one.

    Raises
    ------
    PathNotFoundError, PathNotDirectoryError
        (``FileNotFoundError``, ``NotADirectoryError``) about ``path``.
    InvalidTypeError
        (``TypeError``) ``path`` is not a path.
    """
