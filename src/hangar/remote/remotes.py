"""``Remotes``: what ``repo.remote`` offers. It finds the remote, connects, and leaves the work to the modules beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from hangar.config import Config
from hangar.db import WriteTransaction
from hangar.digest import Digest
from hangar.errors import InvalidInputError, InvalidStateError, RevisionNotFoundError, warn_caller
from hangar.flags import check_flag
from hangar.names import check_name, plain_text
from hangar.progress import Progress
from hangar.refs import BRANCHES, REMOTES
from hangar.refs.remotes import RemoteRow, change_remote, get_remote, list_remotes
from hangar.remote.connect import Settings, check_settings, connected, full_address
from hangar.stores import Stores
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.remote.fetching import HistoryReport
    from hangar.remote.fetching_data import DataReport, Place
    from hangar.remote.pushing import Lease, PushReport

__all__ = ["RemoteInfo", "Remotes"]

Merge = Callable[[str, str, str], str]
"""Merges a revision into a branch: branch, revision, message; returns the new head in hex."""


class RemoteInfo(NamedTuple):
    """A remote.

    Attributes
    ----------
    name
        Its name here.
    address
        Where it is: ``host:port``, or the path of a repository or bundle.
    """

    name: str
    address: str


class Remotes:
    """The remotes of a repository; ``repo.remote``.

    Parameters
    ----------
    open_stores
        Opens the stores of the repository.
    config
        Its configuration, which names the user.
    merge
        Merges a revision into a branch, for :meth:`pull`.
    """

    def __init__(self, open_stores: Callable[[], Stores], config: Callable[[], Config], merge: Merge) -> None:
        self._open = open_stores
        self._config = config
        self._merge = merge

    # ------------------------------------------------------------------ the list of remotes

    def add(self, name: str, address: str, **settings: str | bool) -> RemoteInfo:
        """Add a remote. Nothing is fetched, and it need not be reachable.

        Parameters
        ----------
        name
            1 to 64 of ``A-Z a-z 0-9 _ . -``.
        address
            ``host:port`` of a server, or the path of a repository or a bundle file on this machine.
        settings
            How to reach it: ``ca`` (file of the certificates to trust), ``token_file`` or ``token_env`` (where the
            token is), ``insecure`` (no TLS).

        Raises
        ------
        InvalidInputError, NameTakenError
            (``ValueError``) a bad or taken name, a bad address, or a name that begins the names of branches here.
        """
        stores = self._open()
        given = check_settings(settings)
        row = stores.db.update(
            lambda transaction: stores.refs.add_remote(transaction, name, full_address(address), given)
        )
        return RemoteInfo(name, row.address)

    def change(self, name: str, address: str | None = None, **settings: str | bool) -> RemoteInfo:
        """Change the address of a remote, or how it is reached; what it has promised stays promised.

        Settings are those of :meth:`add`. False or an empty text removes one.
        """
        stores = self._open()
        check_settings(settings)
        place = None if address is None else full_address(address)

        def write(transaction: WriteTransaction) -> RemoteRow:
            row = get_remote(transaction, name)
            change_remote(transaction, name, address=place, settings=check_settings(settings, row.settings))
            return get_remote(transaction, name)

        return RemoteInfo(name, stores.db.update(write).address)

    def remove(self, name: str, *, force: bool = False) -> RemoteInfo:
        """Remove a remote and its remote-tracking branches.

        Parameters
        ----------
        force
            Remove it even if history here names data that only this remote has. That data is then lost here.

        Raises
        ------
        RemoteNotFoundError
            (a ``ValueError``) there is no such remote.
        InvalidStateError
            (a ``RuntimeError``) only this remote has data of the history here, and ``force`` is not given. Other remotes
            that have promised the data too are asked whether they have it.
        """
        from hangar.blobs.promises import remove_promises
        from hangar.remote.removing import lost_without

        stores = self._open()
        row = self._row(name)
        only, silent = (0, []) if check_flag(force, "force") else lost_without(stores, row.number)
        if only:
            unasked = f" ({', '.join(map(repr, silent))} could not be asked)" if silent else ""
            raise InvalidStateError(
                f"{plural(only, 'value')} of the history here {'is' if only == 1 else 'are'} at remote {name!r} alone{unasked}: "
                f"fetch them with `hangar fetch-data {name} REV`, or give up the data with force=True or `--force`"
            )
        who = self._config().person()

        def write(transaction: WriteTransaction) -> None:
            remove_promises(transaction, row.number)
            stores.refs.delete_remote(transaction, name, who=who)

        stores.db.update(write)
        return RemoteInfo(name, row.address)

    def list_all(self) -> list[RemoteInfo]:
        """All remotes, sorted by name."""
        with self._open().db.read() as transaction:
            return [RemoteInfo(name, row.address) for name, row in list_remotes(transaction).items()]

    def settings(self, name: str) -> dict[str, str]:
        """How a remote is reached: what :meth:`add` was given."""
        return dict(self._row(name).settings)

    def _row(self, name: str) -> RemoteRow:
        with self._open().db.read() as transaction:
            return get_remote(transaction, name)

    def ping(self, name: str) -> float:
        """Seconds until the remote answers.

        Raises
        ------
        RemoteNotFoundError
            (a ``KeyError``) there is no such remote.
        UnreachableError
            (a ``ConnectionError``) it does not answer within 5 seconds.
        """
        row = self._row(name)
        began = time.monotonic()
        with connected(name, row):
            return time.monotonic() - began

    # ------------------------------------------------------------------ fetching

    def fetch(self, remote: str, branch: str = "", *, prune: bool = False, progress: Progress = None) -> str:
        """Fetch the history of a branch of the remote, or of all, without data. Local branches do not change.

        Parameters
        ----------
        branch
            Name of a branch; empty: all branches, and all tags.
        prune
            Delete remote-tracking branches of branches that the remote does not have any more. Their reflogs stay.

        Returns
        -------
        str
            The remote-tracking branch, such as ``'origin/master'``; the remote if no branch was given.

        Raises
        ------
        InvalidInputError
            (a ``ValueError``) ``prune`` and a branch.
        RemoteNotFoundError, RevisionNotFoundError
            There is no such remote, or the remote has no such branch.
        UnreachableError
            (a ``ConnectionError``) the remote does not answer.
        """
        report = self.fetch_branches(remote, [branch] if branch else None, prune=prune, progress=progress)
        if not (report.moved or report.tags or report.pruned):
            where = f"branch {branch!r} of {remote!r}" if branch else f"{remote!r}"
            warn_caller(f"there is nothing new in {where}", UserWarning)
        return f"{remote}/{branch}" if branch else remote

    def fetch_branches(
        self,
        remote: str,
        branches: Iterable[str] | None = None,
        *,
        prune: bool = False,
        progress: Progress = None,
    ) -> HistoryReport:
        """As :meth:`fetch`, of several branches, or of all (None), and the tags on it; returns what was fetched."""
        from hangar.remote.fetching import fetch_branches

        stores, row = self._open(), self._row(remote)
        chosen = None if branches is None else [plain_text(branch) for branch in branches]
        prune = check_flag(prune, "prune")
        who = self._config().person()
        with connected(remote, row) as peer:
            return fetch_branches(stores, peer, remote, row.number, chosen, who, prune=prune, progress=progress)

    def fetch_data(
        self,
        remote: str,
        branch: str | None = None,
        commit: str | None = None,
        *,
        column_names: Sequence[str] | None = None,
        retrieve_all_history: bool = False,
        nbytes: int | None = None,
        progress: Progress = None,
    ) -> list[str]:
        """Fetch the data of a commit whose history is here.

        Parameters
        ----------
        branch, commit
            A branch (of the remote, or a local one) or any revision; exactly one of them.
        column_names
            Names of columns; None: all.
        retrieve_all_history
            Also the data of all ancestors.
        nbytes
            Stop before more than so many bytes of data are fetched.

        Returns
        -------
        list of str
            The commits, newest first.

        Raises
        ------
        InvalidInputError
            (a ``ValueError``) both or none of ``branch`` and ``commit``.
        RevisionNotFoundError
            (a ``ValueError``) there is no such branch or commit.
        ColumnNotFoundError
            (a ``KeyError``) no commit has such a column.
        NotLocalError
            The remote does not have some of the data (any more). The rest was fetched.
        """
        from hangar.remote.fetching_data import require_all

        report = self.fetch_columns(
            remote,
            branch,
            commit,
            column_names=column_names,
            retrieve_all_history=retrieve_all_history,
            nbytes=nbytes,
            progress=progress,
        )
        return require_all(report, remote).commits

    def fetch_columns(
        self,
        remote: str,
        branch: str | None = None,
        commit: str | None = None,
        *,
        column_names: Sequence[str] | None = None,
        retrieve_all_history: bool = False,
        nbytes: int | None = None,
        progress: Progress = None,
    ) -> DataReport:
        """As :meth:`fetch_data`; returns what was fetched, and what is left."""
        from hangar.remote.fetching_data import fetch_columns

        places, head = self._places(remote), self._commit(remote, branch, commit)
        names = [column_names] if isinstance(column_names, str) else column_names
        whole = check_flag(retrieve_all_history, "retrieve_all_history")
        return fetch_columns(self._open(), places, head, names, whole_history=whole, nbytes=nbytes, progress=progress)

    def fetch_data_sample(
        self,
        remote: str,
        column: str,
        samples: Any,
        branch: str | None = None,
        commit: str | None = None,
        *,
        progress: Progress = None,
    ) -> str:
        """Fetch the data of some samples of a commit whose history is here.

        Parameters
        ----------
        samples
            A key, or a sequence of keys. Of a nested column ``key``, ``(key,)`` and ``(key, ...)`` are whole samples,
            ``(key, subsample)`` is one subsample.

        Returns
        -------
        str
            The commit.

        Raises
        ------
        ColumnNotFoundError, SampleNotFoundError
            (``KeyError``) there is no such column, sample or subsample.
        InvalidTypeError
            (a ``TypeError``) it is not a key.
        InvalidInputError
            (a ``ValueError``) a tuple of another length; both or none of ``branch`` and ``commit``.
        """
        from hangar.remote.fetching_data import require_all

        return require_all(
            self.fetch_samples(remote, column, samples, branch, commit, progress=progress), remote
        ).commits[0]

    def fetch_samples(
        self,
        remote: str,
        column: str,
        samples: Any,
        branch: str | None = None,
        commit: str | None = None,
        *,
        nbytes: int | None = None,
        progress: Progress = None,
    ) -> DataReport:
        """As :meth:`fetch_data_sample`; returns what was fetched, and what is left."""
        from hangar.remote.fetching_data import fetch_samples

        places, head = self._places(remote), self._commit(remote, branch, commit)
        return fetch_samples(self._open(), places, head, column, samples, nbytes=nbytes, progress=progress)

    def _places(self, first: str) -> list[Place]:
        """The remotes to fetch from: the one that was named, and then the others."""
        from hangar.remote.fetching_data import Place

        with self._open().db.read() as transaction:
            rows = {first: get_remote(transaction, first)} | list_remotes(transaction)
        names = [first, *(name for name in rows if name != first)]
        return [Place(name, rows[name].number, partial(connected, name, rows[name])) for name in names]

    def _commit(self, remote: str, branch: str | None, commit: str | None) -> Digest:
        """The commit that a user names by a branch, of the remote or here, or by a revision."""
        from hangar.revisions import resolve_commit

        if bool(branch) == bool(commit):
            raise InvalidInputError("give exactly one of ``branch`` and ``commit``")
        stores = self._open()
        if commit:
            return resolve_commit(stores.db, stores.refs, commit)
        name = plain_text(branch)
        for ref in (f"{REMOTES}{remote}/{name}", f"{REMOTES}{name}", f"{BRANCHES}{name}"):
            digest = stores.refs.get(ref)
            if digest is not None:
                return digest
        raise RevisionNotFoundError(
            f"no branch {name!r} of {remote!r} is known here: fetch it first with `hangar fetch {remote} {name}`"
        )

    # ------------------------------------------------------------------ pulling and pushing

    def pull(self, remote: str, branch: str, *, message: str = "", progress: Progress = None) -> str:
        """Fetch a branch and merge it into the local branch of the same name, which is made if there is none.

        Returns
        -------
        str
            The head of the local branch afterwards, in hex.

        Raises
        ------
        MergeConflictError
            (a ``ValueError``) the branches changed the same things; the history was fetched, nothing was merged.
        """
        self.fetch_branches(remote, [branch], progress=progress)
        return self._merge(check_name(branch, "branch"), f"{remote}/{branch}", message)

    def push(
        self,
        remote: str,
        branch: str,
        *,
        username: str = "",
        password: str = "",
        token: str | None = None,
        force_with_lease: Lease = None,
        tags: bool = False,
        delete: bool = False,
        complete: bool = False,
        progress: Progress = None,
    ) -> str:
        """Push a local branch, or a tag, with all data that the remote lacks.

        Parameters
        ----------
        username, password, token
            Credentials, instead of those of the remote's settings.
        force_with_lease
            Permit the branch of the remote to lose commits, if it is where it was fetched last (True), or at the given
            commit (a revision).
        tags
            Push all tags too.
        delete
            Delete the branch or tag of the remote.
        complete
            Also send the values of the branch that the remote, a partial clone itself, has only by the promise of another
            repository.

        Returns
        -------
        str
            The branch.

        Raises
        ------
        StaleRefError
            (a ``RuntimeError``) the remote has commits that are not here, or the lease does not hold: pull first.
        RevisionNotFoundError
            (a ``ValueError``) there is no such branch.
        AccessError
            (a ``PermissionError``) wrong credentials; a protected branch; or the served repository has staged changes
            or a writer on that branch.
        NotLocalError
            The remote lacks data that is only promised here.
        """
        report = self.push_refs(
            remote,
            [branch],
            username=username,
            password=password,
            token=token,
            force_with_lease=force_with_lease,
            tags=tags,
            delete=delete,
            complete=complete,
            progress=progress,
        )
        if not report.refs and not report.blobs:
            warn_caller(f"there is nothing to push: {remote!r} has all of {branch!r}", UserWarning)
        return branch

    def push_refs(
        self,
        remote: str,
        names: Sequence[str],
        *,
        username: str = "",
        password: str = "",
        token: str | None = None,
        force_with_lease: Lease = None,
        tags: bool = False,
        delete: bool = False,
        complete: bool = False,
        progress: Progress = None,
    ) -> PushReport:
        """As :meth:`push`, for several branches and tags in one step; returns what was sent."""
        from hangar.remote.pushing import push_refs

        stores, row = self._open(), self._row(remote)
        credentials = Settings(token=token, username=username, password=password)
        with connected(remote, row, credentials) as peer:
            return push_refs(
                stores,
                peer,
                remote,
                [plain_text(name) for name in names],
                self._config().person(),
                lease=force_with_lease,
                tags=check_flag(tags, "tags"),
                delete=check_flag(delete, "delete"),
                complete=check_flag(complete, "complete"),
                progress=progress,
            )

    def __repr__(self) -> str:
        return f"<Remotes: {', '.join(one.name for one in self.list_all()) or 'none'}>"
