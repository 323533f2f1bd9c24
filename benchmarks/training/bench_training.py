"""Time the same training loop with and without RRM, batch by batch in turns, and record the difference.

    python -m benchmarks.training.bench_training

writes benchmarks/results/training_cost.json. A small residual network is trained on 50,000 images of 32 x 32 pixels,
with the losses recorded during training. Both loops process each batch, one directly after the other, in alternating
order. The added time is small against the variation of several percent between batches: therefore the line that
differs is also timed separately, with its part of the backward pass.
"""

from __future__ import annotations

import json
import statistics
import time

import torch
from torch import Tensor, nn

from benchmarks.common.record import RESULTS, provenance, write_record
from rrm_core._cli import run
from rrm_torch import RRM, batches, cross_entropy
from rrm_torch.models import small_resnet

N = 50_000
BATCH = 128
EPOCHS = 2
WIDTH = 16
STEPS = 200  # timed calls of RRM.step
LINES = 4000  # timed calls of the line that differs


class Loop:
    """The body of an ordinary training loop; with RRM one line differs."""

    def __init__(self, rrm: RRM | None) -> None:
        torch.manual_seed(0)
        self.model: nn.Module = small_resnet(10, WIDTH)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)
        self.rrm = rrm
        self.seconds: list[float] = []

    def batch(self, index: Tensor, x: Tensor, y: Tensor) -> None:
        """Train on a batch and time it."""
        start = time.perf_counter()
        losses = cross_entropy(self.model(x), y)
        if self.rrm is None:
            loss = losses.mean()
        else:
            loss = self.rrm.weighted_mean(losses, index)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.seconds.append(time.perf_counter() - start)


def summary(seconds: list[float]) -> dict[str, float]:
    """Return median and quartiles in milliseconds."""
    low, median, high = statistics.quantiles([1e3 * s for s in seconds], n=4)
    return {"median": round(median, 4), "quartile1": round(low, 4), "quartile3": round(high, 4)}


def time_lines(rrm: RRM) -> dict[str, list[float]]:
    """Time the line that differs: the reduction of a batch's losses, forward and backward."""
    losses = torch.rand(BATCH, requires_grad=True)
    index = torch.randperm(N)[:BATCH]
    lines = {"plain": losses.mean, "rrm": lambda: rrm.weighted_mean(losses, index)}
    seconds: dict[str, list[float]] = {name: [] for name in lines}
    for _ in range(LINES):
        for name, line in lines.items():
            start = time.perf_counter()
            line().backward()
            seconds[name].append(time.perf_counter() - start)
            losses.grad = None
    return seconds


def main() -> None:
    """Run, record, print."""
    origin = provenance("rrm-core", "torch", "numpy")
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, 3, 32, 32, generator=generator)
    y = torch.randint(10, (N,), generator=generator)
    rrm = RRM(N, contamination=0.2, warmup=1)
    loops = {"plain": Loop(None), "rrm": Loop(rrm)}
    steps = []
    for epoch in range(EPOCHS):
        for k, batch in enumerate(batches(x, y, BATCH, shuffle=True, generator=generator)):
            for name in ("plain", "rrm") if k % 2 else ("rrm", "plain"):
                loops[name].batch(*batch)
            if k % 50 == 0:
                print(f"epoch {epoch + 1}, batch {k}", flush=True)
        start = time.perf_counter()
        rrm.step()
        steps.append(time.perf_counter() - start)
    per_epoch = len(loops["rrm"].seconds) // EPOCHS
    differences = [b - a for a, b in zip(loops["plain"].seconds, loops["rrm"].seconds, strict=True)]
    plain = statistics.median(loops["plain"].seconds) * per_epoch
    lines = time_lines(rrm)
    added = statistics.median(lines["rrm"]) - statistics.median(lines["plain"])
    losses = rrm.losses.clone()
    alone = []
    for _ in range(STEPS):
        start = time.perf_counter()
        rrm.step(losses)
        alone.append(time.perf_counter() - start)
    record = {
        "what": f"small_resnet(10, {WIDTH}), {N:,} images of 32 x 32, batches of {BATCH}, one thread",
        "ms per batch": {name: summary(loop.seconds) for name, loop in loops.items()},
        "batches": len(loops["rrm"].seconds),
        "ms of the difference": summary(differences),
        "ms of the line": {name: summary(seconds) for name, seconds in lines.items()},
        "ms added per batch": round(1e3 * added, 4),
        "ms of step at an epoch's end": [round(1e3 * s, 3) for s in steps],
        "ms of step": summary(alone),
        "added to an epoch, %": round(100 * (added * per_epoch + statistics.median(steps)) / plain, 3),
        **origin,
    }
    path = RESULTS / "training_cost.json"
    write_record(path, record)
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    raise SystemExit(run("python -m benchmarks.training.bench_training", main))
