"""What a training loop pays for RRM, beside the same lines written by hand: gather, multiply, record.

A group for each size. Both ways are first compared to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import rrm_core
from rrm_torch import RRM

SHARE = 0.2
RULE: dict[str, Any] = {"contamination": SHARE, "redistribute": "kept"}
RIVALS = ("RRM", "by hand")
SIZES = (50_000, 1_000_000)


class ByHand:
    """The weights and recorded losses of all samples, without any checks."""

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights.clone()
        self.recorded = torch.empty_like(self.weights)

    def weighted_mean(self, losses: Tensor, index: Tensor) -> Tensor:
        self.recorded[index] = losses.detach()
        return (self.weights[index] * losses).mean()

    def step(self, losses: Tensor) -> None:
        rrm_core.reweight(losses, self.weights, out=self.weights, **RULE)


def reweighted(n: int) -> tuple[RRM, Tensor]:
    """Return an RRM that has reweighted, and losses of all samples."""
    generator = torch.Generator().manual_seed(0)
    losses = torch.empty(n).exponential_(generator=generator)
    rrm = RRM(n, warmup=1, **RULE)
    rrm.step(losses)
    return rrm, losses.flip(0)


@pytest.mark.parametrize("batch", [128, 4096])
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", RIVALS)
def test_weighted_mean(benchmark: Any, name: str, n: int, batch: int) -> None:
    rrm, _ = reweighted(n)
    by_hand = ByHand(rrm.weights)
    losses = torch.rand(batch, generator=torch.Generator().manual_seed(1), requires_grad=True)
    index = torch.randperm(n, generator=torch.Generator().manual_seed(2))[:batch]

    def run(weighted_mean: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor | None]:
        losses.grad = None
        mean = weighted_mean(losses, index)
        mean.backward()  # type: ignore[no-untyped-call]
        return mean, losses.grad

    results = [run(way.weighted_mean) for way in (rrm, by_hand)]
    for ours, expected in zip(*results, strict=True):
        assert ours is not None
        assert expected is not None
        assert torch.equal(ours, expected)
    way = by_hand if name == "by hand" else rrm
    benchmark.group = f"weighted_mean: a batch of {batch:_}, n = {n:_}, forward and backward"
    benchmark(run, way.weighted_mean)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("name", RIVALS)
def test_step(benchmark: Any, name: str, n: int) -> None:
    rrm, losses = reweighted(n)
    by_hand = ByHand(rrm.weights)
    plan = rrm_core.plan(losses, **RULE)
    rrm.step(losses)
    by_hand.step(losses)
    assert torch.equal(rrm.weights, by_hand.weights)
    assert plan.n_pruned == int((rrm.weights == 0).sum()) == int(SHARE * n)
    way = by_hand if name == "by hand" else rrm
    benchmark.group = f"step: its reweight by hand, n = {n:_}"
    benchmark.pedantic(way.step, (losses,), rounds=20, warmup_rounds=1)
