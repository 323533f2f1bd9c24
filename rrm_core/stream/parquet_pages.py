"""Sizes of the pages of a column in a Parquet file, read from the page headers before pyarrow decodes a page.

pyarrow reserves the memory that a page header states, up to 2 GiB, whatever the sizes in the footer are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .files import StableFile

HEADER_BYTES = 256  # read at a time where a page starts: usually all of its header
MAX_HEADER_BYTES = 1 << 20
_MAX_DEPTH = 16

# Types of fields in Thrift's compact protocol.
_TRUE, _FALSE, _BYTE, _I16, I32, I64, _DOUBLE, BINARY, LIST, _SET, _MAP, STRUCT = range(1, 13)
_INTEGERS = (_I16, I32, I64)

# Fields of the struct PageHeader in parquet.thrift.
_UNCOMPRESSED_SIZE = 2
_COMPRESSED_SIZE = 3
_DATA_PAGE_HEADERS = (5, 8)
_N_VALUES = 1  # in both


class Page(NamedTuple):
    """A page.

    Attributes
    ----------
    uncompressed, compressed : int
        Size in bytes.
    n_values : int
        Number of values; 0 for a dictionary.
    """

    uncompressed: int
    compressed: int
    n_values: int


def iter_pages(file: StableFile, start: int, stop: int, n_values: int) -> Iterator[Page]:
    """Yield the pages between two offsets, until they have `n_values` values.

    Raises
    ------
    ValueError
        A page header is damaged.
    """
    offset = start
    while offset < stop and n_values > 0:
        page, header_size = _read_page_header(file, offset)
        yield page
        offset += header_size + page.compressed
        n_values -= page.n_values


def _read_page_header(file: StableFile, offset: int) -> tuple[Page, int]:
    n_bytes = HEADER_BYTES
    while True:
        content = file.read_bytes(offset, n_bytes)
        try:
            return _parse_page_header(content)
        except IndexError:
            # The header may be longer, because it holds the smallest and the largest value.
            if len(content) < n_bytes or n_bytes >= MAX_HEADER_BYTES:
                raise ValueError(f"the page header at byte {offset:_} has no end") from None
        n_bytes = MAX_HEADER_BYTES


def _parse_page_header(content: bytearray) -> tuple[Page, int]:
    sizes = {}
    n_values = 0
    reader = CompactReader(content)
    for field, type in reader.fields():
        if type == I32 and field in (_UNCOMPRESSED_SIZE, _COMPRESSED_SIZE):
            sizes[field] = reader.integer()
        elif type == STRUCT and field in _DATA_PAGE_HEADERS:
            n_values = _parse_n_values(reader)
        else:
            reader.skip(type, 1)
    page = Page(sizes.get(_UNCOMPRESSED_SIZE, -1), sizes.get(_COMPRESSED_SIZE, -1), n_values)
    if min(page) < 0:
        raise ValueError("a page header has negative sizes, or none")
    return page, reader.position


def _parse_n_values(reader: CompactReader) -> int:
    n_values = -1
    for field, type in reader.fields():
        if type == I32 and field == _N_VALUES:
            n_values = reader.integer()
        else:
            reader.skip(type, 2)
    return n_values


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
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("an integer in a page header is too long")

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
            raise ValueError("a page header is nested too deeply")
        if type in (_TRUE, _FALSE):
            return
        if type in _INTEGERS:
            self._varint()
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
            raise ValueError(f"a page header has a field of type {type}")

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
