"""Write samples as the members of a tar archive, which WebDataset reads."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from hangar.errors import HangarError, InvalidInputError
from hangar.external.exporter import FilePlan, PlannedFile
from hangar.external.keysfile import Key
from hangar.external.naming import named_by
from hangar.external.plugins._files import FilePlugin
from hangar.external.plugins.tar import HEADER_MEMBER, KEY_RECORD
from hangar.external.writers.base import Target
from hangar.threads import parallel_map

__all__ = ["TarWriter"]


class TarWriter:
    """Writes one archive. Values are encoded on threads; members have no times, owners or links."""

    def __init__(self, target: Target, plan: FilePlan) -> None:
        self._plan = plan
        self._target = target
        self._archive = tarfile.open(target.path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115  closed by close()
        self._add(HEADER_MEMBER, target.header.encode().encode(), {})

    def write(self, keys: Sequence[Key], values: Any) -> None:
        """As the contract says."""
        # The ellipsis keeps values of shape () arrays.
        each = [values[at, ...] for at in range(len(keys))] if isinstance(values, np.ndarray) else values
        files = [self._plan.file(key, value, None, _stem(key)) for key, value in zip(keys, each, strict=True)]
        for file, data in parallel_map(self._encode, files):
            path = "/".join(file.parts)
            known = named_by(path, nested=isinstance(file.key, tuple)) == file.key
            self._add(path, data, {} if known else {KEY_RECORD: json.dumps(file.key)})

    def close(self) -> None:
        """As the contract says."""
        self._archive.close()

    def abort(self) -> None:
        """As the contract says."""
        self._archive.close()

    def _encode(self, file: PlannedFile) -> tuple[PlannedFile, bytes | memoryview]:
        if not isinstance(file.plugin, FilePlugin):
            raise InvalidInputError(f"files of format {file.extension} cannot be written into an archive")
        try:
            options = file.plugin.check_options("save", self._plan.options)
            return file, file.plugin.encode(file.value, file.extension, **options)
        except InvalidInputError as error:
            raise InvalidInputError(f"sample {file.key!r} of {self._target.header.column!r}: {error}") from None
        except HangarError:
            raise

    def _add(self, path: str, data: bytes | memoryview, records: dict[str, str]) -> None:
        member = tarfile.TarInfo(path)
        member.size = len(data)
        member.mode = 0o644
        member.pax_headers = records
        self._archive.addfile(member, io.BytesIO(data))


def _stem(key: Key) -> str:
    """The name of a member without its extension. WebDataset takes all after the first dot for the extension."""
    name = f"{key[0]}/{key[1]}" if isinstance(key, tuple) else str(key)
    return name.replace(".", "_")
