"""Short texts of values and of their differences, for one line; text from the repository is made safe to show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from hangar.diff.arrays import ArrayDifference
from hangar.diff.chunked import is_chunked
from hangar.diff.chunks import region_text
from hangar.diff.pictures import picture_kind
from hangar.diff.sparse import as_coordinates, sparse_nbytes
from hangar.diff.stream import Form, Unavailable
from hangar.diff.values import TextDifference, ValueDifference
from hangar.errors import HangarError
from hangar.progress import format_bytes
from hangar.video import Video
from hangar.wording import plural, visible_name

__all__ = ["SMALL_ARRAY", "change_text", "difference_text", "form_text", "is_small", "text_spans", "value_text"]

SMALL_ARRAY: Final = 8
"""Most elements of an array that is shown."""
CHARACTERS: Final = 60
"""Most characters of a text that are shown; of bytes, twice their number."""
REGIONS: Final = 3
"""Most regions of a chunked array that are named."""
SPAN: Final = 400
"""Most characters of the differing part of a text on a page."""
_CONTEXT: Final = 16
"""Characters shown before the first difference of two long texts."""


def is_small(shape: Sequence[int] | None) -> bool:
    """Whether an array of this shape is shown whole."""
    return shape is not None and math.prod(shape) <= SMALL_ARRAY


def change_text(before: Any, after: Any, difference: ValueDifference | None) -> str:
    """Text of a change, such as ``'8 -> 3'``.

    Parameters
    ----------
    before, after
        Values; None where there is none, a :class:`Form` for one that was not read.
    difference
        Their difference, if both are values.
    """
    if before is None or after is None:
        return value_text(after if before is None else before)
    if isinstance(difference, TextDifference):
        start = _shown_from(before, after, difference)
        return f"{_cut(before, start, difference.stop_before)} -> {_cut(after, start, difference.stop_after)}"
    if isinstance(difference, ArrayDifference):
        text = difference_text(difference)
        if text is not None:
            return text
    first, second = value_text(before), value_text(after)
    return first if first == second and isinstance(before, (Unavailable, Form)) else f"{first} -> {second}"


def value_text(value: Any) -> str:
    """Text of one value: small ones whole, of large arrays dtype and shape, of long texts the beginning."""
    if isinstance(value, Unavailable):
        return f"({visible_name(value.reason)})"
    if isinstance(value, Form):
        return form_text(value)
    if isinstance(value, (str, bytes)):
        return _cut(value, 0, len(value))
    if isinstance(value, Video):
        return _video_text(value)
    sparse = as_coordinates(value)
    if sparse is not None:
        stored = f"{len(sparse.values):,} not zero"
        return f"{form_text(Form('sparse', value.dtype.name, sparse.shape, sparse_nbytes(sparse)))}, {stored}"
    if is_chunked(value):
        form = Form("chunked", value.dtype.name, value.shape, value.nbytes)
        return f"{form_text(form)}, {plural(value.nchunks_initialized, 'chunk')} stored"
    if not is_small(value.shape):
        return form_text(Form("ndarray", value.dtype.name, value.shape, value.nbytes))
    return _elements(value)


def _video_text(video: Video) -> str:
    """A video by what its header says; by its size where that cannot be read."""
    try:
        info = video.info
    except HangarError:
        return form_text(Form("video", None, None, video.nbytes))
    return f"{info.codec} video of {plural(info.frames, 'frame')}, {info.height:,} x {info.width:,}"


def form_text(form: Form) -> str:
    """Text of a value that was not read, such as ``'uint8 28 x 28'``."""
    if form.shape is None:
        return f"({form.kind} of {format_bytes(form.nbytes)})"
    kind = f"{form.kind} " if form.kind in ("sparse", "chunked") else ""
    return f"{kind}{form.dtype} {_shape_text(form.shape)}"


def _shape_text(shape: Sequence[int]) -> str:
    if len(shape) == 1:
        return f"({shape[0]:,},)"
    return " x ".join(f"{n:,}" for n in shape) or "scalar"


def _elements(array: np.ndarray[Any, Any]) -> str:
    if array.ndim == 0:
        return str(array[()])
    return f"[{', '.join(_elements(np.asarray(part)) for part in array)}]"


def difference_text(found: ArrayDifference) -> str | None:
    """What changed between two arrays; None if both are small enough to be shown whole."""
    dense = found.kind == "ndarray"
    if dense and is_small(found.shape_before) and is_small(found.shape_after):
        return None
    before = f"{'' if dense else f'{found.kind} '}{found.dtype_before} {_shape_text(found.shape_before)}"
    if found.dtype_before != found.dtype_after or not found.same_shape:
        before += f" -> {found.dtype_after} {_shape_text(found.shape_after)}"
        if not found.same_shape and found.kind != "chunked":
            return before
    if found.kind == "chunked":
        before += _chunks_text(found)
        if not found.changed:
            return before if found.chunks or not found.read else f"{before}: equal as numbers (-0.0, NaN)"
    if not found.changed:
        # Integers have one form, so these are pixels of two files of an image column.
        whole = found.dtype_before == found.dtype_after and found.dtype_after.startswith(("uint", "int", "bool"))
        return f"{before}: {'another file of equal pixels' if whole else 'equal as numbers (-0.0, NaN)'}"
    kind = picture_kind(found.dtype_after, found.shape_after) if dense else None
    image = kind in ("gray", "colour")
    changed, total = (found.pixels_changed, found.pixels) if image else (found.changed, found.elements)
    parts = [
        f"{changed:,} of {total:,} {'pixels' if image else 'elements that are not zero' if found.kind == 'sparse' else 'elements'} changed ({_percent(changed / total)})"
    ]
    if found.changed < found.elements and found.box is not None:
        box = found.box[:2] if image else found.box
        parts.append(f"in [{', '.join(f'{start}:{stop}' for start, stop in box)}]")
    if found.largest is not None and found.mean is not None and found.dtype_after != "bool":
        parts.append(f"by up to {_number(found.largest)}, mean {_number(found.mean)}")
    for count, word in ((found.nans_gained, "gained"), (found.nans_lost, "lost")):
        if count:
            parts.append(f"{count:,} NaN{'' if count == 1 else 's'} {word}")
    return f"{before}: {', '.join(parts)}"


def _chunks_text(found: ArrayDifference) -> str:
    """Which chunks changed."""
    if not found.chunks:
        return ""
    regions = ", ".join(map(region_text, found.regions[:REGIONS]))
    more = f", ... and {found.chunks - REGIONS:,} more" if found.chunks > REGIONS else ""
    unread = "" if found.read else ", which were not read"
    return f", {plural(found.chunks, 'chunk')} changed{unread} ({regions}{more})"


def _percent(share: float) -> str:
    return "<0.1%" if share < 0.001 else f"{100 * share:.3g}%" if share < 0.9995 or share == 1 else ">99.9%"


def _number(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:.4g}"


def _shown_from(before: Any, after: Any, found: TextDifference) -> int:
    """Where the shown parts of two texts begin: before their first difference, or at the beginning if both are short."""
    return 0 if max(len(before), len(after)) <= _most(before) else max(0, found.start - _CONTEXT)


def text_spans(before: Any, after: Any, found: TextDifference) -> list[tuple[str, str, str]]:
    """Of each of two texts what is shown before the differing part, that part (cut if it is long), and what follows."""
    start = _shown_from(before, after, found)
    spans = []
    for text, stop in ((before, found.stop_before), (after, found.stop_after)):
        cut = min(stop, found.start + SPAN)
        end = min(len(text), cut + _CONTEXT)
        parts = [text[start : found.start], text[found.start : cut], text[cut:end] if cut == stop else text[:0]]
        first, middle, last = (part if isinstance(part, str) else part.hex() for part in parts)
        dots = "..." if end < len(text) or cut < stop else ""
        spans.append(("..." + first if start else first, middle, last + dots))
    return spans


def _most(text: str | bytes) -> int:
    return CHARACTERS if isinstance(text, str) else CHARACTERS // 2


def _cut(text: str | bytes, start: int, stop: int) -> str:
    """A text from ``start``, in quotes (bytes in hex), with dots where something is left out."""
    most = _most(text)
    if len(text) > most:
        end = min(len(text), start + most, max(stop + _CONTEXT, start + 1))
    else:
        start, end = 0, len(text)
    part = text[start:end]
    shown = f'"{visible_name(part)}"' if isinstance(part, str) else part.hex() or "(no bytes)"
    return f"{'...' if start else ''}{shown}{'...' if end < len(text) else ''}"
