"""Objects of a push that nothing names are bounded over all pushes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar.digest import Digest
from hangar.errors import ResourceLimitError
from hangar.objects.node import Node, encode_node
from hangar.remote import unasked
from hangar.remote.objects_in import ObjectsIn
from hangar.remote.peer import Limits, Objects, PushStart
from hangar.remote.transfer import push
from hangar.remote.unasked import Unasked, UnaskedCount
from tests.remote.world import WHO, Place, update

ALWAYS = 512


def unnamed(start: int, many: int) -> Objects:
    """Maps of attributes, each another one."""
    return Objects(
        "attributes", tuple(b"\x81\xa1a\xcf" + (2**40 + start + at).to_bytes(8, "big") for at in range(many))
    )


def test_a_push_with_too_many_is_refused(tmp_path: Path) -> None:
    server = Place(tmp_path / "server")
    server.service._unasked = Unasked(100)
    first, second = b"1" * 16, b"2" * 16
    for name in (first, second):
        server.service.begin_push(PushStart(name, ()))
        server.service.send_objects(name, iter([unnamed(0, ALWAYS)]))
    server.service.send_objects(first, iter([unnamed(1_000, 60)]))
    with pytest.raises(ResourceLimitError, match="nothing names"):
        server.service.send_objects(second, iter([unnamed(1_000, 60)]))
    # What a push holds is given back when it is over.
    server.service.abort_push(first)
    server.service.abort_push(second)
    server.service.begin_push(PushStart(second, ()))
    server.service.send_objects(second, iter([unnamed(0, ALWAYS + 100)]))
    server.close()


def test_what_one_push_holds_is_given_back_once() -> None:
    shared = Unasked(10)
    count = UnaskedCount(shared)
    count.add(ALWAYS + 10)
    assert count.taken == 10
    with pytest.raises(ResourceLimitError):
        count.add(1)
    count.close()
    count.close()
    assert shared.take(10)
    assert not shared.take(1)


def test_names_beyond_the_bound_are_read_again_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pushes of a tree of many nodes, from its root down, with little room for names: they complete, and the room is given back."""
    monkeypatch.setattr(unasked, "_ALWAYS_NAMED", 10)
    monkeypatch.setattr(unasked, "_ALWAYS", 5)
    server, client = Place(tmp_path / "server"), Place(tmp_path / "client")
    shared = server.service._unasked = Unasked(5, 20)
    names = [f"key-{at:06}" for at in range(40_000)]

    def make(checkout: Any) -> None:
        checkout.add_str_column("data").update((name, name) for name in names)

    def change(checkout: Any) -> None:
        checkout["data"].update((name, "new") for name in names[::50])

    later: list[int] = []
    note = ObjectsIn._note_later

    def counted(self: ObjectsIn, most: int) -> None:
        later.append(len(self._later["node"]))
        note(self, most)

    monkeypatch.setattr(ObjectsIn, "_note_later", counted)
    old: Digest | None = None
    for one in (make, change):
        new = client.commit(one)
        later.clear()
        push(client.stores, server.service, [update("heads/master", old, new)], who=WHO)
        assert max(later) > 1
        assert server.head() == new
        old = new
        assert shared.named is not None
        assert shared.named.take(20)
        shared.named.give(20)
        assert shared.take(5)
        shared.give(5)
    assert old is not None
    assert server.content(old) == client.content(old)
    server.close()
    client.close()


def naming(start: int, nodes: int, each: int) -> Objects:
    """Tree nodes with children that do not exist."""
    keys = [b"\x10" + at.to_bytes(8, "big") for at in range(each)]
    refs = np.random.default_rng(start).integers(0, 256, (nodes, 32 * each), np.uint8)
    return Objects("node", tuple(encode_node(Node(0, 1, 0, keys, row.tobytes(), b"", [1] * each, [])) for row in refs))


def test_names_that_never_come_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unasked, "_ALWAYS_NAMED", 50)
    server = Place(tmp_path / "server", limits=Limits(names=500))
    shared = server.service._unasked = Unasked(10_000, 1_000)
    name = b"1" * 16
    server.service.begin_push(PushStart(name, ()))
    objects = server.service._pushes[name]._objects
    for start in range(20):
        missing = server.service.send_objects(name, iter([naming(start, 50, 20)]))
        assert sum(map(len, missing.objects)) == 500
        assert missing.more
        server.service.send_objects(name, iter([naming(start, 50, 20)]))  # again: nothing more is remembered
        assert sum(map(len, objects._later.values())) <= 50 * (start + 1)
        assert objects._count() <= 1_050
    assert shared.named is not None
    assert not shared.named.take(500)
    server.service.abort_push(name)
    assert shared.named.take(1_000)
    server.close()
