"""Columns into folders: names, formats, and that nothing is written beside the folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import external, threads
from hangar.errors import InvalidInputError
from hangar.external import BasePlugin, exporter
from hangar.external.exporter import ExportReport, FolderExport, export_samples
from hangar.external.importer import import_files
from hangar.external.keysfile import KEYS_FILE, read_keys
from hangar.external.loading import plan_import
from hangar.external.manager import manager
from hangar.external.naming import find_files
from hangar.external.plugins.images import ImagePlugin
from hangar.external.safe_io import OutputDirectory
from tests.external.fakes import FakeColumn, picture


def run(column: FakeColumn, out: Path, **options: Any) -> ExportReport:
    with OutputDirectory(out) as directory:
        return export_samples(column, list(column.samples), directory, progress=False, **options)


def names(report: ExportReport, out: Path) -> dict[Any, str]:
    return {one.sample: one.path.relative_to(out).as_posix() for one in report.files}


def filled(*keys: Any, **kind: Any) -> FakeColumn:
    column = FakeColumn(**kind)
    for i, key in enumerate(keys):
        column.samples[key] = picture(i, column.shape, column.dtype.name)
    return column


def test_images_go_out_and_come_back(tmp_path: Path) -> None:
    column = filled("a", "b/c", 7)
    report = run(column, tmp_path / "out")
    assert names(report, tmp_path / "out") == {"a": "a.png", "b/c": "b/c.png", 7: "7.png"}
    assert not report.lossy
    assert report.nbytes == sum(one.path.stat().st_size for one in report.files)
    back = FakeColumn()
    import_files(back, plan_import(find_files(tmp_path / "out"), "ndarray")[0], progress=False)
    assert set(back.samples) == {"a", "b/c", 7}
    for key, value in column.samples.items():
        np.testing.assert_array_equal(back.samples[key], value)
    assert [one.name for one in (tmp_path / "out").glob(".*")] == [KEYS_FILE]
    assert (tmp_path / "out" / KEYS_FILE).read_text() == '["7.png", 7]\n'


@pytest.mark.parametrize(
    ("dtype", "shape", "file"),
    [
        ("uint8", (4, 5), "x.png"),
        ("uint8", (4, 5, 3), "x.png"),
        ("uint16", (4, 5), "x.png"),
        ("bool", (4, 5), "x.png"),
        ("uint8", (4, 5, 1), "x.npy"),
        ("uint16", (4, 5, 3), "x.npy"),
        ("float32", (4, 5), "x.npy"),
        ("uint8", (4,), "x.npy"),
        ("int64", (), "x.npy"),
        ("uint8", (0, 5), "x.npy"),
    ],
)
def test_the_format_that_loses_nothing(tmp_path: Path, dtype: str, shape: tuple[int, ...], file: str) -> None:
    column = filled("x", dtype=dtype, shape=shape)
    assert names(run(column, tmp_path), tmp_path) == {"x": file}
    back = external.load(tmp_path / file)[0]
    assert back.dtype == column.samples["x"].dtype
    np.testing.assert_array_equal(back, column.samples["x"])


@pytest.mark.parametrize("variable", [True, False])
@pytest.mark.parametrize("extension", ["npy", "npz"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e5m2", "float8_e4m3fn"])
def test_types_that_numpy_files_cannot_name_come_back(
    tmp_path: Path, dtype: str, extension: str, variable: bool
) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = picture(1, (2, 3)).astype(getattr(ml_dtypes, dtype))
    column, back, bytes_alone = (FakeColumn(dtype=array.dtype, shape=(2, 3), variable=variable) for _ in range(3))
    column.samples["x"] = array
    run(column, tmp_path, extension=extension)
    import_files(back, plan_import(find_files(tmp_path), "ndarray")[0], progress=False)
    assert back.samples["x"].dtype == array.dtype
    assert back.samples["x"].tobytes() == array.tobytes()
    # Nothing else is taken for it, not even of the same size.
    (tmp_path / f"x.{extension}").unlink()
    np.save(tmp_path / "x.npy", np.zeros((2, 3), f"u{array.dtype.itemsize}"))
    with pytest.raises(InvalidInputError, match="has dtype uint"):
        import_files(bytes_alone, plan_import(find_files(tmp_path), "ndarray")[0], progress=False)


def test_other_kinds(tmp_path: Path) -> None:
    text, raw = FakeColumn("str"), FakeColumn("bytes")
    text.samples["t"] = "été"
    raw.samples["r"] = b"\0\1"
    run(text, tmp_path)
    run(raw, tmp_path)
    assert (tmp_path / "t.txt").read_text("utf-8") == "été"
    assert (tmp_path / "r.bin").read_bytes() == b"\0\1"
    run(raw, tmp_path, extension="pdf")
    assert (tmp_path / "r.pdf").read_bytes() == b"\0\1"


def test_a_format_that_is_asked_for(tmp_path: Path) -> None:
    column = filled("x", shape=(4, 5, 3))
    for extension in ("npy", ".BMP", "tif", "webp"):
        run(column, tmp_path, extension=extension)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["x.BMP", "x.npy", "x.tif", "x.webp"]
    assert run(column, tmp_path, extension="jpg", options={"quality": 80}).lossy
    for extension, text in (
        ("txt", "no plugin writes ndarray samples as .txt files"),
        ("gif", "sample 'x' .* only be read"),
    ):
        with pytest.raises(InvalidInputError, match=text):
            run(column, tmp_path, extension=extension)
    with pytest.raises(InvalidInputError, match="cannot be the extension"):
        run(column, tmp_path, extension="../png")


def test_twins_get_files_of_their_own(tmp_path: Path) -> None:
    column = filled(5, "5", "Cat", "cat", "a", "a.png/b")
    report = run(column, tmp_path)
    files = names(report, tmp_path)
    assert len({file.casefold() for file in files.values()}) == 6
    assert files[5] == "5.png"
    assert files["Cat"] == "Cat.png"
    for one in report.files:
        np.testing.assert_array_equal(external.load(one.path)[0], column.samples[one.sample])
    back = FakeColumn()
    import_files(back, plan_import(find_files(tmp_path), "ndarray")[0], progress=False)
    assert set(back.samples) == set(column.samples)
    for key, value in column.samples.items():
        np.testing.assert_array_equal(back.samples[key], value)


def test_keys_that_no_file_name_gives_back(tmp_path: Path) -> None:
    keys = (0, 2**64 - 1, "0", "CON", "x" * 255, "a", "A", "dir/f", "dir", "a.b", "..", "é", "e\u0301")
    column = filled(*keys)
    run(column, tmp_path)
    back = FakeColumn()
    import_files(back, plan_import(find_files(tmp_path), "ndarray")[0], progress=False)
    assert set(back.samples) == set(keys)
    for key, value in column.samples.items():
        np.testing.assert_array_equal(back.samples[key], value)


def test_subsamples_go_out_and_come_back(tmp_path: Path) -> None:
    keys = (("s", "front"), ("s", 0), (3, "0"), (3, 0), ("s/t", "x"), ("s", "t/x"), ("..", ".."))
    column = filled(*keys, nested=True)
    report = run(column, tmp_path)
    assert names(report, tmp_path)["s", "front"] == "s/front.png"
    assert names(report, tmp_path)[3, 0].startswith("3_0-")  # 3/0.png is another's
    back = FakeColumn(nested=True)
    import_files(back, plan_import(find_files(tmp_path), "ndarray")[0], progress=False)
    assert set(back.samples) == set(keys)
    for key, value in column.samples.items():
        np.testing.assert_array_equal(back.samples[key], value)
    flat = FakeColumn()  # keys of subsamples are none of a flat column
    import_files(flat, plan_import(find_files(tmp_path), "ndarray")[0], progress=False)
    assert "s/front" in flat.samples


def test_a_second_export_keeps_the_keys_of_the_first(tmp_path: Path) -> None:
    run(filled(1, 2), tmp_path)
    run(filled(2, 3, "x"), tmp_path)
    run(filled("1"), tmp_path)  # takes the place of 1.png, whose key its name gives
    assert read_keys(str(tmp_path)) == {"2.png": 2, "3.png": 3}


@pytest.mark.parametrize(
    "line", ["", "[]", '["a.png"]', '["a.png", 1.5]', '["a.png", true]', '["a.png", "a b"]', "[" * 9999]
)
def test_keys_from_a_stranger(tmp_path: Path, line: str) -> None:
    (tmp_path / KEYS_FILE).write_text(f'["a.png", 1]\n{line}\n')
    with pytest.raises(InvalidInputError, match=f"line 2 of .*{KEYS_FILE} is no path and key"):
        find_files(tmp_path)
    (tmp_path / KEYS_FILE).unlink()
    (tmp_path / KEYS_FILE).symlink_to("/etc/passwd")
    with pytest.raises(InvalidInputError, match="is a link"):
        find_files(tmp_path)


@pytest.mark.parametrize("cores", [1, 4])
def test_many_files_on_several_cores(tmp_path: Path, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: cores)
    monkeypatch.setattr(exporter, "AHEAD_BYTES", 2_000)
    column = filled(*range(500))
    report = run(column, tmp_path)
    assert [one.sample for one in report.files] == list(range(500))
    for one in report.files:
        np.testing.assert_array_equal(external.load(one.path)[0], column.samples[one.sample])


@pytest.mark.parametrize("error", [KeyboardInterrupt, InvalidInputError])
def test_what_ends_an_export_leaves_whole_files(
    tmp_path: Path, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = ImagePlugin.encode

    def failing(self: ImagePlugin, arr: Any, extension: str, **options: Any) -> memoryview:
        if np.array_equal(arr, picture(333)):
            raise error("here")
        return encode(self, arr, extension, **options)

    monkeypatch.setattr(ImagePlugin, "encode", failing)
    column = filled(*range(500))
    with OutputDirectory(tmp_path) as directory:
        work = FolderExport(column, directory)
        with pytest.raises(error, match="here"):
            work.run(list(column.samples), progress=False)
    told = [one.sample for one in work.report.files]
    assert set(range(333)) <= set(told)
    assert 333 not in told
    assert read_keys(str(tmp_path)) == {f"{key}.png": key for key in told}
    files = list(tmp_path.glob("*.png"))
    assert len(files) == len(told)
    for file in files:
        np.testing.assert_array_equal(external.load(file)[0], column.samples[int(file.stem)])


def test_remembered_paths_are_used(tmp_path: Path) -> None:
    column = filled("a_b", "photo", "anim", "noext", "plain", "evil", "strange", shape=(4, 5, 3))
    paths = FakeColumn("str")
    paths.samples = {
        "a_b": "some dir/a b.bmp",
        "photo": "p.JPG",
        "anim": "anim.gif",
        "noext": "folder/noext",
        "evil": "../../../tmp/evil.png",
        "strange": "x.odd suffix",
    }
    report = run(column, tmp_path, paths=paths)
    assert names(report, tmp_path) == {
        "a_b": "some dir/a b.bmp",
        "photo": "p.JPG",
        "anim": "anim.png",
        "noext": "folder/noext.png",
        "plain": "plain.png",
        "evil": "__/__/__/tmp/evil.png",
        "strange": "x.odd suffix.png",
    }
    assert report.lossy
    report = run(column, tmp_path / "npy", paths=paths, extension="npy")
    assert names(report, tmp_path / "npy")["a_b"] == "some dir/a b.npy"


def test_bytes_keep_any_remembered_suffix(tmp_path: Path) -> None:
    column, paths = FakeColumn("bytes"), FakeColumn("str")
    column.samples = {"x": b"%PDF", "y": b"2"}
    paths.samples = {"x": "deep/x.pdf", "y": "Makefile"}
    assert names(run(column, tmp_path, paths=paths), tmp_path) == {"x": "deep/x.pdf", "y": "Makefile.bin"}


def test_a_planted_link_stops_the_export(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x.png").symlink_to(victim)
    paths = FakeColumn("str")
    paths.samples = {"x": "x.png"}
    for options in ({}, {"paths": paths}):
        with pytest.raises(InvalidInputError, match=r"x\.png is in the way"):
            run(filled("x"), tmp_path / "out", **options)
    assert victim.read_text() == "precious"
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["x.png"]


def test_samples_are_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "BATCH_BYTES", 20 * 3)
    asked: list[int] = []

    class Counting(FakeColumn):
        def __getitem__(self, key: Any) -> Any:
            asked.append(len(key))
            return super().__getitem__(key)

    column = Counting()
    column.samples = {i: picture(i) for i in range(7)}
    assert len(run(column, tmp_path).files) == 7
    assert asked == [3, 3, 1]
    asked.clear()
    column.schema_type = "variable_shape"
    run(column, tmp_path)
    assert asked == [1] * 7


class Spread(BasePlugin):
    """Writes what it is told to, where it wants."""

    def __init__(self, *files: str) -> None:
        super().__init__(["save"], ["spread"])
        self.files = files
        self.details: list[str] = []

    def save(self, arr: Any, outdir: str, sample_detail: str, extension: str) -> None:
        self.details.append(sample_detail)
        for file in self.files:
            path = Path(outdir, file)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(arr.tobytes())


@pytest.fixture
def use_plugin(monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(plugin: BasePlugin) -> None:
        monkeypatch.setattr(manager, "_installed", {"spread": plugin})

    return use


def test_a_plugin_of_others_writes_where_it_can_do_no_harm(tmp_path: Path, use_plugin: Any) -> None:
    plugin = Spread("whatever.spread")
    use_plugin(plugin)
    report = run(filled("../x", 3), tmp_path / "out", extension="spread")
    assert names(report, tmp_path / "out") == {"../x": "__/x.spread", 3: "3.spread"}
    assert plugin.details == ["str:.._x".replace("..", "__"), "int:3"]
    assert [one.name for one in tmp_path.iterdir()] == ["out"]


def test_a_plugin_that_writes_several_files(tmp_path: Path, use_plugin: Any) -> None:
    use_plugin(Spread("a.json", "b.raw"))
    report = run(filled("x"), tmp_path, plugin="spread", extension="spread")
    assert [one.path.relative_to(tmp_path).as_posix() for one in report.files] == ["x/a.json", "x/b.raw"]


def test_a_plugin_that_writes_nothing_or_a_folder(tmp_path: Path, use_plugin: Any) -> None:
    use_plugin(Spread())
    with pytest.raises(InvalidInputError, match="plugin Spread wrote no file"):
        run(filled("x"), tmp_path, extension="spread")
    use_plugin(Spread("folder/x"))
    with pytest.raises(InvalidInputError, match="not a regular file"):
        run(filled("x"), tmp_path, extension="spread")
    assert list(tmp_path.iterdir()) == []


def test_a_plugin_that_fails(tmp_path: Path, use_plugin: Any) -> None:
    class Failing(Spread):
        def save(self, arr: Any, outdir: str, sample_detail: str, extension: str) -> None:
            raise ZeroDivisionError("oops")

    use_plugin(Failing())
    with pytest.raises(InvalidInputError, match=r"sample 'x': plugin Failing failed: ZeroDivisionError"):
        run(filled("x"), tmp_path, extension="spread")


def test_without_pillow_arrays_go_out_as_npy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "find_spec", lambda name: None)
    assert names(run(filled("x"), tmp_path), tmp_path) == {"x": "x.npy"}
