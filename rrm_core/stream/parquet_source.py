"""A column of a Parquet file as a source."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..definition.formats import Array
from ._pyarrow import FLOAT_TYPES, pa, parquet
from .columns import ColumnType, choose_column, name_invalid_file, nulls_in, one_line, reader
from .files import StableFile
from .parquet_footer import ColumnChunk, iter_column_chunks, read_footer
from .parquet_pages import iter_pages
from .source import Chunk
from .values import FLOATS, ElementType, Values

BATCH_BYTES = 1 << 20  # bytes of a column that are decoded at a time
READ_BYTES = 1 << 20  # bytes of a column that are read from the disk at a time


class ParquetColumn:
    """A column of a Parquet file; a null counts as NaN, and is refused among integers. See `Source`.

    Row groups may have any size: the pages of the column are decoded one after the other. A page must fit in memory.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    path : Path
    column : str, optional
        Name of the column; by default the only one that has such values.
    memory : int
        Bytes of the column that may be decoded at a time.
    values : Values

    Raises
    ------
    OSError
        The file cannot be opened.
    TypeError, ValueError
        It is not a Parquet file, has no such column, or one of another type.
    """

    stable = True
    random_access = False

    def __init__(self, name: str, path: Path, column: str | None, memory: int, values: Values = FLOATS) -> None:
        self._file = StableFile(name, path)
        self._values = values
        self.name = self._file.name
        try:
            with name_invalid_file(self.name, "Parquet"):
                footer = read_footer(self._file, memory)
                file = self._open()
            with closing_file(file):
                with name_invalid_file(self.name, "Parquet"):
                    columns = [
                        ColumnType(field.name, FLOAT_TYPES.get(field.type, str(field.type)))
                        for field in file.schema_arrow
                    ]
                    self.n: int = file.metadata.num_rows
                index, self.format = choose_column(self.name, columns, column, values)
                self._column = columns[index].name
                n_groups = file.metadata.num_row_groups
            with name_invalid_file(self.name, "Parquet"):
                column_path = [self._column.encode()]
                chunks = [chunk for chunk in iter_column_chunks(footer) if chunk.path == column_path]
                if len(chunks) != n_groups:
                    raise ValueError(f"{len(chunks)} of {n_groups} row groups have column {self._column!r}")
            for chunk in chunks:
                self._check_pages(chunk, n_groups, memory)
        finally:
            # pyarrow has a file of its own in each pass.
            self._file.close()
        self._batch_rows = max(min(BATCH_BYTES, memory) // self.format.storage.itemsize, 1)

    def _open(self) -> Any:
        # The path as bytes: pyarrow refuses a name that is not UTF-8.
        return parquet.ParquetFile(
            pa.OSFile(os.fsencode(self._file.path)),
            buffer_size=READ_BYTES,
            pre_buffer=False,
            page_checksum_verification=True,
        )

    def _check_pages(self, chunk: ColumnChunk, n_groups: int, memory: int) -> None:
        """Raise a ValueError if a page takes more than the memory available."""
        try:
            for page in iter_pages(self._file, chunk.start, chunk.stop, chunk.n_values):
                size = max(page.uncompressed, page.compressed)
                if size > memory:
                    raise ValueError(
                        f"a page takes {size:_} bytes of the {memory:_} available; raise memory, or write smaller pages"
                    )
        except ValueError as error:
            raise ValueError(
                f"{self.name}: {self._unreadable(f'row group {chunk.row_group} of {n_groups}')}: {error}"
            ) from error

    def _unreadable(self, group: str) -> str:
        return f"{group} (the first is 0) can't be read in column {self._column!r}"

    def chunks(self, max_samples: int) -> Iterator[Chunk]:
        """Yield batches of rows."""
        rows = min(self._batch_rows, max_samples)
        with name_invalid_file(self.name, "Parquet"):
            file = self._open()
        with closing_file(file):
            yield from self._batches(file, rows)

    def _batches(self, file: Any, rows: int) -> Iterator[Chunk]:
        start = 0
        batches = self._iter_batches(file, rows)
        while True:
            try:
                batch = next(batches, None)
            except (OSError, pa.ArrowException, ValueError) as error:
                self._raise_unreadable(file, start, rows, error)
            if batch is None:
                break
            values = column_values(batch.column(0), self.format, self._values, self.name, start)
            yield Chunk(start, start + len(values), reader(values, start))
            start += len(values)

    def _iter_batches(self, file: Any, rows: int, **options: Any) -> Iterator[Any]:
        batches: Iterator[Any] = file.iter_batches(
            batch_size=rows, columns=[self._column], use_threads=False, **options
        )
        return batches

    def _raise_unreadable(self, file: Any, start: int, rows: int, error: Exception) -> NoReturn:
        """Raise a ValueError that names the first row group, from row `start` on, that cannot be read."""
        n_groups = file.metadata.num_row_groups
        stop = 0
        for group in range(n_groups):
            stop += file.metadata.row_group(group).num_rows
            if stop <= start:
                continue
            try:
                for _ in self._iter_batches(file, rows, row_groups=[group]):
                    pass
            except (OSError, pa.ArrowException, ValueError) as group_error:
                where = self._unreadable(f"row group {group} of {n_groups}")
                raise ValueError(f"{self.name}: {where}: {one_line(group_error)}") from error
        raise ValueError(f"{self.name} can't be read after row {start:_}: {one_line(error)}") from error

    def check(self) -> None:
        """Raise a RuntimeError if the file changed. See `StableFile.check`."""
        self._file.check()

    def release(self) -> None:
        """Do nothing: the file is open only during a pass."""

    def close(self) -> None:
        """Do nothing: the file is open only during a pass."""


@contextmanager
def closing_file(file: Any) -> Iterator[None]:
    """Close a ParquetFile at the end, and the file that it was given."""
    try:
        yield
    finally:
        file.close(force=True)


def column_values(
    column: Any, format: ElementType, values: Values = FLOATS, name: str = "losses", start: int = 0
) -> Array:
    """Return a pyarrow column as an array, with NaN for nulls; nulls among integers are refused.

    Its `to_numpy` would do the same, but imports pandas if it is installed. `name` and `start`, the row in which it
    begins, are for messages.
    """
    validity, data = column.buffers()
    if data is None:
        return np.empty(0, format.storage)
    array = np.frombuffer(data, format.storage, column.offset + len(column))[column.offset :]
    if column.null_count:
        array = array.copy()
        is_null = nulls_in(np.frombuffer(validity, np.uint8), len(array), column.offset)
        values.fill_nulls(name, array, is_null, start)
    return array
