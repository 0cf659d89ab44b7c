"""Safe file access: read untrusted files, and write files only inside one output directory.

Sample keys and stored file paths are untrusted input. They are converted to valid file names: without separators,
``..``, control characters and reserved names, and short enough for a file system. Two samples never get the same file,
even on a file system that ignores case. Path traversal and symbolic link races are prevented by ``openat`` (``dir_fd``)
with ``O_NOFOLLOW``: each directory is opened relative to the descriptor of its parent, without following links. Files
are replaced atomically (``rename``).
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
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from types import TracebackType
from typing import Final

from hangar.errors import InvalidInputError
from hangar.inputs import file_error, open_input

__all__ = ["FileNames", "OutputDirectory", "file_error", "open_input", "safe_component", "safe_parts", "safe_suffix"]

MAX_COMPONENT_BYTES: Final = 200
"""Maximum for one file or directory name. File systems allow 255; the rest is for a suffix and a hash of the name."""
MAX_SUFFIX_BYTES: Final = 32
HASH_CHARACTERS: Final = 10
_RESERVED: Final = frozenset(
    ("con", "prn", "aux", "nul", *(f"{name}{digit}" for name in ("com", "lpt") for digit in "123456789¹²³"))
)
"""Device names of Windows. They are reserved with any suffix."""
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _hash_suffix(text: str) -> str:
    """Short hash of ``text``, appended to make a cut or colliding file name unique."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=HASH_CHARACTERS // 2).hexdigest()


def _cut(text: str, size: int) -> str:
    """The longest prefix of ``text`` that takes at most ``size`` bytes in UTF-8."""
    return text.encode("utf-8")[:size].decode("utf-8", "ignore")


def safe_component(name: str) -> str:
    """Convert ``name`` to a valid name of one file or directory. A valid name is returned unchanged.

    Separators, leading dots, trailing dots and spaces, and characters that some file system cannot store become ``_``.
    A reserved name gets the prefix ``_``. A name that is too long is cut, and a hash is appended.
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
        text = f"{_cut(text, MAX_COMPONENT_BYTES - HASH_CHARACTERS - 1)}-{_hash_suffix(name)}"
    return text or "_"


def safe_parts(name: str) -> tuple[str, ...]:
    """Split ``name`` at slashes and convert each part: the names of the directories, then the name of the file."""
    return tuple(safe_component(part) for part in name.split("/"))


def safe_suffix(extension: str) -> str:
    """Convert ``extension`` to a suffix with a dot; ``''`` if it is empty.

    Raises
    ------
    InvalidInputError
        It is too long, or has a character other than letters, digits and ``_ - . +``.
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
    """Assigns a path to each name.

    Paths never collide, even if case is ignored, and no file has the path of a directory.
    """

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._directories: set[str] = set()

    def take(self, name: str, suffix: str) -> tuple[str, ...]:
        """Assign the parts of a path to ``name``.

        If the path is taken, also in another case, a hash of the name is appended.
        """
        parts = safe_parts(name)
        for candidate in chain([parts], self._alternatives(parts, name)):
            if self._register((*candidate[:-1], candidate[-1] + suffix)):
                return (*candidate[:-1], candidate[-1] + suffix)
        raise AssertionError("unreachable: alternatives are endless")

    @staticmethod
    def _alternatives(parts: tuple[str, ...], name: str) -> Iterator[tuple[str, ...]]:
        """Endless alternative paths: one component (so no directory can collide) and a hash.

        A repeated name gets another hash.
        """
        flat = _cut("_".join(parts), MAX_COMPONENT_BYTES)
        for turn in count():
            yield (f"{flat}-{_hash_suffix(f'{name}#{turn}' if turn else name)}",)

    def _register(self, parts: tuple[str, ...]) -> bool:
        folded = [unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", part).casefold()) for part in parts]
        paths = ["/".join(folded[: depth + 1]) for depth in range(len(folded))]
        if paths[-1] in self._files or paths[-1] in self._directories or not self._files.isdisjoint(paths[:-1]):
            return False
        self._files.add(paths[-1])
        self._directories.update(paths[:-1])
        return True


class OutputDirectory:
    """An output directory; a context manager. Files are written inside it and nowhere else.

    Parameters
    ----------
    path
        The directory; created if missing. It may itself be a symbolic link, because the caller chose it.

    Raises
    ------
    AccessError, StorageError
        The directory cannot be created or opened.
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
        """Remove the staging directory and close the descriptor. Files that were placed stay."""
        if self._staging is not None:
            shutil.rmtree(self._staging, ignore_errors=True)
            self._staging = None
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def staging(self) -> Path:
        """A private temporary directory on the same file system, from which files are moved to their place."""
        if self._staging is None:
            try:
                self._staging = Path(tempfile.mkdtemp(prefix=".hangar-", dir=self.path))
            except OSError as error:
                raise file_error("write to", self.path, error) from error
        return self._staging

    def write(self, parts: tuple[str, ...], data: bytes | memoryview) -> Path:
        """Write ``data`` to a file, replacing a regular file atomically. Thread-safe after one call of :meth:`staging`.

        Raises the errors of :meth:`place`.
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
        """Move the regular file ``source`` from the staging directory to its place. Missing directories are created.

        Raises
        ------
        InvalidInputError
            A part is not a plain name, ``source`` is not a regular file, or a link or another kind of file has this
            path.
        AccessError, DiskFullError, StorageError
            The operating system refuses.
        """
        target = self.path.joinpath(*parts)
        if not parts or not all(map(_is_plain_name, parts)):
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

    def place_tree(self, source: Path, parts: tuple[str, ...]) -> Path:
        """Move the directory ``source`` from the staging directory to its place, which must be free.

        Raises the errors of :meth:`place`.
        """
        target = self.path.joinpath(*parts)
        if not parts or not all(map(_is_plain_name, parts)):
            raise InvalidInputError(f"{'/'.join(parts)!r} is no path to write to")
        directory = self._root
        try:
            directory = self._enter(parts[:-1])
            try:
                os.stat(parts[-1], dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                os.rename(source, parts[-1], dst_dir_fd=directory)
            else:
                raise InvalidInputError(f"{target} is in the way: remove it first")
        except OSError as error:
            raise file_error("write", target, error) from error
        finally:
            if directory != self._root:
                os.close(directory)
        return target

    def _enter(self, parts: tuple[str, ...]) -> int:
        """Open the directory at ``parts`` without following links. Returns its file descriptor."""
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


def _is_plain_name(part: str) -> bool:
    """Whether ``part`` is a single path component: not empty, ``.`` or ``..``, and without a separator."""
    return part not in ("", ".", "..") and "/" not in part and "\0" not in part
