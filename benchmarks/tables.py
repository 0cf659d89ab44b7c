"""Format the tables: as text for a terminal, and as reStructuredText for the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.epochs import MEASURES
from benchmarks.goals import goal_rows
from benchmarks.results import Results

__all__ = ["Section", "as_rst", "as_text", "sections"]


@dataclass
class Section:
    """One table; the first column has names, the others have figures."""

    title: str
    header: Sequence[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)


def rate(value: float | None) -> str:
    """Samples a second, in three digits."""
    if value is None:
        return "-"
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}" if value < 1000 * size else f"{value / size:,.0f} {unit}"
    return f"{value:.3g}"


def seconds(value: float | None) -> str:
    return "-" if value is None else f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"


def size(value: float | None) -> str:
    return "-" if value is None else f"{value / 1e6:.3g} MB" if value >= 1e6 else f"{value / 1e3:.3g} kB"


def _ratio(value: float | None) -> str:
    return "" if value is None else f" ({value:.2g}x)" if value < 100 else f" ({value:.0f}x)"


def _samples(results: Results, name: str) -> Section:
    header = ["peer", "ingest, time to the baseline's", "ingest /s", "single get /s", "batch /s", "scan /s", "disk"]
    rows, notes = [], []
    count = results.counts[name]
    for peer in _peers(results, name):
        failure = results.failures.get(name, {}).get(peer)
        if failure is not None:
            rows.append([peer, *["-"] * (len(header) - 1)])
            notes.append(f"{peer}: {failure}")
            continue
        notes += _reasons(results, name, peer, ("ingest", "get", "batch", "scan"))
        ingest, multiple = results.best(name, peer, "ingest"), results.ratio(name, peer, "ingest")
        cells = [
            peer,
            "-" if multiple is None else f"{multiple:.3g}x",
            rate(None if ingest is None else count / ingest),
        ]
        reads = ((results.best(name, peer, one), results.ratio(name, peer, one)) for one in ("get", "batch", "scan"))
        cells += [rate(one) + _ratio(ratio) for one, ratio in reads]
        rows.append([*cells, size(results.best(name, peer, "disk"))])
    reads_at, kept = slice(3, 6), [row for row in rows if row[1] != "-"]
    if all(cell == "-" for row in kept for cell in row[reads_at]):
        for row in [header, *rows]:
            del row[reads_at]
    title = f"{name}: {count:,} samples, {results.raw_bytes[name] / 1e6:,.0f} MB"
    return Section(title, header, rows, notes)


_READS = {
    "get": "single get /s",
    "positions": "batch by position /s",
    "batch": "batch by an array of keys /s",
    "list": "batch by a list of keys /s",
    "scan": "scan /s",
}


def _kinds_of_reads(results: Results, name: str) -> Section | None:
    """Hangar and the baseline for every kind of read."""
    peers = [peer for peer in _peers(results, name) if results.best(name, peer, "positions") is not None]
    rows = []
    for peer in peers:
        cells = [rate(results.best(name, peer, one)) + _ratio(results.ratio(name, peer, one)) for one in _READS]
        rows.append(
            [peer, seconds(results.best(name, peer, "first")), seconds(results.best(name, peer, "settle")), *cells]
        )
    title = f"{name}: Hangar compared with the baseline, by kind of read"
    return (
        Section(title, ["peer", "open, first sample", "offset table", *_READS.values()], rows)
        if len(rows) > 1
        else None
    )


_HISTORY = ("commit", "diff", "merge", "open", "branch", "append")


def _history(results: Results, name: str) -> Section | None:
    header = ["peer", "commit", "diff", "merge of 100 + 100", "open an old commit", "branch", "commit of 100 appended"]
    header += ["disk a commit", "bookkeeping a commit", "bookkeeping a key appended"]
    rows, notes = [], []
    for peer in _peers(results, name):
        if results.best(name, peer, "commit") is None:
            continue
        cells = [peer, *(seconds(results.best(name, peer, measure)) for measure in _HISTORY)]
        cells += [size(results.best(name, peer, measure)) for measure in ("commit disk", "commit bytes")]
        appended = results.best(name, peer, "append bytes a key")
        rows.append([*cells, "-" if appended is None else f"{appended:.0f} B"])
        notes += _reasons(results, name, peer, _HISTORY)
    title = f"{name}: history, 100 random changes a commit"
    return Section(title, header, rows, notes) if rows else None


def _epochs(results: Results, name: str) -> Section | None:
    rows, notes = [], []
    for peer in _peers(results, name):
        failure = results.failures.get(name, {}).get(peer)
        cells = [rate(results.best(name, peer, one)) + _ratio(results.ratio(name, peer, one)) for one in MEASURES]
        rows.append([peer, *cells])
        notes += [f"{peer}: {failure}"] if failure is not None else _reasons(results, name, peer, list(MEASURES))
    header = ["peer", *MEASURES.values()]
    title = f"{name}: shuffled epochs of {results.counts[name]:,} samples"
    return Section(title, header, rows, notes) if any(cell != "-" for row in rows for cell in row[1:]) else None


def _reasons(results: Results, name: str, peer: str, measures: Sequence[str]) -> list[str]:
    found = ((measure, results.reason(name, peer, measure)) for measure in measures)
    return [f"{peer}, {measure}: {reason.removeprefix('- ')}" for measure, reason in found if reason is not None]


def _peers(results: Results, name: str) -> list[str]:
    return list({**results.rounds.get(name, {}), **results.failures.get(name, {})})


def sections(results: Results) -> list[Section]:
    """All tables, in the order of the workloads."""
    found: list[Section] = []
    for name in results.counts:
        if name.startswith("epochs-"):
            epochs = _epochs(results, name)
            found += [] if epochs is None else [epochs]
            continue
        found.append(_samples(results, name))
        kinds = _kinds_of_reads(results, name)
        if kinds is not None:
            found.append(kinds)
        history = _history(results, name)
        if history is not None:
            found.append(history)
    if results.single:
        rows = [[what, value if isinstance(value, str) else f"{value:.3g}"] for what, value in results.single.items()]
        found.append(Section("Hangar alone", ["what", "figure"], rows))
    goals = goal_rows(results)
    if goals:
        found.append(Section("Goals", ["what", "goal", "here", "met"], goals))
    return found


def as_text(found: list[Section]) -> str:
    """For a terminal."""
    lines: list[str] = []
    for section in found:
        table = [list(section.header), *section.rows]
        widths = [max(len(row[i]) for row in table) for i in range(len(section.header))]
        lines += [section.title, "-" * len(section.title)]
        left = len(section.header) if section.title == "Goals" else 1
        for row in table:
            cells = [
                cell.ljust(w) if i < left else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        lines += [*(f"  {note}" for note in section.notes), ""]
    return "\n".join(lines)


def as_rst(found: list[Section]) -> str:
    """For the page of the documentation."""
    lines: list[str] = []
    for section in found:
        lines += [f".. list-table:: {section.title}", "   :header-rows: 1", ""]
        for row in [list(section.header), *section.rows]:
            lines += [f"   {'*' if i == 0 else ' '} - {cell}" for i, cell in enumerate(row)]
        lines.append("")
        if section.notes:
            lines += [*(f"- {note}" for note in section.notes), ""]
    return "\n".join(lines)
