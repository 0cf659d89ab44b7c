"""Situations in which messages about remotes propose commands; see ``test_advice``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest

from hangar import Repository, make_numpy_dataset
from tests.cli.advice import follow
from tests.cli.shell import Shell
from tests.partial.damaging import digests_of, lose

__all__ = ["REMOTES"]


def clone_of(shell: Shell) -> tuple[Shell, str]:
    """A clone of the repository without its data, and what the command said."""
    # A column of arrays that are too large to lie in the tree.
    shell.ok("column", "create", "wide", "INT64", "50")
    with Repository(shell.path) as repository:
        writer = repository.checkout(write=True)
        writer["wide"].write(range(9), np.arange(450).reshape(9, 50))
        writer.commit("Wide")
        writer.close()
    place = shell.path / "clone"
    place.mkdir()
    clone = Shell(place)
    result = clone.run("clone", shell.path, "--name", "Bob", "--email", "bob@example.org")
    assert result.exit_code == 0, result.output
    return clone, result.stderr


def followed(shell: Shell, text: str, template: str) -> str:
    """Follow a proposal whose revision is left open."""
    return follow(shell, text.replace(" REV", " master"), template.replace(" REV", " master"))


def failure(clone: Shell, act: Callable[[Repository], Any]) -> str:
    """What an action in the clone raises, or warns."""
    with Repository(clone.path) as repository, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Exception, match="`hangar") as caught:
            act(repository)
    return str(caught.value)


def cloned(shell: Shell, template: str) -> None:
    clone, said = clone_of(shell)
    assert "12 values" in follow(clone, said, template)


def blob_of_a_store(shell: Shell, template: str) -> None:
    clone, _ = clone_of(shell)

    def read(repository: Repository) -> None:
        cell = repository.checkout()["wide"]._cell(3)
        assert cell is not None
        repository.stores.blobs.read_one(cell)

    assert "Fetched 12 values" in followed(clone, failure(clone, read), template)


def sample_that_is_not_here(shell: Shell, template: str) -> None:
    clone, _ = clone_of(shell)
    text = failure(clone, lambda repository: repository.checkout()["wide"].read([3, 4]))
    assert "Fetched 9 values" in follow(clone, text, template)


def data_set_of_nothing(shell: Shell, template: str) -> None:
    clone, _ = clone_of(shell)
    text = failure(clone, lambda repository: make_numpy_dataset(repository.checkout()["wide"]))
    assert "Fetched 9 values" in followed(clone, text, template)


def opened(shell: Shell, template: str) -> None:
    clone, _ = clone_of(shell)
    with Repository(clone.path) as repository, pytest.warns(UserWarning, match="reference-only") as caught:
        repository.checkout()
    assert "Fetched" in followed(clone, str(caught[0].message), template)


def nothing_to_evict_to(shell: Shell, template: str) -> None:
    follow(shell, shell.fails(1, "evict", "images"), template)


def no_remote(shell: Shell, template: str) -> None:
    follow(shell, shell.fails(3, "pull"), template)


def added(shell: Shell, template: str) -> None:
    clone, _ = clone_of(shell)
    follow(clone, clone.ok("remote", "add", "second", shell.path), template)


def unknown_branch(shell: Shell, template: str) -> None:
    clone, _ = clone_of(shell)
    follow(clone, clone.fails(3, "fetch", "origin", "nowhere"), template)


def branch_of_a_remote(shell: Shell, template: str) -> None:
    shell.ok("branch", "create", "later")
    clone, _ = clone_of(shell)
    follow(clone, failure(clone, lambda repository: repository.checkout(write=True, branch="later")), template)
    assert clone.json("status")["branch"] == "later"


def unfetched_branch(shell: Shell, template: str) -> None:
    clone, _ = clone_of(shell)
    shell.ok("branch", "create", "later")
    text = failure(clone, lambda repository: repository.remote.fetch_data("origin", "later"))
    assert "origin/later" in follow(clone, text, template)


def sole_remote(shell: Shell, template: str) -> None:
    clone, _ = clone_of(shell)
    followed(clone, clone.fails(1, "remote", "remove", "origin"), template)
    assert "Removed remote origin" in clone.ok("remote", "remove", "origin")


def diverged(shell: Shell, template: str) -> None:
    clone, _ = clone_of(shell)
    shell.ok("rm", "images", "a")
    shell.ok("commit", "-m", "Without a")
    clone.ok("rm", "images", "b")
    clone.ok("commit", "-m", "Without b")
    if "pull" in template:
        follow(clone, clone.fails(4, "push", "origin", "master"), template)
        clone.ok("push", "origin", "master")
    else:
        follow(clone, clone.fails(4, "push", "origin", "master", "--force-with-lease"), template)


def other_tag(shell: Shell, template: str) -> None:
    clone, _ = clone_of(shell)
    shell.ok("tag", "v1", "master~1")
    clone.ok("tag", "v1")
    assert "deleted" in follow(clone, clone.fails(4, "push", "origin", "v1"), template)
    clone.ok("push", "origin", "v1")


def overtaken(shell: Shell, template: str) -> None:
    """The branch of the remote moves while a push is under way."""
    from hangar.digest import Digest
    from hangar.refs.remotes import RemoteRow
    from hangar.remote.connect import connected
    from hangar.remote.peer import PushStart, RefUpdate

    clone, _ = clone_of(shell)
    clone.ok("rm", "images", "b")
    clone.ok("commit", "-m", "Without b")
    with Repository(clone.path) as repository:
        old, new = (Digest(bytes.fromhex(repository.rev_parse(rev))) for rev in ("master~1", "master"))
    shell.ok("rm", "images", "a")
    shell.ok("commit", "-m", "Without a")
    row = RemoteRow(1, str(shell.path), {})
    update = RefUpdate("heads/master", old, new, b"0" * 16)
    with connected("origin", row) as peer, pytest.raises(Exception, match="hangar pull") as caught:
        peer.begin_push(PushStart(b"1" * 16, (update,)))
    follow(clone, str(caught.value), template)
    clone.ok("push")


def data_of_another_remote(shell: Shell, template: str) -> None:
    """A push to a remote that lacks data which is only promised here."""
    clone, _ = clone_of(shell)
    other = shell.path / "other"
    other.mkdir()
    Shell(other).ok("init", "--name", "Cy", "--email", "cy@example.org")
    clone.ok("remote", "add", "other", other)
    text = clone.fails(7, "push", "other", "master")
    followed(clone, text, template)
    clone.ok("push", "other", "master")


def purged_at_the_remote(shell: Shell, template: str) -> None:
    clone, _ = clone_of(shell)
    shell.ok("purge", "wide", "3", "--yes")
    assert "Accepted 1 tombstone" in follow(clone, clone.ok("fetch", "origin"), template)


def nothing_to_accept(shell: Shell, template: str) -> None:
    follow(shell, shell.fails(3, "purge", "--accept"), template)


def spoiled_clone(shell: Shell) -> Shell:
    """A clone that has learned that its remote lost a value, and in ``backup`` a repository that has it."""
    import shutil

    clone, _ = clone_of(shell)
    shutil.copytree(shell.path / ".hangar", shell.path / "backup" / ".hangar")
    with Repository(shell.path) as repository:
        lose(repository, digests_of(repository, "wide", [3]))
    clone.fails(7, "fetch-data", "origin", "master")
    return clone


def found_again(shell: Shell, text: str, template: str, clone: Shell) -> None:
    """Follow the proposal to add a remote, and then the one to fetch from it."""
    add, address = "hangar remote add NAME ADDRESS", str(shell.path / "backup")
    assert add in text
    clone.ok("remote", "add", "again", address)
    if template == add:
        return
    assert "1 value" in followed(clone, text, template)
    assert "All is well" in clone.ok("fsck", "--data")


def lost_at_the_remote(shell: Shell, template: str) -> None:
    clone = spoiled_clone(shell)

    def read(repository: Repository) -> None:
        cell = repository.checkout()["wide"]._cell(3)
        assert cell is not None
        repository.stores.blobs.read_one(cell)

    found_again(shell, failure(clone, read), template, clone)


def sample_lost_at_the_remote(shell: Shell, template: str) -> None:
    clone = spoiled_clone(shell)
    text = failure(clone, lambda repository: repository.checkout()["wide"].read([3, 4]))
    found_again(shell, text, template, clone)


def lost_for_the_check(shell: Shell, template: str) -> None:
    clone = spoiled_clone(shell)
    found_again(shell, clone.run("fsck").stdout, template, clone)


def branch_deleted_there(shell: Shell, template: str) -> None:
    shell.ok("branch", "create", "later")
    clone, _ = clone_of(shell)
    shell.ok("branch", "delete", "later")
    assert "Deleted origin/later" in follow(clone, clone.ok("fetch", "origin"), template)
    assert "origin/later" not in clone.ok("branch")


def ahead_or_behind(shell: Shell, template: str) -> None:
    clone, _ = clone_of(shell)
    changed = shell if "pull" in template else clone
    changed.ok("rm", "images", "a")
    changed.ok("commit", "-m", "Without a")
    clone.ok("fetch")
    follow(clone, clone.ok("status"), template)
    assert "Up to date with origin/master" in clone.ok("status")


def unpushed_data(shell: Shell, template: str) -> None:
    """The remote has data that none of its branches names."""
    clone, _ = clone_of(shell)
    clone.ok("fetch-data", "origin", "master")
    with Repository(shell.path) as repository:
        repository.reset("master~1", hard=True)
    text = clone.ok("evict", "wide")
    assert "9 values stay here" in text
    follow(clone, text, template)
    assert "Dropped 9 values" in clone.ok("evict", "wide")


def partial_clone_is_pushed_to(shell: Shell, template: str) -> None:
    clone, _ = clone_of(shell)
    clone.ok("branch", "create", "aside")
    clone.ok("checkout", "aside")
    shell.ok("remote", "add", "clone", clone.path)
    shell.ok("rm", "wide", "3")
    shell.ok("commit", "-m", "Without 3")
    said = shell.run("push", "clone", "master").output
    assert "8 values that the new commits name are not at clone" in said
    assert "Sent 11 values" in follow(shell, said, template)


def purged_value_is_fetched(shell: Shell, template: str) -> None:
    from hangar.remote.fetching_data import DataReport, require_all

    clone, _ = clone_of(shell)
    with pytest.raises(Exception, match="hangar purge --list") as caught:
        require_all(DataReport([], 1, 8, 0, 0, 1, 0), "origin")
    follow(clone, str(caught.value), template)


def remote_of_its_own(shell: Shell, template: str) -> None:
    shell.ok("remote", "add", "self", shell.path)
    assert "Removed remote self" in follow(shell, shell.fails(1, "evict", "images"), template)


def untrusted_certificate(shell: Shell, template: str) -> None:
    from hangar.remote.status import _remedy

    path = shell.path / "ca.pem"
    path.write_text("a certificate")
    text = _remedy("CERTIFICATE_VERIFY_FAILED", "host:1").replace(" FILE", f" {path}")
    with pytest.MonkeyPatch.context() as patch:
        # The configuration of other tests stays as it is.
        patch.setenv("HOME", str(shell.path))
        follow(shell, text, template.replace(" FILE", f" {path}"))
        assert shell.ok("config", "remote.tls-ca").strip() == str(path)


REMOTES: Final[dict[str, dict[str, Callable[[Shell, str], None]]]] = {
    "blobs/absence.py": {
        "hangar fetch-data {} REV": blob_of_a_store,
        "hangar fetch-data NAME REV": lost_at_the_remote,
        "hangar remote add NAME ADDRESS": sample_lost_at_the_remote,
    },
    "cli/evict.py": {"hangar push": unpushed_data},
    "cli/tracking.py": {"hangar pull": ahead_or_behind, "hangar push": ahead_or_behind},
    "cli/push.py": {"hangar push {} {} --complete": partial_clone_is_pushed_to},
    "fsck/history.py": {
        "hangar fetch-data NAME REV --all-history": lost_for_the_check,
        "hangar remote add NAME ADDRESS": lost_for_the_check,
    },
    "cli/clone.py": {"hangar fetch-data origin {}": cloned},
    "revisions.py": {"hangar checkout -b {} {}": branch_of_a_remote},
    "cli/fetch.py": {
        "hangar fetch {} --prune": branch_deleted_there,
        "hangar purge --accept": purged_at_the_remote,
    },
    "cli/remote.py": {"hangar fetch {}": added},
    "columns/local.py": {"hangar fetch-data {} {} -d {}{}": sample_that_is_not_here},
    "dataset/selection.py": {"hangar fetch-data REMOTE REV -d {}": data_set_of_nothing},
    "remote/evict.py": {"hangar remote add NAME ADDRESS": nothing_to_evict_to},
    "remote/connect.py": {"hangar remote remove {}": remote_of_its_own},
    "remote/fetching.py": {"hangar fetch {}": unknown_branch},
    "remote/fetching_data.py": {"hangar purge --list": purged_value_is_fetched},
    "remote/status.py": {"hangar config --global remote.tls-ca FILE": untrusted_certificate},
    "purge/accepting.py": {"hangar purge --list": nothing_to_accept},
    "remote/policy.py": {"hangar pull": overtaken},
    "remote/transfer_push.py": {"hangar fetch-data REMOTE REV": data_of_another_remote},
    "cli/state.py": {"hangar remote add NAME ADDRESS": no_remote},
    "remote/pushing.py": {
        "hangar pull {} {}": diverged,
        "hangar fetch {} {}": diverged,
        "hangar push {} {} --delete": other_tag,
    },
    "remote/remotes.py": {"hangar fetch {} {}": unfetched_branch, "hangar fetch-data {} REV": sole_remote},
    "repository/checkouts.py": {"hangar fetch-data REMOTE REV -d {}": opened},
}
