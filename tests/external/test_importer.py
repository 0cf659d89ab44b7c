"""Folders into columns: order, names, clashes, batches; and that every error names its file."""

from __future__ import annotations

import inspect
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import threads
from hangar.errors import ConflictError, InvalidInputError, PathNotFoundError
from hangar.external import BasePlugin, importer, loading
from hangar.external.fit import ColumnRequirements, create_command
from hangar.external.importer import FolderImport, ImportOptions, ImportReport, import_files
from hangar.external.loading import Job, plan_import
from hangar.external.naming import Source, find_files, key_text
from tests.external.fakes import FakeColumn, picture, write_png


@pytest.fixture(autouse=True, params=["threads", "one thread"])
def _threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test holds whether files are decoded on threads or not."""
    monkeypatch.setattr(threads, "cores", lambda: 4 if request.param == "threads" else 1)


def run(column: FakeColumn, path: Path, **options: Any) -> ImportReport:
    jobs, _ = plan_import(find_files(path), column.column_type, options.pop("plugin", None))
    return import_files(column, jobs, progress=False, **options)


def test_a_folder_of_images(tmp_path: Path) -> None:
    wanted = {
        name: write_png(tmp_path / f"{name}.png", picture(i)) for i, name in enumerate(["b", "a/2", "a/10", "c.d"])
    }
    column = FakeColumn()
    report = run(column, tmp_path)
    assert list(column.samples) == ["a/10", "a/2", "b", "c.d"]
    for name, array in wanted.items():
        np.testing.assert_array_equal(column.samples[name], array)
    assert (report.samples, report.files, report.overwritten, report.nbytes) == (4, 4, 0, 80)
    assert column.batches == [4]


def test_one_file_is_named_by_its_base_name(tmp_path: Path) -> None:
    write_png(tmp_path / "deep" / "er" / "cat.png", picture(1))
    column = FakeColumn()
    run(column, tmp_path / "deep" / "er" / "cat.png")
    assert list(column.samples) == ["cat"]


def test_characters_that_no_key_may_have(tmp_path: Path) -> None:
    for name in ("with space", "brac(k)et", "é", "猫", "semi;colon"):
        write_png(tmp_path / f"{name}.png", picture(1))
    (tmp_path / os.fsdecode(b"latin\xe9.png")).write_bytes((tmp_path / "é.png").read_bytes())
    column = FakeColumn()
    run(column, tmp_path)
    assert set(column.samples) == {"with_space", "brac_k_et", "é", "猫", "semi_colon", "latin_"}


@pytest.mark.parametrize(("one", "two"), [("a b.png", "a_b.png"), ("cat.png", "cat.bmp"), ("x/y.png", "x/y.npy")])
def test_a_clash_names_both_files(tmp_path: Path, one: str, two: str) -> None:
    for name in (one, two):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if name.endswith(".npy"):
            np.save(tmp_path / name, picture(1))
        else:
            write_png(tmp_path / name, picture(1))
    column = FakeColumn()
    with pytest.raises(ConflictError) as caught:
        run(column, tmp_path)
    assert one in str(caught.value)
    assert two in str(caught.value)
    assert column.batches == []


def test_what_exists_is_kept_unless_told(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", picture(1))
    write_png(tmp_path / "b.png", picture(2))
    column = FakeColumn()
    column.samples["b"] = picture(3)
    with pytest.raises(
        ConflictError, match=r"b\.png: column 'images' has a sample 'b' already, with different content"
    ):
        run(column, tmp_path)
    assert column.batches == [1]
    np.testing.assert_array_equal(column.samples["b"], picture(3))
    assert run(column, tmp_path, overwrite=True).overwritten == 2
    np.testing.assert_array_equal(column.samples["b"], picture(2))


@pytest.mark.parametrize("variable", [False, True])
def test_the_same_again_goes_on(tmp_path: Path, variable: bool) -> None:
    for i in range(10):
        write_png(tmp_path / f"{i}.png", picture(i))
    column = FakeColumn(variable=variable)
    column.samples = {str(i): picture(i) for i in (0, 1, 2, 5)}
    report = run(column, tmp_path)
    assert (report.samples, report.unchanged, report.overwritten, report.files) == (6, 4, 0, 10)
    assert column.batches == [6]
    for i in range(10):
        np.testing.assert_array_equal(column.samples[str(i)], picture(i))
    assert run(column, tmp_path).unchanged == 10
    assert column.batches == [6]


def test_numbers_as_keys(tmp_path: Path) -> None:
    for name in ("0", "17", "017", "a/3", str(2**64 - 1), str(2**64)):
        write_png(tmp_path / f"{name}.png", picture(1))
    column = FakeColumn()
    run(column, tmp_path, integers=True)
    assert set(column.samples) == {0, 17, "017", "a/3", 2**64 - 1, str(2**64)}


def test_hidden_and_unknown_files_are_left_out(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", picture(1))
    write_png(tmp_path / ".cache" / "b.png", picture(1))
    write_png(tmp_path / ".c.png", picture(1))
    (tmp_path / "README.md").write_text("about")
    jobs, skipped = plan_import(find_files(tmp_path), "ndarray")
    assert [job.source.relative for job in jobs] == ["a.png"]
    assert [source.relative for source in skipped] == ["README.md"]
    assert [job.source.relative for job in plan_import(find_files(tmp_path), "bytes")[0]] == ["README.md", "a.png"]


def test_folders_nested_deeper_than_calls(tmp_path: Path) -> None:
    deep = "/".join("d" * 100)
    write_png(Path(tmp_path, deep, "cat.png"), picture(1))
    calls, limit = len(inspect.stack(0)), sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(calls + 80)
        found = find_files(tmp_path)
    finally:
        sys.setrecursionlimit(limit)
    assert [source.relative for source in found] == [f"{deep}/cat.png"]


def test_links_lead_nowhere_outside(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("host")
    folder = tmp_path / "in"
    write_png(folder / "real" / "a.png", picture(1))
    (folder / "same.png").symlink_to(folder / "real" / "a.png")
    (folder / "loop").symlink_to(folder)
    column = FakeColumn()
    run(column, folder)
    assert list(column.samples) == ["real/a", "same"]
    for target in (tmp_path / "secret", Path("/etc"), tmp_path / "in2", tmp_path / "missing"):
        (folder / "out.png").symlink_to(target)
        with pytest.raises(InvalidInputError, match=r"out\.png is a link that leads out"):
            find_files(folder)
        (folder / "out.png").unlink()


def test_a_pipe_in_the_folder_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(InvalidInputError, match=r"x\.png is not a regular file"):
        run(FakeColumn(), tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(PathNotFoundError, match="nowhere"):
        find_files(tmp_path / "nowhere")
    assert find_files(tmp_path) == []


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (picture(1, dtype="uint16"), "has dtype uint16, and column 'images' holds uint8"),
        (picture(1, (5, 4)), "has shape 5 x 4, and column 'images' holds shape 4 x 5"),
        (picture(1, (4, 5, 3)), "has shape 4 x 5 x 3, and column 'images' holds shape 4 x 5"),
    ],
)
@pytest.mark.parametrize("place", [0, 40])
def test_what_does_not_fit_names_its_file(tmp_path: Path, array: np.ndarray[Any, Any], text: str, place: int) -> None:
    for i in range(60):
        write_png(tmp_path / f"{i:03}.png", array if i == place else picture(i))
    (tmp_path / "055.png").write_bytes(b"broken, but later")
    column = FakeColumn()
    with pytest.raises(InvalidInputError) as caught:
        run(column, tmp_path)
    assert f"{place:03}.png {text}" in str(caught.value)
    assert list(column.samples) == [f"{i:03}" for i in range(place)]  # those before it, and none after


def test_memory_is_not_taken_on_the_word_of_a_column(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", picture(1))
    column = FakeColumn(dtype="float64", shape=(10**6, 10**5))  # 800 GB a sample
    with pytest.raises(InvalidInputError, match=r"a\.png has dtype uint8"):
        run(column, tmp_path)


def test_a_file_that_cannot_be_decoded_names_itself(tmp_path: Path) -> None:
    for i in range(80):
        write_png(tmp_path / f"{i:03}.png", picture(i))
    for bad in ("050", "070"):
        (tmp_path / f"{bad}.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(InvalidInputError, match=r"050\.png is damaged"):
        run(FakeColumn(), tmp_path)


def test_batches_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "BATCH_BYTES", 20 * 7)
    for i in range(50):
        write_png(tmp_path / f"{i:03}.png", picture(i))
    column = FakeColumn()
    run(column, tmp_path)
    assert column.batches == [7] * 7 + [1]
    for i in range(50):
        np.testing.assert_array_equal(column.samples[f"{i:03}"], picture(i))
    variable = FakeColumn(shape=(9, 9), variable=True)
    run(variable, tmp_path)
    assert variable.batches == [7] * 7 + [1]


def test_variable_shapes(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", picture(1, (3, 9)))
    write_png(tmp_path / "b.png", picture(2, (9, 3)))
    column = FakeColumn(shape=(9, 9), variable=True)
    run(column, tmp_path)
    assert column.samples["a"].shape == (3, 9)
    write_png(tmp_path / "c.png", picture(2, (10, 3)))
    with pytest.raises(InvalidInputError, match="has shape 10 x 3, and column 'images' holds shapes up to 9 x 9"):
        run(column, tmp_path, overwrite=True)


def test_archives_and_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "many.npz", b=picture(1), a=picture(2))
    np.savez(tmp_path / "one.npz", picture(3))
    np.save(tmp_path / "plain.npy", picture(4).astype(">u1"))
    column = FakeColumn()
    report = run(column, tmp_path)
    assert set(column.samples) == {"many/b", "many/a", "one", "plain"}
    assert (report.files, report.samples) == (3, 4)
    np.testing.assert_array_equal(column.samples["many/a"], picture(2))


def test_an_archive_and_a_folder_of_its_name_clash(tmp_path: Path) -> None:
    np.savez(tmp_path / "many.npz", b=picture(1), a=picture(2))
    write_png(tmp_path / "many" / "a.png", picture(1))
    with pytest.raises(ConflictError, match=r"many/a\.png and .*many\.npz"):
        run(FakeColumn(), tmp_path)


def test_rows_that_were_meant_as_samples(tmp_path: Path) -> None:
    np.save(tmp_path / "labels.npy", np.arange(10))
    with pytest.raises(InvalidInputError, match=r"each row a sample\? .*column\.write"):
        run(FakeColumn(dtype="int64", shape=()), tmp_path)


@pytest.mark.parametrize("suffix", ["nc", "mat"])
def test_hdf5_files_of_other_suffixes_are_never_opened(tmp_path: Path, suffix: str) -> None:
    """What is in them can lead to other files: external storage, virtual data sets, links."""
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(bytes(range(20)))
    folder = tmp_path / "in"
    folder.mkdir()
    with h5py.File(folder / f"trap.{suffix}", "w") as file:
        file.create_dataset("outside", (4, 5), "u1", external=[(str(tmp_path / "secret"), 0, 20)])
        file["link"] = h5py.ExternalLink(str(tmp_path / "secret"), "/")
        layout = h5py.VirtualLayout((4, 5), "u1")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret"), "data", (4, 5))
        file.create_virtual_dataset("virtual", layout)
    for kind in ("ndarray", "str"):
        jobs, skipped = plan_import(find_files(folder), kind)
        assert not jobs
        assert [source.relative for source in skipped] == [f"trap.{suffix}"]
    for plugin in ("images", "numpy"):
        with pytest.raises(InvalidInputError, match="trap"):
            run(FakeColumn(), folder, plugin=plugin)
    raw = FakeColumn("bytes")
    run(raw, folder)
    assert raw.samples == {"trap": (folder / f"trap.{suffix}").read_bytes()}


def test_text_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("été", "utf-8")
    (tmp_path / "b.txt").write_bytes(b"\xff")
    with pytest.raises(InvalidInputError, match=r"b\.txt is not UTF-8"):
        run(FakeColumn("str"), tmp_path)
    (tmp_path / "b.txt").unlink()
    text, raw = FakeColumn("str"), FakeColumn("bytes")
    run(text, tmp_path)
    run(raw, tmp_path)
    assert text.samples == {"a": "été"}
    assert raw.samples == {"a": "été".encode()}


def test_paths_are_remembered(tmp_path: Path) -> None:
    write_png(tmp_path / "some dir" / "a b.png", picture(1))
    column, paths = FakeColumn(), FakeColumn("str", name="images_path")
    run(column, tmp_path, paths=paths)
    assert paths.samples == {"some_dir/a_b": "some dir/a b.png"}


def test_a_path_that_no_str_can_hold(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", picture(1))
    (tmp_path / "a.png").rename(tmp_path / os.fsdecode(b"latin\xe9.png"))
    with pytest.raises(InvalidInputError, match=r"latin.*cannot be stored"):
        run(FakeColumn(), tmp_path, paths=FakeColumn("str"))


def test_progress_counts_files(tmp_path: Path) -> None:
    for i in range(3):
        write_png(tmp_path / f"{i}.png", picture(i))
    told: list[tuple[int, int | None, str]] = []
    jobs, _ = plan_import(find_files(tmp_path), "ndarray")
    import_files(FakeColumn(), jobs, progress=lambda *one: told.append(one))
    assert told[0] == (0, 3, "files")
    assert told[-1] == (3, 3, "files")


def test_folders_are_samples_of_a_nested_column(tmp_path: Path) -> None:
    for i, name in enumerate(("scan 1/front", "scan 1/back", "7/0", "deep/er/x")):
        write_png(tmp_path / f"{name}.png", picture(i))
    np.savez(tmp_path / "pair.npz", a=picture(8), b=picture(9))
    column = FakeColumn(nested=True)
    run(column, tmp_path, integers=True)
    assert set(column.samples) == {
        ("scan_1", "front"),
        ("scan_1", "back"),
        (7, 0),
        ("deep/er", "x"),
        ("pair", "a"),
        ("pair", "b"),
    }
    np.testing.assert_array_equal(column.samples["scan_1", "back"], picture(1))
    assert run(column, tmp_path, integers=True).unchanged == 6
    write_png(tmp_path / "loose.png", picture(1))
    with pytest.raises(InvalidInputError, match=r"loose\.png is not in a subfolder of the imported folder"):
        run(column, tmp_path)


class Scripted(BasePlugin):
    """Gives a picture, and does something on the way."""

    thread_safe = True

    def __init__(self, act: Callable[[str], object]) -> None:
        super().__init__(["load"], ["odd"])
        self._act = act

    def single_name(self, fpath: str) -> str | None:
        return self.sample_name(fpath)

    def load(self, fpath: str) -> tuple[np.ndarray[Any, Any], str]:
        name = self.sample_name(fpath)
        self._act(name)
        return picture(int(name)), name


def scripted(count: int, act: Callable[[str], object], folder: Path = Path("/in")) -> list[Job]:
    plugin = Scripted(act)
    return [Job(Source(f"{folder}/{i:03}.odd", f"{i:03}.odd"), plugin) for i in range(count)]


class Transactions:
    """Counts the contexts that ended well."""

    def __init__(self, column: FakeColumn) -> None:
        self.column = column
        self.acknowledged: list[int] = []
        self.depth = 0

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        self.depth -= 1
        if self.depth == 0 and kind is None:
            self.acknowledged.append(len(self.column.samples))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_tells_what_was_acknowledged(error: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "BATCH_BYTES", 20 * 7)
    monkeypatch.setattr(importer, "ACKNOWLEDGED_BYTES", 20 * 14)

    def act(name: str) -> None:
        if name == "090":
            raise error

    column = FakeColumn()
    together = Transactions(column)
    work = FolderImport(column, scripted(100, act), ImportOptions(batch_context=lambda: together))
    with pytest.raises(error):
        work.run(progress=False)
    assert together.depth == 0
    assert together.acknowledged == [14, 28, 42, 56, 70, 84]
    assert (work.report.samples, work.report.files, work.report.last) == (84, 84, "/in/083.odd")


def test_what_waited_long_is_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "BATCH_BYTES", 20 * 7)
    monkeypatch.setattr(importer, "ACKNOWLEDGED_SECONDS", 0.0)
    column = FakeColumn()
    together = Transactions(column)
    how = ImportOptions(batch_context=lambda: together)
    FolderImport(column, scripted(20, lambda name: None), how).run(progress=False)
    assert together.acknowledged[:2] == [7, 14]
    assert together.acknowledged[-1] == 20


@pytest.mark.parametrize("variable", [False, True])
def test_what_is_read_ahead_is_bounded(tmp_path: Path, variable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "BATCH_BYTES", 20 * 8)
    monkeypatch.setattr(loading, "AHEAD_BYTES", 20 * 32)
    monkeypatch.setattr(loading, "CHUNK_FILES", 4)
    begun: list[str] = []
    most = 0

    class Slow(FakeColumn):
        def write(self, keys: Sequence[Any], values: Any) -> None:
            nonlocal most
            time.sleep(0.01)
            most = max(most, len(begun) - len(self.samples))
            super().write(keys, values)

    column = Slow(variable=variable)
    jobs = scripted(400, begun.append, tmp_path)
    for job in jobs:
        Path(job.source.path).write_bytes(bytes(20))
    FolderImport(column, jobs).run(progress=False)
    assert list(column.samples) == [f"{i:03}" for i in range(400)]
    for i in range(400):
        np.testing.assert_array_equal(column.samples[f"{i:03}"], picture(i))
    assert most <= 64


class Odd(BasePlugin):
    """Gives what it was told to give."""

    def __init__(self, given: Any) -> None:
        super().__init__(["load"], ["odd"])
        self.given = given

    def load(self, fpath: str) -> Any:
        given = self.given() if callable(self.given) else self.given
        if isinstance(given, Exception):
            raise given
        return given


def failing() -> Iterator[Any]:
    yield picture(1), "first"
    raise ZeroDivisionError("halfway")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (KeyError("bug"), r"x\.odd cannot be read: KeyError"),
        (failing, r"x\.odd cannot be read: ZeroDivisionError"),
        (picture(1), "returned ndarray, not a value and a name"),
        (lambda: iter([1]), "returned int, not a value and a name"),
        (("value", "name"), r"x\.odd holds str, and column 'images' holds ndarray"),
        (lambda: iter([(picture(1), "a"), (picture(1), "a")]), "holds the sample 'a' twice"),
        ((picture(1), ""), "cannot name a sample"),
    ],
    ids=["raises", "raises later", "no pair", "no pairs", "wrong kind", "twice", "no name"],
)
def test_plugins_of_others_are_not_trusted(tmp_path: Path, given: Any, text: str) -> None:
    jobs = [Job(Source(str(tmp_path / "x.odd"), "x.odd"), Odd(given))]
    with pytest.raises((InvalidInputError, ConflictError), match=text):
        import_files(FakeColumn(), jobs, progress=False)


def test_a_plugin_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_text("hello")
    column = FakeColumn("str")
    run(column, tmp_path, plugin="text")
    assert column.samples == {"a": "hello"}
    with pytest.raises(InvalidInputError, match="Plugin nope not found"):
        plan_import([], "str", "nope")


def test_options_reach_the_plugin(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", picture(1, (4, 5, 3)))
    column = FakeColumn()
    run(column, tmp_path, options={"mode": "L"})
    assert column.samples["a"].shape == (4, 5)


def test_keys() -> None:
    assert key_text("a b/ü-1.x", "p") == "a_b/ü-1.x"
    for bad in ("", "x" * 256):
        with pytest.raises(InvalidInputError, match="the/path cannot name a sample"):
            key_text(bad, "the/path")


def test_the_command_that_makes_a_column() -> None:
    assert create_command("images", "ndarray", "uint8", (4, 5, 3)) == "hangar column create images UINT8 4 5 3"
    assert create_command("label", "ndarray", "float64") == "hangar column create label FLOAT64"
    assert create_command("names", "str") == "hangar column create names STR"
    assert create_command("raw", "bytes") == "hangar column create raw BYTES"
    made = create_command("x", "ndarray", "bool", (3,), variable=True)
    assert made == "hangar column create x BOOL 3 --variable-shape"


def test_byte_order_is_no_difference() -> None:
    column = FakeColumn(dtype="int32", shape=(2,))
    assert ColumnRequirements.of(column).mismatch(np.zeros(2, ">i4")) is None
    assert ColumnRequirements.of(column).mismatch(np.zeros(2, "<i4")) is None
    assert ColumnRequirements.of(column).mismatch(np.zeros(2, "<u4")) is not None
