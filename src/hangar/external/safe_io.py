"""Files at the edge: reading what strangers made, and writing below one directory and never beside it.

Sample keys, and the paths that a column remembers, come from whoever wrote the repository. Here they become names that hold no
separator, no ``..``, no control character, no reserved name, and fit a file system; two samples never share a file, not even on
a file system that ignores case. An output directory is entered once, and every step below it is taken by descriptor without
following links, so that a link planted there (before or meanwhile) leads nowhere. A file appears under its name whole or not at all.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from types import TracebackType
from typing import IO, Final

from hangar.errors import AccessError, DiskFullError, InvalidInputError, PathNotFoundError, StorageError

__all__ = ["FileNames", "OutputDirectory", "file_error", "open_input", "safe_component", "safe_parts", "safe_suffix"]

MAX_COMPONENT_BYTES: Final = 200
"""Of one file or directory name; file systems allow 255, the rest is for a suffix and a mark that tells twins apart."""
MAX_SUFFIX_BYTES: Final = 32
MARK_CHARACTERS: Final = 10
_RESERVED: Final = frozenset(
    ("con", "prn", "aux", "nul", *(f"{name}{digit}" for name in ("com", "lpt") for digit in "123456789¹²³"))
)
"""Names that some operating system gives to a device, whatever suffix follows."""
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def file_error(action: str, path: str | os.PathLike[str], error: OSError) -> Exception:
    """The Hangar error for an ``OSError`` met while doing ``action`` (``'read'``) to ``path``."""
    text = f"cannot {action} {os.fspath(path)}: {error.strerror or error}"
    if isinstance(error, FileNotFoundError):
        return PathNotFoundError(text)
    if isinstance(error, PermissionError):
        return AccessError(text)
    return DiskFullError(text) if error.errno in _FULL else StorageError(text)


@contextmanager
def open_input(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A regular file open for reading; a pipe or device, which could keep us waiting for ever, is refused.

    Raises
    ------
    PathNotFoundError, AccessError, StorageError
        It cannot be opened.
    InvalidInputError
        It is not a regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise file_error("read", path, error) from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InvalidInputError(f"{os.fspath(path)} is not a regular file")
        yield file


def _mark(text: str) -> str:
    """A few characters that tell ``text`` from its twins."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=MARK_CHARACTERS // 2).hexdigest()


def _cut(text: str, size: int) -> str:
    """The beginning of ``text`` that encodes in at most ``size`` bytes."""
    return text.encode("utf-8")[:size].decode("utf-8", "ignore")


def safe_component(name: str) -> str:
    """``name`` as the name of one file or directory, the same wherever it needs no change.

    Separators, characters without a form on every file system and leading dots become ``_``, as does a trailing dot or space; a
    reserved name gets a ``_`` before it; one that is too long is cut and marked.
    """
    characters = [
        "_" if c in '/\\<>:"|?*' or unicodedata.category(c) in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp") else c for c in name
    ]
    text = "".join(characters)
    bare = text.lstrip(".")
    text = "_" * (len(text) - len(bare)) + bare
    bare = text.rstrip(". ")
    text = bare + "_" * (len(text) - len(bare))
    if text.split(".")[0].rstrip().casefold() in _RESERVED:
        text = f"_{text}"
    if len(text.encode("utf-8")) > MAX_COMPONENT_BYTES:
        text = f"{_cut(text, MAX_COMPONENT_BYTES - MARK_CHARACTERS - 1)}-{_mark(name)}"
    return text or "_"


def safe_parts(name: str) -> tuple[str, ...]:
    """``name`` as the names of directories and, last, a file: one for each part between slashes."""
    return tuple(safe_component(part) for part in name.split("/"))


def safe_suffix(extension: str) -> str:
    """``extension`` as a suffix with its dot, ``''`` for an empty one.

    Raises
    ------
    InvalidInputError
        It holds anything but letters, digits and ``_ - . +``.
    """
    bare = extension.removeprefix(".")
    if not bare:
        return ""
    if (
        len(bare.encode("utf-8", "surrogatepass")) > MAX_SUFFIX_BYTES
        or not all(c.isalnum() or c in "_-.+" for c in bare)
        or "" in bare.split(".")
    ):
        raise InvalidInputError(f"{extension!r} cannot be the extension of a file")
    return f".{bare}"


class FileNames:
    """Gives each name one path, such that no two are the same file anywhere and no file is another's directory."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._directories: set[str] = set()

    def take(self, name: str, suffix: str) -> tuple[str, ...]:
        """The parts of the path for ``name``; one that another has taken, case aside, is told apart by a mark."""
        parts = safe_parts(name)
        for candidate in chain([parts], self._marked(parts, name)):
            if self._register((*candidate[:-1], candidate[-1] + suffix)):
                return (*candidate[:-1], candidate[-1] + suffix)
        raise AssertionError("marks do not end")

    @staticmethod
    def _marked(parts: tuple[str, ...], name: str) -> Iterator[tuple[str, ...]]:
        """Flat and marked: whichever of its directories was in the way, this one is not. Equal names get one mark after the other."""
        flat = _cut("_".join(parts), MAX_COMPONENT_BYTES)
        for turn in count():
            yield (f"{flat}-{_mark(f'{name}#{turn}' if turn else name)}",)

    def _register(self, parts: tuple[str, ...]) -> bool:
        folded = [unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", part).casefold()) for part in parts]
        paths = ["/".join(folded[: depth + 1]) for depth in range(len(folded))]
        if paths[-1] in self._files or paths[-1] in self._directories or not self._files.isdisjoint(paths[:-1]):
            return False
        self._files.add(paths[-1])
        self._directories.update(paths[:-1])
        return True


class OutputDirectory:
    """A directory that files are written below; a context manager.

    Parameters
    ----------
    path
        The directory; it is made when missing. It may itself be a link: the caller named it.

    Raises
    ------
    AccessError, StorageError
        It cannot be made or entered.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._staging: Path | None = None
        self._known: set[tuple[str, ...]] = set()
        self._numbers = count()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._root = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise file_error("write to", self.path, error) from error

    def __enter__(self) -> OutputDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove what is left of the staging directory. Nothing that was placed is touched."""
        if self._staging is not None:
            shutil.rmtree(self._staging, ignore_errors=True)
            self._staging = None
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def staging(self) -> Path:
        """A private directory on the same file system, for files that are then placed."""
        if self._staging is None:
            try:
                self._staging = Path(tempfile.mkdtemp(prefix=".hangar-", dir=self.path))
            except OSError as error:
                raise file_error("write to", self.path, error) from error
        return self._staging

    def write(self, parts: tuple[str, ...], data: bytes | memoryview) -> Path:
        """Make a file of ``data``, in place of a regular file that was there; several threads may, once :meth:`staging` was called.

        Raises what :meth:`place` does.
        """
        temporary = Path(self.staging(), f"file-{next(self._numbers)}")
        try:
            with temporary.open("xb") as file:
                file.write(data)
        except OSError as error:
            raise file_error("write", self.path.joinpath(*parts), error) from error
        try:
            return self.place(temporary, parts)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def place(self, source: Path, parts: tuple[str, ...]) -> Path:
        """Move the regular file ``source``, from the staging directory, to its place; directories on the way are made.

        Raises
        ------
        InvalidInputError
            A part could lead elsewhere, ``source`` is no regular file, or a link or another kind of file is in the way.
        AccessError, DiskFullError, StorageError
            The operating system refuses.
        """
        target = self.path.joinpath(*parts)
        if not parts or not all(map(_plain, parts)):
            raise InvalidInputError(f"{'/'.join(parts)!r} is no path to write to")
        if not stat.S_ISREG(source.lstat().st_mode):
            raise InvalidInputError(f"{source} is not a regular file")
        directory = self._root
        try:
            directory = self._enter(parts[:-1])
            self._check_free(directory, parts[-1], target)
            os.replace(source, parts[-1], dst_dir_fd=directory)
        except OSError as error:
            raise file_error("write", target, error) from error
        finally:
            if directory != self._root:
                os.close(directory)
        return target

    def _enter(self, parts: tuple[str, ...]) -> int:
        """A descriptor of the directory at ``parts``, reached without following a link."""
        directory = os.dup(self._root)
        try:
            for depth, part in enumerate(parts):
                if parts[: depth + 1] not in self._known:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=directory)
                    self._known.add(parts[: depth + 1])
                below = self._step(directory, part, self.path.joinpath(*parts[: depth + 1]))
                os.close(directory)
                directory = below
        except BaseException:
            os.close(directory)
            raise
        return directory

    @staticmethod
    def _step(directory: int, part: str, path: Path) -> int:
        try:
            return os.open(part, _DIRECTORY, dir_fd=directory)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise InvalidInputError(f"{path} is in the way: it is a link or a file, not a directory") from None
            raise

    @staticmethod
    def _check_free(directory: int, name: str, path: Path) -> None:
        try:
            mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISREG(mode):
            kind = "a link" if stat.S_ISLNK(mode) else "a directory" if stat.S_ISDIR(mode) else "no regular file"
            raise InvalidInputError(f"{path} is in the way: it is {kind}")


def _plain(part: str) -> bool:
    """Whether ``part`` names something in its directory and nothing else."""
    return part not in ("", ".", "..") and "/" not in part and "\0" not in part
