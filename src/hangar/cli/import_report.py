"""What ``hangar import`` writes: the result, the files that were not imported with the reasons, and the exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hangar.cli.output import echo, note, visible, write_json
from hangar.errors import HangarError, InvalidInputError, exit_code
from hangar.progress import format_bytes
from hangar.wording import plural

if TYPE_CHECKING:
    from hangar.external.chunked_files import ChunkedImport
    from hangar.external.importer import Failure, ImportReport
    from hangar.external.naming import Source
    from hangar.external.run import FilesImport
    from hangar.external.survey import Survey

__all__ = ["MOST_LISTED", "conclude", "suffixes", "where_it_stopped"]

MOST_LISTED: Final = 20
"""Most failures that are listed one by one; the JSON document has all."""


def conclude(
    column: str,
    branch: str,
    report: ImportReport,
    skipped: Sequence[Source],
    failures: Sequence[Failure],
    as_json: bool,
    found: Survey | None = None,
) -> None:
    """Write the result of an import. If something was not imported, end with an error.

    Raises
    ------
    HangarError
        Something was not imported. Its exit code is that of the failures if all have the same, else 1.
    """
    if as_json:
        write_json(
            _as_json(column, branch, report, skipped, failures) | ({} if found is None else {"found": found.record()})
        )
    else:
        _tell(column, report, skipped)
    if not failures:
        return
    if len(failures) == 1 and failures[0].sample is None and not report.files:
        raise failures[0].error
    if not as_json:
        for failure in islice(failures, MOST_LISTED):
            note(f"Not imported: {visible(_reason(failure))}")
        if len(failures) > MOST_LISTED:
            note(f"Not imported: {len(failures) - MOST_LISTED:,} more, which --json lists")
    raise _incomplete(column, report, failures)


def _incomplete(column: str, report: ImportReport, failures: Sequence[Failure]) -> HangarError:
    files, samples = len({one.path for one in failures if one.sample is None}), len(failures)
    samples -= sum(one.sample is None for one in failures)
    counts = " and ".join([plural(files, "file")] * bool(files) + [plural(samples, "sample")] * bool(samples))
    staged = report.samples + report.unchanged
    rest = f"the rest, {plural(staged, 'sample')}, is in {column}" if staged else "there was nothing else"
    codes = {exit_code(one.error) for one in failures}
    kind = type(failures[0].error) if len(codes) == 1 else InvalidInputError
    return kind(
        f"{counts} could not be imported; {rest}. Repair {'it' if len(failures) == 1 else 'them'} and run the same "
        "command again"
    )


def _reason(failure: Failure) -> str:
    text = str(failure.error)
    where = failure.path if failure.sample is None else f"{failure.path} ({failure.sample})"
    return text if failure.path in text and failure.sample is None else f"{where}: {text}"


def _as_json(
    column: str, branch: str, report: ImportReport, skipped: Sequence[Source], failures: Sequence[Failure]
) -> dict[str, Any]:
    return {
        "column": column,
        "branch": branch,
        "samples": report.samples,
        "overwritten": report.overwritten,
        "unchanged": report.unchanged,
        "files": report.files,
        "nbytes": report.nbytes,
        "skipped": [source.path for source in skipped],
        "failed": [
            {"path": one.path, "sample": one.sample, "error": type(one.error).__name__, "reason": str(one.error)}
            for one in failures
        ],
    }


def _tell(column: str, report: ImportReport, skipped: Sequence[Source]) -> None:
    if skipped:
        note(
            f"Skipped {plural(len(skipped), 'file')} that no plugin reads for this kind of column: {suffixes(skipped)}"
        )
    replaced = f" ({report.overwritten:,} replaced)" if report.overwritten else ""
    there = f"; {report.unchanged:,} existed already" if report.unchanged else ""
    echo(
        f"Imported {plural(report.samples, 'sample')}{replaced} into {column} from {plural(report.files, 'file')}, "
        f"{format_bytes(report.nbytes)}{there}"
    )


@contextmanager
def where_it_stopped(work: FilesImport | ChunkedImport, files: int) -> Iterator[None]:
    """When an import ends early, print how much of it is staged."""
    try:
        yield
    except (KeyboardInterrupt, HangarError) as error:
        done = work.report
        if done.files:
            after = "The" if isinstance(error, KeyboardInterrupt) else "Once the next file is repaired, the"
            note(
                f"Stopped: {done.files:,} of {plural(files, 'file')} are staged, the last {done.last}. "
                f"{after} same command continues from there"
            )
        else:
            note(f"Stopped: none of {plural(files, 'file')} is staged")
        raise


def suffixes(skipped: Sequence[Source]) -> str:
    """The suffixes of files, the most frequent first."""
    counts = Counter(Path(source.relative).suffix or "no suffix" for source in skipped)
    return visible(", ".join(f"{suffix} ({number:,})" for suffix, number in counts.most_common(5)))
