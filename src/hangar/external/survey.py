"""What an import would read: formats, modes, sizes and orientations of all files, from their headers alone.

The survey says it before the first byte is written, and proposes a column for files that have none yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from hangar.errors import HangarError
from hangar.external.fit import create_command
from hangar.external.loading import Job, first_value
from hangar.external.records import Probe
from hangar.threads import parallel_map
from hangar.wording import plural

__all__ = ["Survey", "proposal", "survey_files"]

IMAGE_FORMATS: Final = frozenset(("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PNM"))
HUGE_BYTES: Final = 256 * 2**20
"""Arrays larger than this are read more conveniently in chunks."""
_AT_ONCE: Final = 256
_MOST: Final = 5


@dataclass(slots=True)
class Survey:
    """Counts over the files of an import.

    Attributes
    ----------
    files
        Number of files.
    kinds, formats, modes, dtypes, shapes
        How many samples have each.
    oriented
        Number of images whose orientation is not upright.
    unreadable
        Number of files whose header cannot be read.
    """

    files: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    formats: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    dtypes: Counter[str] = field(default_factory=Counter)
    shapes: Counter[tuple[int, ...]] = field(default_factory=Counter)
    oriented: int = 0
    unreadable: int = 0

    def add(self, probes: Iterable[Probe]) -> None:
        """Count the samples of one file."""
        for probe in probes:
            count = max(1, probe.samples)
            self.kinds[probe.kind] += count
            self.formats[probe.format] += count
            if probe.mode:
                self.modes[probe.mode] += count
            if probe.kind == "ndarray":
                self.dtypes[probe.dtype] += count
                self.shapes[probe.shape] += count
            self.oriented += probe.orientation > 1

    @property
    def extent(self) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """The smallest and largest extent in each dimension; None if arrays differ in rank, or there are none."""
        if len({len(shape) for shape in self.shapes}) != 1:
            return None
        columns = list(zip(*self.shapes, strict=True))
        return tuple(map(min, columns)), tuple(map(max, columns))

    def describe(self) -> str:
        """The counts as one sentence."""
        parts = [_listed(self.formats)]
        if self.modes:
            parts.append(_listed(self.modes))
        if self.dtypes and not self.modes:
            parts.append(_listed(self.dtypes))
        if len(self.shapes) == 1:
            parts.append(f"all {_times(next(iter(self.shapes)))}")
        elif self.shapes:
            extent = self.extent
            between = "" if extent is None else f" from {_times(extent[0])} to {_times(extent[1])}"
            parts.append(f"{len(self.shapes):,} different sizes{between}")
        if self.oriented:
            parts.append(f"{self.oriented:,} with an EXIF orientation (--upright true applies it)")
        if self.unreadable:
            parts.append(f"{self.unreadable:,} that cannot be read")
        return f"Found {plural(self.files, 'file')}: {'; '.join(part for part in parts if part)}"

    def record(self) -> dict[str, Any]:
        """The counts for JSON."""
        extent = self.extent
        return {
            "files": self.files,
            "formats": dict(self.formats),
            "modes": dict(self.modes),
            "dtypes": dict(self.dtypes),
            "sizes": len(self.shapes),
            "smallest": None if extent is None else list(extent[0]),
            "largest": None if extent is None else list(extent[1]),
            "oriented": self.oriented,
            "unreadable": self.unreadable,
        }


def _listed(counts: Counter[str]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    more = f" and {len(counts) - _MOST} more" if len(counts) > _MOST else ""
    return ", ".join(f"{name} ({count:,})" for name, count in counts.most_common(_MOST)) + more


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "single numbers"


def survey_files(jobs: Sequence[Job], options: Mapping[str, Any] | None = None) -> Survey:
    """Read the headers of all files. Files that cannot be read are counted. ``options`` are those of the import."""
    total = Survey(files=len(jobs))
    safe = [job for job in jobs if job.plugin.thread_safe]
    others = [job for job in jobs if not job.plugin.thread_safe]
    look = partial(_probe_some, options=dict(options or {}))
    for found in chain(parallel_map(look, _groups(safe), "hangar-import"), map(look, _groups(others))):
        for probes in found:
            if probes is None:
                total.unreadable += 1
            else:
                total.add(probes)
    return total


def _groups(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    left = iter(jobs)
    while some := list(islice(left, _AT_ONCE)):
        yield some


def _probe_some(jobs: Sequence[Job], options: dict[str, Any]) -> list[list[Probe] | None]:
    return [_probe(job, options) for job in jobs]


def _probe(job: Job, options: dict[str, Any]) -> list[Probe] | None:
    """The samples of a file, or None if it cannot be read."""
    try:
        probe = job.plugin.probe(job.source.path, **options)
        if probe is not None:
            return list(probe)
        value = first_value(job)
    except (HangarError, StopIteration):
        return None
    except Exception:  # noqa: BLE001  a third-party plugin may raise anything; the import reports it
        return None
    suffix = Path(job.source.relative).suffix.removeprefix(".") or "no suffix"
    kind = "ndarray" if isinstance(value, np.ndarray) else type(value).__name__
    return [Probe(suffix, kind, str(getattr(value, "dtype", "")), tuple(getattr(value, "shape", ())))]


# ------------------------------------------------------------------------------------------------------------ proposals


def proposal(name: str, survey: Survey) -> str | None:
    """The commands that create a column for the files, with advice; None if nothing can be read."""
    if not survey.kinds:
        return None
    kind = survey.kinds.most_common(1)[0][0]
    if kind == "str" and any(mode.endswith(" classes") for mode in survey.modes):
        most = max(int(mode.split()[0]) for mode in survey.modes if mode.endswith(" classes"))
        numbers = create_command(name, "ndarray", "uint8" if most <= 256 else "uint16")
        return (
            f"run `{numbers}`, which numbers the class names, or `{create_command(name, kind)}` for the names as text"
        )
    if kind != "ndarray":
        return f"run `{create_command(name, kind)}`"
    arrays = _array_advice(name, survey)
    images = sum(count for form, count in survey.formats.items() if form in IMAGE_FORMATS)
    if 2 * images > sum(survey.formats.values()):
        return f"run `{create_command(name, 'image')}`, which keeps the files as they are, or {arrays}"
    return f"run {arrays}"


def _array_advice(name: str, survey: Survey) -> str:
    """The command for a column of arrays, and what some of the files need besides."""
    dtype = survey.dtypes.most_common(1)[0][0]
    ranks = Counter(
        {rank: sum(n for shape, n in survey.shapes.items() if len(shape) == rank) for rank in map(len, survey.shapes)}
    )
    shapes = [shape for shape in survey.shapes if len(shape) == ranks.most_common(1)[0][0]]
    advice = ""
    if len(survey.modes) > 1 and set(survey.dtypes) <= {"uint8", "bool"}:
        sizes = {shape[:2] for shape in survey.shapes}
        shapes = [(*size, 3) for size in sizes]
        dtype, advice = "uint8", " and import with --mode RGB"
    elif len(survey.dtypes) > 1 or len(ranks) > 1:
        advice = " (not all files fit: they differ in dtype or number of dimensions)"
    largest = tuple(map(max, zip(*shapes, strict=True)))
    command = create_command(name, "ndarray", dtype, largest, variable=len(set(shapes)) > 1)
    if prod(largest) * _itemsize(dtype) > HUGE_BYTES:
        advice += f"; arrays of this size are read by parts in a chunked column, `checkout.add_chunked_column({name!r}, {dtype!r}, chunks=...)`"
    return f"`{command}`{advice}"


def _itemsize(dtype: str) -> int:
    try:
        return np.dtype(dtype).itemsize
    except TypeError:
        return 2
