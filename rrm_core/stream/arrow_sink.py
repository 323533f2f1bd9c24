"""Weights written to Parquet and Arrow files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from .._atomic_write import annotate_os_error, atomic_write
from ..definition.formats import Array
from ._pyarrow import WEIGHT_COLUMN, pa, parquet

GROUP_ROWS = 1 << 20  # rows of a row group or a record batch


class TableSink:
    """Weights written to a Parquet or Arrow file, in row groups whose size does not depend on the chunks. See `Sink`.

    Parameters
    ----------
    path : Path
        The file that the temporary one will replace, for messages.
    writer : pyarrow.parquet.ParquetWriter or pyarrow.ipc.RecordBatchFileWriter
    schema : pyarrow.Schema
        That of the file: one column of weights.
    """

    needs_order = True
    keeps_buffers = False

    def __init__(self, path: Path, writer: Any, schema: Any) -> None:
        self._path = path
        self._writer = writer
        self._schema = schema
        self._group = np.empty(GROUP_ROWS, schema.field(0).type.to_pandas_dtype())
        self._n_rows = 0

    def write(self, start: int, weights: Array) -> None:  # noqa: ARG002
        """Append weights."""
        while len(weights):
            rows = weights[: GROUP_ROWS - self._n_rows]
            self._group[self._n_rows : self._n_rows + len(rows)] = rows
            self._n_rows += len(rows)
            weights = weights[len(rows) :]
            if self._n_rows == GROUP_ROWS:
                self._write_group()

    def _write_group(self) -> None:
        with annotate_os_error(self._path):
            # pa.array would import pandas, if installed, to check whether its argument is a pandas object.
            buffers = [None, pa.py_buffer(self._group[: self._n_rows])]
            column = pa.Array.from_buffers(self._schema.field(0).type, self._n_rows, buffers)
            self._writer.write_batch(pa.record_batch([column], schema=self._schema))
        self._n_rows = 0

    def end_chunk(self) -> None:
        """Do nothing: chunks are not visible in the file."""

    def commit(self) -> None:
        """Write the last row group, and close the writer."""
        if self._n_rows:
            self._write_group()
        with annotate_os_error(self._path):
            self._writer.close()


@contextmanager
def open_table_sink(path: Path, dtype: np.dtype[Any], *, few_values: bool) -> Iterator[TableSink]:
    """Open a temporary file of weights that replaces `path` at the end: Parquet or Arrow, according to its suffix.

    Parameters
    ----------
    path : Path
    dtype : numpy.dtype
        Type of the weights.
    few_values : bool
        True if the weights have only a few distinct values.
    """
    schema = pa.schema([pa.field(WEIGHT_COLUMN, pa.from_numpy_dtype(dtype), nullable=False)])
    with atomic_write(path) as file:
        writer = None
        try:
            with annotate_os_error(path):
                if path.suffix == ".parquet":
                    # For many distinct values, each row group would start a dictionary and abandon it.
                    writer = parquet.ParquetWriter(file, schema, use_dictionary=few_values)
                else:
                    writer = pa.ipc.new_file(file, schema)
            yield TableSink(path, writer, schema)
        except BaseException:
            # Explicitly: the destructor would write to a closed file and print an error.
            if writer is not None:
                with suppress(OSError, pa.ArrowException):
                    writer.close()
            raise
