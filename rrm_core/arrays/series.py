"""Labelled arrays: Series of pandas and polars, and DataArrays of xarray. None of them is imported here.

The result has the labels of the losses. Labels are compared, and arrays are never aligned by them.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from .host_kind import HostValues, check_no_missing


def read_pandas(name: str, x: Any) -> HostValues:
    """Return the values of a pandas Series."""
    dtype = x.dtype
    if not isinstance(dtype, np.dtype):
        # Nullable types and those of Arrow have this attribute; strings, categories and times with a zone do not.
        numpy_type = getattr(dtype, "numpy_dtype", None)
        if hasattr(dtype, "subtype") and hasattr(x, "sparse"):
            raise TypeError(f"{name} is a sparse Series, {dtype}; pass {name}.sparse.to_dense()")
        if hasattr(dtype, "categories") and dtype.categories.dtype.kind in "biuf":
            numpy_type = dtype.categories.dtype
        if numpy_type is None or numpy_type.kind not in "biuf":
            return HostValues(np.empty(len(x), object), str(dtype))
        check_no_missing(name, int(x.isna().sum()), len(x), "{name}.astype('float64')")
        values = x.to_numpy(numpy_type)
        return HostValues(values, values.dtype)
    values = x.to_numpy()
    return HostValues(values, values.dtype)


def rebuild_pandas(weights: Any, like: Any) -> Any:
    """Return weights as a Series with index and name of `like`, nullable or of Arrow where that is."""
    series = sys.modules["pandas"].Series(weights, index=like.index, name=like.name, copy=False)
    dtype = like.dtype
    if isinstance(dtype, np.dtype):
        return series
    is_double = weights.dtype == np.float64
    if hasattr(dtype, "categories"):
        return series
    if hasattr(dtype, "pyarrow_dtype"):
        return series.astype("double[pyarrow]" if is_double else "float[pyarrow]")
    return series.astype("Float64" if is_double else "Float32")


def read_pandas_array(name: str, x: Any) -> HostValues:
    """Return the values of an array of pandas, such as that of a nullable Series."""
    return read_pandas(name, sys.modules["pandas"].Series(x, copy=False))


def rebuild_pandas_array(weights: Any, like: Any) -> Any:
    """Return weights as an array of pandas, nullable or of Arrow where `like` is."""
    return rebuild_pandas(weights, sys.modules["pandas"].Series(like, copy=False)).array


def pandas_labels_differ(x: Any, y: Any) -> str | None:
    """Return how the indexes of two Series differ; None if they do not."""
    return _indexes_differ(x.index, y.index)


def read_polars(name: str, x: Any) -> HostValues:
    """Return the values of a polars Series."""
    dtype = x.dtype
    if not (dtype.is_float() or dtype.is_integer() or str(dtype) == "Boolean"):
        return HostValues(np.empty(len(x), object), str(dtype))
    check_no_missing(name, x.null_count(), len(x), "{name}.fill_null(float('nan'))")
    values = x.to_numpy()
    return HostValues(values, values.dtype)


def rebuild_polars(weights: Any, like: Any) -> Any:
    """Return weights as a polars Series with the name of `like`."""
    return sys.modules["polars"].Series(like.name, weights)


def read_xarray(name: str, x: Any) -> HostValues:
    """Return the values of a DataArray."""
    values = x.data
    if not isinstance(values, np.ndarray):
        raise TypeError(f"{name} is a DataArray of a {type(values).__name__}; pass {name}.data")
    return HostValues(values, values.dtype)


def rebuild_xarray(weights: Any, like: Any) -> Any:
    """Return weights as a DataArray with dimension, coordinates and name of `like`.

    Its attributes, such as a unit of the losses, are left out.
    """
    return sys.modules["xarray"].DataArray(weights, dims=like.dims, coords=like.coords, name=like.name)


def xarray_labels_differ(x: Any, y: Any) -> str | None:
    """Return how dimensions or indexes of two DataArrays differ; None if they do not, or if one has no index."""
    if x.dims != y.dims:
        return f"dimensions {', '.join(map(str, x.dims))} and {', '.join(map(str, y.dims))}"
    for dimension in x.dims:
        index = x.indexes.get(dimension)
        other = y.indexes.get(dimension)
        if index is not None and other is not None:
            difference = _indexes_differ(index, other)
            if difference:
                return difference
    return None


def _indexes_differ(index: Any, other: Any) -> str | None:
    """Return how two indexes of pandas differ, of which all but a common start may; None if they are equal."""
    if index.equals(other):
        return None
    if len(index) != len(other):
        return f"indexes of lengths {len(index):_} and {len(other):_}"
    # Bisection, since missing labels are equal by `equals`, but not by ==.
    n_equal = 0
    n_different = len(index)
    while n_different - n_equal > 1:
        middle = (n_equal + n_different) // 2
        if index[:middle].equals(other[:middle]):
            n_equal = middle
        else:
            n_different = middle
    return f"different indexes, the first at position {n_equal}: {index[n_equal]!r} and {other[n_equal]!r}"
