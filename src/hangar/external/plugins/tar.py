"""Plugin for tar archives of samples, as WebDataset writes them: ``KEY.EXTENSION`` for each value of a sample.

Members are decoded from memory and never extracted. Links, devices, sparse members, and names that lead out of the
archive are refused.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import IO, Any, Final

from hangar import limits
from hangar.errors import HangarError, InvalidInputError
from hangar.external.expansion import MAX_RATIO, SMALL_BYTES
from hangar.external.fit import ColumnRequirements, value_bytes
from hangar.external.keysfile import checked_key
from hangar.external.manager import manager
from hangar.external.plugins._blocks import BlockPlugin
from hangar.external.plugins._files import FilePlugin, SizeLimit
from hangar.external.plugins._members import check_member_name
from hangar.external.records import MAX_HEADER_BYTES, Block, FileHeader, Probe, SampleName
from hangar.external.safe_io import open_input
from hangar.threads import parallel_map

__all__ = ["HEADER_MEMBER", "KEY_RECORD", "TarPlugin"]

HEADER_MEMBER: Final = "hangar.json"
KEY_RECORD: Final = "HANGAR.key"
"""Extended header of a member whose name cannot represent the key of its sample: the key as JSON."""
BLOCK_BYTES: Final = 16 * 2**20
BLOCK_SAMPLES: Final = 1024


@dataclass(frozen=True, slots=True)
class _Member:
    """A value in an archive, not decoded yet, or the reason why it is refused."""

    name: str
    extension: str
    data: bytes = b""
    plugin: FilePlugin | None = None
    fault: HangarError | None = None


class TarPlugin(BlockPlugin):
    """Reads arrays, texts and bytes from tar archives."""

    column_types = frozenset(("ndarray", "str", "image", "audio", "video"))

    def blocks(
        self, fpath: str, requirements: ColumnRequirements | None, suffix: str = "", frame: int | None = None
    ) -> Iterator[Block]:
        """Read the samples of an archive.

        Parameters
        ----------
        fpath
            The file.
        requirements
            Schema of the column; members that hold other values are left out.
        suffix
            Extension of the members to read, if a sample has several that fit.
        frame
            Index of the image in a member with several images.
        """
        kind = None if requirements is None else requirements.kind
        limit = None
        if requirements is not None and requirements.kind == "ndarray":
            limit = SizeLimit(prod(requirements.shape), requirements.holds)
        options = {} if frame is None else {"frame": frame}

        def decoded(member: _Member) -> tuple[_Member, Any]:
            if member.fault is not None or member.plugin is None:
                return member, member.fault
            known = member.plugin.option_names("load") or ()
            chosen = {name: value for name, value in options.items() if name in known}
            try:
                where = f"{fpath} ({member.name}.{member.extension})"
                return member, member.plugin.decode(member.data, where, size_limit=limit, **chosen)
            except HangarError as error:
                return member, error
            except Exception as error:  # noqa: BLE001  decoders raise anything on garbage
                return member, InvalidInputError(f"{member.name}.{member.extension} cannot be decoded: {error!r}")

        seen: dict[str, str] = {}
        block, held = Block([], [], exact=False), 0
        with _members(fpath, kind, suffix) as members:
            for member, value in parallel_map(decoded, members):
                before = seen.setdefault(member.name, member.extension)
                if member.fault is None and before != member.extension and requirements is not None:
                    value = InvalidInputError(
                        f"the sample has a .{before} and a .{member.extension} member: choose one with --suffix"
                    )
                if isinstance(value, HangarError):
                    block.failures.append((f"{member.name}.{member.extension}", value))
                    continue
                block.names.append(member.name)  # type: ignore[attr-defined]
                block.values.append(value)
                held += value_bytes(value)
                if held >= BLOCK_BYTES or len(block.names) >= BLOCK_SAMPLES:
                    yield block
                    block, held = Block([], [], exact=False), 0
        if block.names or block.failures:
            yield block

    def header(self, fpath: str) -> FileHeader | None:
        """As in the base class: the first member of an export."""
        with open_input(fpath) as file, _opened(file, fpath) as archive:
            member = archive.next()
            if member is None or member.name != HEADER_MEMBER or not member.isreg():
                return None
            stream = archive.extractfile(member)
            return None if stream is None else FileHeader.decode(stream.read(MAX_HEADER_BYTES + 1), fpath)

    def probe(self, fpath: str, **options: Any) -> Iterator[Probe]:
        """Describe an exported archive by its header, and another one by its first value."""
        head = self.header(fpath)
        if head is not None:
            yield Probe("tar", head.kind, head.dtype, head.shape or (), samples=0)
            return
        for block in self.blocks(fpath, None):
            for value in block.values[:1]:
                kind = type(value).__name__
                yield Probe(
                    "tar", kind, str(getattr(value, "dtype", "")), tuple(getattr(value, "shape", ())), samples=0
                )
            return


def _opened(file: IO[bytes], fpath: str) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=file, mode="r|*")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InvalidInputError(f"{fpath} is not a readable tar archive: {error}") from None


class _members:  # noqa: N801  used as a function
    """Context manager: the values of an archive that are to be decoded, in order."""

    def __init__(self, fpath: str, kind: str | None, suffix: str) -> None:
        self._fpath, self._kind = fpath, kind
        self._suffix = suffix.removeprefix(".").lower()
        self._opened = open_input(fpath)

    def __enter__(self) -> Iterator[_Member]:
        self._file = self._opened.__enter__()
        return self._run()

    def __exit__(self, *details: Any) -> None:
        self._opened.__exit__(*details)

    def _run(self) -> Iterator[_Member]:
        size = os.fstat(self._file.fileno()).st_size
        with _opened(self._file, self._fpath) as archive:
            while True:
                try:
                    member = archive.next()
                    if member is None:
                        return
                    found = self._one(archive, member, size)
                except HangarError:
                    raise
                except (tarfile.TarError, EOFError, OSError, ValueError) as error:
                    raise InvalidInputError(f"{self._fpath} is damaged or truncated: {error}") from None
                if found is not None:
                    yield found

    def _one(self, archive: tarfile.TarFile, member: tarfile.TarInfo, size: int) -> _Member | None:
        if member.isdir() or member.name == HEADER_MEMBER:
            return None
        folder, slash, last = member.name.rpartition("/")
        stem, _, extension = last.partition(".")
        name, extension = f"{folder}{slash}{stem}".removeprefix("./"), extension.lower()
        if member.size > min(limits.MAX_ARRAY_BYTES, max(SMALL_BYTES, MAX_RATIO * size)):
            raise InvalidInputError(
                f"{self._fpath} ({member.name}) declares {member.size:,} bytes, more than the archive can hold: refused"
            )
        try:
            check_member_name(member.name, self._fpath)
            if not member.isreg() or member.issparse():
                raise InvalidInputError(f"{member.name} is a link, a device or a sparse file, which is refused")
            if last.startswith("."):
                return None
            plugin = self._plugin(extension)
            if plugin is None:
                return None
            stream = archive.extractfile(member)
            data = b"" if stream is None else stream.read()
            if len(data) != member.size:
                raise InvalidInputError(f"{member.name} is truncated: {len(data):,} of {member.size:,} bytes are there")
            stored_key = member.pax_headers.get(KEY_RECORD)
            if stored_key is not None:
                name = SampleName(checked_key(json.loads(stored_key)))
            return _Member(name, extension, data, plugin)
        except HangarError as error:
            return _Member(name, extension, fault=error)

    def _plugin(self, extension: str) -> FilePlugin | None:
        """The plugin for members of this extension; None if they are not read."""
        if self._suffix and extension != self._suffix:
            return None
        kinds = ("ndarray", "str") if self._kind is None else (self._kind,)
        for kind in kinds:
            found = manager.for_file("load", f"x.{extension}", kind)
            if found is not None:
                return found if isinstance(found, FilePlugin) else None
        if self._kind is None:
            raw = manager.find("load", "raw")
            return raw if isinstance(raw, FilePlugin) else None
        return None
