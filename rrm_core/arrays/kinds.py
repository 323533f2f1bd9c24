"""The kinds of arrays that are not of the array API: how each is recognised, read and rebuilt.

They are recognised by the names of their classes, so that no library is imported.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Any, cast

from array_api_compat import is_array_api_obj

from . import arrow, host_tensors, protocols, series
from .host_kind import HostKind, HostValues, refuse

# By package and name of a class: its own, or one of those from which it is derived.
KINDS: dict[tuple[str, str], HostKind] = {
    ("pandas", "Series"): HostKind(
        "pandas Series", series.read_pandas, series.rebuild_pandas, labels_differ=series.pandas_labels_differ
    ),
    ("pandas", "ExtensionArray"): HostKind("pandas array", series.read_pandas_array, series.rebuild_pandas_array),
    ("polars", "Series"): HostKind("polars Series", series.read_polars, series.rebuild_polars),
    ("pyarrow", "Array"): HostKind("pyarrow Array", arrow.read_arrow, arrow.rebuild_array),
    ("pyarrow", "ChunkedArray"): HostKind("pyarrow ChunkedArray", arrow.read_arrow, arrow.rebuild_chunked_array),
    ("xarray", "DataArray"): HostKind(
        "xarray DataArray", series.read_xarray, series.rebuild_xarray, labels_differ=series.xarray_labels_differ
    ),
    ("array", "array"): HostKind("array.array", protocols.read_view, protocols.rebuild_plain_array, is_writable=True),
    ("builtins", "memoryview"): HostKind(
        "memoryview", protocols.read_view, protocols.rebuild_memoryview, is_writable=True
    ),
    ("tensorflow", "EagerTensor"): HostKind(
        "TensorFlow tensor",
        host_tensors.read_tensorflow,
        host_tensors.rebuild_tensorflow,
        framework="tensorflow",
        device_of=host_tensors.device_of_tensorflow,
    ),
    ("tensorflow", "Variable"): HostKind(
        "TensorFlow tensor",
        host_tensors.read_tensorflow,
        host_tensors.rebuild_tensorflow,
        framework="tensorflow",
        device_of=host_tensors.device_of_tensorflow,
    ),
    ("paddle", "Tensor"): HostKind(
        "Paddle tensor",
        host_tensors.read_paddle,
        host_tensors.rebuild_paddle,
        framework="paddle",
        device_of=host_tensors.device_of_paddle,
    ),
    ("mlx", "array"): HostKind("MLX array", host_tensors.read_mlx, host_tensors.rebuild_mlx, framework="mlx"),
    ("numpy", "matrix"): refuse("a matrix", "pass {name}.A1"),
    # Tables
    ("pandas", "DataFrame"): refuse("a table", "pass one column, such as {name}['loss']"),
    ("polars", "DataFrame"): refuse("a table", "pass one column, such as {name}['loss']"),
    ("polars", "LazyFrame"): refuse("a lazy table", "pass one column, such as {name}.collect()['loss']"),
    ("pyarrow", "Table"): refuse("a table", "pass one column, such as {name}['loss']"),
    ("pyarrow", "RecordBatch"): refuse("a table", "pass one column, such as {name}['loss']"),
    ("xarray", "Dataset"): refuse("a data set", "pass one variable, such as {name}['loss']"),
    ("datasets", "Dataset"): refuse("a data set", "pass one column, such as {name}.with_format('numpy')['loss'][:]"),
    ("dask", "DataFrame"): refuse("a lazy table", "pass {name}['loss'].to_dask_array(lengths=True)"),
    ("dask", "Series"): refuse("a lazy Series", "pass {name}.to_dask_array(lengths=True)"),
    # Sparse arrays
    ("scipy", "_spbase"): refuse("a sparse array", "pass {name}.toarray().ravel()"),
    ("sparse", "SparseArray"): refuse("a sparse array", "pass {name}.todense()"),
    ("jax", "JAXSparse"): refuse("a sparse array", "pass {name}.todense()"),
    ("tensorflow", "SparseTensor"): refuse("a sparse tensor", "pass tf.sparse.to_dense({name})"),
    ("tensorflow", "IndexedSlices"): refuse("a sparse tensor", "pass tf.convert_to_tensor({name})"),
    ("tensorflow", "RaggedTensor"): refuse("a ragged tensor", "pass {name}.flat_values"),
    # Arrays without values
    ("tensorflow", "SymbolicTensor"): refuse("a symbolic tensor in a tf.function", host_tensors.TENSORFLOW_REMEDY),
    ("keras", "KerasTensor"): refuse("a symbolic tensor of a Keras model", "call this on the values of a tensor"),
    ("keras", "Variable"): refuse("a Keras variable", "pass {name}.value"),
    ("paddle", "Value"): refuse("a symbolic tensor of a Paddle program", "call this in dynamic mode"),
    ("paddle", "Variable"): refuse("a symbolic tensor of a Paddle program", "call this in dynamic mode"),
}


@lru_cache(maxsize=256)
def _listed_kind(array_type: Hashable) -> HostKind | None:
    for base in cast(type, array_type).__mro__:
        kind = KINDS.get((base.__module__.partition(".")[0], base.__name__))
        if kind is not None:
            return kind
    return None


def kind_of(x: Any) -> HostKind | None:
    """Return the kind of an array; None for arrays of the array API, and for what is not an array."""
    array_type: Any = type(x)
    listed = _listed_kind(array_type)
    if listed is not None or is_array_api_obj(x):
        return listed
    return protocols.protocol_of(x)


def read_values(name: str, x: Any) -> tuple[HostKind, HostValues] | None:
    """Return kind and values of the argument `x`, called `name`; None if `kind_of` is None.

    Raises
    ------
    TypeError, ValueError
        Arrays of the kind are refused, or this one has no values or missing ones.
    """
    kind = kind_of(x)
    return None if kind is None else (kind, kind.read(name, x))


def as_array(name: str, x: Any) -> Any:
    """Return an array outside the array API as a NumPy array, and anything else as it is.

    Raises
    ------
    TypeError, ValueError
        As `read_values`; or NumPy does not have the type of the values.
    """
    read = read_values(name, x)
    if read is None:
        return x
    kind, (values, dtype) = read
    if dtype == "bfloat16":
        raise TypeError(f"{name} is a {kind.label} of {dtype}, a type that NumPy does not have; convert it to float32")
    if isinstance(dtype, str):
        raise TypeError(f"{name} must be numbers, got a {kind.label} of {dtype}; convert it, or number the values")
    return values


def check_same_labels(name: str, x: Any, other_name: str, other: Any) -> None:
    """Raise a ValueError if two arguments label their samples in different ways."""
    kind = kind_of(x)
    if kind is None or kind.labels_differ is None or kind is not kind_of(other):
        return
    difference = kind.labels_differ(other, x)
    if difference is not None:
        raise ValueError(
            f"{other_name} and {name} have {difference}; they are not aligned by labels: pass both in one order and "
            f"with the same labels, or {name}.to_numpy() to go by position"
        )
