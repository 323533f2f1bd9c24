"""The only module that imports pyarrow; it is imported only for Parquet and Arrow files."""

from __future__ import annotations

try:
    import pyarrow as pa
    from pyarrow import parquet
except ImportError as error:
    raise ImportError("Parquet and Arrow files need pyarrow: pip install pyarrow") from error

__all__ = ["FLOAT_TYPES", "WEIGHT_COLUMN", "pa", "parquet"]

WEIGHT_COLUMN = "sample_weight"  # name of the column of weights, written and read
FLOAT_TYPES = {pa.float16(): "float16", pa.float32(): "float32", pa.float64(): "float64"}
