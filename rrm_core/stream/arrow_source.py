"""A column of an Arrow file as a source."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..definition.formats import Array
from ._pyarrow import pa
from .arrow_layout import CODECS, ArrowLayout, Run
from .columns import ColumnType, choose_column, name_invalid_file, nulls_in, one_line, reader
from .files import StableFile
from .source import Chunk
from .values import FLOATS, Values

BATCH_BYTES = 1 << 20  # decoded batches up to this size are kept while several threads count
_LENGTH = struct.Struct("<q")


class ArrowColumn:
    """A column of an Arrow (IPC, Feather) file, of the file or the streaming format. See `Source`.

    An uncompressed column is read like a ``.npy`` file, so that a record batch may have any size. A compressed batch
    must fit in memory; its size is known, and checked, before it is decoded. A null counts as NaN, and is refused among
    integers.

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
        It is not an Arrow file, has no such column, or one of another type.
    """

    def __init__(self, name: str, path: Path, column: str | None, memory: int, values: Values = FLOATS) -> None:
        self._file = StableFile(name, path)
        self._values = values
        self._memory = memory
        self.name = self._file.name
        try:
            with name_invalid_file(self.name, "Arrow"):
                layout = ArrowLayout(self._file, memory)
            columns = layout.schema.columns
            index, self.format = choose_column(self.name, [ColumnType(x.name, x.type) for x in columns], column, values)
            self._dtype = self.format.storage.newbyteorder(layout.schema.byte_order)
            with name_invalid_file(self.name, "Arrow"):
                self._runs = layout.runs(columns[index], self._dtype.itemsize)
            compressed = bool((self._runs[:, _CODEC] > 0).any())
            if compressed:
                self._check_batch_sizes()
        except BaseException:
            self._file.close()
            raise
        self.n = int(self._runs[-1, _STOP]) if len(self._runs) else 0
        self.random_access = not compressed
        # Large batches are decoded one at a time.
        self.stable = not compressed or self._max_batch_bytes() <= BATCH_BYTES

    def _max_batch_bytes(self) -> int:
        return int((self._runs[:, _STOP] - self._runs[:, _START]).max()) * self._dtype.itemsize

    def _check_batch_sizes(self) -> None:
        """Raise a ValueError if a compressed batch takes more than the memory available."""
        n_rows = self._runs[:, _STOP] - self._runs[:, _START]
        too_large = np.flatnonzero(n_rows > self._memory // self._dtype.itemsize)
        if len(too_large):
            run = Run(*self._runs[too_large[0]].tolist())
            raise ValueError(
                f"{self.name}: record batch {run.batch}, which is compressed and can't be read in parts, takes "
                f"{(run.stop - run.start) * self._dtype.itemsize:_} bytes of the {self._memory:_} available; raise "
                "memory, or write smaller batches"
            )

    def chunks(self, max_samples: int) -> Iterator[Chunk]:
        """Yield ranges of the file; of a compressed one, its batches."""
        if not self.random_access:
            yield from self._batches()
            return
        for start in range(0, self.n, max_samples):
            yield Chunk(start, min(start + max_samples, self.n), self._read)

    def _batches(self) -> Iterator[Chunk]:
        for row in self._runs:
            run = Run(*row.tolist())
            try:
                values = self._decode_values(run)
            except (OSError, pa.ArrowException, ValueError) as error:
                raise ValueError(
                    f"{self.name}: record batch {run.batch} (the first is 0) can't be read: {one_line(error)}"
                ) from error
            yield Chunk(run.start, run.stop, reader(values, run.start))
            # Freed before the next batch is decoded.
            del values

    def _decode_values(self, run: Run) -> Array:
        """Return the values of a batch that may be compressed."""
        n = run.stop - run.start
        data = self._decode(run.offset, run.length, n * self._dtype.itemsize, run.codec)
        values = np.frombuffer(data, self._dtype, n)
        if run.validity_length:
            n_bytes = (n + 7) // 8
            bitmap = self._decode(run.validity_offset, run.validity_length, n_bytes, run.codec)
            values = values.copy()
            is_null = nulls_in(np.frombuffer(bitmap, np.uint8, n_bytes), n, 0)
            self._values.fill_nulls(self.name, values, is_null, run.start)
        return values

    def _decode(self, offset: int, length: int, n_bytes: int, codec: int) -> memoryview:
        """Return a buffer of which the first `n_bytes` are used."""
        if not codec:
            length = n_bytes
        elif length > 2 * self._memory:
            raise ValueError(f"it has {length:_} compressed bytes, and {self._memory:_} are available; raise memory")
        stored = np.empty(length, np.uint8)
        self._file.read(stored, offset)
        if not codec:
            return stored.data
        content = stored.data
        (decoded_length,) = _LENGTH.unpack_from(content)
        content = content[_LENGTH.size :]
        # The content was not worth compressing.
        plain = decoded_length == -1
        if plain:
            decoded_length = len(content)
        if not n_bytes <= decoded_length <= self._memory:
            raise ValueError(
                f"{n_bytes:_} bytes are expected, its buffer would have {decoded_length:_}, and {self._memory:_} are "
                "available"
            )
        if plain:
            return content
        # A buffer that decodes to more than it states is an error.
        return memoryview(pa.Codec(CODECS[codec]).decompress(content, decoded_length))

    def _read(self, first: int, last: int, memory: Array) -> Array:
        itemsize = self._dtype.itemsize
        values = memory[: (last - first) * itemsize].view(self._dtype)
        index = int(np.searchsorted(self._runs[:, _START], first, side="right")) - 1
        row = first
        while row < last:
            run = Run(*self._runs[index].tolist())
            stop = min(run.stop, last)
            part = values[row - first : stop - first]
            self._file.read(part.view(np.uint8), run.offset + (row - run.start) * itemsize)
            if run.validity_length:
                n_bytes_before, n_bits_before = divmod(row - run.start, 8)
                bitmap = np.empty((n_bits_before + len(part) + 7) // 8, np.uint8)
                self._file.read(bitmap, run.validity_offset + n_bytes_before)
                self._values.fill_nulls(self.name, part, nulls_in(bitmap, len(part), n_bits_before), row)
            row = stop
            index += 1
        return values

    def check(self) -> None:
        """Raise a RuntimeError if the file changed. See `StableFile.check`."""
        self._file.check()

    def release(self) -> None:
        """Close the file until it is read again."""
        self._file.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


_START = Run._fields.index("start")
_STOP = Run._fields.index("stop")
_CODEC = Run._fields.index("codec")
