"""Measure a trainer in a process of its own; imports nothing of this checkout, so that another one can be measured.

    PYTHON benchmarks/training/trainer_process.py

prints a JSON object: what `weighted_mean` and `step` of the rrm_torch that PYTHON imports take, see `bench_trainer`.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import rrm_core
import rrm_torch
from rrm_torch import RRM

BATCHES = ((128, 50_000), (4096, 50_000), (4096, 10_000_000))
SIZES = (1_000_000, 10_000_000)
LARGE = 10_000_000
ROUNDS = 20
BATCHES_A_ROUND = 40
STEPS = {1_000_000: 15, 10_000_000: 5}
RULE: dict[str, Any] = {"contamination": 0.2, "mu": 0.3, "redistribute": "kept"}
VIEWS = ("as_strided", "detach", "expand", "lift_fresh", "scalar_tensor", "select", "slice", "unsqueeze", "view")
PAGE = 4096


class Operations(TorchDispatchMode):
    """Counts the operations of torch, without views."""

    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.n += func.name().partition("::")[2].partition(".")[0] not in VIEWS
        return func(*args, **(kwargs or {}))


def cpu_seconds(function: Callable[[], object]) -> float:
    """Return the processor time of a call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE


def record_all(rrm: RRM, losses: Tensor, order: Tensor) -> None:
    """Record the losses of all samples, in large batches."""
    for index in order.split(200_000):
        rrm.record(losses[index], index)


def measure_batches(size: int, n: int) -> dict[str, float]:
    """Return the median processor time of a batch, forward and backward, in microseconds, of three loops in turns."""
    generator = torch.Generator().manual_seed(0)
    rrm = RRM(n, warmup=1, **RULE)
    record_all(rrm, torch.rand(n, generator=generator), torch.randperm(n, generator=generator))
    rrm.step()
    weights = rrm.weights.clone()
    recorded = torch.zeros(n)
    losses = torch.rand(size, requires_grad=True, generator=generator)
    batches = [torch.randint(n, (size,), generator=generator) for _ in range(BATCHES_A_ROUND)]

    def by_hand(index: Tensor) -> Tensor:
        recorded[index] = losses.detach()
        return (weights[index] * losses).mean()

    loops: dict[str, Callable[[Tensor], Tensor]] = {
        "plain": lambda index: losses.mean(),
        "by hand": by_hand,
        "RRM": lambda index: rrm.weighted_mean(losses, index),
    }

    def run(mean_of: Callable[[Tensor], Tensor]) -> None:
        for index in batches:
            losses.grad = None
            mean_of(index).backward()  # type: ignore[no-untyped-call]

    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(ROUNDS):
        for name, mean_of in loops.items():
            seconds[name].append(cpu_seconds(lambda mean_of=mean_of: run(mean_of)))  # type: ignore[misc]
    return {name: 1e6 * statistics.median(times) / BATCHES_A_ROUND for name, times in seconds.items()}


def measure_steps(n: int) -> dict[str, float]:
    """Return the median processor time of a step and of its reweight alone in milliseconds, and bytes a sample."""
    generator = torch.Generator().manual_seed(0)
    losses = torch.empty(n).exponential_(generator=generator)
    order = torch.randperm(n, generator=generator)
    # What is imported or allocated once does not count as memory of the RRM.
    record_all(RRM(1000, **RULE), losses[:1000], torch.arange(1000))
    before = resident_bytes()
    rrm = RRM(n, warmup=1, **RULE)
    seconds: dict[str, list[float]] = {"step": [], "reweight": []}
    for _ in range(STEPS[n]):
        record_all(rrm, losses, order)
        weights = rrm.weights
        seconds["reweight"].append(cpu_seconds(lambda w=weights: rrm_core.reweight(losses, w, threads=1, **RULE)))  # type: ignore[misc]
        seconds["step"].append(cpu_seconds(rrm.step))
    del weights
    result = {f"{name}, ms": 1e3 * statistics.median(times) for name, times in seconds.items()}
    if n == LARGE:
        # Without the trajectory's bits. Of fewer samples, most is memory that the allocator keeps.
        result["bytes a sample"] = (resident_bytes() - before) / n - STEPS[n] / 8
    for name in ("flagged", "ranking"):
        result[f"{name}, s"] = cpu_seconds(getattr(rrm, name))
    return result


@contextlib.contextmanager
def without_compiled_loops() -> Iterator[None]:
    """Make the trainer use on the CPU the operations of torch that it uses on a GPU, as earlier commits always did."""
    saved = []
    for name in ("batch_recorder", "packed_bits", "reweight_scan", "suspicion"):
        with contextlib.suppress(ImportError):
            module = importlib.import_module(f"rrm_torch.weighting.{name}")
            saved.append((module, module.compiled_loops))
            module.compiled_loops = lambda: None  # type: ignore[attr-defined]
    yield
    for module, function in saved:
        module.compiled_loops = function  # type: ignore[attr-defined]


def count_operations() -> dict[str, Any]:
    """Return the operations of a step for each size, and of `weighted_mean` on a device, forward and backward."""
    counts: dict[str, Any] = {}
    with without_compiled_loops():
        for n in SIZES:
            rrm = RRM(n, warmup=1, **RULE)
            for _ in range(2):
                record_all(rrm, torch.rand(n), torch.arange(n))
                with Operations() as operations:
                    rrm.step()
            counts[f"step of {n}"] = operations.n
        rrm = RRM(1000, warmup=1, **RULE)
        losses = torch.rand(128, device="meta", requires_grad=True)
        index = torch.arange(128, device="meta")
        for _ in range(2):
            with Operations() as operations:
                mean = rrm.weighted_mean(losses, index)
            counts["weighted_mean forward"] = operations.n
            # Neither the seed of the gradient nor adding it up is of RRM.
            seed = torch.ones_like(mean)
            losses.grad = None
            with Operations() as operations:
                mean.backward(seed)  # type: ignore[no-untyped-call]
            counts["weighted_mean backward"] = operations.n
    return counts


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    result = {
        "file": rrm_torch.__file__,
        "batches": {f"{size} of {n}": measure_batches(size, n) for size, n in BATCHES},
        "steps": {str(n): measure_steps(n) for n in SIZES},
        "operations": count_operations(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
