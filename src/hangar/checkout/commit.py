"""From the staging area to a commit: one transaction.

The commit's record, the nodes of its trees, its schemas, the branch and the emptied staging area become visible together, or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from hangar import limits
from hangar.checkout.session import WriterSession
from hangar.config import Config, Person
from hangar.db import WriteTransaction
from hangar.digest import Digest
from hangar.errors import InvalidInputError, InvalidStateError, InvalidTypeError, NothingToDoError
from hangar.objects.commit import Commit
from hangar.objects.graph import record_generation
from hangar.objects.records import store_commit

__all__ = ["commit_staging"]


def commit_staging(
    session: WriterSession, config: Config, message: str, *, amend: bool, meta: Mapping[str, Any] | None
) -> Digest:
    """Commit what ``session`` has staged; see ``WriterCheckout.commit``."""
    _check_message(message)
    if meta is not None and not isinstance(meta, Mapping):
        raise InvalidTypeError(f"meta is a mapping of further facts, not {type(meta).__name__}")
    with session.writing():
        staging = session.staging
        parents = [] if staging.base is None else [staging.base]
        if amend:
            if staging.base_commit is None:
                raise InvalidStateError("there is no commit to amend yet")
            parents = [Digest(parent) for parent in staging.base_commit.parents]
        elif not staging.changed():
            raise NothingToDoError("No changes made in staging area. Cannot commit.")
        commit = _make(session, config, message, parents, dict(meta or {}))
        session.blobs.prepare()
        digest = commit.digest()
        session.stores.db.update(lambda transaction: _publish(transaction, session, commit, amend))
        try:
            session.blobs.published()
            staging.rebase(digest)
        except BaseException:
            # The commit is made, and inside a `with` block nobody else would bring memory in line with it.
            session.rollback()
            raise
    return digest


def _check_message(message: object) -> None:
    if not isinstance(message, str):
        raise InvalidTypeError(f"a commit message is a str, not {type(message).__name__}")
    try:
        size = len(message.encode())
    except UnicodeEncodeError as error:
        raise InvalidInputError(f"the commit message does not encode as UTF-8: {error}") from None
    if size > limits.MAX_MESSAGE_BYTES:
        raise InvalidInputError(f"a commit message of {size:,} bytes exceeds {limits.MAX_MESSAGE_BYTES:,}")


def _make(session: WriterSession, config: Config, message: str, parents: list[Digest], meta: dict[str, Any]) -> Commit:
    who = config.person()
    return Commit(
        parents=list(parents),
        columns=session.staging.entries(),
        attributes=session.staging.attributes,
        author=who.name,
        email=who.email,
        time_ns=time.time_ns(),
        tz=time.localtime().tm_gmtoff // 60,
        message=message,
        meta=meta,
    )


def _publish(transaction: WriteTransaction, session: WriterSession, commit: Commit, amend: bool) -> None:
    staging = session.staging
    session.lock.check(transaction)
    session.blobs.publish(transaction)
    staging.write_records(transaction)
    session.nodes.flush(transaction, [Digest(entry.root) for entry in commit.columns if entry.root is not None])
    digest = store_commit(transaction, commit)
    record_generation(transaction, digest, commit.parents)
    session.stores.refs.update(
        transaction,
        f"heads/{staging.branch}",
        staging.base,
        digest,
        who=Person(commit.author, commit.email),
        operation="commit (amend)" if amend else "commit",
        message=commit.message.partition("\n")[0],
    )
    staging.clear(transaction)
