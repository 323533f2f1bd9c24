"""Where the values of a column lie in an Arrow (IPC) file."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from ._pyarrow import pa

# Fields of the FlatBuffers tables in Arrow's Message.fbs.
_MESSAGE_HEADER = 2
_BATCH_LENGTH = 0
_BATCH_COMPRESSION = 3


class ColumnRun(NamedTuple):
    """Values of a column that lie next to each other in a file: those of one record batch.

    Attributes
    ----------
    start, stop : int
        Indices of the rows.
    offset : int
        Byte offset of the values.
    validity_offset : int or None
        Byte offset of the validity bitmap, whose zeros mark nulls; None if there are no nulls.
    """

    start: int
    stop: int
    offset: int
    validity_offset: int | None


def find_column_runs(mapped: Any, index: int) -> list[ColumnRun] | None:
    """Return where a column of a memory-mapped file lies, or None if it is not stored as plain values.

    Parameters
    ----------
    mapped : pyarrow.MemoryMappedFile
    index : int
        Index of the column in the schema.
    """
    mapped.seek(0)
    file = mapped.read_buffer()
    reader = pa.ipc.open_file(mapped)
    runs: list[ColumnRun] = []
    start = 0
    for i in range(reader.num_record_batches):
        column = reader.get_batch(i).column(index)
        if not len(column):
            continue
        validity, data = column.buffers()
        offset = _offset_in(file, data)
        validity_offset = _offset_in(file, validity) if column.null_count else None
        if column.offset or offset is None or (column.null_count and validity_offset is None):
            return None
        runs.append(ColumnRun(start, start + len(column), offset, validity_offset))
        start += len(column)
    return runs


def _offset_in(file: Any, buffer: Any) -> int | None:
    """Return the byte offset of a buffer in the file, or None if it lies elsewhere or does not exist."""
    if buffer is None:
        return None
    offset: int = buffer.address - file.address
    if not 0 <= offset < file.size:
        return None
    return offset


class FileSummary(NamedTuple):
    """Size of an Arrow file.

    Attributes
    ----------
    n_rows, max_batch_rows : int
        Number of rows of the file, and of its largest record batch.
    compressed : bool
    """

    n_rows: int
    max_batch_rows: int
    compressed: bool


def summarize_file(mapped: Any) -> FileSummary:
    """Read the headers of the record batches of a memory-mapped file, but none of its columns.

    pyarrow does not expose the length and the compression of a batch that it has not read; both are fields of the
    FlatBuffers table in front of the batch.
    """
    mapped.seek(8)  # past the magic string; a stream of messages follows
    batch_rows = [0]
    compressed = False
    for message in pa.ipc.MessageReader.open_stream(mapped):
        if message.type == "record batch":
            batch = _Table(memoryview(message.metadata)).table(_MESSAGE_HEADER)
            offset = batch.field_offset(_BATCH_LENGTH)
            # FlatBuffers omits a field that has its default value, here 0.
            batch_rows.append(batch.unpack("<q", offset) if offset else 0)
            compressed = compressed or batch.field_offset(_BATCH_COMPRESSION) > 0
    return FileSummary(sum(batch_rows), max(batch_rows), compressed)


class _Table:
    """A FlatBuffers table; by default the root table of `data`."""

    def __init__(self, data: memoryview, offset: int | None = None) -> None:
        self._data = data
        self._offset = self.unpack("<I", 0) if offset is None else offset

    def unpack(self, format: str, offset: int) -> int:
        return int(struct.unpack_from(format, self._data, offset)[0])

    def field_offset(self, field: int) -> int:
        """Return the offset of a field; 0 if it is absent."""
        vtable = self._offset - self.unpack("<i", self._offset)
        entry = 4 + 2 * field
        if entry >= self.unpack("<H", vtable):
            return 0
        offset = self.unpack("<H", vtable + entry)
        return self._offset + offset if offset else 0

    def table(self, field: int) -> _Table:
        """Return the table that a field refers to."""
        offset = self.field_offset(field)
        return _Table(self._data, offset + self.unpack("<I", offset))
