"""Objects of a push that nothing names are bounded over all pushes."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangar.errors import ResourceLimitError
from hangar.remote.peer import Objects, PushStart
from hangar.remote.unasked import Unasked, UnaskedCount
from tests.remote.world import Place

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
