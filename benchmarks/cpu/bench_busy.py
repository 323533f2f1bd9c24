"""Time `rrm_core.reweight` with one and with all threads beside processes that keep the processors busy, and record it.

    python -m benchmarks.cpu.bench_busy

The workers of a DataLoader are such processes. Calls with one thread and with all alternate; times are elapsed times.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import rrm_core
from benchmarks.common.losses import Array, Losses
from benchmarks.common.record import RESULTS, provenance, write_record
from experiments.runner import environment
from rrm_core._cli import run

SIZES = (1_000_000, 2_000_000, 4_000_000, 10_000_000, 100_000_000)
SECONDS = 20.0  # of a size, with a number of busy processes
MIN_ROUNDS = 31


@contextmanager
def busy_processes(n: int) -> Iterator[None]:
    """Keep n processors busy."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure(losses: Array, threads: tuple[int, int]) -> dict[str, Any]:
    """Return quartiles of the elapsed time in milliseconds, by number of threads."""
    weights = np.ones_like(losses)
    times: dict[int, list[float]] = {n: [] for n in threads}
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(times[1]) < MIN_ROUNDS:
        for n in threads:
            weights[:] = 1  # otherwise they become subnormal, which is slower
            start = time.perf_counter()
            rrm_core.reweight(losses, weights, contamination=0.2, mu=0.3, out=weights, threads=n)
            times[n].append(1e3 * (time.perf_counter() - start))
    return {str(n): [round(quartile, 4) for quartile in statistics.quantiles(times[n], n=4)] for n in threads}


def main() -> None:
    """Run, record, print."""
    origin = provenance("rrm-core", "numpy")
    cores = environment.machine()["cores"]
    threads = (1, cores)
    cells = []
    for n in SIZES:
        losses = Losses(n).draw()
        for n_busy in (0, 1, cores):
            with busy_processes(n_busy):
                ms = measure(losses, threads)
            cells.append({"n": n, "busy processes": n_busy, "ms": ms})
            speedup = ms["1"][1] / ms[str(cores)][1]
            print(f"{n:>11,} losses, {n_busy} busy: {cores} threads are {speedup:.2f} times as fast as one", flush=True)
    record = {
        "what": "elapsed time of a call, float32, contamination 0.2, mu 0.3, in place: quartiles in ms, by threads",
        **origin,
        "cells": cells,
    }
    write_record(RESULTS / "busy.json", record)


if __name__ == "__main__":
    raise SystemExit(run("python -m benchmarks.cpu.bench_busy", main))
