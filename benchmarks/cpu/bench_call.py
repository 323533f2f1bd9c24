"""Time the cost of a call of `rrm_core.reweight` beyond its kernel, with few losses, and record it.

    python -m benchmarks.cpu.bench_call

The calls are interleaved.
"""

from __future__ import annotations

import statistics
import tempfile
import timeit
from pathlib import Path

import numpy as np
import torch

import rrm_core
from benchmarks.common.losses import Losses
from benchmarks.common.record import RESULTS, provenance, write_record
from benchmarks.cpu.native import Kernel, Native
from rrm_core._cli import run

N = 100
CALLS = 2000
ROUNDS = 61


def main() -> None:
    """Run, record, print."""
    origin = provenance("rrm-core", "numpy", "torch")
    what = Losses(N)
    losses = what.draw()
    weights = np.ones_like(losses)
    tensor = torch.from_numpy(losses.copy())
    tensor_weights = torch.ones(N)
    rule = {"contamination": 0.2}
    with tempfile.TemporaryDirectory() as folder:
        kernel = Kernel(Native(Path(folder)), what, losses, weights.copy(), 0.3)
        calls = {
            "NumPy, new weights": lambda: rrm_core.reweight(losses, **rule),
            "NumPy, mu = 0.3": lambda: rrm_core.reweight(losses, weights, mu=0.3, **rule),
            "NumPy, mu = 0.3, in place": lambda: rrm_core.reweight(losses, weights, mu=0.3, out=weights, **rule),
            "torch, new weights": lambda: rrm_core.reweight(tensor, **rule),
            "torch, mu = 0.3": lambda: rrm_core.reweight(tensor, tensor_weights, mu=0.3, **rule),
            "torch, mu = 0.3, in place": lambda: rrm_core.reweight(
                tensor, tensor_weights, mu=0.3, out=tensor_weights, **rule
            ),
        }
        microseconds: dict[str, list[float]] = {name: [] for name in ("kernel", *calls)}
        for _ in range(ROUNDS):
            weights[:] = 1  # otherwise they become subnormal, which is slower
            tensor_weights[:] = 1
            kernel.weights[:] = 1
            microseconds["kernel"].append(1e6 * kernel.time(100))
            for name, call in calls.items():
                weights[:] = 1
                tensor_weights[:] = 1
                microseconds[name].append(1e6 * timeit.timeit(call, number=CALLS) / CALLS)
    rows = {}
    for name, times in microseconds.items():
        low, median, high = statistics.quantiles(times, n=4)
        rows[name] = {"median": round(median, 3), "quartile1": round(low, 3), "quartile3": round(high, 3)}
        above = median - rows["kernel"]["median"]
        print(f"{name:28} {median:6.2f} µs ({low:.2f}–{high:.2f}), {above:5.2f} µs above the kernel")
    record = {"what": f"{N} float32 losses, contamination 0.2", "rounds": ROUNDS, **origin, "us": rows}
    path = RESULTS / "call.json"
    write_record(path, record)


if __name__ == "__main__":
    raise SystemExit(run("python -m benchmarks.cpu.bench_call", main))
