"""Arrays of pyarrow, read from their buffers: pyarrow's own conversion imports pandas where it is installed."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from .host_kind import HostValues, check_no_missing

# NumPy's names of Arrow's types, where these have the same layout.
_TYPES = {"halffloat": "float16", "float": "float32", "double": "float64"}
_TYPES |= {f"{sign}int{8 << i}": f"{sign}int{8 << i}" for sign in ("", "u") for i in range(4)}


def read_arrow(name: str, x: Any) -> HostValues:
    """Return the values of an Array or ChunkedArray, of several chunks a copy."""
    type_name = str(x.type)
    if type_name not in _TYPES and type_name != "bool":
        return HostValues(np.empty(len(x), object), type_name)
    check_no_missing(name, x.null_count, len(x), "{name}.fill_null(float('nan'))")
    chunks = getattr(x, "chunks", [x])
    if len(chunks) == 1:
        values = _view(chunks[0], type_name)
    else:
        # The empty array gives the type where there are no chunks.
        empty = np.empty(0, _TYPES.get(type_name, "bool"))
        values = np.concatenate([empty, *(_view(chunk, type_name) for chunk in chunks)])
    return HostValues(values, values.dtype)


def _view(x: Any, type_name: str) -> Any:
    """Return the values of an Array without nulls; of bool, which Arrow packs to bits, a copy."""
    data = x.buffers()[1]
    stop = x.offset + len(x)
    if type_name == "bool":
        if data is None:
            return np.empty(0, bool)
        return np.unpackbits(np.frombuffer(data, np.uint8), count=stop, bitorder="little")[x.offset :].view(bool)
    dtype = np.dtype(_TYPES[type_name])
    if data is None or stop == 0:
        return np.empty(0, dtype)
    return np.frombuffer(data, dtype, stop)[x.offset :]


def rebuild_array(weights: Any, like: Any) -> Any:  # noqa: ARG001
    """Return weights as an Array, without a copy."""
    arrow = sys.modules["pyarrow"]
    dtype = arrow.float64() if weights.dtype == np.float64 else arrow.float32()
    return arrow.Array.from_buffers(dtype, len(weights), [None, arrow.py_buffer(weights)])


def rebuild_chunked_array(weights: Any, like: Any) -> Any:
    """Return weights as a ChunkedArray with chunks of the lengths of those of `like`, without a copy."""
    array = rebuild_array(weights, like)
    chunks = []
    start = 0
    for chunk in like.chunks:
        chunks.append(array.slice(start, len(chunk)))
        start += len(chunk)
    return sys.modules["pyarrow"].chunked_array(chunks, array.type)
