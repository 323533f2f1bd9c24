"""Small files that decode to much, or describe much: refused or read within the memory available."""

from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from support.peak_memory import needs_proc, run_program

MIB = 1 << 20
MEMORY = 16 * MIB
OVERHEAD = 24 * MIB  # as in test_memory.py
N = 16 * MIB  # 64 MiB of float32

MEASURE = """
import sys
import rrm_core
from rrm_core.stream import arrow_source, parquet_source
from support.peak_memory import peak, reset_peak
for path in sys.argv[2:]:
    before = reset_peak()
    try:
        outcome = rrm_core.stream.plan(path, contamination=0.2, memory=int(sys.argv[1]), threads=1).n
    except ValueError as error:
        outcome = error
    print(peak() - before, outcome)
"""


def block(fields, vector=()):
    """Return 64 bytes with a FlatBuffers table at byte 16, fields of 4 bytes each, and a vector at byte 40.

    Parameters
    ----------
    fields : dict of int to bytes
        By the number of the field.
    vector : tuple of int
        Offsets from the block of the tables to which the items refer.
    """
    vtable = [0] * 6
    for i, number in enumerate(fields):
        vtable[number] = 4 + 4 * i
    items = [offset - (44 + 4 * i) for i, offset in enumerate(vector)]
    content = struct.pack("<8Hi", 16, 20, *vtable, 16) + b"".join(fields.values())
    content = content.ljust(40, b"\0") + struct.pack(f"<{1 + len(items)}I", len(items), *items)
    return content.ljust(64, b"\0")


def offset_from(field, target):
    """Return the offset in the field at this position of a table, to a byte of its block."""
    return struct.pack("<I", target - (20 + 4 * field))


def stream_of_shared_fields(depth):
    """Return an Arrow stream whose schema has 2**depth fields: each struct has the same child twice."""
    next_table = 64 + 16
    code = {"struct": b"\x0d\0\0\0", "bool": b"\6\0\0\0"}
    struct_field = block(
        {2: code["struct"], 3: offset_from(1, next_table), 5: offset_from(2, 40)}, (next_table, next_table)
    )
    blocks = [
        block({0: b"\4\0\0\0", 1: b"\1\0\0\0", 2: offset_from(2, next_table)}),
        block({1: offset_from(0, 40)}, (next_table,)),
        *[struct_field] * depth,
        block({2: code["bool"], 3: offset_from(1, next_table)}),
        block({}),
    ]
    # The table of the message, 16 bytes after the 8 of the offset to it.
    data = struct.pack("<II", 24, 0) + b"".join(blocks)
    return struct.pack("<iI", -1, len(data)) + data


def write_arrow(path, new, compression):
    batch = pa.record_batch({"loss": np.ones(N, np.float32)})
    with new(path, batch.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_batch(batch)


@needs_proc
def test_bombs(tmp_path):
    for compression in ("lz4", "zstd"):
        write_arrow(tmp_path / f"file-{compression}.arrow", pa.ipc.new_file, compression)
    write_arrow(tmp_path / "stream.arrow", pa.ipc.new_stream, "zstd")
    ones = pa.table({"loss": np.ones(N, np.float32)})
    for name, options in {
        "page": {"data_page_size": 1 << 30, "max_rows_per_page": N, "use_dictionary": False},
        "dictionary": {},
    }.items():
        pa.parquet.write_table(ones, tmp_path / f"{name}.parquet", compression="zstd", row_group_size=N, **options)
    (tmp_path / "few fields.arrow").write_bytes(stream_of_shared_fields(2))
    (tmp_path / "fields.arrow").write_bytes(stream_of_shared_fields(40))
    (tmp_path / "metadata.arrow").write_bytes(struct.pack("<iI", -1, 2**31 - 1) + bytes(1000))
    wanted = {
        "file-lz4.arrow": "takes 67_108_864 bytes of the 4_194_304 available",
        "file-zstd.arrow": "takes 67_108_864 bytes of the 4_194_304 available",
        "stream.arrow": "takes 67_108_864 bytes of the 4_194_304 available",
        "page.parquet": "a page takes 67_108_873 bytes of the 4_194_304 available; raise memory",
        "dictionary.parquet": str(N),
        "few fields.arrow": "has 0 columns of floating-point numbers; one is needed; there are '' (struct)",
        "fields.arrow": "the schema has more fields than its size allows",
        "metadata.arrow": "is longer than the file",
    }
    output = run_program(MEASURE, MEMORY, *(tmp_path / name for name in wanted))
    for (name, message), line in zip(wanted.items(), output.splitlines(), strict=True):
        growth, outcome = line.split(maxsplit=1)
        assert message in outcome, (name, outcome)
        assert int(growth) < MEMORY + OVERHEAD, (name, int(growth) / MIB)
        assert (tmp_path / name).stat().st_size < MIB
