"""The files and rows of a real repository are laid out as the tables of the format specification say."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xxhash import xxh3_64_intdigest

from hangar import Repository, _fs
from hangar.blobs.index import ENTRY_BYTES
from hangar.blobs.run import run_bytes
from tests.compat.independent_reader import Repository as IndependentRepository
from tests.compat.pages import Row
from tests.compat.specification import PAGE_NAMES, TABLES_OF_PAGE, column

Everything = tuple[Path, dict[str, Any]]


def pattern(path: str) -> re.Pattern[str]:
    """A path or key of the page as a regular expression."""
    kinds = {"<epoch>": "[1-9][0-9]*", "<id>": "[0-9a-f]{8}", "<tag>": "[0-9]{2}", "<table>": "[a-z]+"}
    kinds |= {"<column id>": "(?s:.{16})", "<counter>": ".+"}
    for kind, expression in kinds.items():
        path = path.replace(kind, expression)
    return re.compile(path + r"\Z")


def parts(rows: list[Row], data: bytes) -> list[tuple[bytes, str]]:
    """``data`` cut up as a table of offsets and lengths says, which leaves no gap."""
    found, end = [], 0
    for row in rows:
        assert int(row["offset"]) == end
        end += int(row["bytes"])
        found.append((data[int(row["offset"]) : end], row["content"]))
    return found


def check_parts(rows: list[Row], data: bytes) -> dict[str, bytes]:
    """Check what is the same in every file: fixed bytes, zeros, version and the checksum at the end; return the rest."""
    rest = {}
    for part, content in parts(rows, data):
        constant = re.match(r"([0-9a-f]{16}) \(", content)
        if constant:
            assert part.hex() == constant[1]
        elif content == "00":
            assert part == bytes(len(part))
        elif content == "u32: version, 0":
            assert part == bytes(4)
        elif content == "u64: xxh3 of the 56 bytes before":
            assert data[:64] == PAGE_NAMES["checked"](data[:56])
        else:
            rest[content] = part
    return rest


def one_file(path: Path, glob: str) -> bytes:
    return min((path / ".hangar").glob(glob)).read_bytes()


def test_files(everything: Everything) -> None:
    directory = everything[0] / ".hangar"
    found = [file.relative_to(directory).as_posix() for file in directory.rglob("*") if file.is_file()]
    stated = {path: pattern(path.replace(".", r"\.")) for path in column("files", "path") if not path.endswith("/")}
    # Of the directory of caches the page says that it may be missing: small columns have no file there.
    assert [path for path in column("files", "path") if path.endswith("/")] == ["cache/"]
    named = [name for name in found if not name.startswith("cache/")]
    assert [name for name in named if not any(one.match(name) for one in stated.values())] == []
    missing = [path for path, one in stated.items() if not any(map(one.match, found))]
    assert missing == ["leases/<id>", "evict.lock", "quarantine/<name>.*"]  # made by transfers and evictions


def test_format_file(everything: Everything) -> None:
    assert (everything[0] / ".hangar" / "format").read_bytes() == b"hangar 0\n"


def test_database_has_the_data_format_of_the_first_engine(everything: Everything) -> None:
    with (everything[0] / ".hangar" / "db" / "data.mdb").open("rb") as stream:
        assert struct.unpack("<II", stream.read(24)[16:]) == (0xBEEFC0DE, 1)


def test_meta(everything: Everything) -> None:
    found = [key.decode("latin-1") for key in IndependentRepository(everything[0] / ".hangar").tables["meta"]]
    stated = {key: pattern(key) for key in column("meta", "key")}
    assert [key for key in found if not any(one.match(key) for one in stated.values())] == []
    missing = [key for key, one in stated.items() if not any(map(one.match, found))]
    # Remotes have a test of their own.
    assert missing == [
        "kept file id",
        "removed file/<id>",
        "gc epoch",
        "push key",
        "bisect",
        "purge",
        "remote/<name>",
        "last id:<counter>",
        "promise changes",
    ]


def test_blob_file_header(everything: Everything) -> None:
    for file in (everything[0] / ".hangar" / "blobs").glob("0000000?.*"):
        data = file.read_bytes()
        assert check_parts(TABLES_OF_PAGE["spec-blob-file-header"], data[:64]) == {
            "u32: id of the file": int(file.stem, 16).to_bytes(4, "little"),
            "tag of the backend in ASCII, then 00": file.suffix[1:].encode().ljust(8, b"\0"),
        }


def test_run_header_and_entries(everything: Everything) -> None:
    for file in (everything[0] / ".hangar" / "runs").glob("0000000?.run"):
        data = file.read_bytes()
        header, entry = TABLES_OF_PAGE["spec-run-header"], TABLES_OF_PAGE["spec-run-entry"]
        rest = check_parts(header, data[:64])
        count = int.from_bytes(rest.pop("u64: number of blobs"), "little")
        prefixes, entries = data[64 : 64 + 8 * count], data[64 + 8 * count :]
        assert {content: int.from_bytes(part, "little") for content, part in rest.items()} == {
            "u32: id of the run": int(file.stem, 16),
            "u64: xxh3 of the prefixes": xxh3_64_intdigest(prefixes),
            "u64: xxh3 of the entries": xxh3_64_intdigest(entries),
        }
        assert len(data) == run_bytes(count) == 64 + count * (8 + ENTRY_BYTES)
        assert sum(int(row["bytes"]) for row in entry) == ENTRY_BYTES
        assert [len(part) for part, _ in parts(entry, entries)] == [24, 40]


def test_location() -> None:
    rows = TABLES_OF_PAGE["spec-location"]
    assert [row["word"] for row in rows] == ["0", "1", "2", "3", "4"]
    stated = ["offset in", "check of", "codec", "id of the header", "row in the chunk"]
    assert all(row["content"].startswith(words) for row, words in zip(rows, stated, strict=True))
    assert PAGE_NAMES["location"](1, 2, 3, 4, 5, 6, 7) == struct.pack("<5Q", 1, 2, 3 << 56 | 4, 5, 6 << 32 | 7)


def test_lock_file(everything: Everything) -> None:
    data = one_file(everything[0], "lock.1")
    heading, holder, count, check = (part for part, _ in parts(TABLES_OF_PAGE["spec-lock-file"], data))
    meta = IndependentRepository(everything[0] / ".hangar").tables["meta"]
    epoch = meta[b"writer epoch"]
    assert heading == f"hangar 1 {epoch[8:].hex()}\n".encode().ljust(64)
    assert epoch[:8] == (1).to_bytes(8, "little")
    assert set(json.loads(holder)) == {"pid", "host", "user", "time"}
    assert count == meta[b"publish count"]
    assert int.from_bytes(check, "little") == xxh3_64_intdigest(count, 1)
    assert len(data) == 64 + 1024 + 16


def test_staging(everything: Everything) -> None:
    found = {f"{key[0]:02x}" for key in IndependentRepository(everything[0] / ".hangar").tables["staging"]}
    imports = {"04"}  # there only while a bulk import goes on
    assert found | imports == {key.split(" ")[0].split(",")[0] for key in column("staging", "key")}


def test_conflicts(everything: Everything) -> None:
    found = IndependentRepository(everything[0] / ".hangar").tables["conflicts"]
    assert {f"{key[0]:02x}" for key in found} == {key.split(" ")[0].split(",")[0] for key in column("conflicts", "key")}
    assert {str(key[17]) for key in found if key[0]} == set(column("conflict-subjects", "code"))


class Syncs:
    """The order in which files and directories were synced."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def point(self, name: str) -> None:
        pass

    def synced_file(self, path: str) -> None:
        name = Path(path)
        self.names.append("blob file" if name.parent.name == "blobs" else name.suffix or name.name)

    def synced_directory(self, path: str) -> None:
        self.names.append(f"{Path(path).name}/")


def test_order_of_durability(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = Repository(tmp_path, exists=False)
    repo.init("Ada", "ada@example.com")
    writer = repo.checkout(write=True)
    image = writer.add_ndarray_column("image", (9, 9), np.uint8)
    syncs = Syncs()
    monkeypatch.setattr(_fs, "observer", syncs)
    image.write(range(2_000), np.arange(2_000 * 81).astype(np.uint8).reshape(2_000, 9, 9))
    assert syncs.names == ["blob file", "blobs/", ".mdb"]
    syncs.names.clear()
    image.write(range(2_000), np.random.default_rng(0).integers(0, 256, (2_000, 9, 9), np.uint8))
    assert syncs.names == ["blob file", ".run", "runs/", ".mdb"]
    syncs.names.clear()
    writer.commit("all of it")
    assert syncs.names == [".mdb"]
    monkeypatch.setattr(_fs, "observer", None)
    writer.close()
    repo.close()
