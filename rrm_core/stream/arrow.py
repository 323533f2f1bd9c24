"""Columns of Parquet and Arrow files, by pyarrow."""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

try:
    import pyarrow as pa
    from pyarrow import parquet
except ImportError as error:
    raise ImportError("Parquet and Arrow files need pyarrow: pip install 'rrm-core[arrow]'") from error

from .._atomic_write import atomic_write
from ..definition.formats import BY_NAME, Array, Format
from .files import WatchedFile
from .sinks import blaming
from .source import Part

WEIGHTS = "sample_weight"  # the column that is written, and the first that is looked for in a file of weights
ROWS = 1 << 20  # in a row group or a record batch that is written
BATCH = 1 << 20  # bytes of a column that are decoded at a time
UNREAD = 1 << 20  # bytes of a column that are read from the disk at a time
_TYPES = {pa.float16(): "float16", pa.float32(): "float32", pa.float64(): "float64"}


class ParquetColumn:
    """A column of a Parquet file. Nulls are NaN. See `parts.Source`.

    Parameters
    ----------
    name : str
        The argument that the file was given as.
    path : Path
    column : str or None
        Its name; None stands for the only one of floating-point numbers.
    memory : int
        Bytes of it that may be decoded at a time.

    Raises
    ------
    OSError
        The file can't be opened.
    TypeError, ValueError
        It isn't a Parquet file, or has no such column, or one of another type.
    """

    ahead, lazy = True, False

    def __init__(self, name: str, path: Path, column: str | None, memory: int) -> None:
        self._file = WatchedFile(name, path)
        self.name = self._file.name
        try:
            with _understanding(self.name, "Parquet"):
                # Row groups may be larger than memory: pages of the column are read one after the other.
                self._parquet = parquet.ParquetFile(
                    pa.OSFile(str(path)), buffer_size=UNREAD, pre_buffer=False, page_checksum_verification=True
                )
            self._column, self.format = _choose(self.name, self._parquet.schema_arrow, column)
        except BaseException:
            self._file.close()
            raise
        self.n: int = self._parquet.metadata.num_rows
        self._rows = max(min(BATCH, memory) // self.format.storage.itemsize, 1)

    def parts(self, most: int) -> Iterator[Part]:
        """Yield batches of rows."""
        start, rows = 0, min(self._rows, most)
        batches = self._parquet.iter_batches(batch_size=rows, columns=[self._column], use_threads=False)
        while True:
            try:
                batch = next(batches, None)
            except (OSError, pa.ArrowException, ValueError) as error:
                raise ValueError(self._unreadable(start, rows, error)) from error
            if batch is None:
                break
            part = _numbers(batch.column(0), self.format)
            yield Part(start, start + len(part), _slices(part, start))
            start += len(part)

    def _unreadable(self, start: int, rows: int, error: Exception) -> str:
        """Say which row group can't be read, the one with row `start` or one after it."""
        groups, stop = self._parquet.metadata.num_row_groups, 0
        for group in range(groups):
            stop += self._parquet.metadata.row_group(group).num_rows
            if stop <= start:
                continue
            try:
                for _ in self._parquet.iter_batches(
                    batch_size=rows, row_groups=[group], columns=[self._column], use_threads=False
                ):
                    pass
            except (OSError, pa.ArrowException, ValueError) as again:
                what = f"row group {group} of {groups} (the first is 0) can't be read in column {self._column!r}"
                return f"{self.name}: {what}: {_one_line(again)}"
        return f"{self.name} can't be read after row {start:_}: {_one_line(error)}"

    def check(self) -> None:
        """See `WatchedFile.check`."""
        self._file.check()

    def close(self) -> None:
        """Close the file."""
        self._parquet.close(force=True)
        self._file.close()


class _Run(NamedTuple):
    """Rows of a record batch, as they lie in the file."""

    start: int
    stop: int
    begin: int  # offset of the numbers
    valid: int | None  # offset of the bits that tell them from nulls


class ArrowColumn:
    """A column of an Arrow (IPC, Feather) file. See `ParquetColumn` for the parameters and errors, and `parts.Source`.

    Of a file that isn't compressed, pyarrow only says where the numbers are. They are then read like those of a
    ``.npy`` file, so that a record batch may be of any size. A compressed one must fit into memory.
    """

    def __init__(self, name: str, path: Path, column: str | None, memory: int) -> None:
        self._file, self._memory = WatchedFile(name, path), memory
        self.name = self._file.name
        try:
            with _understanding(self.name, "Arrow"), pa.memory_map(str(path)) as mapped:
                schema = pa.ipc.open_file(mapped).schema
                self._column, self.format = _choose(self.name, schema, column)
                index = schema.get_field_index(self._column)
                options = pa.ipc.IpcReadOptions(included_fields=[index], use_threads=False)
                self._reader = pa.ipc.open_file(pa.OSFile(str(path)), options=options)
                self.n, largest, compressed = _survey(mapped)
                self._runs = None if compressed else _find_runs(mapped, index)
                self.lazy = self._runs is not None
                # Large batches are taken one at a time.
                self.ahead = self.lazy or largest * self.format.storage.itemsize <= BATCH
        except BaseException:
            self._file.close()
            raise

    def parts(self, most: int) -> Iterator[Part]:
        """Yield ranges of the file; of a compressed one, its batches."""
        if self._runs is None:
            yield from self._batches()
            return
        for start in range(0, self.n, most):
            yield Part(start, min(start + most, self.n), self._read)

    def _batches(self) -> Iterator[Part]:
        start, batches = 0, self._reader.num_record_batches
        for i in range(batches):
            try:
                batch = self._reader.get_batch(i)
            except (OSError, pa.ArrowException, ValueError) as error:
                where = f"record batch {i} of {batches} (the first is 0)"
                raise ValueError(f"{self.name}: {where} can't be read: {_one_line(error)}") from error
            size = batch.num_rows * self.format.storage.itemsize
            if size > self._memory:
                raise ValueError(
                    f"{self.name}: record batch {i}, which is compressed and can't be read in parts, takes {size:_} "
                    f"bytes of the {self._memory:_} there are for it; raise memory, or write smaller batches"
                )
            part = _numbers(batch.column(0), self.format)
            yield Part(start, start + len(part), _slices(part, start))
            start += len(part)
            del batch, part  # before there is another

    def _read(self, first: int, last: int, memory: Array) -> Array:
        assert self._runs is not None
        size = self.format.storage.itemsize
        numbers = memory[: (last - first) * size].view(self.format.storage)
        place = bisect_right(self._runs, first, key=lambda run: run.start) - 1
        at = first
        while at < last:
            run = self._runs[place]
            stop = min(run.stop, last)
            some = numbers[at - first : stop - first]
            self._file.read(some.view(np.uint8), run.begin + (at - run.start) * size)
            if run.valid is not None:
                whole, skipped = divmod(at - run.start, 8)
                bits = np.empty((skipped + len(some) + 7) // 8, np.uint8)
                self._file.read(bits, run.valid + whole)
                _put_nan(some, bits, skipped)
            at, place = stop, place + 1
        return numbers

    def check(self) -> None:
        """See `WatchedFile.check`."""
        self._file.check()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TableSink:
    """Weights on their way to a Parquet or Arrow file, in groups of rows that don't depend on who wrote how many.

    See `sinks.Sink`. `few` says that there are but a few values.
    """

    ordered, fresh = True, False

    def __init__(self, path: Path, file: IO[bytes], dtype: np.dtype[Any], *, few: bool) -> None:
        self._path, self._file = path, file
        self._schema = schema = pa.schema([pa.field(WEIGHTS, pa.from_numpy_dtype(dtype), nullable=False)])
        self._waiting, self._rows = np.empty(ROWS, dtype), 0
        with blaming(path):
            self._writer = (
                # A dictionary of many values would be begun for every row group, and given up.
                parquet.ParquetWriter(file, schema, use_dictionary=few)
                if path.suffix == ".parquet"
                else pa.ipc.new_file(file, schema)
            )

    def write(self, start: int, weights: Array) -> None:  # noqa: ARG002
        """Append weights."""
        while len(weights):
            some = weights[: ROWS - self._rows]
            self._waiting[self._rows : self._rows + len(some)] = some
            self._rows += len(some)
            weights = weights[len(some) :]
            if self._rows == ROWS:
                self._flush()

    def _flush(self) -> None:
        with blaming(self._path):
            # pa.array would import pandas, where that is installed, to see whether this is something of its own.
            buffers = [None, pa.py_buffer(self._waiting[: self._rows])]
            rows = pa.Array.from_buffers(self._schema.field(0).type, self._rows, buffers)
            self._writer.write_batch(pa.record_batch([rows], schema=self._schema))
        self._rows = 0

    def end_part(self) -> None:
        """Do nothing: parts leave no trace in the file."""

    def finish(self) -> None:
        """Write what is left, and wait for the disk."""
        if self._rows:
            self._flush()
        with blaming(self._path):
            self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())

    def abandon(self) -> None:
        """Close the writer while there is a file; when it is forgotten, it would close itself, and complain."""
        with suppress(OSError, pa.ArrowException):
            self._writer.close()


@contextmanager
def table_out(path: Path, dtype: np.dtype[Any], *, few: bool) -> Iterator[TableSink]:
    """Open a file of weights that takes the place of `path` once it is finished."""
    with atomic_write(path, durable=False) as file:  # `finish` waits for the disk, and says of which file that failed
        sink = TableSink(path, file, dtype, few=few)
        try:
            yield sink
        except BaseException:
            sink.abandon()
            raise


def _choose(name: str, schema: Any, column: str | None) -> tuple[str, Format]:
    """Return the column of a file and its type."""
    floating = [field.name for field in schema if field.type in _TYPES]
    if column is None:
        if not name.startswith("losses") and WEIGHTS in floating:
            column = WEIGHTS
        elif len(floating) == 1:
            column = floating[0]
        else:
            remedy = "name one with column" if floating else "one is needed"
            raise ValueError(
                f"{name} has {len(floating)} columns of floating-point numbers; {remedy}; there are {_listed(schema)}"
            )
    index = schema.get_field_index(column)
    if index < 0:
        count = schema.names.count(column)
        has = f"has {count} columns" if count else "has no column"
        raise ValueError(f"{name} {has} {column!r}; there are {_listed(schema)}")
    found = schema.field(index).type
    if found not in _TYPES:
        raise TypeError(f"{name}: column {column!r} must be float16, float32 or float64, got {found}; convert it")
    return column, BY_NAME[_TYPES[found]]


def _listed(schema: Any) -> str:
    return ", ".join(f"{field.name!r} ({field.type})" for field in schema) or "none"


@contextmanager
def _understanding(name: str, kind: str) -> Iterator[None]:
    """Say of which file pyarrow complains."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        if getattr(error, "errno", None) is not None:  # the system's own
            raise
        raise ValueError(f"{name} isn't a whole {kind} file: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _numbers(column: Any, format: Format) -> Array:
    """Return a column as an array, with NaN for nulls: as its `to_numpy` would, which imports pandas if it can."""
    valid, data = column.buffers()
    numbers = np.frombuffer(data, format.storage, column.offset + len(column))[column.offset :]
    if column.null_count:
        numbers = numbers.copy()
        _put_nan(numbers, np.frombuffer(valid, np.uint8), column.offset)
    return numbers


def _put_nan(numbers: Array, bits: Array, skipped: int) -> None:
    """Replace nulls by NaN: where the bits after some are 0."""
    valid = np.unpackbits(bits, count=skipped + len(numbers), bitorder="little")[skipped:]
    numbers[valid == 0] = np.nan


def _slices(part: Array, start: int) -> Any:
    return lambda first, last, _: part[first - start : last - start]


def _find_runs(mapped: Any, index: int) -> list[_Run] | None:
    """Return where in the mapped file a column is, batch by batch, or None if it isn't there as it is used."""
    mapped.seek(0)
    everything = mapped.read_buffer()
    reader, runs, start = pa.ipc.open_file(mapped), list[_Run](), 0
    for i in range(reader.num_record_batches):
        column = reader.get_batch(i).column(index)
        if not len(column):
            continue
        valid, numbers = (None if part is None else part.address - everything.address for part in column.buffers())
        places = [numbers, *([] if column.null_count == 0 else [valid])]
        if column.offset or any(place is None or not 0 <= place < everything.size for place in places):
            return None
        runs.append(_Run(start, start + len(column), int(numbers or 0), valid if column.null_count else None))
        start += len(column)
    return runs


def _survey(mapped: Any) -> tuple[int, int, bool]:
    """Return the rows of a mapped file and of its largest batch, and whether it is compressed: without the columns.

    It is said before each record batch, but pyarrow doesn't pass it on; there are two fields to find in a FlatBuffers
    table.
    """
    mapped.seek(8)  # past the format's name; what follows is a stream of messages
    rows, compressed = [0], False
    for message in pa.ipc.MessageReader.open_stream(mapped):
        if message.type == "record batch":
            table = _Table(memoryview(message.metadata)).table(2)  # a Message: its version, header's type, header
            rows.append(table.number("<q", table.place(0)))  # a RecordBatch: its length, nodes, buffers, compression
            compressed = compressed or table.place(3) > 0
    return sum(rows), max(rows), compressed


class _Table:
    """A table of FlatBuffers, by default the root of `data`."""

    def __init__(self, data: memoryview, at: int | None = None) -> None:
        self._data = data
        self._at = self.number("<I", 0) if at is None else at

    def number(self, form: str, at: int) -> int:
        return int(struct.unpack_from(form, self._data, at)[0])

    def place(self, field: int) -> int:
        """Return where a field is; 0 if it is absent."""
        fields = self._at - self.number("<i", self._at)
        entry = 4 + 2 * field
        offset = self.number("<H", fields + entry) if entry < self.number("<H", fields) else 0
        return self._at + offset if offset else 0

    def table(self, field: int) -> _Table:
        at = self.place(field)
        return _Table(self._data, at + self.number("<I", at))
