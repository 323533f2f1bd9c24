"""Where a column lies in a Parquet file, read from its footer.

pyarrow's own `ColumnChunkMetaData` ends the process where statistics in a damaged footer do not fit together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .files import StableFile
from .thrift import BINARY, I64, LIST, STRUCT, CompactReader

MAGIC = b"PAR1"
TAIL_BYTES = 8  # length of the footer and the magic string

# Fields of the structs FileMetaData, RowGroup, ColumnChunk and ColumnMetaData in parquet.thrift.
_ROW_GROUPS = 4
_COLUMNS = 1
_META_DATA = 3
_PATH = 3
_NUMBERS = {5: "n_values", 7: "compressed", 9: "data_page", 11: "dictionary_page"}


class ColumnChunk(NamedTuple):
    """A column in one row group.

    Attributes
    ----------
    row_group : int
    path : list of bytes
        Name of the column and of the columns in which it is nested.
    start, stop : int
        Offsets of its first page and behind its last one.
    n_values : int
    """

    row_group: int
    path: list[bytes]
    start: int
    stop: int
    n_values: int


def read_footer(file: StableFile, max_bytes: int) -> bytearray:
    """Return the footer of a Parquet file.

    Raises
    ------
    ValueError
        There is none, or it is larger than `max_bytes`.
    """
    tail = file.read_bytes(max(file.size - TAIL_BYTES, 0), TAIL_BYTES)
    length = int.from_bytes(tail[:4], "little")
    if not tail.endswith(MAGIC) or length > file.size - TAIL_BYTES:
        raise ValueError("its end, the footer, is missing")
    if length > max_bytes:
        raise ValueError(f"its footer takes {length:_} bytes of the {max_bytes:_} available; raise memory")
    return file.read_bytes(file.size - TAIL_BYTES - length, length)


def iter_column_chunks(footer: bytearray) -> Iterator[ColumnChunk]:
    """Yield the columns of all row groups.

    Raises
    ------
    ValueError
        The footer is damaged.
    """
    reader = CompactReader(footer)
    try:
        for field, type in reader.fields():
            if type == LIST and field == _ROW_GROUPS:
                for row_group, item in enumerate(reader.items()):
                    yield from _row_group(reader, item, row_group)
            else:
                reader.skip(type, 1)
    except IndexError:
        raise ValueError("its footer has no end") from None


def _row_group(reader: CompactReader, type: int, row_group: int) -> Iterator[ColumnChunk]:
    _require_struct(type)
    for field, field_type in reader.fields():
        if field_type == LIST and field == _COLUMNS:
            for item in reader.items():
                _require_struct(item)
                chunk = _column_chunk(reader, row_group)
                if chunk is not None:
                    yield chunk
        else:
            reader.skip(field_type, 1)


def _column_chunk(reader: CompactReader, row_group: int) -> ColumnChunk | None:
    chunk = None
    for field, type in reader.fields():
        if type == STRUCT and field == _META_DATA:
            chunk = _column_metadata(reader, row_group)
        else:
            reader.skip(type, 1)
    return chunk


def _column_metadata(reader: CompactReader, row_group: int) -> ColumnChunk:
    numbers = dict.fromkeys(_NUMBERS.values(), 0)
    path = []
    for field, type in reader.fields():
        if type == I64 and field in _NUMBERS:
            numbers[_NUMBERS[field]] = reader.integer()
        elif type == LIST and field == _PATH:
            for item in reader.items():
                if item != BINARY:
                    raise ValueError("the path of a column is no text")
                path.append(reader.binary())
        else:
            reader.skip(type, 1)
    start = numbers["data_page"]
    if 0 < numbers["dictionary_page"] < start:
        start = numbers["dictionary_page"]
    return ColumnChunk(row_group, path, start, start + numbers["compressed"], numbers["n_values"])


def _require_struct(type: int) -> None:
    if type != STRUCT:
        raise ValueError(f"its footer has a list of type {type} in place of structs")
