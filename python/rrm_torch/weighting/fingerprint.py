"""A hash that identifies a data set, so that a state of another one can be refused."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from .._models import to_numpy

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
    if isinstance(ids, Tensor):
        ids = to_numpy(ids)
    array = np.asarray(ids) if isinstance(ids, np.ndarray) else _as_array(ids)
    if array.ndim == 0:
        raise TypeError(f"ids must be a sequence, one for each sample, got {ids!r}")
    if array.dtype.kind in "OUS":
        content = _encode_items(array)
        kind = "text"
    elif array.dtype.kind in "biuf":
        ordered = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
        content = ordered.tobytes()
        kind = ordered.dtype.str
    else:
        raise TypeError(f"ids must be text or numbers, got {array.dtype}")
    digest = hashlib.blake2b(f"{kind}{array.shape}".encode(), digest_size=16)
    digest.update(content)
    return digest.hexdigest()


def _as_array(ids: object) -> np.ndarray[Any, Any]:
    """Return a sequence as an array that holds its numbers and strings unchanged."""
    array = np.asarray(ids)
    if array.dtype.kind in "biu":
        return array
    # NumPy turns integers beyond int64 into floats, drops trailing NULs of strings, and turns numbers beside text
    # into text.
    objects = np.asarray(ids, dtype=object)
    numbers = all(isinstance(item, (float, np.floating)) for item in objects.ravel())
    return array if array.dtype.kind == "f" and numbers else objects


def _encode_items(array: np.ndarray[Any, Any]) -> bytes:
    """Return text, paths and numbers of any size as bytes, each with its length."""
    parts = []
    for item in array.ravel().tolist():
        if isinstance(item, (str, PurePath)):
            # A file name that is not UTF-8 holds its bytes as surrogates.
            part = str(item).encode(errors="surrogatepass")
        elif isinstance(item, bytes):
            part = item
        elif isinstance(item, int) and not isinstance(item, bool):
            # A byte that no text begins with.
            part = b"\xff" + str(item).encode()
        elif isinstance(item, float):
            part = b"\xfe" + item.hex().encode()
        else:
            raise TypeError(f"ids must be text or numbers, got {type(item).__name__} among them")
        parts.append(len(part).to_bytes(8, "little") + part)
    return b"".join(parts)
