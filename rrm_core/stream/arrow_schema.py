"""The schema of an Arrow file: the columns, and where those of floating-point numbers lie in a record batch."""

from __future__ import annotations

import struct
from typing import Literal, NamedTuple

from .flatbuffers import FlatBufferError, Table

_INT8 = struct.Struct("<b")
_INT16 = struct.Struct("<h")
_INT32 = struct.Struct("<i")

# Fields of the tables in Arrow's Schema.fbs.
_SCHEMA_ENDIANNESS = 0
_SCHEMA_FIELDS = 1
_FIELD_NAME = 0
_FIELD_TYPE_CODE = 2
_FIELD_TYPE = 3
_FIELD_DICTIONARY = 4
_FIELD_CHILDREN = 5
_PRECISION = 0
_BIT_WIDTH = 0
_IS_SIGNED = 1
_UNION_MODE = 0

V5 = 4  # metadata version; before it, every type but null had a validity bitmap

_INT = 2
_FLOATING_POINT = 3
_UNION = 14
_RUN_END_ENCODED = 22
_WITHOUT_BITMAP = (_UNION, _RUN_END_ENCODED)
_VIEWS = (23, 24)  # types with a variable number of buffers
_FLOATS = ("float16", "float32", "float64")

# Name and number of buffers of the types, by their code in the union `Type`.
_TYPES = {
    1: ("null", 0),
    _INT: ("int", 2),
    _FLOATING_POINT: ("float", 2),
    4: ("binary", 3),
    5: ("string", 3),
    6: ("bool", 2),
    7: ("decimal", 2),
    8: ("date", 2),
    9: ("time", 2),
    10: ("timestamp", 2),
    11: ("interval", 2),
    12: ("list", 2),
    13: ("struct", 1),
    _UNION: ("union", 1),
    15: ("fixed_size_binary", 2),
    16: ("fixed_size_list", 1),
    17: ("map", 2),
    18: ("duration", 2),
    19: ("large_binary", 3),
    20: ("large_string", 3),
    21: ("large_list", 2),
    _RUN_END_ENCODED: ("run_end_encoded", 0),
    23: ("binary_view", 2),
    24: ("string_view", 2),
    25: ("list_view", 3),
    26: ("large_list_view", 3),
}


class Column(NamedTuple):
    """A column of a table.

    Attributes
    ----------
    name, type : str
        The type is "float16", "float32" or "float64" if it holds plain floating-point numbers.
    node : int
        Index of its field node in a record batch.
    buffer : int
        Index of its first buffer in a record batch, less the variadic buffers before it.
    n_views : int
        Number of fields before it that have variadic buffers.
    n_bitmaps : int
        Number of fields before it that have one buffer more, a validity bitmap, in metadata before `V5`.
    """

    name: str
    type: str
    node: int
    buffer: int
    n_views: int
    n_bitmaps: int


class Schema(NamedTuple):
    """The columns of an Arrow file.

    Attributes
    ----------
    columns : list of Column
    byte_order : {"<", ">"}
    """

    columns: list[Column]
    byte_order: Literal["<", ">"]


def read_schema(table: Table, n_bytes: int) -> Schema:
    """Read a schema.

    Parameters
    ----------
    table : Table
        Arrow's table `Schema`.
    n_bytes : int
        Size of the metadata, which limits the number of fields and the length of their names: a table that many fields
        share is counted as often as it occurs.

    Raises
    ------
    FlatBufferError
        The schema is damaged.
    """
    columns = []
    counts = _Counts(n_bytes)
    for field in table.tables(_SCHEMA_FIELDS):
        name = field.text(_FIELD_NAME)
        columns.append(Column(name, _type_name(field), counts.nodes, counts.buffers, counts.views, counts.bitmaps))
        counts.add(field)
        counts.add_text(name)
    endianness = table.scalar(_SCHEMA_ENDIANNESS, _INT16)
    if endianness not in (0, 1):
        raise FlatBufferError(f"its endianness is {endianness}, which is neither 0 (little) nor 1 (big)")
    return Schema(columns, ">" if endianness else "<")


def _type_name(field: Table) -> str:
    """Return the name of a type as pyarrow prints it; of a nested one, without its children."""
    if field.table(_FIELD_DICTIONARY) is not None:
        return "dictionary"
    code = field.scalar(_FIELD_TYPE_CODE, _INT8)
    type = field.table(_FIELD_TYPE)
    if code not in _TYPES or type is None:
        raise FlatBufferError(f"type {code} of a column is unknown")
    if code == _INT:
        sign = "" if type.scalar(_IS_SIGNED, _INT8) else "u"
        return f"{sign}int{type.scalar(_BIT_WIDTH, _INT32)}"
    if code == _FLOATING_POINT:
        precision = type.scalar(_PRECISION, _INT16)
        if not 0 <= precision < len(_FLOATS):
            raise FlatBufferError(f"precision {precision} of a column is unknown")
        return _FLOATS[precision]
    return _TYPES[code][0]


class _Counts:
    """Numbers of field nodes and buffers of the columns so far."""

    def __init__(self, n_bytes: int) -> None:
        # The smallest field has a vector entry and a table of four bytes.
        self._max_nodes = n_bytes // 8
        self._max_text = n_bytes
        self.nodes = 0
        self.buffers = 0
        self.views = 0
        self.bitmaps = 0

    def add(self, field: Table) -> None:
        """Count a column and its children."""
        pending = [field]
        while pending:
            field = pending.pop()
            self.nodes += 1
            if self.nodes > self._max_nodes:
                raise FlatBufferError("the schema has more fields than its size allows")
            if field.table(_FIELD_DICTIONARY) is not None:
                # A record batch holds the indices, integers.
                self.buffers += 2
                continue
            code = field.scalar(_FIELD_TYPE_CODE, _INT8)
            if code not in _TYPES:
                raise FlatBufferError(f"type {code} of a column is unknown")
            self.buffers += _TYPES[code][1] + _is_dense_union(code, field)
            self.views += code in _VIEWS
            self.bitmaps += code in _WITHOUT_BITMAP
            pending.extend(field.tables(_FIELD_CHILDREN))

    def add_text(self, name: str) -> None:
        """Count the name of a column."""
        self._max_text -= len(name)
        if self._max_text < 0:
            raise FlatBufferError("the schema has longer names than its size allows")


def _is_dense_union(code: int, field: Table) -> bool:
    """Return True for a type with one buffer more than a sparse union, the offsets."""
    type = field.table(_FIELD_TYPE)
    return code == _UNION and type is not None and type.scalar(_UNION_MODE, _INT16) == 1
