"""A hash that identifies a data set, so that a state of another one can be refused."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

Ids: TypeAlias = Sequence[str] | Sequence[int] | np.ndarray[Any, Any] | Tensor


def hash_ids(ids: Ids | None, n: int) -> str | None:
    """Return the `fingerprint` of the identifiers of n samples, or None without any.

    Raises
    ------
    TypeError, ValueError
        As `fingerprint`, or there are not n of them.
    """
    if ids is None:
        return None
    digest = fingerprint(ids)
    if len(ids) != n:
        raise ValueError(f"ids must name each of the n={n} samples, got {len(ids)}")
    return digest


def fingerprint(ids: Ids) -> str:
    """Return a hash of identifiers of the samples, in their order.

    Parameters
    ----------
    ids : sequence of str, Path or int, array or Tensor; n along the first axis
        File names, keys, labels, or the data themselves: anything that differs in another data set.

    Returns
    -------
    str
        32 hexadecimal digits (BLAKE2b, 128 bits).

    Raises
    ------
    TypeError
        `ids` is not a sequence, or of neither text nor numbers.
    """
    array = np.asarray(ids.detach().cpu() if isinstance(ids, Tensor) else ids)
    if array.ndim == 0:
        raise TypeError(f"ids must be a sequence, one for each sample, got {ids!r}")
    if array.dtype.kind == "O" and all(isinstance(item, (str, PurePath)) for item in array.ravel()):
        # Paths, or strings of pandas.
        array = array.astype(str)
    if array.dtype.kind not in "biufUS":
        raise TypeError(f"ids must be text or numbers, got {array.dtype}")
    if array.dtype.kind in "US":
        # Each with its length: NumPy pads strings to the longest.
        texts = [item if isinstance(item, bytes) else item.encode() for item in array.ravel().tolist()]
        content = b"".join(len(text).to_bytes(8, "little") + text for text in texts)
        kind = "text"
    else:
        ordered = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
        content = ordered.tobytes()
        kind = ordered.dtype.str
    digest = hashlib.blake2b(f"{kind}{array.shape}".encode(), digest_size=16)
    digest.update(content)
    return digest.hexdigest()
