"""Time the cost of a call of `rrm_core.reweight` beyond its kernel, with few losses, and record it.

    python -m benchmarks.cpu.bench_call
    python -m benchmarks.cpu.bench_call --before PYTHON    # beside an earlier commit

PYTHON is the interpreter of an environment with an editable install of a checkout of an earlier commit. The processes
of both commits alternate; in each, the calls are interleaved.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.common.losses import Losses
from benchmarks.common.other_checkout import commit_of, measure
from benchmarks.common.record import RESULTS, provenance, write_record
from benchmarks.cpu.call_process import N
from benchmarks.cpu.native import Kernel, Native
from rrm_core._cli import run

PROCESSES = 3
KERNEL_TIMES = 20  # after each process
PROGRAM = Path(__file__).with_name("call_process.py")


def kernel_times(kernel: Kernel) -> list[float]:
    """Return times of the kernel in microseconds."""
    times = []
    for _ in range(KERNEL_TIMES):
        kernel.weights[:] = 1  # otherwise they become subnormal, which is slower
        times.append(1e6 * kernel.time(100))
    return times


def summary(times: list[float]) -> dict[str, float]:
    """Return median and quartiles."""
    low, median, high = statistics.quantiles(times, n=4)
    return {"median": round(median, 3), "quartile1": round(low, 3), "quartile3": round(high, 3)}


def main() -> None:
    """Run, record, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", metavar="PYTHON", help="interpreter of an environment with an earlier commit")
    before = parser.parse_args().before
    origin = provenance("rrm-core", "numpy", "torch")
    pythons = {"us": sys.executable} | ({"us before": before} if before else {})
    times: dict[str, dict[str, list[float]]] = {name: {} for name in pythons}
    commit = None
    what = Losses(N)
    losses = what.draw()
    with tempfile.TemporaryDirectory() as folder:
        kernel = Kernel(Native(Path(folder)), what, losses, np.ones_like(losses), 0.3)
        for _ in range(PROCESSES):
            for name, python in pythons.items():
                result = measure(python, PROGRAM)
                for call, microseconds in result["us"].items():
                    times[name].setdefault(call, []).extend(microseconds)
                if name == "us before":
                    commit = commit_of(Path(result["file"]).parent)
            times["us"].setdefault("kernel", []).extend(kernel_times(kernel))
    record = {
        "what": f"{N} float32 losses, contamination 0.2",
        "processes": PROCESSES,
        **origin,
        **{name: {call: summary(values) for call, values in rows.items()} for name, rows in times.items()},
    }
    if commit is not None:
        record["commit before"] = commit
    kernel_median = record["us"]["kernel"]["median"]
    for call, row in record["us"].items():
        print(f"{call:40} {row['median']:6.2f} µs, {row['median'] - kernel_median:5.2f} µs above the kernel")
    write_record(RESULTS / "call.json", record)


if __name__ == "__main__":
    raise SystemExit(run("python -m benchmarks.cpu.bench_call", main))
