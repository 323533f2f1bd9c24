"""Time `rrm_core.reweight` on a million losses, backend against backend, and record it.

The backends take turns, so that whatever else the machine does hits all alike; what is stated is the ratio of medians.
Every backend's answer is compared with the reference's first.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import machine
import numpy as np

import rrm_core

N, REPETITIONS, WARMUPS = 1_000_000, 60, 3
BACKENDS = ("cpp", "numba", "numpy")
CASES: dict[str, tuple[dict[str, Any], float]] = {  # options, and the value at which the losses are capped
    "mu = 1": ({}, np.inf),
    "mu = 0.3": ({"mu": 0.3}, np.inf),
    "mu = 1, capped at 0.5": ({}, 0.5),
}


def interleaved(calls: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Return each call's times in milliseconds, the calls taking turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for round in range(WARMUPS + REPETITIONS):
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
    exponential = np.random.default_rng(0).exponential(size=N).astype(np.float32)
    weights = np.ones_like(exponential)
    cases = {}
    for name, (options, cap) in CASES.items():
        capped = np.minimum(exponential, np.float32(cap))

        def call(backend: str, losses: Any = capped, options: dict[str, Any] = options) -> Any:
            return rrm_core.reweight(losses, weights, contamination=0.2, backend=backend, **options)

        expected, plan = call("numpy")
        for backend in BACKENDS:
            answer, own_plan = call(backend)
            assert answer.tobytes() == expected.tobytes(), backend
            assert own_plan == plan, backend
        times = interleaved({backend: lambda backend=backend: call(backend) for backend in BACKENDS})
        medians = {backend: statistics.median(ms) for backend, ms in times.items()}
        cases[name] = {
            backend: {"ms": summary(ms), "faster than numpy": round(medians["numpy"] / medians[backend], 2)}
            for backend, ms in times.items()
        }
        for backend, row in cases[name].items():
            print(f"{name:9} {backend:6} {row['ms']['median']:8.3f} ms  {row['faster than numpy']:6.2f} x")
    record = {
        "what": f"rrm_core.reweight(losses, weights, contamination=0.2), {N:_} float32 losses, exponential",
        "repetitions": REPETITIONS,
        **machine.describe("rrm-core", "numpy", "numba"),
        "cases": cases,
    }
    path = machine.ROOT / "benchmarks" / "results" / "backends.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"recorded in {path.relative_to(machine.ROOT)}")


if __name__ == "__main__":
    main()
