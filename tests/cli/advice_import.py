"""Situations in which messages about imports and media propose commands; see ``test_advice``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import pytest

from hangar import Repository
from hangar.errors import HangarError
from tests.cli.advice import follow
from tests.cli.shell import Shell

__all__ = ["IMPORT"]


def files(shell: Shell) -> None:
    """The folder that a proposed import is done with."""
    folder = shell.path.parent / "in"
    folder.mkdir(exist_ok=True)
    np.save(folder / "new.npy", np.zeros((7, 5), np.uint8))


def unknown_layout(shell: Shell, template: str) -> None:
    files(shell)
    folder = shell.path / "unknown"
    folder.mkdir()
    (folder / "a.xyz").write_bytes(b"what is this?")
    follow(shell, shell.fails(1, "import", folder), template, "--overwrite")


def column_without_a_path(shell: Shell, template: str) -> None:
    files(shell)
    follow(shell, shell.fails(3, "import", "images"), template, "--overwrite")


def option_of_a_dataset(shell: Shell, template: str) -> None:
    text = shell.fails(2, "import", "images", shell.path.parent / "in", "--dry-run")
    follow(shell, text[text.index("Error: ") :], template, "--yes", "--prefix", "new_")
    assert any(one["name"].startswith("new_") for one in shell.json("ls")["columns"])


def damaged_image(shell: Shell, template: str) -> None:
    with Repository(shell.path) as repository:
        writer = repository.checkout(write=True)
        photos = writer.add_image_column("photos")
        photos["a"] = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
        encoded = bytearray(photos.encoded("a"))
        encoded[900:1_200] = bytes(300)
        photos["b"] = bytes(encoded)
        with pytest.raises(HangarError, match="hangar gc --why") as caught:
            photos["b"]
        writer.close()
    assert "photos" in follow(shell, str(caught.value), template)


IMPORT: Final[dict[str, dict[str, Callable[[Shell, str], None]]]] = {
    "bulk_importer/layouts/plan.py": {"hangar import COLUMN PATH": unknown_layout},
    "cli/import_dataset.py": {
        "hangar import {} PATH": column_without_a_path,
        "hangar import {}": option_of_a_dataset,
    },
    "schema/media.py": {"hangar gc --why {}": damaged_image},
}
