"""Reweight a Parquet file with `rrm_core.stream`, DuckDB and Polars, one thread each, and record the cost.

    python -m benchmarks.scale.bench_dataframes FOLDER

FOLDER needs room for 2 GB, which are deleted at the end. Every run is a process of its own, in turns with the others:
its CPU time and peak memory include Python and the imports. Each reads the losses and writes a Parquet file with the
weights in the order of the losses, which is then compared with the definition.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from pyarrow import parquet

import rrm_core
from benchmarks.common.record import RESULTS, provenance, write_record
from benchmarks.scale.bench_stream import COLUMN, RULE, _parquet, _summary
from rrm_core._cli import run

ONE_THREAD = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "ARROW_NUM_THREADS": "1"}

OURS = """
import rrm_core
print(rrm_core.stream.reweight(source, target, contamination=0.2).threshold)
"""

DUCKDB = """
import duckdb
db = duckdb.connect()
db.execute("set threads = 1")
db.execute("set enable_progress_bar = false")
t, low = db.execute(f"select {quantile}(loss, {share}), min(loss) from '{source}'").fetchone()
values = {"t": t, "low": low}
counts = "count(*) filter (loss > $t::float), count(*) filter (loss = $low::float)"
above, at = db.execute(f"select {counts} from '{source}'", values).fetchone()
target_weight = f"case when loss > $t::float then 0 when loss = $low::float then {1 + above / at} else 1 end"
query = f"select ({target_weight})::float as weight from '{source}'"
db.execute(f"copy ({query}) to '{target}' (format parquet)", values)
print(t)
"""

POLARS = """
import polars as pl
loss = pl.col("loss")
frame = pl.scan_parquet(source)
t, low = frame.select(t=loss.quantile(share, "nearest"), low=loss.min()).collect(engine="streaming").row(0)
t, low = pl.lit(t, pl.Float32), pl.lit(low, pl.Float32)
above, at = frame.select(above=(loss > t).sum(), at=(loss == low).sum()).collect(engine="streaming").row(0)
top = pl.lit(1 + above / at, pl.Float32)
weight = pl.when(loss > t).then(0).when(loss == low).then(top).otherwise(1)
frame.select(weight=weight.cast(pl.Float32)).sink_parquet(target, engine="streaming")
print(pl.select(t).item())
"""

# Appended to each: the peak of its own memory. That of wait4() begins with the memory of the parent.
PEAK = """
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""

# The programs, each with what it calls its quantile.
CONTENDERS: dict[str, tuple[str, str]] = {
    "rrm_core.stream": (OURS, ""),
    "DuckDB, quantile_disc": (DUCKDB, "quantile_disc"),
    "DuckDB, approx_quantile": (DUCKDB, "approx_quantile"),
    "Polars, streaming": (POLARS, ""),
}


def main() -> None:
    """Make the file, run all in turns, check, record, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where there is room for the files")
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=10**8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--draft", action="store_true", help="print only, with changes that aren't committed")
    options = parser.parse_args()
    origin = provenance("rrm-core", "numpy", "pyarrow", "duckdb", "polars", draft=options.draft)
    folder = options.folder / "rrm_dataframes"
    folder.mkdir(parents=True)
    try:
        rows = _measure(_parquet(folder, options.rows), options.rows, options.rounds)
    finally:
        shutil.rmtree(folder)
    what = "float32 losses, exponential, contamination 0.2, from a Parquet file to a Parquet file of weights, 1 thread"
    if not options.draft:
        record = {"what": what, "n": options.rows, "rounds": options.rounds, **origin, "rows": rows}
        write_record(RESULTS / "dataframes.json", record)


def _measure(source: Path, n: int, rounds: int) -> dict[str, Any]:
    losses = parquet.read_table(source, columns=[COLUMN])[COLUMN].to_numpy()
    weights, plan = rrm_core.reweight(losses, **RULE)
    target = source.with_name("weights.parquet")
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    rows = {name: dict.fromkeys(("peak_bytes", "ranks_off", "wrong_weights", "runs_mixed"), 0) for name in CONTENDERS}
    for _ in range(rounds):
        for name, (program, quantile) in CONTENDERS.items():
            threshold, cpu, peak = _run(program, source, target, quantile, (plan.n - plan.n_pruned - 0.5) / n)
            written = parquet.read_table(target).column(0).to_numpy()
            target.unlink()
            seconds[name].append(cpu)
            row = rows[name]
            rank = int(np.count_nonzero(losses <= np.float32(threshold)))
            wrong = int(np.count_nonzero(weights != written))
            row["peak_bytes"] = max(row["peak_bytes"], peak)
            row["ranks_off"] = max(row["ranks_off"], abs(rank - (n - plan.n_pruned)))
            row["wrong_weights"] = max(row["wrong_weights"], wrong)
            row["runs_mixed"] += bool(wrong) and np.array_equal(np.sort(weights), np.sort(written))
            print(f"{name:28}{cpu:6.2f} s of CPU, {peak / 1e6:.0f} MB, {wrong:,} weights wrong", flush=True)
    return {name: {"cpu_seconds": _summary(seconds[name]), **rows[name]} for name in CONTENDERS}


def _run(program: str, source: Path, target: Path, quantile: str, share: float) -> tuple[float, float, int]:
    """Run a program in a process of its own. Return its threshold, CPU seconds and peak memory in bytes."""
    names = {"source": str(source), "target": str(target), "quantile": quantile, "share": share}
    text = "\n".join([*(f"{name} = {value!r}" for name, value in names.items()), program, PEAK])
    environment = os.environ | ONE_THREAD
    process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"a run ended with code {process.returncode}")
    threshold, peak = output.split()[-2:]
    return float(threshold), usage.ru_utime + usage.ru_stime, 1024 * int(peak)


if __name__ == "__main__":
    raise SystemExit(run("python -m benchmarks.scale.bench_dataframes", main))
