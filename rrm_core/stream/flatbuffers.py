"""FlatBuffers, read with bounds checks. Nothing is verified in advance: each access checks what it reads.

Arrow's metadata may come from anywhere, and a short buffer may describe an exponentially large tree, because tables can
be shared. What walks a tree therefore counts its tables.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

_INT32 = struct.Struct("<i")
_UINT32 = struct.Struct("<I")
_UINT16 = struct.Struct("<H")


class FlatBufferError(ValueError):
    """An offset, a length or a value lies outside its range."""


class Table:
    """A FlatBuffers table. A field that has its default value is absent from it.

    Parameters
    ----------
    data : bytes or bytearray
    offset : int, optional
        Offset of the table; by default that of the root table.

    Raises
    ------
    FlatBufferError
        The table does not lie within the data; so do all methods.
    """

    __slots__ = ("_data", "_offset", "_vtable", "_vtable_size")

    def __init__(self, data: bytes | bytearray, offset: int | None = None) -> None:
        self._data = data
        self._offset = self._unpack(_UINT32, 0) if offset is None else offset
        self._vtable = self._offset - self._unpack(_INT32, self._offset)
        self._vtable_size = self._unpack(_UINT16, self._vtable)

    def _unpack(self, format: struct.Struct, offset: int) -> Any:
        if not 0 <= offset <= len(self._data) - format.size:
            raise FlatBufferError(f"a field at byte {offset} of {len(self._data)} bytes of metadata")
        return format.unpack_from(self._data, offset)[0]

    def _field(self, number: int) -> int:
        """Return the offset of a field; 0 if it is absent."""
        entry = 4 + 2 * number
        if entry >= self._vtable_size:
            return 0
        offset = self._unpack(_UINT16, self._vtable + entry)
        if not offset:
            return 0
        return self._offset + int(offset)

    def scalar(self, number: int, format: struct.Struct, default: int = 0) -> int:
        """Return a number."""
        offset = self._field(number)
        if not offset:
            return default
        return int(self._unpack(format, offset))

    def table(self, number: int) -> Table | None:
        """Return the table that a field refers to, or None if it is absent."""
        offset = self._field(number)
        if not offset:
            return None
        return Table(self._data, offset + self._unpack(_UINT32, offset))

    def vector(self, number: int, itemsize: int) -> tuple[int, int]:
        """Return the offset of the first item of a vector, and the number of items."""
        offset = self._field(number)
        if not offset:
            return 0, 0
        offset += self._unpack(_UINT32, offset)
        length = int(self._unpack(_UINT32, offset))
        if offset + 4 + length * itemsize > len(self._data):
            raise FlatBufferError(f"a vector of {length} items in {len(self._data)} bytes of metadata")
        return offset + 4, length

    def tables(self, number: int) -> Iterator[Table]:
        """Yield the tables of a vector."""
        start, length = self.vector(number, 4)
        for offset in range(start, start + 4 * length, 4):
            yield Table(self._data, offset + self._unpack(_UINT32, offset))

    def structs(self, number: int, format: struct.Struct) -> Iterator[tuple[Any, ...]]:
        """Yield the structs of a vector."""
        start, length = self.vector(number, format.size)
        return format.iter_unpack(memoryview(self._data)[start : start + length * format.size])

    def struct_at(self, number: int, index: int, format: struct.Struct) -> tuple[Any, ...]:
        """Return one struct of a vector."""
        start, length = self.vector(number, format.size)
        if not 0 <= index < length:
            raise FlatBufferError(f"index {index} in a vector of {length} items")
        return format.unpack_from(self._data, start + index * format.size)

    def text(self, number: int) -> str:
        """Return a string; one that is absent is empty, and invalid UTF-8 is replaced."""
        start, length = self.vector(number, 1)
        return self._data[start : start + length].decode(errors="replace")
