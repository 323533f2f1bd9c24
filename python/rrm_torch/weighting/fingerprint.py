"""A short name for a data set, by which a state that belongs to another one is noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from torch import Tensor


def fingerprint(ids: Sequence[str] | Sequence[int] | np.ndarray[Any, Any] | Tensor) -> str:
    """Return a hash of what identifies the samples, in their order.

    Parameters
    ----------
    ids : sequence of str, Path or int, array or Tensor; n along the first axis
        File names, keys, labels, or the data themselves: what would differ in another data set.

    Returns
    -------
    str
        32 hexadecimal digits (BLAKE2b, 128 bits).

    Raises
    ------
    TypeError
        `ids` are no sequence, or hold neither text nor numbers.
    """
    array = np.asarray(ids.detach().cpu() if isinstance(ids, Tensor) else ids)
    if array.ndim == 0:
        raise TypeError(f"ids must be a sequence, one for each sample, got {ids!r}")
    if array.dtype.kind == "O" and all(isinstance(item, (str, PurePath)) for item in array.ravel()):
        array = array.astype(str)  # of pandas, or paths
    if array.dtype.kind not in "biufUS":
        raise TypeError(f"ids must be text or numbers, got {array.dtype}")
    if array.dtype.kind in "US":  # the width of NumPy's strings depends on the longest
        texts = [item if isinstance(item, bytes) else item.encode() for item in array.ravel().tolist()]
        content = b"".join(len(text).to_bytes(8, "little") + text for text in texts)
        kind = "text"
    else:
        ordered = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
        content, kind = ordered.tobytes(), ordered.dtype.str
    digest = hashlib.blake2b(f"{kind}{array.shape}".encode(), digest_size=16)
    digest.update(content)
    return digest.hexdigest()
