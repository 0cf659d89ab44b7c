"""Whole datasets: what is proposed for a folder, what is imported, and what is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import Repository, make_numpy_dataset
from hangar.bulk_importer import import_dataset, plan_dataset
from hangar.checkout import WriterCheckout
from tests.bulk_importer import folders
from tests.cli.shell import Shell

pytest.importorskip("PIL")
pytest.importorskip("pyarrow")


def kinds(checkout: Any) -> dict[str, tuple[str, str]]:
    return {name: (column.column_type, column.column_layout) for name, column in checkout.items()}


@pytest.mark.parametrize("workers", [0, 2])
def test_classes_and_splits(writer: WriterCheckout, tmp_path: Path, workers: int) -> None:
    folder = tmp_path / "imagenet"
    folders.classes(folder, ("train", "val"))
    plan = plan_dataset(folder)
    assert plan.layout == "an image-classification folder"
    assert any("train (20), val (20)" in note for note in plan.notes)
    report = import_dataset(writer, plan, workers=workers)
    assert (report.imported, report.failed) == (40, ())
    images, labels, split = writer["images"], writer["labels"], writer["split"]
    names = labels.attributes["classes"]
    assert names == sorted({f"digit_{folders.digit(n)}" for n in range(40)})
    for key in images:
        number = int(key.rpartition("/")[2])
        assert images.encoded(key) == folders.png(number)
        assert names[int(labels[key])] == f"digit_{folders.digit(number)}"
        assert split[key] == key.partition("/")[0] == ("train" if number < 20 else "val")
    # The same import finds everything staged; after a commit nothing has changed.
    assert import_dataset(writer, folder, workers=workers).resumed == 40
    writer.commit("imported")
    assert import_dataset(writer, folder, workers=0).imported == 40
    assert writer.diff.status() == "CLEAN"


def test_images_as_arrays(repo: Repository, tmp_path: Path) -> None:
    writer = repo.checkout(write=True)
    folder = tmp_path / "plain"
    folders.classes(folder)
    report = import_dataset(writer, plan_dataset(folder, arrays=True, prefix="a."), workers=0)
    assert report.failed == ()
    assert (writer["a.images"].shape, writer["a.images"].schema_type) == ((8, 8, 3), "fixed_shape")
    writer.commit("imported")
    writer.close()
    reader = repo.checkout()
    dataset = make_numpy_dataset([reader["a.images"], reader["a.labels"]], shuffle=False)
    assert [int(label) for _, label in dataset] == [int(label) for label in reader["a.labels"].values()]
    reader.close()


def test_coco(writer: WriterCheckout, tmp_path: Path) -> None:
    folders.coco(tmp_path / "coco")
    plan = plan_dataset(tmp_path / "coco")
    assert plan.layout == "COCO annotations"
    assert any("1 image named there" in note for note in plan.notes)
    assert import_dataset(writer, plan, workers=0).failed == ()
    assert len(writer["images"]) == 5
    assert kinds(writer)["boxes"] == ("ndarray", "nested")
    key = "val2017/000000000001"
    assert list(writer["boxes"][key]) == [101, 105]
    assert writer["boxes", key, 105].tolist() == [5, 0.5, 2, 3]
    assert int(writer["category", key, 105]) == 90
    assert writer["category"].attributes["categories"] == {"1": "person", "90": "toothbrush"}
    assert json.loads(writer["segmentation", key, 101]) == [[0, 0, 1, 1, 1, 2]]
    assert writer["boxes"].attributes["format"] == "xywh"
    assert "val2017/000000000004" not in writer["boxes"]


def test_table_beside_images(writer: WriterCheckout, tmp_path: Path) -> None:
    folders.table(tmp_path / "table")
    assert import_dataset(writer, tmp_path / "table", workers=0).failed == ()
    assert writer["parity"].attributes["classes"] == ["even", "odd"]
    for number in range(10):
        key = f"pictures/{number}"
        assert (int(writer["parity", key]), int(writer["digit", key])) == (number % 2, folders.digit(number))
        assert (float(writer["weight", key]), writer["remark", key]) == (number / 4, f"note {number}")


def test_lines_of_json_beside_images(writer: WriterCheckout, tmp_path: Path) -> None:
    lines = "\n".join(json.dumps({"n": n, "path": f"pictures/{n}.png", "tags": [n]}) for n in range(9))
    folders.table(tmp_path / "table", lines, "meta.jsonl")
    plan = plan_dataset(tmp_path / "table")
    assert any("1 image without a row" in note for note in plan.notes)
    import_dataset(writer, plan, workers=0)
    assert (len(writer["images"]), writer["tags", "pictures/3"], int(writer["n", "pictures/3"])) == (9, "[3]", 3)


def test_hugging_face(writer: WriterCheckout, tmp_path: Path) -> None:
    folders.hugging_face(tmp_path / "hf")
    plan = plan_dataset(tmp_path / "hf")
    assert any("left out" in note and "map" in note for note in plan.notes)
    assert import_dataset(writer, plan, workers=0).failed == ()
    assert sorted(writer["label"], key=str) == sorted(
        [f"train/{n}" for n in range(20)] + [f"test/{n}" for n in range(6)]
    )
    for n in range(26):
        key = f"train/{n}" if n < 20 else f"test/{n - 20}"
        assert writer["image"].encoded(key) == folders.png(n)
        assert int(writer["label", key]) == folders.digit(n)
        assert writer["pixels", key].shape == (64,)
        assert writer["ragged", key].dtype == np.int16
        assert bool(writer["odd", key]) == (n % 2 == 1)
    assert "train/1" not in writer["text"]
    assert writer["text", "train/2"] == "number 2"
    assert writer["label"].attributes["classes"] == [f"digit {n}" for n in range(10)]
    assert writer["pixels"].schema_type == "fixed_shape"
    assert writer["ragged"].schema_type == "variable_shape"


def test_saved_arrow(writer: WriterCheckout, tmp_path: Path) -> None:
    folders.saved_arrow(tmp_path / "saved")
    assert import_dataset(writer, tmp_path / "saved", workers=0).failed == ()
    assert list(writer["label"]) == list(range(12))
    assert [int(writer["label", n]) for n in range(12)] == [folders.digit(n) for n in range(12)]


@pytest.mark.parametrize("make", [folders.classes, folders.coco, folders.table, folders.hugging_face])
def test_torch_takes_the_columns_as_they_are(repo: Repository, tmp_path: Path, make: Callable[[Path], None]) -> None:
    pytest.importorskip("torch")
    from hangar import make_torch_dataset

    make(tmp_path / "data")
    writer = repo.checkout(write=True)
    import_dataset(writer, tmp_path / "data", workers=0)
    writer.commit("imported")
    writer.close()
    reader = repo.checkout()
    names = [name for name in ("image", "images", "label", "labels", "parity", "boxes", "category") if name in reader]
    columns: list[Any] = [reader[name] for name in names]
    if "boxes" in names:
        keys: Any = [(key, (key, ...), (key, ...)) for key in reader["boxes"]]
        dataset = make_torch_dataset(columns, keys=keys)
        assert sorted(dataset[1][1]) == [101, 105]
    else:
        dataset = make_torch_dataset(columns)
        assert int(dataset[0][1]) >= 0
    assert dataset[0][0].shape == (8, 8, 3)
    reader.close()


# ---------------------------------------------------------------------------------------------------- what is refused

BIG = 10**40


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"annotations": [{"image_id": 10, "bbox": [1, 2, 3]}]}, "four finite numbers"),
        ({"annotations": [{"image_id": 10, "bbox": [1, 2, 3, 1e300]}]}, "four finite numbers"),
        ({"annotations": [{"image_id": 10, "bbox": [1, 2, 3, BIG]}]}, "finite|Number out of range|no file of COCO"),
        ({"annotations": [{"image_id": 10, "id": BIG}]}, "id is not|no file of COCO"),
        ({"annotations": [{"image_id": 10, "id": -1}]}, "id is not"),
        ({"annotations": [{"image_id": 10, "category_id": 2**70}]}, "64 bits|no file of COCO"),
        ({"annotations": [{"image_id": 10, "iscrowd": 900}]}, "iscrowd"),
        ({"annotations": [{"image_id": 10, "area": 1e200}]}, "area"),
        ({"annotations": [{"image_id": "10"}]}, "no file of COCO"),
        ({"annotations": {"image_id": 10}}, "no file of COCO"),
        ({"images": [{"id": 1, "file_name": "../../etc/passwd"}]}, "none of the images"),
        ({"images": [{"id": 1, "file_name": "/etc/hostname"}]}, "none of the images"),
        ({"images": [{"id": 1}]}, "no file of COCO"),
    ],
)
def test_hostile_annotations(tmp_path: Path, changes: Any, text: str) -> None:
    folders.coco(tmp_path / "coco", **changes)
    with pytest.raises(ValueError, match=text):
        plan_dataset(tmp_path / "coco")


def test_deep_json_is_refused(tmp_path: Path) -> None:
    folders.coco(tmp_path / "coco")
    path = tmp_path / "coco" / "annotations" / "instances_val2017.json"
    deep = "[" * 200_000 + "]" * 200_000
    path.write_text('{"images": [], "info": ' + deep + ', "annotations": []}')
    with pytest.raises(ValueError, match="no file of COCO"):
        plan_dataset(tmp_path / "coco")
    folders.table(tmp_path / "table", '{"file": "1.png", "x": ' + deep + "}", "deep.jsonl")
    with pytest.raises(ValueError, match="cannot be read as a table"):
        plan_dataset(tmp_path / "table")


def test_links_that_lead_out_are_refused(tmp_path: Path) -> None:
    folders.classes(tmp_path / "data")
    os.symlink("/etc/hostname", tmp_path / "data" / "digit_0" / "secret.png")
    with pytest.raises(ValueError, match="leads out of the folder"):
        plan_dataset(tmp_path / "data")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\n1.png,a\n1.png,b\n", "more than one row"),
        ("file,label\n1.png,\xff\n", None),
        ('file,label\n"1.png,a\n', "cannot be read as a table"),
        ("file,label\n1.png,a,b\n", "line 2 has more cells"),
        ("file,label,label\n1.png,a,b\n", "several columns are named 'label'"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, message: str | None) -> None:
    folders.table(tmp_path / "table", text)
    if message is None:
        (tmp_path / "table" / "labels.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=message or "not UTF-8"):
        plan_dataset(tmp_path / "table")


def test_bad_files_are_listed_and_the_rest_is_imported(writer: WriterCheckout, tmp_path: Path) -> None:
    folders.classes(tmp_path / "data")
    broken = sorted((tmp_path / "data").rglob("*.png"))[3]
    broken.write_bytes(broken.read_bytes()[:60])
    report = import_dataset(writer, tmp_path / "data", workers=0)
    assert (report.imported, [Path(one.item[1]) for one in report.failed]) == (19, [broken])
    assert len(writer["labels"]) == 19
    broken.write_bytes(folders.png(0))
    assert import_dataset(writer, tmp_path / "data", workers=0).imported == 1
    truncated = tmp_path / "hf" / "x.parquet"
    folders.write(truncated, b"PAR1" + bytes(50))
    with pytest.raises(ValueError, match="cannot be read"):
        plan_dataset(tmp_path / "hf")


def test_files_with_one_name_are_listed_and_the_rest_is_imported(writer: WriterCheckout, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folders.classes(folder)
    first = min((folder / "digit_1").iterdir())
    other = first.with_suffix(".webp")
    other.write_bytes(folders.png(9))
    plan = plan_dataset(folder)
    assert any("same key" in note for note in plan.notes)
    report = import_dataset(writer, plan, workers=0)
    (failed,) = report.failed
    assert (report.imported, failed.item[1]) == (20, str(other))
    assert f"{first} and {other} would both be the sample" in failed.message
    assert writer["images"].encoded(f"digit_1/{first.stem}") == first.read_bytes()


def test_codes_in_tables_are_not_changed(writer: WriterCheckout, tmp_path: Path) -> None:
    rows = [f"{n}.png,0{n},1_{n},{2**63 + n},{n}.5,{n}e400,{'nan' if n else n}" for n in range(10)]
    folders.table(tmp_path / "table", "\n".join(["file,zip,part,hash,half,large,gap", *rows]))
    assert import_dataset(writer, tmp_path / "table", workers=0).failed == ()
    key = "pictures/3"
    assert [writer[name, key] for name in ("zip", "part", "hash", "large")] == ["03", "1_3", str(2**63 + 3), "3e400"]
    assert float(writer["half", key]) == 3.5
    lines = '{"file": "1.png", "text": "a\u2028b", "n": 12345678901234567890, "x": 1.5}\n'
    folders.table(tmp_path / "lines", lines, "rows.jsonl")
    import_dataset(writer, plan_dataset(tmp_path / "lines", prefix="j."), workers=0)
    names = writer["j.text"].attributes["classes"]
    assert (names[int(writer["j.text", "pictures/1"])], float(writer["j.x", "pictures/1"])) == ("a\u2028b", 1.5)
    numbers = writer["j.n"].attributes["classes"]
    assert numbers[int(writer["j.n", "pictures/1"])] == "12345678901234567890"


def test_annotations_do_not_go_to_an_image_of_another_folder(tmp_path: Path) -> None:
    names = ["train/000000000000.png", "/data/val2017/000000000001.png", "000000000002.png"]
    folders.coco(tmp_path / "coco", images=[{"id": 10 + n, "file_name": name} for n, name in enumerate(names)])
    plan = plan_dataset(tmp_path / "coco")
    assert [item[0] for item in plan.items] == ["val2017/000000000001", "val2017/000000000002"]


def test_damaged_arrow_files_are_refused(writer: WriterCheckout, tmp_path: Path) -> None:
    """Wherever bytes of a file are wrong, the import ends in an error or in values, not with the process."""
    folders.saved_arrow(tmp_path / "saved")
    path = tmp_path / "saved" / "data-00000-of-00001.arrow"
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(40):
        damaged = bytearray(whole)
        at = int(random.integers(len(whole) - 8))
        damaged[at : at + 8] = random.bytes(8)
        path.write_bytes(damaged)
        try:
            plan = plan_dataset(tmp_path / "saved")
            refused += bool(list(_read_all(plan)) == [])
        except ValueError:
            refused += 1
    assert refused > 5


def _read_all(plan: Any) -> Any:
    for item in plan.items:
        yield from plan.load(item)


def test_columns_that_hold_something_else_are_kept(writer: WriterCheckout, tmp_path: Path) -> None:
    folders.classes(tmp_path / "data")
    writer.add_str_column("labels")
    with pytest.raises(LookupError, match="holds something else"):
        import_dataset(writer, tmp_path / "data", workers=0)
    assert kinds(writer) == {"labels": ("str", "flat")}
    writer.columns.delete("labels")
    column = writer.add_ndarray_column("labels", (), np.int64)
    column.attributes["classes"] = ["other"]
    with pytest.raises(LookupError, match="another attribute"):
        import_dataset(writer, tmp_path / "data", workers=0)
    assert list(writer) == ["labels"]


def test_unknown_layouts(tmp_path: Path) -> None:
    folders.write(tmp_path / "data" / "a.xyz", b"x")
    with pytest.raises(ValueError, match="no layout that is known"):
        plan_dataset(tmp_path / "data")
    with pytest.raises(FileNotFoundError):
        plan_dataset(tmp_path / "missing")


# ---------------------------------------------------------------------------------------------------- command line


def test_command(tmp_path: Path) -> None:
    data, shell = tmp_path / "data", Shell(tmp_path)
    folders.classes(data, ("train", "val"), 10)
    shell.ok("init", "--name", "Ada", "--email", "ada@example.org")
    plan = shell.ok("import", data, "--dry-run")
    assert "an image-classification folder" in plan
    assert "splits: train (10), val (10)" in plan
    assert shell.json("import", data, "--dry-run")["items"] == 20
    shell.fails(2, "import", data, text="no terminal to ask on")
    shell.fails(3, "import", "picturs", text="there is no folder")
    shell.fails(2, "import", "images", data, "--dry-run", text="whole datasets")
    assert "Imported 20 samples into 3 columns" in shell.ok("import", data, "--yes", "--workers", "0")
    record = shell.json("import", data, "--yes")
    assert (record["imported"], record["resumed"], record["failed"]) == (0, 20, [])
    (data / "train" / "digit_0" / "broken.png").write_bytes(b"\x89PNG")
    assert "broken.png" in shell.run("import", data, "--yes").stderr
