"""What a served repository permits: which refs a push may move, and how. Checked when a push begins, and again when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from hangar.db import ReadTransaction, WriteTransaction
from hangar.db.tables import OPERATIONS
from hangar.digest import DIGEST_BYTES, Digest
from hangar.errors import AccessError, CorruptionError, InvalidInputError, NameTakenError, StaleRefError
from hangar.lock import holder
from hangar.objects.commit import check_message
from hangar.objects.graph import is_ancestor
from hangar.refs import BRANCHES, TAGS, check_ref, describe
from hangar.remote.peer import ID_BYTES, RefUpdate
from hangar.remote.source import ObjectSource
from hangar.staging import staged_branch
from hangar.stores import Stores

__all__ = ["Policy", "check_forward", "check_person", "check_updates", "find_operation", "record_operation"]

Policy = Callable[[str], bool]
"""Whether a branch of this name is protected."""
_MOST_OPERATIONS: Final = 10_000
_MOST_UPDATES: Final = 1_000
_MOST_TEXT: Final = 1_024


class _Operation(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A move of a ref that was done."""

    ref: str
    old: bytes | None
    new: bytes | None
    time_ns: int


_decode: Final = msgspec.msgpack.Decoder(_Operation).decode


def find_operation(transaction: ReadTransaction, update: RefUpdate) -> bool:
    """Whether an update was done before, by its operation id.

    Raises
    ------
    InvalidInputError
        The id belongs to another update.
    """
    data = transaction.get(OPERATIONS, update.operation)
    if data is None:
        transaction.check_count(OPERATIONS)
        return False
    try:
        done = _decode(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise CorruptionError(f"a row of table 'operations' cannot be read: {error}") from None
    if (done.ref, done.old, done.new) != (update.name, update.old, update.new):
        raise InvalidInputError(f"the operation id of the move of {update.name!r} was used for another one")
    return True


def record_operation(transaction: WriteTransaction, update: RefUpdate, time_ns: int) -> None:
    """Record that an update was done. The oldest operations are forgotten."""
    row = _Operation(update.name, update.old, update.new, time_ns)
    transaction.put(OPERATIONS, update.operation, msgspec.msgpack.encode(row))
    if transaction.count(OPERATIONS) > _MOST_OPERATIONS:
        rows = sorted((_decode(data).time_ns, key) for key, data in transaction.scan(OPERATIONS))
        for _, key in rows[: _MOST_OPERATIONS // 10]:
            transaction.delete(OPERATIONS, key)


def check_updates(
    stores: Stores, transaction: ReadTransaction, updates: Iterable[RefUpdate], *, read_only: bool, protected: Policy
) -> list[RefUpdate]:
    """Check the moves that a push asks for; returns those that are still to be done.

    Whether a branch loses commits is not checked here: see :func:`check_forward`.

    Raises
    ------
    AccessError
        The repository is read-only, the branch is protected, or a writer or staged changes are on it.
    StaleRefError
        A ref is not at its old commit.
    InvalidInputError
        A name or an id is not valid, or a ref is named twice.
    """
    if read_only:
        raise AccessError("this repository is served for reading only: nothing can be pushed to it")
    listed = list(updates)
    if len({update.name for update in listed}) != len(listed) or len(listed) > _MOST_UPDATES:
        raise InvalidInputError(f"a push moves each ref once, and at most {_MOST_UPDATES:,} of them")
    left = []
    for update in listed:
        _check_form(update)
        if not find_operation(transaction, update):
            _check_update(stores, transaction, update, protected)
            if update.new != update.old:
                left.append(update)
    return left


def _check_form(update: RefUpdate) -> None:
    if not update.name.startswith((BRANCHES, TAGS)):
        raise InvalidInputError(f"{update.name[:100]!r} cannot be pushed: only branches and tags can")
    check_ref(update.name)
    digests = [digest for digest in (update.old, update.new) if digest is not None]
    if any(len(digest) != DIGEST_BYTES for digest in digests) or len(update.operation) != ID_BYTES:
        raise InvalidInputError(f"a digest or id in the move of {update.name!r} has a wrong length")
    if update.old is None and update.new is None:
        raise InvalidInputError(f"the move of {update.name!r} has neither an old nor a new commit")
    if update.annotation is not None:
        _check_annotation(update)


def _check_annotation(update: RefUpdate) -> None:
    note = update.annotation
    if note is None or not update.name.startswith(TAGS):
        raise InvalidInputError("only a tag has an annotation")
    check_message(note.message, "message of a tag")
    check_person((note.name, note.email))
    if abs(note.time_ns) >= 2**63 or abs(note.tz) > 24 * 60:
        raise InvalidInputError("the time of a tag is out of range")


def check_person(who: tuple[str, str]) -> None:
    """Refuse a name or email that is too long or cannot be encoded."""
    for text in who:
        try:
            length = len(text.encode())
        except UnicodeEncodeError as error:
            raise InvalidInputError(f"a name or email does not encode as UTF-8: {error}") from None
        if length > _MOST_TEXT:
            raise InvalidInputError(f"a name or email of {length:,} bytes is too long")


def _check_update(stores: Stores, transaction: ReadTransaction, update: RefUpdate, protected: Policy) -> None:
    found = stores.refs.get(update.name, transaction)
    if found != update.old:
        raise _stale(update, found)
    if update.name.startswith(TAGS):
        if update.old is not None and update.new is not None:
            raise NameTakenError(f"{describe(update.name)} exists at the remote: delete it there first")
        return
    branch = update.name.removeprefix(BRANCHES)
    if update.new is None:
        _check_deletion(stores, transaction, branch, protected)
    _check_use(stores, transaction, branch)


def check_forward(source: ObjectSource, updates: Iterable[RefUpdate], protected: Policy) -> None:
    """Check that no branch loses commits, unless that is forced. Needs no transaction: commits do not change.

    Parameters
    ----------
    source
        Has the old and the new commits.

    Raises
    ------
    StaleRefError
        A branch would lose commits without force.
    AccessError
        A protected branch would.
    """
    for update in updates:
        if update.old is None or update.new is None or not update.name.startswith(BRANCHES):
            continue
        if not _descends(source, update.new, Digest(update.old)):
            branch = update.name.removeprefix(BRANCHES)
            if protected(branch):
                raise _protected(branch)
            if not update.force:
                raise StaleRefError(
                    f"branch {branch!r} of the remote has commits that are not in what you push: run `hangar pull` and push "
                    "again. To drop them, push with --force-with-lease"
                )


def _descends(source: ObjectSource, new: bytes, old: Digest) -> bool:
    """Whether a commit, perhaps in quarantine, is ``old`` or a descendant of it."""
    seen: set[bytes] = set()
    waiting = [new]
    while waiting:
        digest = waiting.pop()
        if digest in seen:
            continue
        seen.add(digest)
        if digest == old:
            return True
        if source.has("commit", Digest(digest)):
            if is_ancestor(source.db, old, Digest(digest)):
                return True
        else:
            waiting += source.commit(digest).parents
    return False


def _check_deletion(stores: Stores, transaction: ReadTransaction, branch: str, protected: Policy) -> None:
    if protected(branch):
        raise _protected(branch)
    head = stores.refs.head(transaction)
    if branch in (head.write_branch, head.last_written):
        raise AccessError(f"branch {branch!r} cannot be deleted: HEAD of the remote is on it")


def _check_use(stores: Stores, transaction: ReadTransaction, branch: str) -> None:
    """Refuse to move a branch beneath somebody who works on it in the served repository."""
    if staged_branch(transaction) == branch:
        raise AccessError(
            f"branch {branch!r} has staged changes in the served repository: commit or reset them there, or push to another branch"
        )
    head = stores.refs.head(transaction)
    if branch in (head.write_branch, head.last_written):
        found = holder(stores.db)
        if found is not None:
            raise AccessError(
                f"branch {branch!r} is open for writing in the served repository ({found}): close that checkout, or push to another branch"
            )


def _protected(branch: str) -> AccessError:
    return AccessError(
        f"branch {branch!r} is protected: it cannot be deleted, and no push may drop commits of it. Push to another branch"
    )


def _stale(update: RefUpdate, found: Digest | None) -> StaleRefError:
    was, stands = (digest.hex()[:12] if digest else "no commit" for digest in (update.old, found))
    return StaleRefError(
        f"{describe(update.name)} of the remote is at {stands}, not at {was}: run `hangar pull` and push again"
    )
