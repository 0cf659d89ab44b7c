"""Data sets, collate and loaders for torch."""

from __future__ import annotations

from hangar.dataset.torch.data import TorchDataset
from hangar.dataset.torch.loader import Loader
from hangar.dataset.torch.tensors import collate

__all__ = ["Loader", "TorchDataset", "collate"]
