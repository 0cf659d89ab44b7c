"""Reads the proto file into the tables of the reference page of the protocol."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROTO = Path(__file__).parent.parent / "protos/hangar/remote/v1/remote.proto"

HEAD = """
Messages of the protocol
========================

The methods and messages of ``hangar.remote.v1.Remote``, from ``protos/hangar/remote/v1/remote.proto``. :doc:`../protocol` explains how
they are used, and what is in the fields of bytes.

Methods
-------

.. list-table::
   :header-rows: 1
   :widths: 20 25 25 30

   * - method
     - request
     - answer
     - meaning
"""


class Item(NamedTuple):
    """A method, field or value: what it is, its name, its number or types, and the comment above it."""

    kind: str
    name: str
    detail: tuple[str, ...]
    comment: str


_METHOD = re.compile(r"rpc (\w+)\((stream )?(\w+)\) returns \((stream )?(\w+)\);")
_FIELD = re.compile(r"(repeated )?(\w+) (\w+) = (\d+);")
_VALUE = re.compile(r"(\w+) = (\d+);")


def read_proto(text: str) -> Iterator[tuple[str, str, str, list[Item]]]:
    """The blocks of a proto file: what it is (service, enum, message), its name, its comment, and its items."""
    comment: list[str] = []
    above, block, items = "", None, []
    for line in map(str.strip, text.splitlines()):
        if line.startswith("//"):
            comment.append(line[2:].strip())
            continue
        started = re.fullmatch(r"(service|enum|message) (\w+) \{(\})?", line)
        if started is not None:
            above, block, items = " ".join(comment), (started[1], started[2]), []
        if block is not None and line.endswith("}"):
            yield *block, above, items
            block = None
        elif block is not None and started is None and line:
            items.append(_item(block[0], line, " ".join(comment), items))
        comment = []


def _item(block: str, line: str, comment: str, before: list[Item]) -> Item:
    comment = comment or (before[-1].comment if before else "")
    if block == "service":
        found = _METHOD.fullmatch(line)
        assert found is not None, line
        return Item("method", found[1], ((found[2] or "") + found[3], (found[4] or "") + found[5]), comment)
    if block == "enum":
        found = _VALUE.fullmatch(line)
        assert found is not None, line
        return Item("value", found[1], (found[2], ""), comment)
    found = _FIELD.fullmatch(line)
    assert found is not None, line
    return Item("field", found[3], (found[4], (found[1] or "") + found[2]), comment)


def _plain(text: str) -> str:
    return re.sub(r"`(\w+)`", r"``\1``", text.replace("2^64", "2\\ :sup:`64`"))


def protocol_page() -> str:
    """The reference page."""
    blocks = list(read_proto(PROTO.read_text("utf-8")))
    lines = [HEAD.rstrip("\n")]
    for kind, _, _, items in blocks:
        lines += [
            f"   * - ``{item.name}``\n     - {item.detail[0]}\n     - {item.detail[1]}\n     - {item.comment}"
            for item in (items if kind == "service" else ())
        ]
    lines.append("\nMessages\n--------\n")
    for kind, name, comment, items in blocks:
        if kind == "service":
            continue
        lines.append(f"{name}\n{'~' * len(name)}\n")
        if comment:
            lines.append(f"{_plain(comment)}\n")
        if not items:
            lines.append("No fields.\n")
            continue
        lines.append(".. list-table::\n   :widths: 8 20 22 50\n")
        lines += [
            f"   * - {item.detail[0]}\n     - ``{item.name}``\n     - {item.detail[1] or 'value'}\n     - {_plain(item.comment)}"
            for item in items
        ]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"
