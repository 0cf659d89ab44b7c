"""status, ls, show, summary and export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hangar import Repository
from hangar.cli.output import write_json
from hangar.columns import FlatSampleReader
from hangar.schema.keys import encode_key
from tests.cli.shell import SAME, Shell, pictures


def test_status_reads_like_gits(filled: Shell, tmp_path: Path) -> None:
    assert filled.ok("status") == "On branch master\n\nnothing to commit, staging area clean\n"
    pictures(tmp_path / "new", ["a", "z"], seed=9)
    filled.ok("import", "images", tmp_path / "new", "--overwrite")
    filled.ok("rm", "images", "b")
    filled.ok("column", "create", "labels", "INT64")
    assert filled.ok("status") == (
        "On branch master\n\nChanges to be committed:\n"
        '  (use "hangar commit" to commit them)\n'
        '  (use "hangar restore COLUMN" to restore a column from the last commit)\n'
        '  (use "hangar column remove COLUMN" to remove a new column)\n'
        '  (use "hangar restore ." to drop all of them)\n'
        "        changed:         images  1 added, 1 changed, 1 deleted\n"
        "        new column:      labels  0 samples\n"
    )
    filled.ok("column", "remove", "images")
    assert "        deleted column:  images  3 samples\n" in filled.ok("status")
    assert filled.json("status") == {
        "branch": "master",
        "head": filled.json("log")["head"],
        "clean": False,
        "tracking": None,
        "staged_branch": "master",
        "changes": [
            {"column": "images", "state": "deleted", "added": 0, "deleted": 3, "mutated": 0} | SAME,
            {"column": "labels", "state": "new", "added": 0, "deleted": 0, "mutated": 0} | SAME,
        ],
        "attributes": [],
        "columns": ["labels"],
        "operation": None,
        "bisect": False,
        "writer": None,
    }


def test_status_in_short(filled: Shell, tmp_path: Path) -> None:
    assert filled.ok("status", "-s") == ""
    filled.ok("column", "create", "labels", "INT64")
    filled.ok("column", "create", "old", "INT64")
    filled.ok("column", "create", "gone", "INT64")
    filled.ok("commit", "-m", "Second")
    filled.ok("rm", "images", "a")
    filled.ok("column", "rename", "old", "young")
    filled.ok("column", "remove", "gone")
    filled.ok("column", "create", "new", "STR")
    with Repository(filled.path) as repository, repository.checkout(write=True) as writer:
        writer.attributes["unit"] = "mm"
        writer.close()
    assert filled.ok("status", "-s") == "D  gone\nM  images\nA  new\nR  old -> young\nM  (attributes unit)\n"
    assert filled.ok("status", "--short") == filled.ok("status", "-s")


def test_status_before_the_first_commit(empty: Shell) -> None:
    assert empty.ok("status") == "On branch master\nNo commits yet\n\nnothing to commit, staging area clean\n"


def test_ls(filled: Shell) -> None:
    assert filled.ok("ls") == "images  uint8 7 x 5  3 samples\n"
    assert filled.ok("ls", "images") == "a\nb\nc/d\n"
    filled.ok("rm", "images", "a")
    assert filled.ok("ls", "images") == "b\nc/d\n"
    assert filled.ok("ls", "images", "master") == "a\nb\nc/d\n"
    filled.fails(3, "ls", "nope", text="there is no column 'nope' in branch master: there are images")
    filled.fails(3, "ls", "master", text="`hangar column list master`")
    filled.fails(3, "ls", "images", "no-such-branch", text="no-such-branch")


def test_ls_changed(filled: Shell, tmp_path: Path) -> None:
    assert filled.ok("ls", "--changed") == ""
    pictures(tmp_path / "new", ["a", "z"], seed=9)
    filled.ok("import", "images", tmp_path / "new", "--overwrite")
    filled.ok("rm", "images", "b")
    assert filled.ok("ls", "--changed") == "~ images/a\n- images/b\n+ images/z\n"
    filled.fails(3, "ls", "other", "--changed", text="there is no column 'other'")
    filled.ok("commit", "-m", "Second")
    assert filled.ok("ls", "--changed") == ""
    assert filled.ok("ls", "images", "master", "--changed") == "~ images/a\n- images/b\n+ images/z\n"
    assert filled.ok("ls", "images", "master~1", "--changed") == "+ images/a\n+ images/b\n+ images/c/d\n"


def test_show_a_commit(filled: Shell) -> None:
    filled.ok("rm", "images", "a")
    filled.ok("commit", "-m", "Second\n\nwith more", "--meta", "why=because")
    text = filled.ok("show")
    for part in ("(master)", "Tree:    ", "Parent:  ", "Author:  Ada Lovelace <ada@example.com>", "    with more"):
        assert part in text
    assert "Meta:    why=because" in text
    assert "        changed:         images  1 deleted\n" in text
    document = filled.json("show", "master")
    assert document["message"] == "Second\n\nwith more"
    assert document["meta"] == {"why": "because"}
    assert document["columns"][0]["samples"] == 2
    assert document["changes"] == [
        {"column": "images", "state": "changed", "added": 0, "deleted": 1, "mutated": 0} | SAME
    ]
    assert filled.json("show", "master~1")["changes"][0]["state"] == "new"
    assert document["parents"] == [filled.json("show", "master~1")["digest"]]
    filled.fails(3, "show", "images", text="`hangar show :images`")
    filled.fails(3, "show", "nope")


def test_show_a_column(filled: Shell) -> None:
    text = filled.ok("show", "master:images")
    assert "uint8 7 x 5" in text
    assert "a, b, c/d" in text
    document = filled.json("show", ":images")
    assert (document["branch"], document["name"], document["samples"]) == ("master", "images", 3)
    filled.fails(3, "show", ":nope", text="nope")
    filled.fails(3, "show", "nope:images", text="nope")


def test_show_a_sample(filled: Shell) -> None:
    with Repository(filled.path) as repository, repository.checkout() as reader:
        array = reader["images", "a"]
    document = filled.json("show", "master:images/a")
    assert document["values"] == array.tolist()
    assert (document["min"], document["max"]) == (array.min(), array.max())
    assert document["mean"] == pytest.approx(array.mean())
    assert (document["dtype"], document["shape"], document["nbytes"]) == ("uint8", [7, 5], 35)
    text = filled.ok("show", "master:images/a")
    assert f"Values:  {array.min()} to {array.max()}, mean {array.mean():.6g}" in text
    assert str(array[0]).strip("[]") in text
    assert filled.json("show", ":images/c/d")["sample"] == "c/d"


def staged_digest(repository: Repository, column: str, key: str) -> str:
    """The digest that the tree of the last commit holds for a sample."""
    from hangar.digest import Digest
    from hangar.objects.read import get
    from hangar.objects.records import load_commit

    stores = repository._open()
    commit = load_commit(stores.db, Digest(bytes.fromhex(repository.rev_parse("master"))))
    entry = next(one for one in commit.columns if one.name == column)
    assert entry.root is not None
    cell = get(stores.nodes, Digest(entry.root), encode_key(key))
    assert cell is not None
    return cell[-32:].hex()


def test_the_digest_that_is_shown_is_that_of_the_tree(filled: Shell) -> None:
    filled.ok("column", "create", "big", "FLOAT32", 300)
    filled.ok("column", "create", "text", "STR")
    with Repository(filled.path) as repository:
        writer = repository.checkout(write=True)
        writer["big"]["x"] = np.linspace(0, 1, 300, dtype=">f4")
        writer["text"]["x"] = "long " * 50
        writer.commit("Big")
        writer.close()
        assert filled.json("show", "master:big/x")["digest"] == staged_digest(repository, "big", "x")
        assert filled.json("show", "master:text/x")["digest"] == staged_digest(repository, "text", "x")


@pytest.mark.parametrize(
    ("array", "record"),
    [
        (np.array(2.5), {"min": 2.5, "max": 2.5, "mean": 2.5, "values": 2.5}),
        (np.array([np.nan, np.inf]), {"min": "nan", "max": "nan", "mean": "nan", "values": ["nan", "inf"]}),
        (np.zeros((0, 3)), {"min": None, "max": None, "mean": None, "values": []}),
        (np.array([True, False, True]), {"min": False, "max": True, "mean": pytest.approx(2 / 3)}),
        (np.array([1 + 2j]), {"min": None, "mean": None, "values": None}),
        (np.array([2**64 - 1], "uint64"), {"max": 2**64 - 1}),
        (np.full(2000, 60000, "float16"), {"mean": 60000.0, "values": None}),
    ],
    ids=["0-d", "nan", "empty", "bool", "complex", "large int", "half"],
)
def test_statistics(empty: Shell, array: np.ndarray[Any, Any], record: dict[str, Any]) -> None:
    with Repository(empty.path) as repository:
        writer = repository.checkout(write=True)
        writer.add_ndarray_column("x", prototype=array)["x"] = array
        writer.close()
    document = empty.json("show", ":x/x")
    assert {key: document[key] for key in record} == record
    assert empty.ok("show", ":x/x")


def test_text_cannot_steer_the_terminal(empty: Shell) -> None:
    empty.ok("column", "create", "text", "STR")
    with Repository(empty.path) as repository:
        writer = repository.checkout(write=True)
        writer["text"]["x"] = "\x1b[2Jline\n\u202eevil\r\n\x07"
        writer.commit("\x1b]0;title\x07 hello", meta={"k": "\x1b[1m"})
        writer.close()
    for words in (
        ["show", ":text/x"],
        ["show"],
        ["log"],
        ["log", "--oneline"],
        ["log", "--graph"],
        ["summary"],
        ["branch"],
    ):
        text = empty.ok(*words)
        assert not set(text) & set("\x1b\x07\r\u202e")
    assert "\\x1b[2Jline\n\\u202eevil\n" in empty.ok("show", ":text/x")


def test_summary(filled: Shell) -> None:
    text = filled.ok("summary")
    assert str(filled.path) in text
    assert "First" in text
    document = filled.json("summary", "master")
    assert document["commit"]["columns"][0]["name"] == "images"
    assert document["nbytes"] > 0
    assert document["commit"]["digest"] == filled.json("log")["head"]
    filled.fails(3, "summary", "nope")


def files_below(path: Path) -> list[str]:
    return sorted(one.relative_to(path).as_posix() for one in path.rglob("*") if one.is_file())


def test_export_and_back(filled: Shell, tmp_path: Path) -> None:
    assert "Wrote 3 samples of images" in filled.ok("export", "images", "-o", tmp_path / "out")
    assert files_below(tmp_path / "out") == ["a.png", "b.png", "c/d.png"]
    filled.ok("column", "create", "again", "UINT8", 7, 5)
    filled.ok("import", "again", tmp_path / "out")
    for key in ("a", "b", "c/d"):
        assert filled.json("show", f":again/{key}")["digest"] == filled.json("show", f":images/{key}")["digest"]


def test_export_what_is_asked_for(filled: Shell, tmp_path: Path) -> None:
    filled.ok("rm", "images", "a")
    document = filled.json("export", "images", "master", "-s", "a", "-s", "c/d", "-f", "npy", "-o", tmp_path / "out")
    assert [file["sample"] for file in document["files"]] == ["a", "c/d"]
    assert files_below(tmp_path / "out") == ["a.npy", "c/d.npy"]
    filled.fails(3, "export", "images", "-s", "a", "-o", tmp_path / "none", text="no sample 'a'")
    filled.fails(3, "export", "nope", "-o", tmp_path / "none")
    filled.fails(1, "export", "images", "-f", "txt", "-o", tmp_path / "none", text="no plugin writes ndarray samples")
    filled.fails(1, "export", "images", "-f", "../x", "-o", tmp_path / "none", text="extension")
    assert files_below(tmp_path / "none") == []


def test_export_options(filled: Shell, tmp_path: Path) -> None:
    result = filled.run("export", "images", "-f", "jpg", "--quality", "50", "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert "jpg is lossy" in result.stderr
    filled.fails(2, "export", "images", "--quality", "50", "-o", tmp_path / "out", text="choose one with -f")
    filled.fails(2, "export", "images", "-f", "jpg", "--qualty", "50", "-o", tmp_path / "out", text="--quality")
    filled.fails(1, "export", "images", "-f", "png", "--quality", "50", "-o", tmp_path / "out2", text="for JPEG")


def test_export_goes_to_a_folder_of_the_columns_name(filled: Shell) -> None:
    filled.ok("export", "images", "-s", "a")
    assert (filled.path / "images" / "a.png").is_file()
    filled.ok("column", "create", "CON", "STR")
    filled.ok("export", "CON")
    assert (filled.path / "_CON").is_dir()


def test_a_column_of_a_name_that_is_refused_today_is_read_renamed_and_removed(
    filled: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr("hangar.checkout.adding.check_name", lambda name, kind: name)
        filled.ok("column", "create", "..", "STR")
        filled.ok("column", "create", ".", "STR")
    filled.fails(1, "column", "create", "..", "STR", text="is not suitable")
    filled.ok("export", "..")
    assert (filled.path / "__").is_dir()
    filled.ok("commit", "-m", "Odd names")
    assert filled.json("ls", "..")["samples"] == []
    filled.ok("column", "rename", "..", "good")
    filled.ok("column", "remove", ".")
    assert [column["name"] for column in filled.json("column", "list")["columns"]] == ["good", "images"]


def test_paths_are_taken_from_where_c_points(filled: Shell) -> None:
    filled.ok("export", "images", "-o", "deep/out")
    assert files_below(filled.path / "deep" / "out") == ["a.png", "b.png", "c/d.png"]
    filled.ok("column", "create", "again", "UINT8", 7, 5)
    filled.ok("import", "again", "deep/out")
    assert filled.json("ls", "again")["samples"] == ["a", "b", "c/d"]


HOSTILE = [
    "../x",
    "/etc/x",
    "../../../../tmp/hangar-escaped",
    ".hangar/format",
    "CON",
    "x" * 255,
    "A",
    "a",
    "é",
    "e\u0301",
    "a/../../b",
]


def test_exports_cannot_write_outside(empty: Shell, tmp_path: Path) -> None:
    empty.ok("column", "create", "raw", "BYTES")
    with Repository(empty.path) as repository:
        writer = repository.checkout(write=True)
        writer["raw"].write(HOSTILE, [key.encode() for key in HOSTILE])
        writer.close()
    out = tmp_path / "jail" / "out"
    out.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    before = set(files_below(tmp_path))
    empty.ok("export", "raw", "--overwrite", "-o", out)
    new = set(files_below(tmp_path)) - before - {"jail/out/.hangar-keys"}
    assert len(new) == len(HOSTILE)
    assert all(file.startswith("jail/out/") for file in new)
    assert sorted((tmp_path / file).read_bytes() for file in new) == sorted(key.encode() for key in HOSTILE)
    assert not Path("/tmp/hangar-escaped.bin").exists()
    (out / "A.bin").unlink()
    (out / "A.bin").symlink_to(victim)
    empty.fails(1, "export", "raw", "--overwrite", "-o", out, text="A.bin is in the way: it is a link")
    assert victim.read_text() == "precious"


def test_exported_images_open(filled: Shell, tmp_path: Path) -> None:
    filled.ok("export", "images", "-o", tmp_path / "out")
    with Image.open(tmp_path / "out" / "a.png") as image:
        assert image.size == (5, 7)


def test_export_replaces_no_file_unasked(filled: Shell, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    filled.fails(4, "export", "images", "-o", out, text="--overwrite")
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
    filled.ok("export", "images", "-o", out, "--overwrite")
    assert (out / "mine.txt").read_text() == "mine"
    assert len(list(out.iterdir())) > 1


def test_a_long_list_needs_no_look_up_for_each_sample(empty: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers, mixed = list(range(3_000)), [*range(2_000), *map(str, range(1_990, 3_000)), "x"]
    with Repository(empty.path) as repository:
        writer = repository.checkout(write=True)
        columns: dict[str, list[Any]] = {"ints": numbers, "texts": list(map(str, numbers)), "mixed": mixed}
        for name, keys in columns.items():
            writer.add_ndarray_column(name, shape=(), dtype="int64").write(keys, np.arange(len(keys)))
        writer.close()
    looked_up = 0
    contains = FlatSampleReader.__contains__

    def counted(self: FlatSampleReader, key: object) -> bool:
        nonlocal looked_up
        looked_up += 1
        return contains(self, key)

    monkeypatch.setattr(FlatSampleReader, "__contains__", counted)
    assert empty.ok("ls", "ints").split() == list(map(str, numbers))
    assert empty.ok("ls", "texts").split() == sorted(map(str, numbers))
    lines = empty.ok("ls", "mixed").split()
    assert [line for line in lines if ":" in line] == [
        *(f"int:{number}" for number in range(1_990, 2_000)),
        *(f"str:{number}" for number in range(1_990, 2_000)),
    ]
    assert len(lines) == len(mixed)
    assert looked_up == 0
    assert empty.json("ls", "ints")["samples"] == numbers


@pytest.mark.parametrize(
    "data",
    [
        {"a": [1, "é猫\U0001f600", None, True, 2.5, [], {}], "b": {}},
        [float("nan"), float("-inf"), 2**64, -1],
        "half a character: \udcff",
        ['\x00\x1f"\\', b"\xff", Path("x")],
    ],
)
def test_json_is_what_python_writes(data: Any, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(data)
    plain = json.loads(json.dumps(data, default=lambda one: one.hex() if isinstance(one, bytes) else str(one)))
    plain = json.loads(json.dumps(plain).replace("NaN", '"nan"').replace("-Infinity", '"-inf"'))
    assert capsys.readouterr().out == json.dumps(plain, indent=2) + "\n"
