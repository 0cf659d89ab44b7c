"""Take each sync and each ordering step out of the source, one at a time, and see that a test goes red.

``python -m tests.crash.mutants`` copies the tree for each mutant, disables one site in it, runs the tests that guard it and prints a
table; the exit code is 1 when a mutant survives, and 2 when the tests fail without any. Sites are found in the source (calls of
what syncs, options of LMDB), or named in ``STEPS``, where each text must be found; so a new sync is a new mutant. With words as
arguments only the sites that contain one of them are tried; ``--list`` shows the sites, ``--jobs N`` runs N at a time.
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path("src/hangar")
TIMEOUT_SECONDS = 900

SYNCS = frozenset(("fsync", "_sync", "sync_file", "sync_directory", "sync"))
"""Functions and methods whose call, as a statement, is a sync."""

OPTIONS = frozenset(("sync", "metasync"))
"""Keyword arguments of ``lmdb.open`` that must be True."""

GUARDS: dict[str, tuple[str, ...]] = {
    "src/hangar/_fs.py": ("tests/crash/test_crashes.py", "tests/test_fs.py"),
    "src/hangar/db": ("tests/crash/test_crashes.py", "tests/db"),
    "src/hangar/forking.py": ("tests/test_forking.py", "tests/test_lock.py"),
    "src/hangar/lock.py": ("tests/crash/test_crashes.py", "tests/test_lock.py"),
    "src/hangar/blobs": (
        "tests/blobs/test_ownership.py",
        "tests/blobs/test_damage.py",
        "tests/blobs/test_writer.py",
        "tests/blobs/test_release.py",
        "tests/crash",
    ),
    "src/hangar/backends": (
        "tests/backends",
        "tests/blobs/test_writing_while_computing.py",
        "tests/blobs/test_damage.py",
        "tests/crash",
    ),
    "src/hangar/blobs/resumed.py": ("tests/crash/test_crashes.py", "tests/remote/test_resume.py"),
    "src/hangar/blobs/orphans.py": ("tests/remote/test_resume.py", "tests/blobs/test_orphans.py"),
    "src/hangar/remote": ("tests/crash/test_crashes.py", "tests/remote/test_resume.py"),
    "src/hangar/db/opening.py": ("tests/crash/test_full_disk.py", "tests/crash/test_crashes.py", "tests/db"),
    "src/hangar/initialize.py": ("tests/test_initialize.py", "tests/crash/test_crashes.py"),
    "src/hangar/checkout": ("tests/crash/test_failing_disk.py", "tests/crash/test_crashes.py", "tests/checkout"),
    "src/hangar/publishing.py": ("tests/crash/test_failing_disk.py", "tests/crash/test_crashes.py", "tests/checkout"),
    "src/hangar/staging": ("tests/crash/test_failing_disk.py", "tests/crash/test_crashes.py", "tests/checkout"),
    "src/hangar": ("tests/crash",),
}
"""The tests of a path; the longest prefix counts."""

SMALL_SCENARIOS = "not test_crashes or file or database or lock or made"
KEYWORDS = {
    "src/hangar/blobs/resumed.py": "test_resume or (power and push)",
    "src/hangar/remote": "test_resume or ((power or some) and (fetch or push or clone or evict))",
    "src/hangar/_fs.py": SMALL_SCENARIOS,
    "src/hangar/db": SMALL_SCENARIOS,
    "src/hangar/lock.py": SMALL_SCENARIOS,
}
"""Which of those tests (pytest's ``-k``), where fewer will do."""


@dataclass(frozen=True)
class Mutant:
    """One change: the characters from ``start`` to ``end`` of a file become ``text``."""

    name: str
    path: str
    start: int
    end: int
    text: str

    def apply(self, tree: Path) -> None:
        """Change the copy in ``tree``."""
        source = (tree / self.path).read_text()
        (tree / self.path).write_text(source[: self.start] + self.text + source[self.end :])

    def guards(self) -> tuple[str, ...]:
        """The tests to run."""
        return GUARDS[self._nearest()]

    def keywords(self) -> str:
        """Which of them."""
        return KEYWORDS.get(self._nearest(), "")

    def _nearest(self) -> str:
        return max((prefix for prefix in GUARDS if self.path.startswith(prefix)), key=len)


@dataclass(frozen=True)
class Step:
    """A step that is no call of a sync: its text, found once in a file, and what a mutant has in its place."""

    name: str
    path: str
    old: str
    new: str


STEPS: tuple[Step, ...] = (
    Step(
        "a new file is not removed when it fails",
        "src/hangar/_fs.py",
        "            os.unlink(path)\n        raise\n    finally:",
        "            pass\n        raise\n    finally:",
    ),
    Step(
        "a replaced file is written in place",
        "src/hangar/_fs.py",
        'temporary = f"{os.fspath(path)}.{os.getpid()}-{next(_temporary_names)}.tmp"\n    descriptor = create_file(temporary)',
        "temporary = path\n    descriptor = open_file(path, write=True)",
    ),
    Step(
        "a short write is taken for a whole one",
        "src/hangar/_fs.py",
        "            views[first] = views[first][written:]",
        "            first += 1",
    ),
    Step(
        "the rows of counted tables are not recorded",
        "src/hangar/db/environment.py",
        "            transaction.finish()\n",
        "",
    ),
    Step(
        "an exception commits",
        "src/hangar/db/environment.py",
        "                begun.abandon()\n",
        "                begun.commit()\n",
    ),
    Step(
        "the environment lives on after a failed commit",
        "src/hangar/db/environment.py",
        "                handle.renew()\n",
        "                pass\n",
    ),
    Step(
        "the lock is taken without looking at the epoch again",
        "src/hangar/lock.py",
        "return same and _current(self._db) == (epoch, token)",
        "return same",
    ),
    Step(
        "a lock file that was put in its place is taken",
        "src/hangar/lock.py",
        "return same and _current",
        "return _current",
    ),
    Step(
        "a child keeps the descriptors of locks",
        "src/hangar/forking.py",
        "        with contextlib.suppress(OSError):\n            os.close(descriptor)\n    _private.clear()",
        "        pass\n    _private.clear()",
    ),
    Step(
        "an old blob file goes before its row",
        "src/hangar/blobs/release.py",
        "            publish_rows(store.db, lock, forget)\n",
        "            for file_id in going:\n                blob_file_path(store.directory, file_id, free[file_id]).unlink()\n"
        "            publish_rows(store.db, lock, forget)\n",
    ),
    Step(
        "a blob file goes that somebody has open",
        "src/hangar/blobs/removal.py",
        "if _fs.try_lock(descriptor, shared=False):",
        "if True:",
    ),
    Step(
        "an old blob file goes while locations name it",
        "src/hangar/blobs/release.py",
        "        if worth:\n            publish(store.db, lock, _MergedRuns(store, newest))\n",
        "        newest = 0\n",
    ),
    Step(
        "moved blobs become rows of the table",
        "src/hangar/blobs/writer.py",
        "as_run=self._replaces",
        "as_run=False",
    ),
    Step(
        "a living writer's file is continued",
        "src/hangar/blobs/appender.py",
        "if not self._may_continue(row.owner):",
        "if False:",
    ),
    Step(
        "a file that another writer took over is published",
        "src/hangar/blobs/appender.py",
        "if get_blob_file(transaction, file_id) != growing.recorded_row:",
        "if False:",
    ),
    Step(
        "a file is continued behind an end whose publishing is doubtful",
        "src/hangar/blobs/appender.py",
        "if growing.outcome_unknown or growing.sealed:",
        "if growing.sealed:",
    ),
    Step(
        "a fork of the writer removes its files",
        "src/hangar/blobs/appender.py",
        "and not growing.outcome_unknown and not keep and self._owner.held:",
        "and not growing.outcome_unknown and not keep:",
    ),
    Step(
        "ids of published files are given again",
        "src/hangar/blobs/appender.py",
        "                claim_ids(transaction, file_id)\n",
        "                pass\n",
    ),
    Step(
        "the lock is not looked at in the publishing transaction",
        "src/hangar/blobs/writer.py",
        "        self._owner.check(transaction)\n",
        "        pass\n",
    ),
    Step(
        "a writer goes on after a failed sync",
        "src/hangar/blobs/writer.py",
        "            self._failure = str(error)\n",
        "            pass\n",
    ),
    Step(
        "the checksum of a batch is not compared",
        "src/hangar/blobs/reader.py",
        "        if not (checksums(rows, header.id) == words[:, CHECK]).all():\n",
        "        if False:\n",
    ),
    Step(
        "the checksums of a list are not compared",
        "src/hangar/blobs/reader.py",
        "        if sums != words[:, CHECK].tolist():\n",
        "        if False:\n",
    ),
    Step(
        "the length of a file is not looked at before a read",
        "src/hangar/backends/file.py",
        "        return size_of(self.descriptor) >= mapped.size\n",
        "        return True\n",
    ),
    Step(
        "two processes make one repository at once",
        "src/hangar/initialize.py",
        "        if not free:\n",
        "        if False:\n",
    ),
    Step(
        "an old repository does not go back when the new one cannot come",
        "src/hangar/initialize.py",
        "            _fs.move_directory(old, directory)\n",
        "            pass\n",
    ),
    Step(
        "the lock file of LMDB is a hole",
        "src/hangar/db/opening.py",
        "        _reserve_lock_file(path / LOCK_FILE)\n",
        "        pass\n",
    ),
    Step(
        "rows are staged on a commit that the branch has left",
        "src/hangar/checkout/session.py",
        "        self._require_base(transaction)\n",
        "",
    ),
    Step(
        "a batch that failed is published with the next",
        "src/hangar/publishing.py",
        "    except BaseException:\n        change.rollback()\n        raise\n",
        "    except BaseException:\n        raise\n",
    ),
    Step(
        "locations are not published with the rows that name their blobs",
        "src/hangar/checkout/session.py",
        "        session.blobs.record(transaction)\n",
        "",
    ),
    Step(
        "locations are not published with a commit",
        "src/hangar/checkout/commit.py",
        "    session.blobs.record(transaction)\n",
        "",
    ),
    Step(
        "a commit leaves what was staged",
        "src/hangar/checkout/commit.py",
        "    staging.clear(transaction)\n",
        "",
    ),
    Step(
        "a commit leaves nodes that only memory holds",
        "src/hangar/checkout/commit.py",
        "    session.nodes.flush(transaction, [entry.root for entry in commit.columns if entry.root is not None])\n",
        "",
    ),
    Step(
        "the nodes of a staged tree are left in memory",
        "src/hangar/staging/area.py",
        "                self.nodes.flush(transaction, [column.record.root])\n",
        "                pass\n",
    ),
    Step(
        "blobs of a dead process are taken over without a look",
        "src/hangar/blobs/resumed.py",
        "good = np.flatnonzero(intact_at(store, sought.words.view(np.uint8), words))",
        "good = np.arange(len(keep))",
    ),
    Step(
        "files of an unfinished push are taken for orphans",
        "src/hangar/blobs/orphans.py",
        "return _remove(db, directory, lambda path: path.name not in awaited_files(directory))",
        "return _remove(db, directory, lambda path: True)",
    ),
    Step(
        "a large blob that is whole is not asked for",
        "src/hangar/remote/parts.py",
        "min(size - _START, known[1] - 1)",
        "size - _START",
    ),
    Step(
        "a damaged part of a large blob is the sender's fault",
        "src/hangar/remote/blobs_in.py",
        "            if not parts.resumed:\n                raise\n",
        "            raise\n",
    ),
    Step(
        "received objects that a power loss damaged stay",
        "src/hangar/remote/objects_in.py",
        "            quarantine.clear()\n            self.rescan()\n",
        "            raise\n",
    ),
    Step(
        "blobs of a fetch are not published with their locations",
        "src/hangar/remote/publication.py",
        "            self._writer.prepare()\n",
        "            pass\n",
    ),
    Step(
        "what is evicted is not promised",
        "src/hangar/remote/evict.py",
        "        publish_rows(stores.db, lock, promise)\n",
        "",
    ),
    Step(
        "staged rows that a tree took in are left",
        "src/hangar/staging/area.py",
        "        if column.replaced:\n            delete_entries(transaction, column.number)\n",
        "        if column.replaced:\n",
    ),
)


def sites(root: Path) -> list[Mutant]:
    """All mutants of the tree in ``root``."""
    found: list[Mutant] = []
    for path in sorted(set((root / SOURCE).rglob("*.py")) - set((root / SOURCE / "testing").rglob("*.py"))):
        source = path.read_text()
        name = str(path.relative_to(root))
        for node, function in _statements(ast.parse(source)):
            found.extend(_of_statement(node, function, name, source))
    return found + [_of_step(step, root) for step in STEPS]


def _statements(tree: ast.AST, function: str = "the module") -> Iterator[tuple[ast.AST, str]]:
    for node in ast.iter_child_nodes(tree):
        inside = f"{node.name}()" if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else function
        yield node, inside
        yield from _statements(node, inside)


def _of_statement(node: ast.AST, function: str, path: str, source: str) -> Iterator[Mutant]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _called(node.value) in SYNCS:
        start, end = _span(node, source)
        yield Mutant(f"{path}:{node.lineno} {function}: {source[start:end]}", path, start, end, "pass")
    if isinstance(node, ast.Call) and _called(node) == "open":
        for keyword in node.keywords:
            if keyword.arg in OPTIONS:
                start, end = _span(keyword, source)
                text = f"{keyword.arg}=False"
                yield Mutant(f"{path}:{keyword.lineno} {function}: {text}", path, start, end, text)


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _span(node: ast.expr | ast.stmt | ast.keyword, source: str) -> tuple[int, int]:
    """Offsets in characters; the syntax tree counts lines, and columns in bytes."""
    lines = source.splitlines(keepends=True)

    def offset(line: int, column: int) -> int:
        return sum(map(len, lines[: line - 1])) + len(lines[line - 1].encode()[:column].decode())

    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return offset(node.lineno, node.col_offset), offset(node.end_lineno, node.end_col_offset)


def _of_step(step: Step, root: Path) -> Mutant:
    source = (root / step.path).read_text()
    if source.count(step.old) != 1:
        raise LookupError(f"{step.path} has the text of step {step.name!r} {source.count(step.old)} times, not once")
    start = source.index(step.old)
    return Mutant(f"{step.path}: {step.name}", step.path, start, start + len(step.old), step.new)


def copy(root: Path, tree: Path) -> None:
    """What the tests need of a tree."""
    ignored = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")
    for part in ("src", "tests"):
        shutil.copytree(root / part, tree / part, ignore=ignored)
    shutil.copy(root / "pyproject.toml", tree)


def run(root: Path, mutant: Mutant | None, guards: tuple[str, ...], keywords: str) -> tuple[str, float]:
    """The test that went red, or "" where all stayed green, and how long they took."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        tree = Path(name)
        copy(root, tree)
        if mutant is not None:
            mutant.apply(tree)
        start = time.monotonic()
        existing = [guard for guard in guards if (tree / guard).exists()]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-k", keywords, *existing]
        environment = {
            **os.environ,
            "HANGAR_TEST_WHOLE": "1",
            "PYTHONPATH": str(tree / "src"),
            "HANGAR_MUTANT": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        process = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, timeout=TIMEOUT_SECONDS, check=False
        )
        if process.returncode < 0:
            return f"ended by signal {-process.returncode}", time.monotonic() - start
        if process.returncode not in (0, 1):
            raise RuntimeError(process.stdout.decode() + process.stderr.decode())
        failed = [
            line.split()[1] for line in process.stdout.decode().splitlines() if line.startswith(("FAILED", "ERROR"))
        ]
        red = "" if process.returncode == 0 else failed[0] if failed else "?"
        return red, time.monotonic() - start


def main() -> int:
    """Run the mutants that were asked for."""
    parser = argparse.ArgumentParser(description="Disable each sync and ordering step; a test must go red.")
    parser.add_argument("words", nargs="*", help="try only the sites that contain one of these")
    parser.add_argument("--list", action="store_true", help="show the sites and do nothing")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        # One copy for all: the tree may be worked on meanwhile.
        root = Path(name)
        copy(ROOT, root)
        mutants = [m for m in sites(root) if not arguments.words or any(word in m.name for word in arguments.words)]
        if arguments.list:
            print("\n".join(mutant.name for mutant in mutants))
            return 0
        return try_all(root, mutants, arguments.jobs)


def try_all(root: Path, mutants: list[Mutant], jobs: int) -> int:
    """Run the mutants of the tree in ``root`` and print what became of them: the exit code."""
    guards = tuple(sorted({guard for mutant in mutants for guard in mutant.guards()}))
    keywords = KEYWORDS["src/hangar/db"] if all(mutant.keywords() for mutant in mutants) else ""
    red = run(root, None, guards, keywords)[0]
    if red:
        print(f"without a mutant {red} fails")
        return 2
    survivors = 0
    with ThreadPoolExecutor(jobs) as pool:
        results = pool.map(lambda m: run(root, m, m.guards(), m.keywords()), mutants)
        for mutant, (red, seconds) in zip(mutants, results, strict=True):
            survivors += not red
            print(f"{'found' if red else 'SURVIVED':9}{seconds:6.1f} s  {mutant.name}", flush=True)
            print(f"{'':19}{red}", flush=True)
    print(f"{len(mutants)} mutants, {survivors} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
