"""Time calls of `rrm_core.reweight` in a process of its own, which imports nothing of this checkout.

    PYTHON benchmarks/cpu/call_process.py

prints a JSON object: the file of the rrm_core that PYTHON imports, and the times of each call in microseconds, see
`bench_call`.
"""

from __future__ import annotations

import json
import timeit
from typing import Any

import numpy as np
import torch

import rrm_core

N = 100
CALLS = 2000
ROUNDS = 20
RULE: dict[str, Any] = {"contamination": 0.2}


def main() -> None:
    """Measure and print."""
    losses = np.random.default_rng(0).exponential(size=N).astype(np.float32)
    weights = np.ones_like(losses)
    other = np.ones_like(losses)
    tensor = torch.from_numpy(losses.copy())
    tensor_weights = torch.ones(N)
    other_tensor = torch.ones(N)
    reweight = rrm_core.reweight
    calls = {
        "NumPy, new weights": lambda: reweight(losses, **RULE),
        'NumPy, new weights, `backend="cpp"`': lambda: reweight(losses, backend="cpp", **RULE),
        "NumPy, mu = 0.3": lambda: reweight(losses, weights, mu=0.3, **RULE),
        "NumPy, mu = 0.3, in place": lambda: reweight(losses, weights, mu=0.3, out=weights, **RULE),
        "NumPy, mu = 0.3, into another array": lambda: reweight(losses, weights, mu=0.3, out=other, **RULE),
        "torch, new weights": lambda: reweight(tensor, **RULE),
        'torch, new weights, `backend="cpp"`': lambda: reweight(tensor, backend="cpp", **RULE),
        "torch, mu = 0.3": lambda: reweight(tensor, tensor_weights, mu=0.3, **RULE),
        "torch, mu = 0.3, in place": lambda: reweight(tensor, tensor_weights, mu=0.3, out=tensor_weights, **RULE),
        "torch, mu = 0.3, into another tensor": lambda: reweight(
            tensor, tensor_weights, mu=0.3, out=other_tensor, **RULE
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            weights[:] = 1  # otherwise they become subnormal, which is slower
            tensor_weights[:] = 1
            times[name].append(1e6 * timeit.timeit(call, number=CALLS) / CALLS)
    print(json.dumps({"file": rrm_core.__file__, "us": times}))


if __name__ == "__main__":
    main()
