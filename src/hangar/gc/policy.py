"""Selects the blob files that are worth rewriting.

Rewriting a file means reading and writing its live blobs. So a file is rewritten when a quarter of it is free. If the
user expired reflog entries, the files with the most free bytes are rewritten too, until at most 2 % of all free bytes
are left. Many small files of one backend are merged into one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hangar.blobs.space import FileSpace, SpaceUsage

__all__ = ["files_to_rewrite"]

_FREE_SHARE: Final = 0.25
_LEFT_SHARE: Final = 0.02
_LEAST_FREE: Final = 32 * 2**10
"""Fewer free bytes are not worth a new file."""
_SMALL_BYTES: Final = 16 * 2**20
_MOST_SMALL: Final = 4
"""Maximum number of small files of one backend; more are merged."""


def files_to_rewrite(found: SpaceUsage, *, thorough: bool = False) -> set[int]:
    """Ids of the files to rewrite.

    Parameters
    ----------
    thorough
        Whether the user expired reflog entries, to free as much space as possible.
    """
    uses = [use for use in found.files.values() if use.live and not use.fixed]
    chosen = {use.file_id for use in uses if use.free >= max(_LEAST_FREE, _FREE_SHARE * use.size)}
    if thorough:
        chosen |= _most_free(uses)
    return chosen | _small(uses)


def _most_free(uses: Iterable[FileSpace]) -> set[int]:
    chosen: set[int] = set()
    ordered = sorted(uses, key=lambda use: use.free)
    allowed = _LEFT_SHARE * sum(use.free for use in ordered)
    left = 0
    for use in ordered:
        left += use.free
        if left > allowed and use.free >= _LEAST_FREE:
            chosen.add(use.file_id)
    return chosen


def _small(uses: Iterable[FileSpace]) -> set[int]:
    by_tag: dict[str, list[int]] = {}
    for use in uses:
        if use.size < _SMALL_BYTES:
            by_tag.setdefault(use.row.tag, []).append(use.file_id)
    return {file_id for files in by_tag.values() if len(files) > _MOST_SMALL for file_id in files}
