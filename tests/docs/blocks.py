"""The code blocks of a page, as text, for the tests that run them."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

_BLOCK = re.compile(
    r"^\.\. code-block:: (?P<language>\w+)\n(?P<options>(?:   :.*\n)*)\n(?P<body>(?:(?:   .*)?\n)+)", re.MULTILINE
)


def code_blocks(page: str, language: str) -> list[str]:
    """The bodies of the blocks of ``page`` (a path below the root) in ``language``, in order."""
    text = (ROOT / page).read_text("utf-8") + "\n"
    return [textwrap.dedent(m["body"]).strip("\n") + "\n" for m in _BLOCK.finditer(text) if m["language"] == language]


def named_block(page: str, name: str) -> str:
    """The one block of ``page`` that has the option ``:name: NAME``."""
    text = (ROOT / page).read_text("utf-8") + "\n"
    (found,) = [m["body"] for m in _BLOCK.finditer(text) if f":name: {name}\n" in m["options"]]
    return textwrap.dedent(found).strip("\n")


def typed_commands(page: str) -> list[str]:
    """What a reader types: the lines of the page's console blocks that follow a ``$``, with their continuations."""
    commands: list[str] = []
    for block in code_blocks(page, "console"):
        going_on = False
        for line in block.splitlines():
            if going_on:
                commands[-1] += "\n" + line
            elif line.startswith("$ "):
                commands.append(line[2:])
            else:
                continue
            going_on = line.endswith("\\")
    return commands
