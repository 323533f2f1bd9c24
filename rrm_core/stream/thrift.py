"""Thrift's compact protocol, in which Parquet's footer and page headers are written, read with bounds checks."""

from __future__ import annotations

from collections.abc import Iterator

_MAX_DEPTH = 16

# Types of fields.
_TRUE, _FALSE, _BYTE, _I16, I32, I64, _DOUBLE, BINARY, LIST, _SET, _MAP, STRUCT = range(1, 13)
_INTEGERS = (_I16, I32, I64)


class CompactReader:
    """Reader of Thrift's compact protocol. An IndexError says that the content is too short."""

    def __init__(self, content: bytearray) -> None:
        self._content = content
        self.position = 0

    def _byte(self) -> int:
        value = self._content[self.position]
        self.position += 1
        return value

    def _varint(self) -> int:
        value = self._byte()
        if value < 0x80:  # nearly always
            return value
        value &= 0x7F
        for shift in range(7, 70, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("an integer is too long")

    def integer(self) -> int:
        """Read a signed integer."""
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def fields(self) -> Iterator[tuple[int, int]]:
        """Yield number and type of the fields of a struct; the caller reads or skips each value."""
        number = 0
        while head := self._byte():
            delta = head >> 4
            number = number + delta if delta else self.integer()
            yield number, head & 0x0F

    def skip(self, type: int, depth: int) -> None:
        """Skip a value."""
        if depth > _MAX_DEPTH:
            raise ValueError("a struct is nested too deeply")
        if type in _INTEGERS:
            self._varint()
        elif type in (_TRUE, _FALSE):
            return
        elif type == _BYTE:
            self._advance(1)
        elif type == _DOUBLE:
            self._advance(8)
        elif type == BINARY:
            self._advance(self._varint())
        elif type in (LIST, _SET):
            self._skip_list(depth)
        elif type == STRUCT:
            for _, field_type in self.fields():
                self.skip(field_type, depth + 1)
        else:
            raise ValueError(f"type {type} of a field is not known")

    def items(self) -> Iterator[int]:
        """Yield the type of each item of a list; the caller reads or skips each."""
        head = self._byte()
        length = head >> 4
        if length == 0x0F:
            length = self._varint()
        for _ in range(length):
            yield head & 0x0F

    def binary(self) -> bytes:
        """Read a string of bytes."""
        length = self._varint()
        start = self.position
        self._advance(length)
        return bytes(self._content[start : start + length])

    def _skip_list(self, depth: int) -> None:
        for type in self.items():
            # An item takes one byte at least, also a truth value.
            if type in (_TRUE, _FALSE):
                self._advance(1)
            else:
                self.skip(type, depth + 1)

    def _advance(self, n_bytes: int) -> None:
        if self.position + n_bytes > len(self._content):
            raise IndexError
        self.position += n_bytes
