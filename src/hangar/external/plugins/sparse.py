"""Plugin for sparse arrays in the ``.npz`` files of ``scipy.sparse.save_npz``. Nothing is ever unpickled."""

from __future__ import annotations

import io
import zipfile
from typing import Any, Final

from hangar.errors import InvalidInputError, MissingPackageError
from hangar.external.plugins._files import FilePlugin
from hangar.external.safe_io import open_input

__all__ = ["SparsePlugin"]

_MOST_BYTES: Final = 2**30
_MOST_TIMES: Final = 64
"""A file may decode to ``_MOST_BYTES``, and a larger one to this many times its size."""


class SparsePlugin(FilePlugin):
    """Reads and writes sparse values as ``.npz`` files of scipy."""

    column_types = frozenset(("sparse",))

    def load(self, fpath: str) -> tuple[Any, str]:
        """The array of scipy.sparse in a file, and its name.

        Raises
        ------
        InvalidInputError
            The file is damaged, or was not written by ``scipy.sparse.save_npz``.
        """
        scipy_sparse = _scipy()
        with open_input(fpath) as file:
            try:
                with zipfile.ZipFile(file) as archive:
                    declared = sum(member.file_size for member in archive.infolist())
                size = file.seek(0, io.SEEK_END)
                if declared > max(_MOST_BYTES, _MOST_TIMES * size):
                    raise InvalidInputError(f"{fpath} has {size:,} bytes and declares {declared:,}: it is not read")
                file.seek(0)
                return scipy_sparse.load_npz(file), self.sample_name(fpath)
            except InvalidInputError:
                raise
            except Exception as error:  # of zipfile, numpy and scipy, which raise many kinds
                raise InvalidInputError(f"{fpath} is no file of scipy.sparse.save_npz: {error}") from error

    def encode(self, arr: Any, extension: str) -> memoryview:
        """The bytes of a file with the array."""
        scipy_sparse = _scipy()
        if not scipy_sparse.issparse(arr):
            raise self._wrong_type(arr, extension)
        buffer = io.BytesIO()
        try:
            scipy_sparse.save_npz(buffer, arr)
        except NotImplementedError as error:
            raise InvalidInputError(f"this scipy cannot write arrays of rank {arr.ndim} to .npz: {error}") from None
        return buffer.getbuffer()


def _scipy() -> Any:
    try:
        import scipy.sparse
    except ImportError:
        raise MissingPackageError("sparse files need the package scipy: run `pip install 'hangar[sparse]'`") from None
    return scipy.sparse
