"""The stateful loader of torchdata on a Hangar sampler."""

from __future__ import annotations

import pytest

from hangar import make_torch_dataset
from hangar.checkout import ReaderCheckout
from hangar.dataset import Sampler, collate

torchdata = pytest.importorskip(
    "torchdata.stateful_dataloader", reason="torchdata is not installed (`pip install --no-deps torchdata`)"
)

# It looks at modules for the methods of stateful objects.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.mark.parametrize("workers", [0, 2])
def test_it_resumes_in_the_middle_of_an_epoch(workers: int, reader: ReaderCheckout) -> None:
    dataset = make_torch_dataset([reader.columns["image"], reader.columns["label"]])

    def make() -> object:
        return torchdata.StatefulDataLoader(
            dataset,
            batch_sampler=Sampler(dataset, 9, seed=2),
            collate_fn=collate,
            num_workers=workers,
            **({"multiprocessing_context": "fork"} if workers else {}),
        )

    def keys(loader: object) -> list[list[int]]:
        return [images[:, 0, 0].tolist() for images, _ in loader]  # type: ignore[attr-defined]

    sampler = Sampler(dataset, 9, seed=2)
    expected = [[(100 + items).tolist() for items in sampler.batches(epoch)] for epoch in range(2)]
    for stop in range(1, 7):
        loader = make()
        batches = iter(loader)  # type: ignore[call-overload]
        seen = [next(batches)[0][:, 0, 0].tolist() for _ in range(stop)]
        state = loader.state_dict()  # type: ignore[attr-defined]
        del batches, loader
        resumed = make()
        resumed.load_state_dict(state)  # type: ignore[attr-defined]
        assert seen + keys(resumed) == expected[0]
        assert keys(resumed) == expected[1]
