"""What the README and the tutorial tell a reader to type is typed here, in order, in an empty folder."""

from __future__ import annotations

import doctest
import re
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from tests.docs.blocks import ROOT, code_blocks, named_block, typed_commands


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path_with_hangar: str) -> Path:
    """A folder to work in, with nothing in it but the folder of images that the pages speak of."""
    working = tmp_path / "desk"
    pictures = working / "pictures"
    pictures.mkdir(parents=True)
    for name, image in zip(["china", "flower"], load_sample_images().images, strict=True):
        Image.fromarray(image).save(pictures / f"{name}.png")
    monkeypatch.chdir(working)
    monkeypatch.setenv("PATH", path_with_hangar)
    return working


def type_commands(page: str, directory: Path) -> None:
    """Type all commands of a page in one shell."""
    commands = typed_commands(page)
    assert len(commands) >= 5
    script = "\n".join(f"echo '+ command {i}'\n{command}" for i, command in enumerate(commands))
    shell = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(shell, check=False, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "page",
    [
        "README.rst",
        "docs/tutorial.rst",
        "docs/howto/evolve-a-column.rst",
        "docs/howto/branches-and-merging.rst",
        "docs/howto/command-line.rst",
        "docs/howto/compare-commits.rst",
        "docs/howto/if-you-know-git.rst",
        "docs/howto/cookbook.rst",
        "docs/concepts.rst",
    ],
)
def test_commands_run(page: str, desk: Path) -> None:
    type_commands(page, desk)


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("page", ["README.rst", "docs/howto/import-and-export.rst"])
def test_python_runs(page: str) -> None:
    (block,) = code_blocks(page, "python")
    exec(compile(block, page, "exec"), {})


def test_commands_say_what_the_page_says(desk: Path) -> None:
    """What follows a command in the page is what it prints."""
    for block in code_blocks("docs/howto/import-and-export.rst", "console"):
        for command in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            typed, _, said = command.partition("\n")
            done = subprocess.run(["bash", "-c", typed], cwd=desk, capture_output=True, text=True, check=True)
            assert said in ("", done.stdout)
            assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("desk")
@pytest.mark.filterwarnings("ignore:.*reference-only")
@pytest.mark.parametrize(
    "page",
    [
        "tutorial",
        "howto/flat-columns",
        "howto/nested-columns",
        "howto/sparse-columns",
        "howto/chunked-columns",
        "howto/media",
        "howto/evolve-a-column",
        "howto/branches-and-merging",
        "howto/compare-commits",
    ],
)
def test_pages_say_what_happens(page: str) -> None:
    failed, tried = doctest.testfile(
        str(ROOT / "docs" / f"{page}.rst"),
        module_relative=False,
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL,
        encoding="utf-8",
    )
    assert tried >= 20
    assert failed == 0


@pytest.mark.parametrize("name", ["run-the-demo", "run-the-tests"])
def test_ci_reads_the_commands_of_the_readme(name: str) -> None:
    """The script finds each command where the README has it; it spells neither of them itself."""
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    reader = script[script.index("readme_command() {") :].split("\n}\n")[0] + "\n}\n"
    done = subprocess.run(
        ["bash", "-euc", f"{reader}readme_command {name}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == named_block("README.rst", name)
    assert name in script
    assert "tox run" not in script
