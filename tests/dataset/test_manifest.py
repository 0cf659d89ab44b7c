"""Run manifests: each batch again, what was seen, and files that are none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import (
    ColumnNotFoundError,
    InvalidInputError,
    InvalidTypeError,
    PathNotFoundError,
    PositionNotFoundError,
    Repository,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    UnsupportedVersionError,
)
from hangar.checkout import ReaderCheckout
from hangar.dataset import Manifest, Sampler, hash_split, make_numpy_dataset
from tests.dataset.content import COUNT, same

KEYS = range(100, 100 + COUNT)


def columns(reader: ReaderCheckout, *names: str) -> list[Any]:
    return [reader.columns[name] for name in names]


def run(data: Any, batches: int) -> list[Any]:
    """The first batches of a run over as many epochs as it takes."""
    done: list[Any] = []
    while True:
        for batch in data:
            done.append(batch)
            if len(done) == batches:
                return done


def test_every_batch_of_a_run_again(reader: ReaderCheckout, tmp_path: Path) -> None:
    keys = [(key, key, key, (key, ...)) for key in KEYS]
    data = make_numpy_dataset(columns(reader, "image", "label", "text", "boxes"), keys, batch_size=7, seed=3)
    batches = run(data, 30)
    file = tmp_path / "run.json"
    Manifest.of(data).save(file)
    reader.close()
    again = Manifest.load(file)
    for number, batch in enumerate(batches):
        found = again.batch(number)
        assert all(same(one, other) or one == other for one, other in zip(batch[:2], found[:2], strict=True))
        assert batch[2] == found[2]
        assert all(same(one, other) for one, other in zip(batch[3], found[3], strict=True))
        assert [keys[0] for keys in again.keys(number)] == batch[0][:, 0, 0].tolist()
    assert file.stat().st_size < 2000
    assert again.sampler.state_dict() == data.state_dict()


@pytest.mark.parametrize("stop", [0, 1, 8, 9, 10, 17, 18, 40])
@pytest.mark.parametrize("drop_last", [False, True])
def test_what_was_seen(stop: int, drop_last: bool, reader: ReaderCheckout, tmp_path: Path) -> None:
    """Against what was delivered in the run: epochs of 9 batches, or of 8 if the last is left out."""
    data = make_numpy_dataset(reader["image"], batch_size=7, seed=4, drop_last=drop_last)
    batches = run(data, stop) if stop else []
    keys = [key for batch in batches for key in batch[:, 0, 0].tolist()]
    Manifest.of(data).save(tmp_path / "run.json")
    found = Manifest.load(tmp_path / "run.json")
    assert list(found.seen()) == list(dict.fromkeys(keys))
    per_epoch = 8 if drop_last else 9
    for epoch in range(6):
        some = batches[epoch * per_epoch : (epoch + 1) * per_epoch]
        assert list(found.seen(epoch)) == [key for batch in some for key in batch[:, 0, 0].tolist()]


def test_the_run_goes_on_from_the_manifest(reader: ReaderCheckout, tmp_path: Path) -> None:
    data = make_numpy_dataset(columns(reader, "image", "label"), batch_size=7, seed=3)
    whole = [batch[0][:, 0, 0].tolist() for batch in run(data, 20)]
    data = make_numpy_dataset(columns(reader, "image", "label"), batch_size=7, seed=3)
    run(data, 12)
    manifest = Manifest.of(data)
    manifest.save(tmp_path / "run.json")
    run(data, 3)  # the manifest is of the moment when it was made
    found = Manifest.load(tmp_path / "run.json")
    rest: list[list[int]] = []
    while len(rest) < 8:
        rest += [[KEYS[item] for item in items] for items in found.sampler]
    assert rest[:8] == whole[12:20]
    assert manifest.sampler.state_dict() == {**found.sampler.state_dict(), "epoch": 1, "position": 21}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"shuffle": False},
        {"block_size": 4, "window": 3},
        {"where": [3, 1, 59, 7]},
        {"where": np.arange(COUNT) % 3 == 0, "block_size": 2},
        {"drop_last": True, "rank": 1, "world_size": 2},
        {"rank": 2, "world_size": 3, "pad": False},
    ],
    ids=str,
)
def test_samplers(options: dict[str, Any], reader: ReaderCheckout, tmp_path: Path) -> None:
    data = make_numpy_dataset(reader["image"])
    sampler = Sampler(COUNT, 5, seed=9, **options)
    drawn = [items.tolist() for _ in range(3) for items in sampler]
    Manifest.of(data, sampler).save(tmp_path / "run.json")
    found = Manifest.load(tmp_path / "run.json")
    assert [found.items(number).tolist() for number in range(len(drawn))] == drawn
    assert found.sampler.state_dict() == sampler.state_dict()
    ranks = range(sampler.world_size)
    others = [Sampler(COUNT, 5, seed=9, **{**options, "rank": rank, "world_size": len(ranks)}) for rank in ranks]
    for rank, other in zip(ranks, others, strict=True):
        assert [found.items(number, rank=rank).tolist() for number in range(len(other))] == [i.tolist() for i in other]
    assert set(found.seen()) <= set(KEYS)
    if not options.get("drop_last"):
        assert len(set(found.seen())) == sampler.order.count


@pytest.mark.parametrize("options", [{"weights": np.arange(COUNT) % 4}, {"balance": np.arange(COUNT) % 7}])
def test_weights_are_given_again(options: dict[str, Any], reader: ReaderCheckout, tmp_path: Path) -> None:
    data = make_numpy_dataset(reader["image"])
    sampler = Sampler(COUNT, 5, seed=9, **options)
    drawn = [items.tolist() for _ in range(2) for items in sampler]
    manifest = Manifest.of(data, sampler)
    manifest.save(tmp_path / "run.json")
    with pytest.raises(InvalidInputError, match="weights or balanced classes"):
        Manifest.load(tmp_path / "run.json")
    with pytest.raises(InvalidInputError, match="the order of the run is"):
        Manifest.load(tmp_path / "run.json", sampler=Sampler(COUNT, 5))
    found = Manifest.load(tmp_path / "run.json", sampler=Sampler(COUNT, 5, seed=9, **options))
    assert [found.items(number).tolist() for number in range(len(drawn))] == drawn
    flat = [item for items in drawn for item in items]
    assert list(found.seen()) == [KEYS[item] for item in dict.fromkeys(flat)]


@pytest.mark.parametrize(
    ("names", "options"),
    [
        (["image", "label"], {"index_range": slice(5, 50, 3)}),
        (["image", "label"], {"keys": [(103, 101), (101, 101), (159, 103)]}),
        (["image", "image"], {"keys": [(key, key) for key in (159, 100, 123, 100)]}),
        (["boxes"], {"keys": [(101, 2), (103, 1), (101, 0)]}),
        (["boxes"], {"keys": [(101, ...), (159, ...)]}),
        (["label", "boxes"], {"keys": [(key, (key, 0)) for key in (150, 101)]}),
    ],
    ids=str,
)
def test_views(names: list[str], options: dict[str, Any], reader: ReaderCheckout, tmp_path: Path) -> None:
    data = make_numpy_dataset(
        columns(reader, *names), batch_size=2, shuffle=False, as_dict=len(set(names)) > 1, **options
    )
    Manifest.of(data).save(tmp_path / "run.json")
    found = Manifest.load(tmp_path / "run.json")
    assert repr(list(map(found.batch, range(data.num_batches or 0)))) == repr(list(data))
    assert len(found.selection) == len(data)


def test_two_commits(reader: ReaderCheckout, repo: Repository, tmp_path: Path) -> None:
    writer = repo.checkout(write=True)
    writer["label"][100] = 77
    writer.rename_column("label", "target")
    writer.commit("later")
    writer.close()
    data = make_numpy_dataset([reader["label"], repo.checkout()["target"]], batch_size=2, shuffle=False)
    Manifest.of(data).save(tmp_path / "run.json")
    first, second = Manifest.load(tmp_path / "run.json").batch(0)
    assert (first.tolist(), second.tolist()) == ([2, 3], [77, 3])


def test_a_part_of_a_split(reader: ReaderCheckout, repo: Repository, tmp_path: Path) -> None:
    writer = repo.checkout(write=True)
    hash_split({"train": 0.7, "test": 0.3}, salt="s").save(writer, "default")
    writer.commit("a split")
    writer.close()
    new = repo.checkout()
    chosen = hash_split({"train": 0.7, "test": 0.3}, salt="s").assign(new, "image")
    train = [(key, key) for key in chosen.keys("train")]
    data = make_numpy_dataset(columns(new, "image", "label"), train, batch_size=4)
    batches = run(data, 5)
    Manifest.of(data, split=("default", "train")).save(tmp_path / "run.json")
    document = json.loads((tmp_path / "run.json").read_text())
    assert document["columns"][0]["rows"] == {"split": ["default", "train"]}
    found = Manifest.load(tmp_path / "run.json")
    assert found.split == ("default", "train")
    assert [found.batch(i)[0].tolist() for i in range(5)] == [batch[0].tolist() for batch in batches]
    assert set(found.seen()) <= set(train)
    with pytest.raises(InvalidInputError, match="not part 'test' of split 'default'"):
        Manifest.of(data, split=("default", "test"))
    with pytest.raises(InvalidInputError, match="not part"):
        Manifest.of(make_numpy_dataset(new["image"], batch_size=4), split=("default", "train"))
    with pytest.raises(KeyError, match="no split"):
        Manifest.of(data, split=("other", "train"))
    with pytest.raises(InvalidTypeError, match="pair"):
        Manifest.of(data, split="default")  # type: ignore[arg-type]


def test_a_repository_that_was_moved(reader: ReaderCheckout, repo: Repository, tmp_path: Path) -> None:
    manifest = Manifest.of(make_numpy_dataset(reader["label"], batch_size=2, shuffle=False))
    file = tmp_path.parent / f"{tmp_path.name}.json"
    manifest.save(file)
    repo.close()
    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    shutil.move(tmp_path, moved)
    with pytest.raises(PathNotFoundError, match="repository="):
        Manifest.load(file)
    assert Manifest.load(file, moved).batch(1).tolist() == [4, 5]
    tmp_path.mkdir()
    with pytest.raises(RepositoryNotFoundError):
        Manifest.load(file).batch(0)
    other = Repository(tmp_path, exists=False)
    other.init("Eve", "eve@example.org", remove_old=True)
    with pytest.raises(RevisionNotFoundError):
        Manifest.load(file)


def test_transforms_are_given_again(reader: ReaderCheckout) -> None:
    data = make_numpy_dataset(reader["label"], batch_size=3, shuffle=False, transform=lambda label: int(label) + 100)
    manifest = Manifest.of(data)
    assert manifest.batch(0).tolist() == [2, 3, 4]
    assert manifest.batch(0, transform=lambda label: int(label) + 100).tolist() == next(iter(data)).tolist()


def test_what_a_manifest_is_not_made_of(reader: ReaderCheckout, tmp_path: Path) -> None:
    data = make_numpy_dataset(reader["label"], batch_size=3)
    for wrong in ([1], reader["label"], None):
        with pytest.raises(InvalidTypeError, match="data set of Hangar, or a loader of one"):
            Manifest.of(wrong)
    with pytest.raises(InvalidTypeError, match="needs the sampler"):
        Manifest.of(data.dataset)
    manifest = Manifest.of(data.dataset, data.sampler)
    for wrong in (-1, -20):
        with pytest.raises(PositionNotFoundError, match="no batch"):
            manifest.batch(wrong)
    batch: Any = manifest.batch
    for wrong in (True, 1.0, "1"):
        with pytest.raises(InvalidTypeError, match="by its number"):
            batch(wrong)
    with pytest.raises(PathNotFoundError, match="no manifest"):
        Manifest.load(tmp_path / "nope.json")


# ---------------------------------------------------------------------- files that are no manifests


def put(*path: Any, to: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = to

    return change


HOSTILE = {
    "format": put("format", to="something else"),
    "an unknown field": put("hook", to="os.system"),
    "no columns": put("columns", to=[]),
    "a commit that is none": put("columns", 0, "commit", to="master"),
    "two lists of items": put("columns", 0, "rows", to={"range": [0, 60, 1], "same_as": 0}),
    "no list of items": put("columns", 0, "rows", to={}),
    "a range beyond the end": put("columns", 0, "rows", to={"range": [0, 61, 1]}),
    "an empty range": put("columns", 0, "rows", to={"range": [5, 5, 1]}),
    "a range without a step": put("columns", 0, "rows", to={"range": [0, 60, 0]}),
    "a huge range": put("columns", 0, "rows", to={"range": [0, 2**62, 1]}),
    "columns of two lengths": put("columns", 1, "rows", to={"range": [0, 59, 1]}),
    "the items of itself": put("columns", 0, "rows", to={"same_as": 0}),
    "the items of a column after it": put("columns", 0, "rows", to={"same_as": 1}),
    "no base64": put("columns", 0, "rows", to={"packed": "***"}),
    "nothing compressed": put("columns", 0, "rows", to={"packed": "AAAA"}),
    "nothing": put("columns", 0, "rows", to={"packed": ""}),
    "positions beyond the end": put("columns", 0, "rows", to={"packed": "eJzLYYAAAAfAAP8="}),
    "an order of other data": put("sampler", "name", to="shuffled 61 3"),
    "another seed": put("sampler", "seed", to=4),
    "a negative seed": put("sampler", "seed", to=-1),
    "a seed of no text": put("sampler", "seed", to="3"),
    "no batch size": put("sampler", "batch_size", to=0),
    "a rank that is none": put("sampler", "rank", to=1),
    "a kind that is none": put("sampler", "kind", to="random"),
    "weights": put("sampler", "kind", to="other"),
    "a position beyond the end": put("state", "position", to=61),
    "a state of another order": put("state", "order", to="sequential 60"),
    "a negative epoch": put("state", "epoch", to=-1),
    "a state of another version": put("state", "version", to=2),
    "a path that is no text": put("repository", to=["/"]),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_manifests(what: str, reader: ReaderCheckout, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    Manifest.of(make_numpy_dataset(columns(reader, "label", "image"), batch_size=7, seed=3)).save(file)
    document = json.loads(file.read_text())
    HOSTILE[what](document)
    file.write_text(json.dumps(document))
    with pytest.raises(InvalidInputError):
        Manifest.load(file)


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"{" * 100_000, b'{"format": "hangar run manifest"}', b"\x00" * 99],
)
def test_files_of_something_else(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(data)
    with pytest.raises(InvalidInputError, match=r"run\.json is not a run manifest"):
        Manifest.load(tmp_path / "run.json")


def test_a_bomb_is_refused_before_it_is_unpacked(
    reader: ReaderCheckout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import base64
    import zlib

    from hangar.dataset import manifestfile

    monkeypatch.setattr(manifestfile, "_MAX_BYTES", 2**20)
    file = tmp_path / "run.json"
    Manifest.of(make_numpy_dataset(reader["label"], batch_size=7)).save(file)
    document = json.loads(file.read_text())
    document["columns"][0]["rows"] = {"packed": base64.b64encode(zlib.compress(bytes(2**24))).decode()}
    file.write_text(json.dumps(document))
    with pytest.raises(InvalidInputError, match="cannot be unpacked"):
        Manifest.load(file)
    file.write_bytes(b" " * (2**20 + 1))
    with pytest.raises(InvalidInputError, match="1,048,577 bytes"):
        Manifest.load(file)


def test_missing_columns_and_newer_versions(reader: ReaderCheckout, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    Manifest.of(make_numpy_dataset(reader["label"], batch_size=7)).save(file)
    document = json.loads(file.read_text())
    file.write_text(json.dumps({**document, "columns": [{**document["columns"][0], "name": "nope"}]}))
    with pytest.raises(ColumnNotFoundError, match="nope"):
        Manifest.load(file)
    file.write_text(json.dumps({"format": "hangar run manifest", "version": 2, "colour": "red"}))
    with pytest.raises(UnsupportedVersionError, match="newer Hangar"):
        Manifest.load(file)


def test_a_hostile_epoch_does_not_take_for_ever(reader: ReaderCheckout, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    Manifest.of(make_numpy_dataset(reader["label"], batch_size=60)).save(file)
    document = json.loads(file.read_text())
    document["state"]["epoch"] = 2**62
    file.write_text(json.dumps(document))
    assert sorted(Manifest.load(file).seen()) == list(KEYS)


def test_saving_replaces_the_file_in_one_step(reader: ReaderCheckout, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    manifest = Manifest.of(make_numpy_dataset(reader["label"], batch_size=7))
    manifest.save(file)
    before = file.read_bytes()
    manifest.save(str(file))
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name != ".hangar"] == ["run.json"]
    with pytest.raises(OSError, match="nowhere"):
        manifest.save(tmp_path / "nowhere" / "run.json")
