"""Time `rrm_core.reweight` with each backend at its default number of threads, and record the ratios of medians.

    python -m benchmarks.cpu.bench_backends

The calls of the backends are interleaved, so that disturbances affect all alike. The result of each backend is first
compared with that of the reference.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import rrm_core
from benchmarks.common.record import RESULTS, ROOT, provenance, write_record
from rrm_core._cli import run

WARMUPS = 2
BACKENDS = ("cpp", "numba", "numpy")
# Number of losses and of calls, options, and the cap of the losses.
CASES: dict[str, tuple[int, int, dict[str, Any], float]] = {
    "1e6, mu = 1": (1_000_000, 60, {}, np.inf),
    "1e6, mu = 0.3": (1_000_000, 60, {"mu": 0.3}, np.inf),
    "1e6, mu = 1, capped at 0.5": (1_000_000, 60, {}, 0.5),
    "1e7, mu = 0.3": (10_000_000, 15, {"mu": 0.3}, np.inf),
    "1e8, mu = 0.3": (100_000_000, 5, {"mu": 0.3}, np.inf),
}


def interleaved(calls: dict[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Return the times of each call in milliseconds, in interleaved rounds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for round in range(WARMUPS + repetitions):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if round >= WARMUPS:
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def summary(times: list[float]) -> dict[str, float]:
    """Return median and quartiles."""
    low, median, high = statistics.quantiles(times, n=4)
    return {"median": round(median, 4), "quartile1": round(low, 4), "quartile3": round(high, 4)}


def main() -> None:
    """Run, record, print."""
    origin = provenance("rrm-core", "numpy", "numba")
    cases = {}
    for name, (n, repetitions, options, cap) in CASES.items():
        losses = np.minimum(np.random.default_rng(0).standard_exponential(n, np.float32), np.float32(cap))
        weights = np.ones_like(losses)
        out = np.empty_like(losses)

        def call(
            backend: str, c: Any = losses, w: Any = weights, out: Any = out, options: dict[str, Any] = options
        ) -> Any:
            return rrm_core.reweight(c, w, contamination=0.2, out=out, backend=backend, **options)[1]

        plan = call("numpy")
        expected = out.copy()
        for backend in BACKENDS:
            assert call(backend) == plan, backend
            assert out.tobytes() == expected.tobytes(), backend
        del expected
        times = interleaved({backend: lambda backend=backend: call(backend) for backend in BACKENDS}, repetitions)
        medians = {backend: statistics.median(ms) for backend, ms in times.items()}
        cases[name] = {
            backend: {"ms": summary(ms), "faster than numpy": round(medians["numpy"] / medians[backend], 2)}
            for backend, ms in times.items()
        }
        for backend, row in cases[name].items():
            print(f"{name:28} {backend:6} {row['ms']['median']:9.3f} ms  {row['faster than numpy']:6.2f} x")
    record = {
        "what": "rrm_core.reweight(losses, weights, contamination=0.2, out=out), float32 exponential losses",
        "calls": {name: repetitions for name, (_, repetitions, _, _) in CASES.items()},
        **origin,
        "cases": cases,
    }
    path = RESULTS / "backends.json"
    write_record(path, record)
    print(f"recorded in {path.relative_to(ROOT)}")


if __name__ == "__main__":
    raise SystemExit(run("python -m benchmarks.cpu.bench_backends", main))
