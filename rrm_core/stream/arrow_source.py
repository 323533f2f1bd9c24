"""Columns of Parquet and Arrow files as sources."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..definition.formats import BY_NAME, Array, Format
from ._pyarrow import FLOAT_TYPES, WEIGHT_COLUMN, pa, parquet
from .arrow_layout import find_column_runs, summarize_file
from .files import StableFile
from .source import Chunk

BATCH_BYTES = 1 << 20  # bytes of a column that are decoded at a time
READ_BYTES = 1 << 20  # bytes of a column that are read from the disk at a time


class ParquetColumn:
    """A column of a Parquet file; a null counts as NaN. See `Source`.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    path : Path
    column : str, optional
        Name of the column; by default the only floating-point column.
    memory : int
        Bytes of the column that may be decoded at a time.

    Raises
    ------
    OSError
        The file cannot be opened.
    TypeError, ValueError
        It is not a Parquet file, has no such column, or one of another type.
    """

    stable = True
    random_access = False

    def __init__(self, name: str, path: Path, column: str | None, memory: int) -> None:
        self._file = StableFile(name, path)
        self.name = self._file.name
        try:
            with _name_invalid_file(self.name, "Parquet"):
                # Row groups may be larger than memory: the pages of the column are read one after the other.
                self._parquet = parquet.ParquetFile(
                    pa.OSFile(str(path)), buffer_size=READ_BYTES, pre_buffer=False, page_checksum_verification=True
                )
            self._column, self.format = _choose_column(self.name, self._parquet.schema_arrow, column)
        except BaseException:
            self._file.close()
            raise
        self.n: int = self._parquet.metadata.num_rows
        self._batch_rows = max(min(BATCH_BYTES, memory) // self.format.storage.itemsize, 1)

    def chunks(self, max_samples: int) -> Iterator[Chunk]:
        """Yield batches of rows."""
        start = 0
        rows = min(self._batch_rows, max_samples)
        batches = self._iter_batches(rows)
        while True:
            try:
                batch = next(batches, None)
            except (OSError, pa.ArrowException, ValueError) as error:
                self._raise_unreadable(start, rows, error)
            if batch is None:
                break
            values = column_values(batch.column(0), self.format)
            yield Chunk(start, start + len(values), _reader(values, start))
            start += len(values)

    def _iter_batches(self, rows: int, **options: Any) -> Iterator[Any]:
        batches: Iterator[Any] = self._parquet.iter_batches(
            batch_size=rows, columns=[self._column], use_threads=False, **options
        )
        return batches

    def _raise_unreadable(self, start: int, rows: int, error: Exception) -> NoReturn:
        """Raise a ValueError that names the first row group, from row `start` on, that cannot be read."""
        n_groups = self._parquet.metadata.num_row_groups
        stop = 0
        for group in range(n_groups):
            stop += self._parquet.metadata.row_group(group).num_rows
            if stop <= start:
                continue
            try:
                for _ in self._iter_batches(rows, row_groups=[group]):
                    pass
            except (OSError, pa.ArrowException, ValueError) as group_error:
                where = f"row group {group} of {n_groups} (the first is 0) can't be read in column {self._column!r}"
                raise ValueError(f"{self.name}: {where}: {_one_line(group_error)}") from error
        raise ValueError(f"{self.name} can't be read after row {start:_}: {_one_line(error)}") from error

    def check(self) -> None:
        """Raise a RuntimeError if the file changed. See `StableFile.check`."""
        self._file.check()

    def close(self) -> None:
        """Close the file."""
        self._parquet.close(force=True)
        self._file.close()


class ArrowColumn:
    """A column of an Arrow (IPC, Feather) file. See `ParquetColumn` for the parameters and errors, and `Source`.

    Of an uncompressed file, pyarrow only locates the values; they are read like those of a ``.npy`` file, so that a
    record batch may have any size. A compressed batch must fit in memory.
    """

    def __init__(self, name: str, path: Path, column: str | None, memory: int) -> None:
        self._file = StableFile(name, path)
        self._memory = memory
        self.name = self._file.name
        try:
            with _name_invalid_file(self.name, "Arrow"), pa.memory_map(str(path)) as mapped:
                schema = pa.ipc.open_file(mapped).schema
                self._column, self.format = _choose_column(self.name, schema, column)
                index = schema.get_field_index(self._column)
                options = pa.ipc.IpcReadOptions(included_fields=[index], use_threads=False)
                self._reader = pa.ipc.open_file(pa.OSFile(str(path)), options=options)
                self.n, max_batch_rows, compressed = summarize_file(mapped)
                self._runs = None if compressed else find_column_runs(mapped, index)
        except BaseException:
            self._file.close()
            raise
        self.random_access = self._runs is not None
        # Large batches are decoded one at a time.
        self.stable = self.random_access or max_batch_rows * self.format.storage.itemsize <= BATCH_BYTES

    def chunks(self, max_samples: int) -> Iterator[Chunk]:
        """Yield ranges of the file; of a compressed one, its batches."""
        if self._runs is None:
            yield from self._batches()
            return
        for start in range(0, self.n, max_samples):
            yield Chunk(start, min(start + max_samples, self.n), self._read)

    def _batches(self) -> Iterator[Chunk]:
        start = 0
        n_batches = self._reader.num_record_batches
        for i in range(n_batches):
            try:
                batch = self._reader.get_batch(i)
            except (OSError, pa.ArrowException, ValueError) as error:
                where = f"record batch {i} of {n_batches} (the first is 0)"
                raise ValueError(f"{self.name}: {where} can't be read: {_one_line(error)}") from error
            size = batch.num_rows * self.format.storage.itemsize
            if size > self._memory:
                raise ValueError(
                    f"{self.name}: record batch {i}, which is compressed and can't be read in parts, takes {size:_} "
                    f"bytes of the {self._memory:_} available; raise memory, or write smaller batches"
                )
            values = column_values(batch.column(0), self.format)
            yield Chunk(start, start + len(values), _reader(values, start))
            start += len(values)
            # Freed before the next batch is decoded.
            del batch, values

    def _read(self, first: int, last: int, memory: Array) -> Array:
        assert self._runs is not None
        itemsize = self.format.storage.itemsize
        values = memory[: (last - first) * itemsize].view(self.format.storage)
        run_index = bisect_right(self._runs, first, key=lambda run: run.start) - 1
        row = first
        while row < last:
            run = self._runs[run_index]
            stop = min(run.stop, last)
            part = values[row - first : stop - first]
            self._file.read(part.view(np.uint8), run.offset + (row - run.start) * itemsize)
            if run.validity_offset is not None:
                n_bytes_before, n_bits_before = divmod(row - run.start, 8)
                bitmap = np.empty((n_bits_before + len(part) + 7) // 8, np.uint8)
                self._file.read(bitmap, run.validity_offset + n_bytes_before)
                _nulls_to_nan(part, bitmap, n_bits_before)
            row = stop
            run_index += 1
        return values

    def check(self) -> None:
        """Raise a RuntimeError if the file changed. See `StableFile.check`."""
        self._file.check()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _choose_column(name: str, schema: Any, column: str | None) -> tuple[str, Format]:
    """Return the name of the column to read, and its type."""
    if column is None:
        column = _default_column(name, schema)
    index = schema.get_field_index(column)
    if index < 0:
        count = schema.names.count(column)
        problem = f"has {count} columns" if count else "has no column"
        raise ValueError(f"{name} {problem} {column!r}; there are {_column_list(schema)}")
    type = schema.field(index).type
    if type not in FLOAT_TYPES:
        raise TypeError(f"{name}: column {column!r} must be float16, float32 or float64, got {type}; convert it")
    return column, BY_NAME[FLOAT_TYPES[type]]


def _default_column(name: str, schema: Any) -> str:
    floating: list[str] = [field.name for field in schema if field.type in FLOAT_TYPES]
    if not name.startswith("losses") and WEIGHT_COLUMN in floating:
        return WEIGHT_COLUMN
    if len(floating) == 1:
        return floating[0]
    remedy = "name one with column" if floating else "one is needed"
    raise ValueError(
        f"{name} has {len(floating)} columns of floating-point numbers; {remedy}; there are {_column_list(schema)}"
    )


def _column_list(schema: Any) -> str:
    return ", ".join(f"{field.name!r} ({field.type})" for field in schema) or "none"


@contextmanager
def _name_invalid_file(name: str, kind: str) -> Iterator[None]:
    """Convert pyarrow's errors about an invalid file into a ValueError that names the file."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        # An error of the operating system.
        if getattr(error, "errno", None) is not None:
            raise
        raise ValueError(f"{name} is not a complete {kind} file: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def column_values(column: Any, format: Format) -> Array:
    """Return a pyarrow column as an array, with NaN for nulls.

    Its `to_numpy` would do the same, but imports pandas if it is installed.
    """
    validity, data = column.buffers()
    values = np.frombuffer(data, format.storage, column.offset + len(column))[column.offset :]
    if column.null_count:
        values = values.copy()
        _nulls_to_nan(values, np.frombuffer(validity, np.uint8), column.offset)
    return values


def _nulls_to_nan(values: Array, bitmap: Array, n_bits_before: int) -> None:
    """Replace nulls by NaN: the values whose bit, after the first `n_bits_before`, is 0."""
    valid = np.unpackbits(bitmap, count=n_bits_before + len(values), bitorder="little")[n_bits_before:]
    values[valid == 0] = np.nan


def _reader(values: Array, start: int) -> Callable[[int, int, Array], Array]:
    return lambda first, last, _: values[first - start : last - start]
