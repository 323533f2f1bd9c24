"""Batches of a trainer of transformers with the samples' indices, whatever the items of its data set are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import Dataset

from ..data.batch import INDEX_KEY


class IndexedItems(Dataset[Any]):
    """A data set whose items are those of another one, with their indices in front."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[int, Any]:
        return index, self.dataset[index]

    def __getitems__(self, indices: list[int]) -> list[tuple[int, Any]]:
        """Return several items, which the data set may fetch together."""
        fetch = getattr(self.dataset, "__getitems__", None)
        items = [self.dataset[index] for index in indices] if fetch is None else fetch(indices)
        return list(zip(indices, items, strict=True))


class IndexCollator:
    """A collator of such items: the batch of another one, with the samples' indices."""

    def __init__(self, collator: Callable[[list[Any]], Any]) -> None:
        self.collator = collator

    def __call__(self, features: list[tuple[int, Any]]) -> Any:
        """Return a batch of indexed items."""
        batch = self.collator([item for _, item in features])
        batch[INDEX_KEY] = torch.tensor([index for index, _ in features])
        return batch
