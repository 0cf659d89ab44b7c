"""Bundles: what was put into one file comes out of it, by clone, fetch and repair; damaged and hostile files are safe."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from blake3 import blake3
from click.testing import CliRunner
from sklearn.datasets import load_digits

from hangar import Repository
from hangar.cli import main
from hangar.errors import (
    CorruptionError,
    HangarError,
    InvalidInputError,
    NothingToDoError,
    UnsupportedVersionError,
)
from hangar.remote.bundle import create_bundle, verify_bundle
from hangar.remote.bundle_file import _TRAILER, CLASSES, BundleIndex
from hangar.remote.bundle_reader import BundleReader
from hangar.remote.peer import BlobNames, Hello, HistoryRequest, Names, ObjectsRequest

LARGE = np.arange(3_000_003, dtype="uint8")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Digits, labels, texts, a large array and a chunked one; two commits, a branch and a tag."""
    path = tmp_path_factory.mktemp("source")
    digits = load_digits()
    repository = Repository(path, exists=False)
    repository.init("Ada", "ada@example.org")
    with closing(repository.checkout(write=True)) as writer:
        images = writer.add_ndarray_column("images", shape=(8, 8), dtype="uint8")
        images.write(range(1_000), digits.images[:1_000].astype("uint8"))
        labels = writer.add_ndarray_column("labels", shape=(), dtype="int64")
        labels.write(range(1_000), digits.target[:1_000])
        writer.add_str_column("notes")["a"] = "a long note " * 50
        writer.add_ndarray_column("large", shape=LARGE.shape, dtype="uint8")["x"] = LARGE
        writer.commit("First")
    repository.tag("v1", message="the first")
    with closing(repository.checkout(write=True)) as writer:
        writer["images"][5] = np.full((8, 8), 77, "uint8")
        writer["notes"]["b"] = "another note " * 50
        writer.commit("Second")
    repository.create_branch("other", "v1")
    yield repository
    repository.close()


def clone_of(bundle: Path, path: Path) -> Repository:
    path.mkdir()
    repository = Repository(path, exists=False)
    repository.clone("Bob", "bob@example.org", str(bundle))
    return repository


def check(repository: Repository, source: Repository, ref: str, columns: list[str]) -> None:
    head = source.stores.refs.get(ref)
    assert head is not None
    rev = head.hex()
    with closing(source.checkout(commit=rev)) as there, closing(repository.checkout(commit=rev)) as here:
        for name in columns:
            assert list(here[name].keys()) == list(there[name].keys())
            for key in list(there[name].keys()):
                assert np.array_equal(here[name][key], there[name][key]), (name, key)


def test_a_clone_of_a_bundle_is_the_repository(source: Repository, tmp_path: Path) -> None:
    bundle = tmp_path / "all.bundle"
    made = create_bundle(source.stores, bundle, ["master", "other", "v1"], data="all")
    assert (made.commits, made.prerequisites, sorted(made.refs)) == (2, (), ["master", "other", "v1"])
    assert verify_bundle(bundle).errors == ()
    assert verify_bundle(bundle).blobs_outside == 0
    with clone_of(bundle, tmp_path / "clone") as clone:
        assert clone.list_branches() == ["master", "origin/master", "origin/other"]
        assert [tag.name if hasattr(tag, "name") else tag for tag in clone.list_tags()] == [
            tag.name if hasattr(tag, "name") else tag for tag in source.list_tags()
        ]
        clone.remote.fetch_data("origin", branch="origin/master", retrieve_all_history=True)
        assert clone.verify_repo_integrity()
        for ref in ("heads/master", "tags/v1"):
            check(clone, source, ref, ["images", "labels", "notes", "large"])
        with closing(clone.checkout(write=True)) as writer:
            writer["labels"][3] = 4
            writer.commit("Mine")
        with pytest.raises(PermissionError, match="can only be read"):
            clone.remote.push("origin", "master")


def test_only_what_is_new(source: Repository, tmp_path: Path) -> None:
    """A bundle since a commit is fetched by who has that commit, and by nobody else."""
    first, second = tmp_path / "1.bundle", tmp_path / "2.bundle"
    create_bundle(source.stores, first, ["v1", "other"])
    made = create_bundle(source.stores, second, ["master"], since=["v1"])
    assert (made.commits, made.blobs, len(made.prerequisites)) == (1, 2, 1)
    assert second.stat().st_size < first.stat().st_size / 20
    with clone_of(first, tmp_path / "clone") as clone:
        clone.remote.fetch_data("origin", branch="origin/other")
        clone.remote.add("news", str(second))
        assert clone.remote.fetch("news", "master") == "news/master"
        clone.remote.fetch_data("news", branch="news/master")
        check(clone, source, "heads/master", ["images", "notes", "large"])
        assert clone.verify_repo_integrity()
    with Repository(tmp_path, exists=False) as empty:
        empty.init("Eve", "eve@example.org")
        empty.remote.add("news", str(second))
        with pytest.raises(HangarError, match="or an earlier bundle"):
            empty.remote.fetch("news", "master")
    with pytest.raises(NothingToDoError):
        create_bundle(source.stores, tmp_path / "3.bundle", ["v1"], since=["master"])
    assert not (tmp_path / "3.bundle").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".new")] == []


def without_object(path: Path, kind: str) -> None:
    """Drop an object of a class from the index of a bundle, as a writer with a defect would."""
    data = path.read_bytes()
    start, length, _, end = _TRAILER.unpack(data[-_TRAILER.size :])
    index = msgspec.msgpack.decode(data[start : start + length], type=BundleIndex)
    at = index.classes.index(CLASSES.index(kind))
    widths = {"classes": 1, "objects": 32, "object_frames": 4, "object_places": 4}
    cut = {
        name: getattr(index, name)[: at * width] + getattr(index, name)[(at + 1) * width :]
        for name, width in widths.items()
    }
    edited = msgspec.msgpack.encode(msgspec.structs.replace(index, **cut))
    trailer = _TRAILER.pack(start, len(edited), blake3(edited).digest(), end)
    path.write_bytes(data[:start] + edited + trailer)


def test_what_a_bundle_of_news_lacks_is_found_where_it_builds_on(source: Repository, tmp_path: Path) -> None:
    """What the receiver has is left out on purpose, and only the receiver can tell that from a loss."""
    news = tmp_path / "news.bundle"
    create_bundle(source.stores, news, ["master"], since=["v1"])
    here = verify_bundle(news, stores=source.stores)
    elsewhere = verify_bundle(news)
    assert (here.errors, here.unchecked) == ((), 0)
    assert elsewhere.errors == ()
    assert elsewhere.unchecked > 0
    first = tmp_path / "first.bundle"
    create_bundle(source.stores, first, ["v1"], data="none")
    with clone_of(first, tmp_path / "clone") as clone, Repository(tmp_path, exists=False) as empty:
        empty.init("Eve", "eve@example.org")
        assert verify_bundle(news, stores=empty.stores).unchecked == elsewhere.unchecked
        without_object(news, "node")
        assert verify_bundle(news, stores=empty.stores).unchecked > 0
        assert verify_bundle(news, stores=clone.stores).errors == ("1 object that its history names is missing",)
        run = CliRunner().invoke(main, ["-C", clone.path, "bundle", "verify", str(news)])
        assert (run.exit_code, "1 object that its history names is missing" in run.output) == (6, True)
        run = CliRunner().invoke(main, ["-C", empty.path, "bundle", "verify", str(news)])
        assert (run.exit_code, "objects could not be verified: run this in a repository" in run.output) == (0, True)


def test_chosen_data(source: Repository, tmp_path: Path) -> None:
    sizes = {}
    for data, columns in (("none", None), ("heads", ["notes"]), ("heads", None), ("all", None)):
        path = tmp_path / f"{data}-{columns}.bundle"
        sizes[data, str(columns)] = create_bundle(source.stores, path, ["master"], data=data, columns=columns).blobs
        found = verify_bundle(path)
        assert found.errors == ()
    assert sizes["none", "None"] == 0
    assert sizes["heads", "['notes']"] == 2
    assert sizes["all", "None"] == sizes["heads", "None"] + 1
    with pytest.raises(KeyError, match="there is no column 'nothing'"):
        create_bundle(source.stores, tmp_path / "x.bundle", ["master"], columns=["nothing"])
    with pytest.raises(InvalidInputError, match="neither a branch nor a tag"):
        create_bundle(source.stores, tmp_path / "x.bundle", ["master~1"])


def read_all(path: Path) -> None:
    """Everything that a receiver asks a bundle for."""
    with BundleReader(path) as reader:
        reader.hello(Hello())
        refs = [ref for page in reader.refs() for ref in page.refs]
        heads = b"".join(ref.digest for ref in refs if ref.digest is not None)
        list(reader.history(HistoryRequest(heads)))
        list(reader.objects(ObjectsRequest((Names("commit", heads),))))
        names = BlobNames(reader.file.index.blobs)
        reader.blob_sizes(names)
        for _ in reader.blobs(names):
            pass


def test_damage_is_found_and_nothing_else_happens(source: Repository, tmp_path: Path) -> None:
    whole = tmp_path / "whole.bundle"
    create_bundle(source.stores, whole, ["v1"], data="heads")
    data = whole.read_bytes()
    random = np.random.default_rng(1)
    damaged = tmp_path / "damaged.bundle"
    for _ in range(60):
        at = int(random.integers(len(data)))
        edited = bytearray(data)
        edited[at] ^= 1 << int(random.integers(8))
        damaged.write_bytes(edited)
        try:
            assert verify_bundle(damaged).errors != (), at
        except (CorruptionError, InvalidInputError, UnsupportedVersionError):
            continue
    for length in (0, 5, 16, 60, len(data) // 2, len(data) - 1):
        damaged.write_bytes(data[:length])
        with pytest.raises(HangarError):
            verify_bundle(damaged)


def test_hostile_files_are_safe(source: Repository, tmp_path: Path) -> None:
    """An index with a right digest and wrong numbers, and frames of garbage, give errors of Hangar alone."""
    whole = tmp_path / "whole.bundle"
    create_bundle(source.stores, whole, ["v1"], data="heads")
    data = whole.read_bytes()
    start, length, _, end = _TRAILER.unpack(data[-_TRAILER.size :])
    random = np.random.default_rng(2)
    hostile = tmp_path / "hostile.bundle"
    refused = 0
    for number in range(120):
        edited = bytearray(data)
        low, high = (start, start + length) if number % 2 else (16, start)
        for _ in range(int(random.integers(1, 12))):
            edited[int(random.integers(low, high))] = int(random.integers(256))
        digest = blake3(bytes(edited[start : start + length])).digest()
        edited[-_TRAILER.size :] = _TRAILER.pack(start, length, digest, end)
        hostile.write_bytes(edited)
        try:
            read_all(hostile)
        except HangarError:
            refused += 1
        if number % 20 == 0:
            with Repository(tmp_path, exists=False) as victim, suppress(HangarError, UserWarning):
                if not victim.initialized:
                    victim.init("Eve", "eve@example.org")
                    victim.remote.add("hostile", str(hostile))
                victim.remote.fetch("hostile", "other")
    assert refused > 20


def test_the_commands(source: Repository, tmp_path: Path) -> None:
    run = CliRunner()
    path = str(tmp_path / "a.bundle")
    made = run.invoke(main, ["-C", source.path, "bundle", "create", path, "master", "--data", "all"])
    assert made.exit_code == 0, made.output
    assert "2 commits" in made.output
    for words in (["bundle", "list", path], ["bundle", "verify", path]):
        shown = run.invoke(main, ["-C", str(tmp_path), *words])
        assert shown.exit_code == 0, shown.output
        assert "master" in shown.output
    data = bytearray(Path(path).read_bytes())
    data[5_000] ^= 1
    Path(path).write_bytes(data)
    assert run.invoke(main, ["bundle", "verify", path]).exit_code == 6
