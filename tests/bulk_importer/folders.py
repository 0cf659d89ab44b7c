"""Makes folders with datasets of scikit-learn's digits, in the layouts that people have."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

SIZE = (8, 8)


def png(number: int) -> bytes:
    """The file of a picture of a digit."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray((load_digits().images[number] * 15).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def digit(number: int) -> int:
    return int(load_digits().target[number])


def classes(folder: Path, splits: Iterable[str] = ("",), count: int = 20) -> None:
    """A folder for each class, in a folder for each split."""
    for at, split in enumerate(splits):
        for number in range(at * count, at * count + count):
            write(folder / split / f"digit_{digit(number)}" / f"{number:04}.png", png(number))


def coco(folder: Path, **changes: Any) -> None:
    """Five images, of which four have annotations; the file names one image more."""
    for number in range(5):
        write(folder / "val2017" / f"{number:012}.png", png(number))
    content = {
        "info": {"description": "made"},
        "images": [{"id": 10 + n, "file_name": f"{n:012}.png", "height": 8, "width": 8} for n in range(6)],
        "annotations": [
            {
                "id": 100 + n,
                "image_id": 10 + n % 4,
                "category_id": [1, 90][n % 2],
                "bbox": [n, 0.5, 2, 3],
                "area": 6.0,
                "iscrowd": 0,
                "segmentation": [[0, 0, 1, 1, n, 2]],
            }
            for n in range(9)
        ],
        "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person", "supercategory": "person"}],
    }
    write(folder / "annotations" / "instances_val2017.json", json.dumps({**content, **changes}))


def table(folder: Path, text: str | None = None, name: str = "labels.csv") -> None:
    for number in range(10):
        write(folder / "pictures" / f"{number}.png", png(number))
    rows = [f"{n}.png,{'even' if n % 2 == 0 else 'odd'},{digit(n)},{n / 4},note {n}" for n in range(10)]
    write(folder / name, text if text is not None else "\n".join(["file,parity,digit,weight,remark", *rows]))


def arrow_table(first: int, stop: int) -> Any:
    """A table with images and class names, as Hugging Face writes it."""
    import pyarrow as pa

    numbers = range(first, stop)
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {
        "image": {"_type": "Image"},
        "label": {"_type": "ClassLabel", "names": [f"digit {n}" for n in range(10)]},
    }
    return pa.table(
        {
            "image": pa.array([{"bytes": png(n), "path": None} for n in numbers], image),
            "label": pa.array([digit(n) for n in numbers], pa.int64()),
            "pixels": pa.array([load_digits().data[n].tolist() for n in numbers], pa.list_(pa.float32())),
            "ragged": pa.array([list(range(n // 6)) for n in numbers], pa.list_(pa.int16())),
            "text": pa.array([None if n == first + 1 else f"number {n}" for n in numbers]),
            "odd": pa.array([n % 2 == 1 for n in numbers]),
            "map": pa.array([[("a", n)] for n in numbers], pa.map_(pa.string(), pa.int64())),
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def hugging_face(folder: Path) -> None:
    from pyarrow import parquet

    (folder / "data").mkdir(parents=True)
    parquet.write_table(arrow_table(0, 12), folder / "data" / "train-00000-of-00002.parquet", row_group_size=5)
    parquet.write_table(arrow_table(12, 20), folder / "data" / "train-00001-of-00002.parquet", row_group_size=5)
    parquet.write_table(arrow_table(20, 26), folder / "data" / "test-00000-of-00001.parquet")


def saved_arrow(folder: Path) -> None:
    """As ``Dataset.save_to_disk`` writes: streams of record batches, and JSON beside them."""
    import pyarrow as pa

    folder.mkdir(parents=True)
    content = arrow_table(0, 12)
    path = str(folder / "data-00000-of-00001.arrow")
    with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, content.schema) as stream:
        stream.write_table(content, max_chunksize=5)
    write(folder / "state.json", "{}")
    write(folder / "dataset_info.json", json.dumps({"features": {}}))
