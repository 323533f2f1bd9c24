"""Peak memory of the passes, for a large number of samples."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from support.peak_memory import needs_proc, run_program

MIB = 1 << 20
OVERHEAD = 24 * MIB  # code loaded meanwhile, memory kept by threads and by pyarrow's pool

PEAK = """
import sys
import numpy as np, rrm_core
from rrm_core.stream import arrow_sink, arrow_source, parquet_source
from support.peak_memory import peak, reset_peak
losses, weights, out, memory, threads = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
given = {"weights": weights, "mu": 0.3, "contamination": 0.2, "memory": memory, "threads": threads}
before = reset_peak()
plan = rrm_core.stream.reweight(losses, out, **given)
print(peak() - before, plan.n)
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Return a function from a file format to a file of 50 million numbers, 200 MB."""
    folder = tmp_path_factory.mktemp("large")
    numbers = np.random.default_rng(0).random(50_000_000, np.float32)

    def file(kind):
        path = folder / f"numbers.{kind}"
        if not path.exists() and kind == "npy":
            np.save(path, numbers)
        elif not path.exists():
            table = pa.table({"number": numbers})
            if kind == "parquet":  # all in one row group
                pa.parquet.write_table(
                    table, path, row_group_size=len(numbers), compression="none", use_dictionary=False
                )
            else:  # all in one batch
                with pa.ipc.new_file(path, table.schema) as writer:
                    writer.write_table(table)
        return path

    yield file
    for path in folder.iterdir():
        path.unlink()


@needs_proc
@pytest.mark.parametrize(("memory", "threads"), [(16, 1), (64, 2), (64, 16)])
@pytest.mark.parametrize(
    ("losses", "weights", "out"), [("npy", "npy", "npy"), ("parquet", "arrow", "npy"), ("arrow", "parquet", "parquet")]
)
def test_peak_memory_is_within_the_budget(losses, weights, out, memory, threads, large, tmp_path):
    target = tmp_path / f"w.{out}"
    output = run_program(PEAK, large(losses), large(weights), target, memory * MIB, threads)
    growth, n = map(int, output.split())
    assert n == 50_000_000
    target.unlink()
    print(growth / MIB)
    assert growth < memory * MIB + OVERHEAD
