"""Run manifest: a small JSON file that is enough to read every batch of a training run again and to list its samples.

A commit never changes, and the order of items is a function of seed, epoch and position. So the manifest holds the
commit, the columns, the positions of the items, and the settings and state of the sampler. It has no list of batches.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from hangar import _fs
from hangar.dataset.batch import Batch, ItemForm, Transform
from hangar.dataset.manifestfile import (
    FORMAT,
    VERSION,
    ColumnRecord,
    Document,
    PositionsRecord,
    StateRecord,
    decode_path,
    decode_positions,
    describe_sampler,
    encode_path,
    encode_positions,
    invalid_manifest,
    make_sampler,
    read_document,
    same_positions,
    split_positions,
)
from hangar.dataset.numpy import collate
from hangar.dataset.orders import Balanced, Weighted
from hangar.dataset.sampler import Sampler
from hangar.dataset.selection import ItemPositions, SelectedColumn, Selection
from hangar.errors import InvalidInputError, InvalidTypeError, PathNotFoundError, PositionNotFoundError
from hangar.repository import Repository

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Manifest"]

_BLOCK: Final = 2**16


@dataclass(frozen=True, slots=True, eq=False)
class Manifest:
    """Record of a training run; :meth:`of` makes it, :meth:`load` reads a file.

    Attributes
    ----------
    selection
        The columns and items of the run.
    sampler
        A sampler in the recorded state. A loader with it continues the run.
    repository
        Path of the repository.
    as_dict
        Whether batches are ``{column name: values}``.
    split
        Names of a stored split and of the part that holds exactly the items, or None.
    """

    selection: Selection
    sampler: Sampler
    repository: Path
    as_dict: bool = False
    split: tuple[str, str] | None = None

    @classmethod
    def of(
        cls,
        data: Any,
        sampler: Sampler | None = None,
        *,
        split: tuple[str, str] | None = None,
        delivered: int | None = None,
    ) -> Self:
        """Make a manifest of the current state of a run.

        Parameters
        ----------
        data
            A loader, or a data set of ``make_torch_dataset`` or ``make_numpy_dataset``.
        sampler
            Its sampler; default that of ``data``.
        split
            Names of a split that is stored with the commit and of one of its parts, if the items are that part. The file
            then holds these names instead of positions.
        delivered
            Number of delivered batches of the current iteration, if a loader of torch requested more of them ahead; see
            :meth:`hangar.dataset.Sampler.state_dict`.

        Raises
        ------
        InvalidTypeError
            (a ``TypeError``) ``data`` is no data set of Hangar, or there is no sampler.
        InvalidInputError
            (a ``ValueError``) the columns belong to several repositories, or the items are not this part of the split.
        """
        inner = data if isinstance(getattr(data, "selection", None), Selection) else getattr(data, "dataset", None)
        selection, form = getattr(inner, "selection", None), getattr(inner, "form", None)
        if not isinstance(selection, Selection) or not isinstance(form, ItemForm):
            what = type(data).__name__ + ("" if inner is None else f" of {type(inner).__name__}")
            raise InvalidTypeError(
                f"a manifest is made of a data set of Hangar, or a loader of one, not of {what}: "
                "choose items by keys= or index_range= of the data set, or by where= of the sampler"
            )
        chosen = getattr(data, "sampler", None) if sampler is None else sampler
        if not isinstance(chosen, Sampler):
            raise InvalidTypeError("a manifest needs the sampler of the run: Manifest.of(data, sampler)")
        if selection.slices:
            raise InvalidInputError("a manifest names whole samples: it cannot record the slices of a data set")
        decoded = [column.name for column in selection.columns if column.decoding]
        if decoded:
            raise InvalidInputError(
                f"a manifest cannot record the options of decoding of column {decoded[0]!r}: give the column its mode when it is made"
            )
        paths = {column.path for column in selection.columns}
        if len(paths) > 1:
            raise InvalidInputError("a manifest is of one repository, and the columns belong to several")
        if split is not None:
            _check_split(selection, split)
        made = cls(selection, chosen, Path(paths.pop()).parent, form.as_dict, split)
        # A copy, so that the run goes on without changing the manifest.
        return replace(
            made,
            sampler=make_sampler(describe_sampler(chosen), len(selection), chosen).load_state_dict(
                chosen.state_dict(delivered)
            ),
        )

    # ------------------------------------------------------------------ the file

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON file; an existing one is replaced in one step."""
        where: list[ItemPositions] = []
        records = []
        for column in self.selection.columns:
            same = next((i for i, other in enumerate(where) if same_positions(column.item_positions, other)), None)
            rows = (
                encode_positions(column.item_positions, self.split) if same is None else PositionsRecord(same_as=same)
            )
            records.append(ColumnRecord(column.name, column.commit, rows, column.whole))
            where.append(column.item_positions)
        state = msgspec.convert(self.sampler.state_dict(), StateRecord)
        document = Document(
            FORMAT, VERSION, encode_path(self.repository), records, describe_sampler(self.sampler), state, self.as_dict
        )
        _fs.replace_file(Path(path), msgspec.json.format(msgspec.json.encode(document)) + b"\n")

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        repository: str | os.PathLike[str] | None = None,
        *,
        sampler: Sampler | None = None,
    ) -> Self:
        """Read a manifest and open its commit.

        Parameters
        ----------
        path
            The JSON file.
        repository
            Where the repository is now; default: where it was.
        sampler
            A sampler like that of the run, if it had weights or balanced classes, which a manifest does not hold.

        Raises
        ------
        PathNotFoundError, RepositoryNotFoundError, RevisionNotFoundError, ColumnNotFoundError
            There is no such file, repository, commit or column.
        InvalidInputError
            (a ``ValueError``) the file is no manifest, or ``sampler`` has another order.
        UnsupportedVersionError
            (a ``RuntimeError``) a newer Hangar wrote it.
        """
        document = read_document(Path(path))
        given = repository if repository is not None else decode_path(document.repository)
        try:
            opened = Repository(given, exists=False)
        except PathNotFoundError as error:
            raise PathNotFoundError(f"{error}, where the run was: name its repository with repository=") from None
        columns: list[SelectedColumn] = []
        split = None
        for column in document.columns:
            checkout = opened.checkout(commit=column.commit)
            reader = checkout[column.name]
            count = len(reader) if column.whole or not reader.contains_subsamples else reader.num_subsamples
            if column.rows.split is not None:
                split = column.rows.split
            where = decode_positions(column, checkout, count, columns)
            columns.append(SelectedColumn(reader, where, column.whole))
        if len({len(column.item_positions) for column in columns}) > 1:
            raise invalid_manifest(path, "its columns differ in the number of items")
        selection = Selection(columns)
        made = make_sampler(document.sampler, len(selection), sampler)
        try:
            made.load_state_dict(msgspec.to_builtins(document.state))
        except InvalidInputError as error:
            raise invalid_manifest(path, str(error)) from None
        return cls(selection, made, Path(given), document.as_dict, split)

    # ------------------------------------------------------------------ what the run did

    def batch(self, number: int, *, rank: int | None = None, transform: Transform = None) -> Any:
        """Read a batch of the run again.

        Parameters
        ----------
        number
            Number of the batch from the beginning of the run, from 0 on, over all epochs.
        rank
            Of a run on several ranks; default: the recorded one.
        transform
            The transform of the data set of the run, because a manifest holds no code.

        Returns
        -------
        object
            numpy arrays, as those of :func:`hangar.make_numpy_dataset`.

        Raises
        ------
        PositionNotFoundError
            (an ``IndexError``) ``number`` is negative.
        """
        form = ItemForm(self.selection.names, self.as_dict, transform)
        return collate(Batch(self.selection, form, self.items(number, rank=rank)))

    def keys(self, number: int, *, rank: int | None = None) -> list[Any]:
        """Keys of the samples of a batch; with several columns tuples. Parameters as for :meth:`batch`."""
        return self.selection.keys(self.items(number, rank=rank))

    def items(self, number: int, *, rank: int | None = None) -> npt.NDArray[np.int64]:
        """Numbers of the items of a batch: int64. Parameters as for :meth:`batch`."""
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)):
            raise InvalidTypeError(f"a batch is named by its number, an int, not {type(number).__name__}")
        sampler = self.sampler
        if rank is not None and rank != sampler.rank:
            sampler = make_sampler(
                msgspec.structs.replace(describe_sampler(sampler), rank=rank), len(self.selection), sampler
            )
        if number < 0 or not len(sampler):
            raise PositionNotFoundError(f"the run has no batch {number}")
        return sampler.batch(*divmod(int(number), len(sampler)))

    def seen(self, epoch: int | None = None) -> Iterator[Any]:
        """Keys of the samples that the run had delivered, on all ranks, each once, in the order in which they first came.

        Keys are computed in blocks while you iterate. Memory: one byte for each sample.

        Parameters
        ----------
        epoch
            Only what came in this epoch.
        """
        epochs = range(self.sampler.state_dict()["epoch"] + 1) if epoch is None else [epoch]
        known = np.zeros(len(self.selection), np.bool_)
        replaced = isinstance(self.sampler.order, (Weighted, Balanced))
        left = len(known) if replaced else self.sampler.order.count
        for one in epochs:
            delivered = self._delivered(one)
            for start in range(0, delivered, _BLOCK):
                items = self.sampler.items(one, start, min(start + _BLOCK, delivered))
                _, firsts = np.unique(items, return_index=True)
                new = items[np.sort(firsts)]
                new = new[~known[new]]
                known[new] = True
                left -= len(new)
                yield from self.selection.keys(new) if len(new) else ()
            if not left or not delivered:
                return

    def _delivered(self, epoch: int) -> int:
        """Global positions of an epoch that were delivered."""
        sampler = self.sampler
        state = sampler.state_dict()
        if epoch >= state["epoch"]:
            return int(state["position"]) if epoch == state["epoch"] else 0
        count = sampler.order.count
        return count - count % ((sampler.batch_size or 1) * sampler.world_size) if sampler.drop_last else count

    def __repr__(self) -> str:
        return f"<Manifest: {len(self.selection):,} items of {', '.join(self.selection.names)}, {self.sampler!r}>"


def _check_split(selection: Selection, split: Any) -> None:
    if not (isinstance(split, tuple) and len(split) == 2 and all(isinstance(one, str) for one in split)):
        raise InvalidTypeError(f"split is a pair of the names of a split and of its part, not {split!r}")
    for column in selection.columns:
        with Repository(Path(column.path).parent).checkout(commit=column.commit) as checkout:
            positions = split_positions(checkout, column.name, split)
        if column.schema.nested and not column.whole:
            raise InvalidInputError(f"column {column.name!r} gives single subsamples, and a split has whole samples")
        if not np.array_equal(np.asarray(column.item_positions, np.int64), positions):
            raise InvalidInputError(
                f"the items of column {column.name!r} are not part {split[1]!r} of split {split[0]!r}"
            )
