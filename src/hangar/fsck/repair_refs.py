"""Repair of refs from the reflog, of reflog entries from the entries before and after, and of HEAD."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hangar.db import WriteTransaction
from hangar.db.tables import REFLOG, REFS, Table
from hangar.digest import Digest
from hangar.errors import HangarError
from hangar.fsck.context import Changes, RepairContext
from hangar.fsck.repair_rows import examine, table_repairs
from hangar.fsck.report import Repair
from hangar.publishing import publish_rows
from hangar.refs import BRANCHES
from hangar.refs.rows import (
    HEAD_KEY,
    TAGS,
    Head,
    ReflogEntry,
    RefRow,
    check_ref,
    decode,
    describe,
    encode,
    key_name,
    name_key,
)
from hangar.staging import staged_branch
from hangar.wording import plural

__all__ = ["repair_refs"]

_SEQUENCE_BYTES = 8
_DEFAULT = "master"


def repair_refs(context: RepairContext) -> Iterator[Repair]:
    """Repair refs, HEAD and the reflog, in one transaction."""
    states = {table: examine(context, table) for table in (REFS, REFLOG)}
    changes, said = Changes(), list[Repair]()
    for state in states.values():
        changes.add(state.changes)
    refs, head = _refs(states[REFS].sound, changes)
    reflog = _reflog(states[REFLOG].sound, changes)
    if states[REFS].damaged or len(changes.delete) > len(states[REFLOG].changes.delete):
        said += _refs_of_reflog(refs, reflog, changes)
    fresh = _head(head, refs, reflog, _staged(context))
    if fresh is not None:
        if BRANCHES + fresh.write_branch not in refs:
            changes.put.append((REFS, name_key(BRANCHES + fresh.write_branch), encode(RefRow(None))))
        changes.put.append((REFS, HEAD_KEY, encode(fresh)))
        said.append(Repair("ref", f"set HEAD to branch {fresh.write_branch!r}"))
    if states[REFLOG].damaged or said:
        filled = list(_filled(reflog, refs))
        changes.put += filled
        if filled:
            said.append(
                Repair("reflog", f"filled {plural(len(filled), 'gap')} in the reflog from the entries before and after")
            )
    damaged = [table for table, state in states.items() if state.damaged]
    if not (changes.put or changes.delete or damaged):
        return
    kept = changes.keep(context.lost)

    def write(transaction: WriteTransaction) -> None:
        changes.make(transaction)
        for table in damaged:
            transaction.recount(table)

    publish_rows(context.stores.db, context.lock, write)
    for table, state in states.items():
        yield from table_repairs(table, state, kept)
    yield from said


def _staged(context: RepairContext) -> str | None:
    try:
        with context.stores.db.read() as transaction:
            return staged_branch(transaction)
    except HangarError:
        return None


def _refs_of_reflog(
    refs: dict[str, RefRow], reflog: dict[str, dict[int, ReflogEntry]], changes: Changes
) -> Iterator[Repair]:
    """Restore the refs that exist according to the reflog."""
    for name, entries in reflog.items():
        digest = entries[max(entries)].new
        if name not in refs and digest is not None and _is_ref(name):
            refs[name] = RefRow(digest)
            changes.put.append((REFS, name_key(name), encode(RefRow(digest))))
            more = "; if it had an annotation, that is lost" if name.startswith(TAGS) else ""
            yield Repair("ref", f"restored {describe(name)} at {digest.hex()[:12]} from the reflog{more}")


def _is_ref(name: str) -> bool:
    try:
        check_ref(name)
    except HangarError:
        return False
    return True


def _refs(rows: Sequence[tuple[bytes, bytes]], changes: Changes) -> tuple[dict[str, RefRow], Head | None]:
    """The readable refs, and HEAD; unreadable rows are removed."""
    found: dict[str, RefRow] = {}
    head: Head | None = None
    for key, data in rows:
        try:
            if key == HEAD_KEY:
                head = decode(data, Head, "HEAD")
            else:
                found[key_name(key)] = decode(data, RefRow, "a ref")
        except HangarError as error:
            changes.drop(REFS, key, data, str(error))
    return found, head


def _reflog(rows: Sequence[tuple[bytes, bytes]], changes: Changes) -> dict[str, dict[int, ReflogEntry]]:
    """The readable entries by ref and number; unreadable rows are removed."""
    found: dict[str, dict[int, ReflogEntry]] = {}
    for key, data in rows:
        try:
            name = key_name(key[: -_SEQUENCE_BYTES - 1])
            found.setdefault(name, {})[int.from_bytes(key[-_SEQUENCE_BYTES:], "big")] = decode(
                data, ReflogEntry, "a reflog"
            )
        except HangarError as error:
            changes.drop(REFLOG, key, data, str(error))
    return {name: entries for name, entries in found.items() if entries}


def _head(
    head: Head | None, refs: dict[str, RefRow], reflog: dict[str, dict[int, ReflogEntry]], staged: str | None
) -> Head | None:
    """A new HEAD where the present one is lost or names a branch that does not exist; else None."""
    branches = {name.removeprefix(BRANCHES): row for name, row in refs.items() if name.startswith(BRANCHES)}
    if head is not None and {head.write_branch, head.last_written} <= branches.keys():
        return None

    def moved(branch: str) -> tuple[bool, int]:
        entries = reflog.get(BRANCHES + branch, {})
        return branch == staged, max((entry.time_ns for entry in entries.values()), default=0)

    best = max(sorted(branches), key=moved, default=staged or _DEFAULT)
    if head is None:
        return Head(best, best)
    return Head(*(name if name in branches else best for name in (head.write_branch, head.last_written)))


def _filled(reflog: dict[str, dict[int, ReflogEntry]], refs: dict[str, RefRow]) -> Iterator[tuple[Table, bytes, bytes]]:
    """Entries for the gaps of reflogs: the entries before and after say which commit a ref moved from and to."""
    for name, entries in reflog.items():
        last = max(entries)
        for number in range(min(entries), last):
            if number in entries:
                continue
            before, after = entries.get(number - 1), entries.get(number + 1)
            if before is not None and after is not None:
                yield _entry(name, number, before.new, after.old, before)
        row = refs.get(name)
        newest = entries[last]
        if row is not None and row.digest != newest.new:
            yield _entry(name, last + 1, newest.new, row.digest, newest)
    for name, row in refs.items():
        if name not in reflog and row.digest is not None:
            yield _entry(name, 0, None, row.digest, None)


def _entry(
    name: str, number: int, old: bytes | None, new: bytes | None, beside: ReflogEntry | None
) -> tuple[Table, bytes, bytes]:
    time_ns, tz = (0, 0) if beside is None else (beside.time_ns, beside.tz)
    entry = ReflogEntry(
        None if old is None else Digest(old),
        None if new is None else Digest(new),
        "hangar fsck",
        "",
        time_ns,
        tz,
        "fsck (repair)",
        "an entry that was lost or damaged",
    )
    return REFLOG, name_key(name) + b"\x00" + number.to_bytes(_SEQUENCE_BYTES, "big"), encode(entry)
