"""A comparison as one self-contained HTML page, for people: pictures of images side by side, tables of the rest.

Images are shown before, after, and as a picture of what changed. Everything from the repository is escaped, and nothing
is loaded from elsewhere. The page follows the light or dark mode of the reader, and fits a phone.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final

import numpy as np

from hangar._version import __version__
from hangar.diff.arrays import ArrayDifference
from hangar.diff.chunks import Region, region_text
from hangar.diff.pictures import difference_png, picture_kind, pictures_png
from hangar.diff.stream import Unavailable, ValueChange
from hangar.diff.text import change_text, difference_text, text_spans, value_text
from hangar.diff.values import TextDifference, ValueDifference
from hangar.progress import format_bytes
from hangar.wording import visible_name

__all__ = ["PageColumn", "PageSample", "page"]

SMALL_PICTURE: Final = 160
"""Smaller pictures are enlarged to about this many pixels."""
_MARKS: Final = {"added": "+", "deleted": "−", "mutated": "~"}  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class PageSample:
    """A changed sample: its name as a user types it, its values, and their difference."""

    name: str
    change: ValueChange
    difference: ValueDifference | None
    part: tuple[Any, Any, Region] | None = None
    """Of chunked arrays the part before and after that is shown, and its region."""


@dataclass(frozen=True, slots=True)
class PageColumn:
    """A changed column.

    Attributes
    ----------
    name
        Its last name.
    state
        What happened to it, such as ``'new column'``, and further notes.
    schema
        Description of its values.
    added, mutated, deleted
        Numbers of changed samples.
    bytes_before, bytes_after
        Logical bytes of the changed samples.
    attributes
        Rows of name, old and new value.
    samples
        The samples that are shown; all others of the numbers are "more".
    """

    name: str
    state: str
    schema: str
    added: int
    mutated: int
    deleted: int
    bytes_before: int
    bytes_after: int
    attributes: Sequence[tuple[str, str, str]] = ()
    samples: Sequence[PageSample] = field(default=())


def page(
    title: str,
    sides: Sequence[tuple[str, str]],
    columns: Sequence[PageColumn],
    attributes: Sequence[tuple[str, str, str]] = (),
    notes: Sequence[str] = (),
) -> Iterator[str]:
    """Yield the parts of the page.

    Parameters
    ----------
    title
        Its title.
    sides
        Label and description of both states.
    columns
        The changed columns.
    attributes
        Changed attributes of the commit: rows of name, old and new value.
    notes
        Sentences below the title.
    """
    yield _HEAD.format(title=_text(title), style=_STYLE)
    yield f"<header><h1>{_text(title)}</h1>\n<dl class='sides'>"
    for word, (label, about) in zip(("from", "to"), sides, strict=True):
        yield f"<div><dt>{word}</dt><dd><b>{_text(label)}</b> {_text(about)}</dd></div>"
    yield "</dl>"
    yield from (f"<p class='note'>{_text(one)}</p>" for one in notes)
    if not columns and not attributes:
        yield "<p>No differences.</p>"
    yield "</header>\n<main>\n"
    if columns:
        yield from _overview(columns)
    for i, column in enumerate(columns):
        yield from _section(i, column)
    if attributes:
        yield "<section><h2>attributes of the commit</h2>"
        yield from _attributes(attributes)
        yield "</section>\n"
    yield f"</main>\n<footer>Hangar {_text(__version__)}</footer>\n</body>\n</html>\n"


def _text(text: str) -> str:
    return escape(visible_name(text))


def _overview(columns: Sequence[PageColumn]) -> Iterator[str]:
    """Table of all columns with their numbers."""
    yield "<div class='wide'><table class='overview'><thead><tr><th>column</th><th class='n'>added</th>"
    yield "<th class='n'>changed</th><th class='n'>deleted</th><th class='n'>bytes before</th>"
    yield "<th class='n'>bytes after</th></tr></thead><tbody>\n"
    for i, one in enumerate(columns):
        numbers = [(one.added, "added"), (one.mutated, "mutated"), (one.deleted, "deleted")]
        cells = "".join(f"<td class='n {kind if number else 'none'}'>{number:,}</td>" for number, kind in numbers)
        sizes = "".join(f"<td class='n'>{format_bytes(size)}</td>" for size in (one.bytes_before, one.bytes_after))
        yield f"<tr><td><a href='#c{i}'>{_text(one.name)}</a></td>{cells}{sizes}</tr>\n"
    yield "</tbody></table></div>\n"


def _section(number: int, column: PageColumn) -> Iterator[str]:
    yield f"<section id='c{number}'><h2>{_text(column.name)} <small>{_text(column.schema)}</small></h2>"
    yield f"<p class='state'>{_text(column.state)}</p>\n"
    if column.attributes:
        yield from _attributes(column.attributes)
    pictures = [one for one in column.samples if _is_picture(one)]
    others = [one for one in column.samples if not _is_picture(one)]
    if pictures:
        yield "<div class='cards'>\n"
        for one in pictures:
            yield from _card(one)
        yield "</div>\n"
    if others:
        yield from _table(others)
    more = column.added + column.mutated + column.deleted - len(column.samples)
    if more > 0:
        yield f"<p class='more'>and {more:,} more</p>\n"
    yield "</section>\n"


def _attributes(rows: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    yield "<div class='wide'><table><thead><tr><th>attribute</th><th>before</th><th>after</th></tr></thead><tbody>"
    for row in rows:
        yield f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>"
    yield "</tbody></table></div>\n"


# ---------------------------------------------------------------------- images


def _is_picture(sample: PageSample) -> bool:
    return any(_image_of(one) is not None for one in _shown(sample))


def _shown(sample: PageSample) -> tuple[Any, Any]:
    """What is shown of both values: themselves, or a part."""
    return (sample.change.before, sample.change.after) if sample.part is None else sample.part[:2]


def _image_of(value: Any) -> np.ndarray[Any, Any] | None:
    """``value`` if it is an image, else None."""
    image = isinstance(value, np.ndarray) and picture_kind(value.dtype.name, value.shape) is not None
    return value if image else None


def _card(sample: PageSample) -> Iterator[str]:
    """One sample: its pictures in a row, and a line about the change."""
    change = sample.change
    values = _shown(sample)
    first, second = map(_image_of, values)
    where = _slice(sample.difference) if sample.part is None else None
    before, after = pictures_png(first, second, where)
    yield f"<article class='card {change.kind}'><h3>{_name(sample)}</h3><div class='row'>"
    for word, value, png in zip(("before", "after"), values, (before, after), strict=True):
        if value is not None:
            yield _figure(word, png) if png is not None else f"<figure><i>{_text(value_text(value))}</i></figure>"
    if first is not None and second is not None and first.shape == second.shape:
        yield _figure("difference", difference_png(first, second, where))
    about = change_text(change.before, change.after, sample.difference)
    shown = next(one for one in (first, second) if one is not None)
    if picture_kind(shown.dtype.name, shown.shape) == "volume":
        about += f"; slice {len(shown) // 2 if where is None else where} of {len(shown)} is shown"
    if sample.part is not None:
        about += f"; {region_text(sample.part[2])} is shown"
    yield f"</div><p>{_text(about)}</p></article>\n"


def _slice(found: ValueDifference | None) -> int | None:
    """The slice of a changed volume to show: the middle of the changed region."""
    if not isinstance(found, ArrayDifference) or found.box is None:
        return None
    if picture_kind(found.dtype_after, found.shape_after) != "volume":
        return None
    return sum(found.box[0]) // 2


def _figure(word: str, png: bytes) -> str:
    """A picture in the page itself."""
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
    scale = max(1, SMALL_PICTURE // max(width, height))
    data = base64.b64encode(png).decode()
    return (
        f"<figure><img alt='{word}' width='{width * scale}' height='{height * scale}' "
        f"src='data:image/png;base64,{data}'><figcaption>{word}</figcaption></figure>"
    )


# ---------------------------------------------------------------------- other values


def _name(sample: PageSample) -> str:
    kind = sample.change.kind
    return f"<span class='mark {kind}' title='{kind}'>{_MARKS[kind]}</span> <code>{_text(sample.name)}</code>"


def _table(samples: Sequence[PageSample]) -> Iterator[str]:
    yield "<div class='wide'><table><thead><tr><th>sample</th><th>before</th><th>after</th></tr></thead><tbody>\n"
    for one in samples:
        yield f"<tr><td>{_name(one)}</td>{_cells(one)}</tr>\n"
    yield "</tbody></table></div>\n"


def _cells(sample: PageSample) -> str:
    """Old and new value; for large arrays one cell with what changed."""
    before, after, found = sample.change.before, sample.change.after, sample.difference
    if isinstance(found, TextDifference):
        return "".join(
            f"<td>{_text(first)}<{tag}>{_text(part)}</{tag}>{_text(last)}</td>"
            for (first, part, last), tag in zip(text_spans(before, after, found), ("del", "ins"), strict=True)
        )
    text = difference_text(found) if isinstance(found, ArrayDifference) else None
    if text is not None:
        return f"<td colspan='2'>{_text(text)}</td>"
    return "".join(f"<td>{_value(one)}</td>" for one in (before, after))


def _value(value: Any) -> str:
    if value is None:
        return ""
    text = _text(value_text(value))
    return f"<i>{text}</i>" if isinstance(value, Unavailable) else text


_HEAD: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
"""

_STYLE: Final = """
:root { --back: #f6f7f9; --card: #fff; --text: #1c2128; --soft: #626c7a; --line: #dce0e6; --link: #0b57b4;
  --added: #0b7a3b; --mutated: #996300; --deleted: #b3202c; --ins: #d3f3de; --del: #fbdcdf; }
@media (prefers-color-scheme: dark) {
  :root { --back: #12151a; --card: #1b2027; --text: #e3e7ed; --soft: #98a3b2; --line: #323943; --link: #7db4ff;
    --added: #55cc87; --mutated: #e0ac4a; --deleted: #ff858f; --ins: #16452a; --del: #5a2128; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 76rem; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 0 0 .1rem; overflow-wrap: anywhere; }
h2 small { font-weight: 400; color: var(--soft); font-size: .85rem; margin-left: .4rem; }
h3 { font-size: .95rem; font-weight: 600; margin: 0 0 .5rem; overflow-wrap: anywhere; }
code, td { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .85rem; }
a { color: var(--link); text-decoration: none; } a:hover { text-decoration: underline; }
.sides { margin: 0 0 1rem; } .sides div { display: flex; gap: .6rem; }
.sides dt { color: var(--soft); width: 2.6rem; flex: none; } .sides dd { margin: 0; overflow-wrap: anywhere; }
.note, .state, .more { color: var(--soft); margin: .2rem 0 .7rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem; margin: 1rem 0; }
.wide { overflow-x: auto; } .wide + .wide { margin-top: .8rem; } table { border-collapse: collapse; }
.overview { background: var(--card); border: 1px solid var(--line); }
th { text-align: left; font-weight: 600; font-size: .8rem; color: var(--soft); white-space: nowrap; }
td { min-width: 5rem; } .overview td { min-width: 0; }
th, td { padding: .28rem .8rem .28rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: break-word; max-width: 40rem; } tr:last-child td { border-bottom: 0; }
.overview th, .overview td { padding: .35rem .8rem; white-space: nowrap; }
.n { text-align: right; } .none { color: var(--soft); opacity: .6; }
.added { color: var(--added); } .mutated { color: var(--mutated); } .deleted { color: var(--deleted); }
.mark { font-weight: 700; font-family: ui-monospace, monospace; }
ins { background: var(--ins); text-decoration: none; border-radius: 3px; }
del { background: var(--del); text-decoration: none; border-radius: 3px; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin: .6rem 0; }
.card { color: var(--text); border: 1px solid var(--line); border-radius: 8px; padding: .7rem .8rem; max-width: 100%;
  flex: 0 1 auto; display: flex; flex-direction: column; }
.card p { margin: .5rem 0 0; color: var(--soft); font-size: .85rem; width: 0; min-width: 100%; }
.row { display: flex; gap: .6rem; align-items: flex-start; }
figure { margin: 0; min-width: 0; flex: 0 1 auto; }
figcaption { color: var(--soft); font-size: .75rem; margin-top: .15rem; }
img { display: block; max-width: 100%; height: auto; image-rendering: pixelated; border-radius: 3px;
  outline: 1px solid var(--line); background: repeating-conic-gradient(#bbb 0 25%, #eee 0 50%) 0 0 / 16px 16px; }
footer { color: var(--soft); font-size: .8rem; margin-top: 2rem; }
@media (max-width: 600px) { body { padding: 1rem .6rem 2rem; } section { padding: .8rem .7rem; } .card { width: 100%; }
  .row { justify-content: flex-start; } }
"""
