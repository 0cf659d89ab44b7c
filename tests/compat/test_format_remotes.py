"""The page on the format is right about remotes, promised data and unfinished pushes, which are read by the page alone."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from xxhash import xxh3_64_intdigest

from hangar import Repository
from hangar.remote.peer import Limits
from tests.compat.independent_tables import Tables
from tests.compat.specification import TABLES_OF_PAGE, column
from tests.remote.test_resume import Counted, interrupt, push_master
from tests.remote.world import Place

CLASSES = ("commit", "schema", "attributes", "node", "array")
LARGE = 3_000_000


def test_rows_of_a_partial_clone(tmp_path: Path) -> None:
    for name in ("team", "laptop"):
        (tmp_path / name).mkdir()
    with Repository(tmp_path / "team", exists=False) as team:
        team.init("Ada", "ada@example.org")
        writer = team.checkout(write=True)
        writer.add_ndarray_column("image", (100,), np.uint8).write(
            range(20), np.arange(20 * 100).astype(np.uint8).reshape(20, 100)
        )
        writer.commit("Images")
        writer.close()
    with Repository(tmp_path / "laptop", exists=False) as laptop:
        laptop.clone("Bob", "bob@example.org", str(tmp_path / "team"))
        laptop.remote.fetch_data("origin", branch="master")
        laptop.evict("image", [3])
    rows = Tables(tmp_path / "laptop" / ".hangar" / "db")
    number, address, settings = msgspec.msgpack.decode(rows["meta"][b"remote/origin"])
    assert (number, address, settings) == (1, str(tmp_path / "team"), {})
    assert rows["refs"].keys() >= {b"remotes/origin/master"}
    stated = [tuple(row.values())[:2] for row in TABLES_OF_PAGE["spec-promisors"]]
    assert stated == [("of a leaf", "empty"), ("of a blob", "01"), ("of a blob", "02")]
    assert set(rows["promisors"].values()) == {b"", b"\x01"}
    for key, value in rows["promisors"].items():
        assert len(key) == 36
        assert key[32:] == number.to_bytes(4, "big")
        assert (key[:32] in rows["nodes"]) == (value == b"")
    assert all(value == b"" for value in rows["complete"].values())
    assert "promisors" in column("tables", "table")


def pushed_in_part(root: Path) -> tuple[Path, bytes, dict[bytes, bytes]]:
    """The ``.hangar`` of a server and the large value of which it has some bytes; and the rows of ``meta`` of the client."""
    server, client = Place(root / "server", limits=Limits(frame_bytes=16_384)), Place(root / "client")
    rng = np.random.default_rng(7)
    images, large = rng.integers(0, 256, (100, 28, 28), np.uint8), rng.bytes(LARGE)

    def fill(writer: Any) -> None:
        writer.add_ndarray_column("a", (28, 28), np.uint8).write(range(100), images)
        writer.add_bytes_column("b")[0] = large

    client.commit(fill)
    peer: Any = Counted(server.service, 70, interrupt)
    with pytest.raises(KeyboardInterrupt):
        push_master(client, server, peer)
    server.close()
    client.close()
    return root / "server" / ".hangar", large, Tables(root / "client" / ".hangar" / "db")["meta"]


def records(data: bytes) -> list[tuple[int, bytes]]:
    """Kind and content of the records of a journal."""
    found, at = [], 16
    while at < len(data):
        length, kind, check = struct.unpack_from("<IIQ", data, at)
        content = data[at + 16 : at + 16 + length]
        assert xxh3_64_intdigest(content, kind) == check
        found.append((kind, content))
        at += 16 + length
    return found


def test_quarantine_of_an_unfinished_push(tmp_path: Path) -> None:
    directory, large, meta = pushed_in_part(tmp_path)
    assert len(meta[b"push key"]) == 32
    files = {path.name: path.read_bytes() for path in (directory / "quarantine").iterdir()}
    name = next(one for one in files if one.endswith(".objects")).removesuffix(".objects")
    assert name.startswith("push-")
    assert len(bytes.fromhex(name.removeprefix("push-"))) == 16
    objects, at = files[f"{name}.objects"], 0
    met = set()
    while at < len(objects):
        number, length = struct.unpack_from("<BI", objects, at)
        met.add(CLASSES[number])
        at += 5 + length
    assert at == len(objects)
    assert met >= {"commit", "schema", "node"}

    journal = files[f"{name}.blobs"]
    assert struct.unpack_from("<8sII", journal) == (b"HANGARRJ", 0, 72)
    found = records(journal)
    tags = {struct.unpack_from("<I", content)[0]: content[4:].decode("ascii") for kind, content in found if kind == 0}
    headers = [header for kind, content in found if kind == 1 for header in msgspec.msgpack.decode(content)]
    locations = []
    for kind, content in found:
        if kind == 2:
            count = len(content) // 72
            assert len(content) == 72 * count
            locations += [content[32 * count + 40 * at : 32 * count + 40 * (at + 1)] for at in range(count)]
    assert len(locations) == 100
    assert len(headers) == 1
    assert all((directory / "blobs" / f"{file_id:08x}.{tag}").exists() for file_id, tag in tags.items())
    assert not Tables(directory / "db")["files"]

    [part] = [one for one in files if one.endswith(".part")]
    start = files[part][:4096]
    magic, version, length, total = struct.unpack_from("<8sIIQ", start)
    assert (magic, version, total) == (b"HANGARPB", 0, LARGE)
    assert not start[24 + length :].strip(b"\0")
    came = files[part][4096:]
    assert 0 < len(came) < LARGE
    assert large.startswith(came)
    assert part.removeprefix(f"{name}.").removesuffix(".part") in files[f"{name}.objects"].hex()
