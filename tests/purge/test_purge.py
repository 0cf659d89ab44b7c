"""Purging blobs: what is refused, what is gone, what stays, and what readers are told."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hangar import PurgedError, Repository
from hangar.errors import (
    ColumnNotFoundError,
    ConflictError,
    InvalidInputError,
    InvalidStateError,
    LockedError,
    NotFoundError,
    NothingToDoError,
    RevisionNotFoundError,
    SampleNotFoundError,
)
from tests.compat import independent_reader
from tests.purge.searching import files_with

SECRET = "the patient's name, and all that is known of them: " * 3


def noise(seed: int, count: int = 784) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, count, np.uint8)


@pytest.fixture
def filled(repo: Repository) -> Repository:
    """Two commits: images a, b, c, then b changed and d added; texts, one of them secret."""
    with closing(repo.checkout(write=True)) as writer:
        images = writer.add_ndarray_column("images", shape=(784,), dtype="uint8")
        images["a"], images["b"], images["c"] = noise(0), noise(1), noise(2)
        texts = writer.add_str_column("texts")
        texts[1], texts[2] = SECRET, "x" * 200
        writer.commit("First")
        images["b"] = noise(11)
        images["d"] = noise(3)
        writer.commit("Second")
    return repo


def reader(repo: Repository, commit: str = "") -> closing[Any]:
    return closing(repo.checkout(commit=commit))


def test_every_version_is_gone_from_every_commit_and_file(filled: Repository) -> None:
    first = filled.rev_parse("master~1")
    report = filled.purge("images", "b", reason="consent withdrawn")
    assert [sample.key for sample in report.samples] == [("b",)]
    assert len(report.digests) == 2
    assert report.commits == (filled.rev_parse("master"), first)
    assert report.unfinished == ()
    assert not report.dry_run
    assert not report.staged
    assert files_with(Path(filled.path), noise(1).tobytes(), noise(11).tobytes()) == []
    assert files_with(Path(filled.path), noise(0).tobytes()) != []
    for commit in (first, filled.rev_parse("master")):
        with reader(filled, commit) as co:
            images = co["images"]
            assert list(images) == ["a", "b", "c", "d"][: len(images)]
            assert "b" in images
            for read in (
                lambda images=images: images["b"],
                lambda images=images: images.get("b", 5),
                lambda images=images: images[["a", "b"]],
                lambda images=images: images.read(["a", "b", "c"]),
                lambda images=images: images.read(slice(None)),
                lambda images=images: list(images.values()),
                lambda images=images: list(images.items()),
                lambda co=co: co.get([("images", "b")], default=5, except_missing=True),
                lambda co=co: co["images", "b"],
            ):
                with pytest.raises(
                    PurgedError, match=r"sample 'b' of column 'images'.*purged by Ada.*consent withdrawn"
                ):
                    read()
            assert np.array_equal(images["a"], noise(0))
            assert np.array_equal(images.read(["a", "c"]), [noise(0), noise(2)])
            assert co["texts"][1] == SECRET
    checked = filled.fsck(data=True)
    assert checked.sound
    assert [note.digest for note in checked.notes if note.kind == "purged"] == sorted(report.digests)
    assert filled.verify_repo_integrity()
    filled.close()
    seen = independent_reader.Repository(Path(filled.path) / ".hangar")
    assert {digest.hex() for digest in seen.blobs.purged} == set(report.digests)


def test_texts(filled: Repository) -> None:
    filled.purge("texts", [1], reason="")
    assert files_with(Path(filled.path), SECRET.encode()) == []
    with reader(filled) as co:
        assert co["texts"][2] == "x" * 200
        with pytest.raises(PurgedError, match="sample 1 of column 'texts'"):
            co["texts"][1]


def test_one_version(filled: Repository) -> None:
    filled.purge("images", "b", reason="wrong", commit="master~1", this_version=True)
    with reader(filled) as co:
        assert np.array_equal(co["images"]["b"], noise(11))
    with reader(filled, filled.rev_parse("master~1")) as co, pytest.raises(PurgedError):
        co["images"]["b"]


def test_a_renamed_column_and_a_removed_sample(filled: Repository) -> None:
    with closing(filled.checkout(write=True)) as writer:
        writer.rename_column("images", "photos")
        del writer["photos"]["b"]
        writer.commit("Third")
    with pytest.raises(SampleNotFoundError, match="has no sample 'b'; nothing was purged"):
        filled.purge("photos", ["a", "b"], reason="")
    with pytest.raises(ColumnNotFoundError, match="there are: photos, texts"):
        filled.purge("images", "b", reason="")
    report = filled.purge("images", "b", reason="", commit="master~1")
    assert len(report.digests) == 2
    assert files_with(Path(filled.path), noise(1).tobytes(), noise(11).tobytes()) == []
    with reader(filled) as co:
        assert list(co["photos"]) == ["a", "c", "d"]


def test_shared_data_is_refused_and_named(filled: Repository) -> None:
    with closing(filled.checkout(write=True)) as writer:
        writer["images"]["twin"] = noise(0)
        other = writer.add_ndarray_column("other", shape=(784,), dtype="uint8")
        for key in range(30):
            other[key] = noise(0)
        writer.commit("Third")
    with pytest.raises(
        ConflictError, match=r"31 other samples have the same data.*twin of images \(commit .*and 26 more.*--shared"
    ):
        filled.purge("images", ["a"], reason="")
    with reader(filled) as co:
        assert np.array_equal(co["images"]["a"], noise(0))
    assert filled.list_purged() == []
    planned = filled.purge("images", ["a"], reason="", dry_run=True)
    assert planned.shared_count == 31
    assert len(planned.shared) == 20
    done = filled.purge("images", ["a"], reason="", shared=True)
    assert done.shared_count == 31
    assert files_with(Path(filled.path), noise(0).tobytes()) == []
    with (
        reader(filled) as co,
        pytest.raises(PurgedError, match=r"sample 'a' of column 'images' \(or 7 other samples with the same data\)"),
    ):
        co["other"][5]
    # Samples that are chosen together do not stand in each other's way.
    assert filled.purge("images", ["c", "d"], reason="").shared_count == 0


def test_a_dry_run_changes_nothing(filled: Repository) -> None:
    before = {path: path.read_bytes() for path in (Path(filled.path) / ".hangar").rglob("*") if path.is_file()}
    with closing(filled.checkout(write=True)):  # nor does it need the lock
        report = filled.purge("images", "b", reason="", dry_run=True)
    assert report.dry_run
    assert len(report.digests) == 2
    assert len(report.commits) == 2
    after = {path: path.read_bytes() for path in (Path(filled.path) / ".hangar").rglob("*") if path.is_file()}
    assert {path for path in after if after[path] != before.get(path)} <= {
        path for path in after if path.name.startswith(("lock.", "lock"))
    }


def test_staged_samples(filled: Repository) -> None:
    with closing(filled.checkout(write=True)) as writer:
        writer["images"]["new"] = noise(77)
        writer["images"]["a"] = noise(78)
    report = filled.purge("images", ["new", "a"], reason="never committed")
    assert report.staged
    assert len(report.digests) == 3
    assert files_with(Path(filled.path), *(noise(seed).tobytes() for seed in (0, 77, 78))) == []
    with closing(filled.checkout(write=True)) as writer:
        with pytest.raises(PurgedError):
            writer["images"]["new"]
        writer["images"]["new"] = noise(79)
        writer.commit("Third")
    with reader(filled) as co, pytest.raises(PurgedError):
        co["images"]["a"]
    assert filled.fsck(data=True).sound


def test_writing_the_same_bytes_again_is_refused_until_the_tombstone_is_lifted(filled: Repository) -> None:
    digest = filled.purge("images", "a", reason="licence").digests[0]
    for key in ("a", "elsewhere"):
        with (
            closing(filled.checkout(write=True)) as writer,
            pytest.raises(PurgedError, match=r"not stored again.*--lift"),
        ):
            writer["images"][key] = noise(0)
    with closing(filled.checkout(write=True)) as writer:
        with pytest.raises(PurgedError):
            writer["images"].update({"x": noise(0), "y": noise(50)})
        assert "x" not in writer["images"]
        assert "y" not in writer["images"]
        writer.restore("images", ["b"], commit=filled.rev_parse("master~1"))  # writes no bytes
        writer.restore("images", ["a"], commit=filled.rev_parse("master~1"))
    with pytest.raises(NothingToDoError, match="purged before"):
        filled.purge("images", "a", reason="")
    with pytest.raises(NotFoundError, match="none of these"):
        filled.lift_purge("images", ["c"])
    assert filled.lift_purge("images", "a") == [digest]
    assert [one.state for one in filled.list_purged()] == ["lifted"]
    assert filled.fsck(data=True).sound
    with reader(filled) as co, pytest.raises(PurgedError):
        co["images"]["a"]
    with pytest.raises(NotFoundError, match="no tombstone"):
        filled.lift_purge(digest=digest[:12])
    with closing(filled.checkout(write=True)) as writer:
        writer["images"]["elsewhere"] = noise(0)
        writer.commit("Again")
        assert np.array_equal(writer["images"]["a"], noise(0))
    assert filled.purge("images", ["a", "elsewhere"], reason="again").digests == (digest,)
    assert [one.state for one in filled.list_purged()] == ["in effect"]


def test_lifting_by_digest(filled: Repository) -> None:
    one, other = filled.purge("images", "b", reason="").digests
    for bad in ("xyz", "", one[:3], one.upper()):
        with pytest.raises(InvalidInputError):
            filled.lift_purge(digest=bad)
    with pytest.raises(InvalidInputError):
        filled.lift_purge("images", "b", digest=one)
    assert filled.lift_purge(digest=one[:16]) == [one]
    assert {blob.digest: blob.state for blob in filled.list_purged()} == {one: "lifted", other: "in effect"}


def test_the_list_says_who_when_and_why(filled: Repository) -> None:
    filled.purge("images", "a", reason="first")
    filled.purge("texts", 1, reason="second")
    first, second = filled.list_purged()
    assert (first.name, first.email, first.reason, first.samples) == (
        "Ada",
        "ada@example.org",
        "first",
        (("images", ("a",)),),
    )
    assert second.samples == (("texts", (1,)),)
    assert "purged by Ada <ada@example.org> on 20" in second.summary
    assert second.summary.endswith(": second")
    assert first.time <= second.time
    assert first.state == "in effect"


def test_nested_samples_and_subsamples(repo: Repository) -> None:
    with closing(repo.checkout(write=True)) as writer:
        frames = writer.add_ndarray_column("frames", shape=(784,), dtype="uint8", contains_subsamples=True)
        for film in range(3):
            frames[film] = {f"f{i}": noise(10 * film + i) for i in range(4)}
        writer.commit("First")
        del frames[0]["f3"]
        frames[0]["f9"] = noise(9)
        writer.commit("Second")
    report = repo.purge("frames", [0, (1, "f2")], reason="")
    assert [sample.key for sample in report.samples] == [*((0, f"f{i}") for i in (0, 1, 2, 3, 9)), (1, "f2")]
    assert files_with(Path(repo.path), *(noise(seed).tobytes() for seed in (0, 1, 2, 3, 9, 12))) == []
    with reader(repo) as co:
        frames = co["frames"]
        assert len(frames) == 3
        assert list(frames[1]) == ["f0", "f1", "f2", "f3"]
        reads: list[Any] = [lambda: frames[0, "f1"], lambda: frames[1][...], lambda: frames[[(2, "f0"), (1, "f2")]]]
        for read in reads:
            with pytest.raises(PurgedError):
                read()
        assert np.array_equal(frames[1, "f1"], noise(11))
        assert np.array_equal(frames[2].read(["f0", "f3"]), [noise(20), noise(23)])
    for bad in ([(1, "nothing")], [7], [(1, "f2", "x")]):
        with pytest.raises((SampleNotFoundError, InvalidInputError, TypeError)):
            repo.purge("frames", bad, reason="")
    assert repo.fsck(data=True).sound


def test_bad_requests_change_nothing(filled: Repository) -> None:
    for error, options in (
        (ColumnNotFoundError, {"column": "nothing"}),
        (SampleNotFoundError, {"keys": ["a", "nothing"]}),
        (SampleNotFoundError, {"keys": [-1]}),
        (InvalidInputError, {"keys": []}),
        (RevisionNotFoundError, {"branch": "nothing"}),
        (RevisionNotFoundError, {"commit": "nothing"}),
        (InvalidInputError, {"commit": "master", "branch": "master"}),
        (InvalidInputError, {"reason": "x" * 2_000}),
        (InvalidInputError, {"reason": "\ud800"}),
    ):
        request: dict[str, Any] = {"column": "images", "keys": "a", "reason": "", **options}
        with pytest.raises(error):
            filled.purge(request.pop("column"), request.pop("keys"), **request)
    with closing(filled.checkout(write=True)), pytest.raises(LockedError):
        filled.purge("images", "a", reason="")
    assert filled.list_purged() == []
    assert filled.continue_purge() is None
    with reader(filled) as co:
        assert np.array_equal(co["images"]["a"], noise(0))


def test_a_column_without_commit_and_an_empty_one(repo: Repository) -> None:
    with closing(repo.checkout(write=True)) as writer:
        writer.add_bytes_column("raw")["x"] = SECRET.encode()
        writer.add_bytes_column("empty")
    with pytest.raises(SampleNotFoundError):
        repo.purge("empty", "x", reason="")
    report = repo.purge("raw", "x", reason="")
    assert report.commits == ()
    assert report.staged
    assert files_with(Path(repo.path), SECRET.encode()) == []


def test_lifting_waits_for_an_unfinished_purge(filled: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the data would be erased after it was stored again."""
    with monkeypatch.context() as patch:
        patch.setattr("hangar.purge.run.remove_bytes", lambda *_: ("it was not tried",))
        assert filled.purge("images", "a", reason="").unfinished == ("it was not tried",)
    with pytest.raises(InvalidStateError, match="hangar purge --continue"):
        filled.lift_purge("images", "a")
    assert filled.continue_purge() == ()
    assert filled.continue_purge() is None
    assert files_with(Path(filled.path), noise(0).tobytes()) == []
    assert filled.lift_purge("images", "a")


def test_garbage_collection_keeps_the_tombstones(filled: Repository) -> None:
    digests = filled.purge("images", "b", reason="licence").digests
    filled.create_branch("old", "master~1")
    filled.gc(expire_reflog="all")
    assert sorted(blob.digest for blob in filled.list_purged()) == list(digests)
    assert filled.fsck(data=True).sound
    with reader(filled) as co, pytest.raises(PurgedError):
        co["images"]["b"]


def test_a_reader_of_this_process_goes_on(filled: Repository) -> None:
    with closing(filled.checkout(write=True)) as writer:
        writer.add_str_column("short").update({"a": "a short secret", "b": "something else"})
        writer.commit("Third")
    with reader(filled) as co:
        assert co["short"]["b"] == "something else"
        assert filled.purge("short", "a", reason="", rewrite_history=True).unfinished == ()
        assert files_with(Path(filled.path), b"a short secret") == []
        assert np.array_equal(co["images"]["a"], noise(0))
    with reader(filled) as co:
        assert dict(co["short"].items()) == {"b": "something else"}


def test_a_conversion_leaves_purged_samples_out(filled: Repository) -> None:
    filled.purge("images", "b", reason="")
    report = filled.convert_backend("images", "00")
    assert report.damaged == {}
    assert report.converted == 3
    filled.purge("images", ["a", "c", "d"], reason="")
    assert filled.convert_backend("images", "10").damaged == {}
    assert filled.fsck(data=True).sound
