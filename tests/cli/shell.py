"""Runs commands as a person would, in the process or in one of its own."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result
from PIL import Image

from hangar.cli import main

SAME: dict[str, Any] = {"renamed_from": None, "schema": False, "attributes": []}
"""What a change of a column says beside its samples when nothing else changed."""


def runner() -> CliRunner:
    """A runner that keeps stdout and stderr apart, which older versions of click do only when asked."""
    options: dict[str, Any] = {}
    if "mix_stderr" in inspect.signature(CliRunner.__init__).parameters:
        options["mix_stderr"] = False
    return CliRunner(**options)


class Shell:
    """Commands in one directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, *words: object, input: str | None = None, env: dict[str, str] | None = None) -> Result:  # noqa: A002
        """Run a command in this process."""
        return runner().invoke(main, ["-C", str(self.path), *map(str, words)], input=input, env=env)

    def ok(self, *words: object, input: str | None = None) -> str:  # noqa: A002
        """Run a command that succeeds; its stdout."""
        result = self.run(*words, input=input)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *words: object) -> Any:
        """Run a command that succeeds with --json; the document."""
        return json.loads(self.ok(*words, "--json"))

    def fails(self, code: int, *words: object, text: str = "", input: str | None = None) -> str:  # noqa: A002
        """Run a command that fails with ``code``, nothing on stdout but what came before, ``text`` on stderr."""
        result = self.run(*words, input=input)
        assert result.exit_code == code, result.output
        assert "Error: " in result.stderr
        assert "Traceback" not in result.output
        assert text in result.stderr
        return result.stderr

    def process(self, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command in a process of its own, in the directory."""
        env = os.environ | options.pop("env", {})
        return subprocess.run(
            [sys.executable, "-m", "hangar", *map(str, words)],
            capture_output=True,
            text=True,
            cwd=self.path,
            env=env,
            check=False,
            timeout=60,
            **options,
        )


def pictures(
    folder: Path, names: list[str], shape: tuple[int, ...] = (7, 5), seed: int = 0
) -> dict[str, np.ndarray[Any, Any]]:
    """Noise as PNG files; the arrays by name."""
    made = {}
    for i, name in enumerate(names):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        made[name] = np.random.default_rng(seed + i).integers(0, 255, shape, "uint8")
        Image.fromarray(made[name]).save(path)
    return made
