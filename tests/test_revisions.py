from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from hangar.db.tables import COMMITS
from hangar.errors import InvalidInputError, InvalidStateError, RevisionNotFoundError
from hangar.refs import Refs
from hangar.revisions import CANDIDATES, Revision, did_you_mean, resolve, resolve_commit
from tests.history.maker import ANN, History, new_history


@pytest.fixture
def made(tmp_path: Path) -> Iterator[History]:
    r"""``a - b - c - m (master)``, with ``b - d - m``; tag v1 on b, origin/master on c, empty branch ``none``."""
    with new_history(tmp_path) as history:
        history.commit("a")
        history.commit("b", "a")
        history.commit("c", "b")
        history.commit("d", "b", branch="dev")
        history.commit("m", "c", "d")
        history.point("tags/v1", "b")
        history.point("remotes/origin/master", "c")
        history.point("heads/none", None)
        yield history


def find(made: History, text: str) -> Revision:
    return resolve(made.db, made.refs, text)


@pytest.mark.parametrize(
    ("text", "commit", "name"),
    [
        ("master", "m", "heads/master"),
        ("dev", "d", "heads/dev"),
        ("v1", "b", "tags/v1"),
        ("origin/master", "c", "remotes/origin/master"),
        ("heads/master", "m", "heads/master"),
        ("tags/v1", "b", "tags/v1"),
        ("remotes/origin/master", "c", "remotes/origin/master"),
        ("none", None, "heads/none"),
        ("HEAD", "m", "heads/master"),
        ("@", "m", "heads/master"),
        ("@{0}", "m", None),
        ("@{1}", "c", None),
        ("@~1", "c", None),
        ("@^2", "d", None),
        ("HEAD~1", "c", None),
        ("v1^", "a", None),
        ("master~", "c", None),
        ("master~0", "m", None),
        ("master~1", "c", None),
        ("master~3", "a", None),
        ("master~~~", "a", None),
        ("master^", "c", None),
        ("master^0", "m", None),
        ("master^1", "c", None),
        ("master^2", "d", None),
        ("master^2~1", "b", None),
        ("master^2^^", "a", None),
        ("HEAD~2", "b", None),
        ("origin/master~1", "b", None),
        ("master@{0}", "m", None),
        ("master@{1}", "c", None),
        ("master@{3}", "a", None),
        ("master@{1}~1", "b", None),
        ("HEAD@{1}", "c", None),
        ("v1@{0}", "b", None),
    ],
)  # fmt: skip
def test_resolve(text: str, commit: str | None, name: str | None, made: History) -> None:
    found = find(made, text)
    assert made.name(found.digest) == commit
    assert found.name == name


def test_digests(made: History) -> None:
    for name, digest in made.digests.items():
        for length in (4, 5, 7, 12, 63, 64):
            text = digest.hex()[:length]
            assert find(made, text) == Revision(digest, None), name
            assert find(made, text.upper()) == Revision(digest, None)
    assert made.name(find(made, made.digests["m"].hex()[:6] + "~1").digest) == "c"


@pytest.mark.parametrize(
    "text",
    ["", "~1", "^", "@{99}", "master@{}", "master@{x}", "master@{1", "master@1", "master~x", "master~-1", "master^{tree}", "master~1@{1}", "mas ter", "master\0", "ü", "x" * 2_000, "\ud800", "abc", "g" * 64, "0" * 64, "0" * 65, "origin", "heads/", "heads/v1"],
)  # fmt: skip
def test_what_is_no_revision(text: str, made: History) -> None:
    with pytest.raises(RevisionNotFoundError):
        find(made, text)
    with pytest.raises(RevisionNotFoundError):
        resolve_commit(made.db, made.refs, text)


@pytest.mark.parametrize("value", [None, 5, b"master", ["master"]])
def test_other_types_are_no_revision(value: object, made: History) -> None:
    with pytest.raises(RevisionNotFoundError):
        resolve(made.db, made.refs, value)  # type: ignore[arg-type]


def test_suggestions(made: History) -> None:
    with pytest.raises(
        RevisionNotFoundError, match=r"commit 'mastre', did you mean 'master'\? If not, see `hangar branch list`"
    ):
        find(made, "mastre")
    with pytest.raises(RevisionNotFoundError, match="did you mean 'origin/master'"):
        find(made, "origin/mster")
    with pytest.raises(RevisionNotFoundError, match=r"commit 'zzz': see `hangar branch list`"):
        find(made, "zzz~2")
    assert did_you_mean("dve", ["dev"], "x") == ", did you mean 'dev'? If not, see x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("master~4", "commit [0-9a-f]{12} has no parent"),
        ("master~999999999999999999", "has no parent"),
        ("master^3", "has 2 parents"),
        ("dev^2", "has 1 parent$"),
        ("none~1", "no commit yet"),
        ("none~0", "no commit yet"),
        ("none@{0}", "had no commit then"),
        ("none@{1}", "had no commit then"),
        ("none@{2}", r"ends at none@\{1\}"),
        ("master@{5}", r"branch 'master' ends at master@\{4\}$"),
        ("master@{999999999999999999}", "ends at"),
    ],
)  # fmt: skip
def test_beyond_the_history(text: str, message: str, made: History) -> None:
    with pytest.raises(RevisionNotFoundError, match=message):
        find(made, text)


def test_where_a_branch_stood_before_its_first_commit(made: History) -> None:
    with pytest.raises(RevisionNotFoundError, match="had no commit then"):
        find(made, "master@{4}")


def test_a_deleted_branch_is_found_through_its_reflog(made: History) -> None:
    made.db.update(lambda t: made.refs.delete(t, "heads/dev", made.digests["d"], who=ANN, operation="delete"))
    with pytest.raises(RevisionNotFoundError):
        find(made, "dev")
    with pytest.raises(RevisionNotFoundError, match="had no commit then"):
        find(made, "dev@{0}")
    assert find(made, "dev@{1}").digest == made.digests["d"]


def test_a_commit_of_the_reflog_that_is_gone(made: History) -> None:
    made.db.update(lambda t: t.delete(COMMITS, made.digests["c"]))
    with pytest.raises(RevisionNotFoundError, match="no longer exists"):
        find(made, "master@{1}")


def test_branch_before_tag_before_remote(made: History) -> None:
    made.point("tags/master", "a")
    made.point("remotes/tags/v1", "c")
    assert find(made, "master").digest == made.digests["m"]
    assert find(made, "tags/master").digest == made.digests["a"]
    assert find(made, "tags/v1").digest == made.digests["b"]
    assert find(made, "remotes/tags/v1").digest == made.digests["c"]


def test_no_branch_can_be_called_head(made: History) -> None:
    with pytest.raises(InvalidInputError, match="stands for the branch to write"):
        made.point("heads/HEAD", "a")
    assert find(made, "HEAD").digest == made.digests["m"]


def test_a_name_that_is_a_digest_too_wins_with_a_warning(made: History) -> None:
    short = made.digests["a"].hex()[:8]
    made.point(f"tags/{short}", "m")
    with pytest.warns(
        UserWarning, match=rf"'{short}' is the tag '{short}', and the beginning of .*{made.digests['a'].hex()[:12]}"
    ) as caught:
        assert find(made, short) == Revision(made.digests["m"], f"tags/{short}")
    assert caught[0].filename == __file__
    assert find(made, made.digests["a"].hex()[:9]).digest == made.digests["a"]


def test_a_hex_name_that_is_no_digest_does_not_warn(made: History) -> None:
    made.point("heads/cafe1234", "b")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find(made, "cafe1234").digest == made.digests["b"]


def test_ambiguous_digests(made: History) -> None:
    def fill(prefix: bytes, count: int) -> None:
        rows = [(prefix + bytes([n]) + bytes(29), b"x") for n in range(count)]
        made.db.update(lambda t: t.put_many(COMMITS, rows))

    fill(b"\xab\xcd", 2)
    with pytest.raises(
        RevisionNotFoundError, match=r"'abcd' matches more than one commit \(abcd000000, abcd010000\): give more"
    ):
        find(made, "abcd")
    assert find(made, "abcd01").digest == b"\xab\xcd\x01" + bytes(29)
    assert find(made, "abcd" + "0" * 60).digest == b"\xab\xcd" + bytes(30)
    fill(b"\xab\xce", CANDIDATES + 3)
    with pytest.raises(RevisionNotFoundError, match=r"abce040000 and more\)"):
        find(made, "abce")


def test_resolve_commit(made: History) -> None:
    assert resolve_commit(made.db, made.refs, "master~1") == made.digests["c"]
    with pytest.raises(InvalidStateError, match="branch 'none' has no commit yet"):
        resolve_commit(made.db, made.refs, "none")


def test_empty_repository(tmp_path: Path) -> None:
    with new_history(tmp_path) as history:
        assert resolve(history.db, Refs(history.db), "master") == Revision(None, "heads/master")
        with pytest.raises(RevisionNotFoundError, match="goes beyond the history: the branch has no commit yet"):
            find(history, "master~1")
        with pytest.raises(RevisionNotFoundError, match="had no commit then"):
            find(history, "master@{0}")
