"""What a loader yields: index, inputs and labels, in a tuple or in a dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

INDEX_KEY = "sample_index"
"""Key of a sample's index in items and batches that are dicts."""

LABEL_KEYS = ("labels", "label")
"""Keys of the labels in batches that are dicts."""


def split_batch(batch: Any) -> tuple[Any, Any, Any]:
    """Return the index, the inputs and the labels of a batch, which may lack an index.

    Parameters
    ----------
    batch : (index, x, y), (x, y) or mapping
        Of a mapping, the labels are the entry ``labels`` or ``label``, the index is ``sample_index``, and the inputs
        are a dict of all other entries.

    Returns
    -------
    index : Tensor or None
        None if the batch has none.
    x, y : Tensor, or any nesting of tensors

    Raises
    ------
    TypeError, ValueError
        The batch is something else.
    """
    if isinstance(batch, Mapping):
        return _split_mapping(batch)
    if not isinstance(batch, (tuple, list)):
        raise TypeError(
            "loader must yield (index, x, y), (x, y) or a dict with the key labels or label, "
            f"got {type(batch).__name__}"
        )
    if len(batch) == 2:
        return None, batch[0], batch[1]
    if len(batch) != 3:
        raise ValueError(f"loader must yield (index, x, y) or (x, y), got {len(batch)} items; put all inputs into x")
    index, x, y = batch
    return index, x, y


def split_indexed_batch(batch: Any) -> tuple[Tensor, Any, Any]:
    """Return the index, the inputs and the labels of a batch.

    Parameters
    ----------
    batch : (index, x, y) or mapping
        See `split_batch`.

    Returns
    -------
    index : Tensor, shape (batch,)
    x, y : Tensor, or any nesting of tensors

    Raises
    ------
    TypeError, ValueError
        The batch is something else, or its index isn't a tensor of shape (batch,).
    """
    index, x, y = split_batch(batch)
    if index is None:
        raise ValueError(
            f"loader must yield the samples' indices, as (index, x, y) or as the entry {INDEX_KEY} of a dict; "
            "rrm_torch.Indexed adds them to a data set"
        )
    if not isinstance(index, Tensor):
        raise TypeError(f"index must be a tensor of shape (batch,), got {type(index).__name__}")
    if index.ndim != 1:
        raise ValueError(f"index must have shape (batch,), got {tuple(index.shape)}")
    return index, x, y


def _split_mapping(batch: Mapping[str, Any]) -> tuple[Any, dict[str, Any], Any]:
    label_keys = [key for key in LABEL_KEYS if key in batch]
    if len(label_keys) != 1:
        raise ValueError(
            f"loader must yield dicts with the labels under one of the keys labels and label, got {list(batch)}"
        )
    x = {key: value for key, value in batch.items() if key not in (INDEX_KEY, *label_keys)}
    return batch.get(INDEX_KEY), x, batch[label_keys[0]]
