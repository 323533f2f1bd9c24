"""Where the record batches of an Arrow (IPC) file lie: of the file format, of Feather, and of the streaming format.

pyarrow would read all columns of a batch of a stream, decode a batch before its size is known, and build a schema that
is many times larger than its description. Here only the metadata is read, and none of it is trusted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ..definition.formats import Array
from .arrow_schema import V5, Column, Schema, read_schema
from .files import StableFile
from .flatbuffers import FlatBufferError, Table

MAGIC = b"ARROW1"
HEAD_BYTES = 1024  # read at a time where a message starts: usually all of its metadata

_INT8 = struct.Struct("<b")
_INT16 = struct.Struct("<h")
_INT32 = struct.Struct("<i")
_INT64 = struct.Struct("<q")
_FIELD_NODE = struct.Struct("<qq")  # length, number of nulls
_BUFFER = struct.Struct("<qq")  # offset in the body, length
_BLOCK = struct.Struct("<qi4xq")  # offset in the file, length of the metadata, length of the body
_RUN = struct.Struct("=8q")
_CONTINUATION = -1
_MAX_ROWS = 1 << 60

# Fields of the tables in Arrow's Message.fbs and File.fbs.
_MESSAGE_VERSION = 0
_MESSAGE_HEADER_TYPE = 1
_MESSAGE_HEADER = 2
_MESSAGE_BODY_LENGTH = 3
_MESSAGE_CUSTOM_METADATA = 4
_BATCH_LENGTH = 0
_BATCH_NODES = 1
_BATCH_BUFFERS = 2
_BATCH_COMPRESSION = 3
_BATCH_VARIADIC_COUNTS = 4
_COMPRESSION_CODEC = 0
_COMPRESSION_METHOD = 1
_FOOTER_VERSION = 0
_FOOTER_SCHEMA = 1
_FOOTER_BATCHES = 3
_KEY = 0

_V4 = 3
_SCHEMA = 1
_DICTIONARY_BATCH = 2
_RECORD_BATCH = 3
_EXPERIMENTAL_COMPRESSION = "ARROW:experimental_compression"

CODECS = ("", "lz4", "zstd")  # by the entry `codec` of a run


class Run(NamedTuple):
    """Values of a column that lie next to each other in a file: those of one record batch.

    Attributes
    ----------
    start, stop : int
        Indices of the rows.
    offset, length : int
        Where the values lie, in bytes.
    validity_offset, validity_length : int
        Where the bitmap lies whose zeros mark nulls; both 0 if there are no nulls.
    codec : int
        Index in `CODECS`.
    batch : int
        Index of the record batch.
    """

    start: int
    stop: int
    offset: int
    length: int
    validity_offset: int
    validity_length: int
    codec: int
    batch: int


class _Message(NamedTuple):
    """A message of a file.

    Attributes
    ----------
    version, type : int
    header : Table or None
    metadata : Table
        The root table.
    size : int
        Bytes of the metadata.
    body, end : int
        Offsets of the body and of the next message.
    """

    version: int
    type: int
    header: Table | None
    metadata: Table
    size: int
    body: int
    end: int


class ArrowLayout:
    """The schema of an Arrow file, and its record batches.

    Parameters
    ----------
    file : StableFile
    max_metadata : int
        Bytes that the metadata of one message may take.

    Raises
    ------
    ValueError
        The file is damaged, or is not an Arrow file.
    """

    def __init__(self, file: StableFile, max_metadata: int) -> None:
        self._file = file
        self._max_metadata = max_metadata
        self._footer: Table | None = None
        self._first_message = 0
        if file.read_bytes(0, len(MAGIC)) == MAGIC:
            self.schema = self._read_footer()
        else:
            self.schema = self._read_stream_schema()

    def runs(self, column: Column, itemsize: int) -> Array:
        """Return where the values of a column lie, without the empty batches.

        Parameters
        ----------
        column : Column
        itemsize : int
            Bytes of a value.

        Returns
        -------
        int64 array of shape (n_runs, 8)
            One `Run` in each row: a file may have millions.

        Raises
        ------
        ValueError
            A batch is damaged.
        """
        rows = bytearray()
        start = 0
        for index, message in enumerate(self._batches()):
            run = self._run(message, column, itemsize, start, index)
            if run is not None:
                rows += _RUN.pack(*run)
                start = run.stop
        return np.frombuffer(bytes(rows), np.int64).reshape(-1, len(Run._fields))

    def _read_footer(self) -> Schema:
        size = self._file.size
        tail = self._file.read_bytes(max(size - 10, 0), 10)
        length = _INT32.unpack_from(tail)[0] if len(tail) == 10 else 0
        start = size - 10 - length
        if tail[4:] != MAGIC or length <= 0 or start < len(MAGIC):
            raise ValueError("its end, the footer, is missing")
        self._check_metadata_size(length)
        self._footer = Table(self._file.read_bytes(start, length))
        _check_version(self._footer.scalar(_FOOTER_VERSION, _INT16))
        return _schema_of(self._footer.table(_FOOTER_SCHEMA), length)

    def _read_stream_schema(self) -> Schema:
        message = self._read_message(0)
        if message is None or message.type != _SCHEMA:
            raise ValueError("it begins neither with ARROW1 nor with a schema")
        self._first_message = message.end
        return _schema_of(message.header, message.size)

    def _batches(self) -> Iterator[_Message]:
        """Yield the messages of the record batches."""
        if self._footer is not None:
            for offset, _, _ in self._footer.structs(_FOOTER_BATCHES, _BLOCK):
                message = self._read_message(offset)
                if message is None or message.type != _RECORD_BATCH:
                    raise ValueError(f"there is no record batch at byte {offset:_}")
                yield message
            return
        offset = self._first_message
        while (message := self._read_message(offset)) is not None:
            if message.type == _RECORD_BATCH:
                yield message
            elif message.type != _DICTIONARY_BATCH:
                raise ValueError(f"there is a message of type {message.type} at byte {offset:_}")
            offset = message.end

    def _read_message(self, offset: int) -> _Message | None:
        """Read the metadata of the message at an offset; return None at the end."""
        if not 0 <= offset <= self._file.size:
            raise ValueError(f"a message at byte {offset:_} lies outside of the file")
        head = self._file.read_bytes(offset, HEAD_BYTES)
        if not head:
            return None
        # Before version 0.15, the length of the metadata came first.
        prefix = 8 if head[:4] == _INT32.pack(_CONTINUATION) else 4
        if len(head) < prefix:
            raise ValueError(f"it ends within a message, at byte {self._file.size:_}")
        length = _INT32.unpack_from(head, prefix - 4)[0]
        if length == 0:
            return None
        if length < 0 or offset + prefix + length > self._file.size:
            raise ValueError(f"the message at byte {offset:_} is longer than the file")
        self._check_metadata_size(length)
        content = head[prefix : prefix + length]
        if len(content) < length:
            content = self._file.read_bytes(offset + prefix, length)
        metadata = Table(content)
        body = offset + prefix + length
        body_length = metadata.scalar(_MESSAGE_BODY_LENGTH, _INT64)
        if body_length < 0 or body + body_length > self._file.size:
            raise ValueError(f"the body of the message at byte {offset:_} is longer than the file")
        version = metadata.scalar(_MESSAGE_VERSION, _INT16)
        _check_version(version)
        type = metadata.scalar(_MESSAGE_HEADER_TYPE, _INT8)
        return _Message(version, type, metadata.table(_MESSAGE_HEADER), metadata, length, body, body + body_length)

    def _check_metadata_size(self, length: int) -> None:
        if length > self._max_metadata:
            raise ValueError(
                f"its metadata takes {length:_} bytes of the {self._max_metadata:_} available; raise memory"
            )

    def _run(self, message: _Message, column: Column, itemsize: int, start: int, index: int) -> Run | None:
        """Return where the values of a column lie in a record batch, or None if it is empty."""
        batch = message.header
        if batch is None:
            raise FlatBufferError(f"record batch {index} has no header")
        n = batch.scalar(_BATCH_LENGTH, _INT64)
        if n == 0:
            return None
        n_in_column, n_nulls = batch.struct_at(_BATCH_NODES, column.node, _FIELD_NODE)
        if not 0 <= n <= _MAX_ROWS - start or n != n_in_column:
            raise FlatBufferError(f"record batch {index} has {n} rows, but {n_in_column} in the column")
        # -1 means that the nulls were not counted.
        if not -1 <= n_nulls <= n:
            raise FlatBufferError(f"record batch {index} has {n} rows, but {n_nulls} nulls in the column")
        # The footer of a file may state another version than its messages.
        buffer = column.buffer + (column.n_bitmaps if message.version < V5 else 0)
        if column.n_views:
            counts = batch.structs(_BATCH_VARIADIC_COUNTS, _INT64)
            buffer += sum(count for _, (count,) in zip(range(column.n_views), counts, strict=False))
        codec = _codec(message, batch)
        validity = batch.struct_at(_BATCH_BUFFERS, buffer, _BUFFER)
        values = batch.struct_at(_BATCH_BUFFERS, buffer + 1, _BUFFER)
        n_bytes = (n + 7) // 8
        if n_nulls == 0 or (n_nulls < 0 and validity[1] == 0):
            validity = (0, 0)
        else:
            self._check_buffer(message, validity, n_bytes, codec, index)
            validity = (message.body + validity[0], validity[1])
        self._check_buffer(message, values, n * itemsize, codec, index)
        return Run(start, start + n, message.body + values[0], values[1], validity[0], validity[1], codec, index)

    @staticmethod
    def _check_buffer(message: _Message, buffer: tuple[Any, ...], n_bytes: int, codec: int, index: int) -> None:
        """Raise unless a buffer lies in the body of its message and, if it isn't compressed, is long enough."""
        offset, length = buffer
        least = 8 if codec else n_bytes
        if offset < 0 or length < least or message.body + offset + length > message.end:
            raise FlatBufferError(
                f"record batch {index} has a buffer of {length} bytes at {offset}, in a body of "
                f"{message.end - message.body}"
            )


def _schema_of(table: Table | None, n_bytes: int) -> Schema:
    if table is None:
        raise ValueError("it has no schema")
    return read_schema(table, n_bytes)


def _check_version(version: int) -> None:
    if not _V4 <= version <= V5:
        raise ValueError(f"version V{version + 1} of its metadata is not supported, V4 and V5 are")


def _codec(message: _Message, batch: Table) -> int:
    """Return the compression of a record batch as an index in `CODECS`."""
    compression = batch.table(_BATCH_COMPRESSION)
    if compression is not None:
        codec = compression.scalar(_COMPRESSION_CODEC, _INT8) + 1
        if not 1 <= codec < len(CODECS) or compression.scalar(_COMPRESSION_METHOD, _INT8):
            raise ValueError("it is compressed in a way that is not known; lz4 and zstd are")
        return codec
    if message.version < V5:
        for entry in message.metadata.tables(_MESSAGE_CUSTOM_METADATA):
            if entry.text(_KEY) == _EXPERIMENTAL_COMPRESSION:
                raise ValueError("it has the compression of Arrow 0.17, which is not supported; write it again")
    return 0
