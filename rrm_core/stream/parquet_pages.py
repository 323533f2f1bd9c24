"""Sizes of the pages of a column in a Parquet file, read from the page headers before pyarrow decodes a page.

pyarrow reserves the memory that a page header states, up to 2 GiB, whatever the sizes in the footer are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .files import StableFile
from .thrift import I32, STRUCT, CompactReader

HEADER_BYTES = 256  # read at a time where a page starts: usually all of its header
MAX_HEADER_BYTES = 1 << 20

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
