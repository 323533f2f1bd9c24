"""Rivals on a GPU: a reweight composed of functions of torch and CuPy.

They do not wait for the device, where the framework allows that, and do not check for NaN, which `reweight` rejects.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.cpu.rivals import torch_quantile
from benchmarks.gpu.contenders import Contender, Job


class TorchRival(Contender):
    """`torch.kthvalue`, and fused expressions where torch has them."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        import torch

        self.torch = torch
        _, weights = self.arrays(0)
        dtype = job.old.dtype.type
        self.a = float(dtype(1 - self.cell.mu))
        b = dtype(self.cell.mu)
        self.zero = torch.tensor(0, dtype=weights.dtype, device=weights.device)
        self.kept_target = torch.tensor(b, dtype=weights.dtype, device=weights.device)

    def select(self, losses: Any, rank: int) -> Any:
        """Return the rank-th smallest loss."""
        return self.torch.kthvalue(losses, rank).values

    def select_all(self, losses: Any, ranks: list[int]) -> list[Any]:
        return [self.select(losses, rank) for rank in ranks]

    def gamma_threshold(self, lowest: Any) -> Any:
        """Return the threshold under the gamma rule, rounded down to the losses' type."""
        torch = self.torch
        exact = lowest.double() + self.job.gamma
        nearest = exact.to(lowest.dtype)
        next_lower = torch.nextafter(nearest, torch.full_like(nearest, -torch.inf))
        return torch.where(nearest.double() > exact, next_lower, nearest)

    def __call__(self, i: int) -> None:
        torch = self.torch
        losses, weights = self.arrays(i)
        rank = self.job.rank
        recipient_rank = self.job.recipient_rank
        with torch.inference_mode():
            lowest = losses.min()
            thresholds = self.select_all(losses, [r for r in (rank, recipient_rank) if r > 1])
            threshold = thresholds[0] if rank else self.gamma_threshold(lowest)
            recipients = lowest if recipient_rank == 1 else torch.minimum(thresholds[-1], threshold)
            above = losses > threshold
            receives = losses <= recipients
            share = torch.count_nonzero(above).double() / torch.count_nonzero(receives).double()
            top = (1 + share).to(weights.dtype) * self.kept_target
            part = torch.where(receives, top, self.kept_target)
            if self.cell.mu == 1:
                torch.where(above, self.zero, part, out=weights)
            else:
                torch.where(above, self.zero, part, out=part)
                weights.mul_(self.a).add_(part)


class TorchTopk(TorchRival):
    """`torch.topk`, from the end that is nearer to the rank."""

    def select(self, losses: Any, rank: int) -> Any:
        from_top = losses.shape[0] - rank + 1
        if rank < from_top:
            return self.torch.topk(losses, rank, largest=False, sorted=False).values.max()
        return self.torch.topk(losses, from_top, largest=True, sorted=False).values.min()


class TorchSort(TorchRival):
    """`torch.sort`, once for all ranks."""

    def select_all(self, losses: Any, ranks: list[int]) -> list[Any]:
        if not ranks:
            return []
        in_order = self.torch.sort(losses).values
        return [in_order[rank - 1] for rank in ranks]


class TorchQuantile(TorchRival):
    """`torch.quantile`, which accepts single and double precision and at most 16 million values."""

    def select(self, losses: Any, rank: int) -> Any:
        dtype = np.float64 if losses.dtype == self.torch.float64 else np.float32
        share, interpolation = torch_quantile(rank, losses.shape[0], dtype)
        return self.torch.quantile(losses, float(share), interpolation=interpolation)


class CupyPartition(Contender):
    """`cupy.partition`, and one fused kernel for the weights. Its stream is torch's: the default one."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        import cupy

        self.cupy = cupy
        self.views = [tuple(cupy.from_dlpack(array) for array in arrays) for arrays in job.sets]
        self.dtype = job.old.dtype.type
        self.a = self.dtype(1 - self.cell.mu)
        self.b = self.dtype(self.cell.mu)
        smooth = "w = part;" if self.cell.mu == 1 else "w = a * old + part;"
        self.write = cupy.ElementwiseKernel(
            "C c, C threshold, C recipients, W top, W old, W a, W b",
            "W w",
            f"W part = c > threshold ? (W)0 : c <= recipients ? top : b; {smooth}",
            "smooth",
            options=("--fmad=false",),  # rounds the weights as all others do
        )

    def select(self, losses: Any, rank: int) -> Any:
        return self.cupy.partition(losses, rank - 1)[rank - 1]

    def gamma_threshold(self, lowest: Any) -> Any:
        cupy = self.cupy
        exact = lowest.astype("float64") + self.job.gamma
        nearest = exact.astype(lowest.dtype)
        next_lower = cupy.nextafter(nearest, cupy.full_like(nearest, -cupy.inf))
        return cupy.where(nearest.astype("float64") > exact, next_lower, nearest)

    def __call__(self, i: int) -> None:
        cupy = self.cupy
        losses, weights = self.views[i % len(self.views)]
        lowest = losses.min()
        threshold = self.select(losses, self.job.rank) if self.job.rank else self.gamma_threshold(lowest)
        recipients = lowest
        if self.job.recipient_rank > 1:
            recipients = cupy.minimum(self.select(losses, self.job.recipient_rank), threshold)
        share = cupy.count_nonzero(losses > threshold) / cupy.count_nonzero(losses <= recipients)
        top = (1 + share).astype(self.dtype) * self.b
        self.write(losses, threshold, recipients, top, weights, self.a, self.b, weights)


RIVALS: dict[str, type[Contender]] = {
    "torch.kthvalue": TorchRival,
    "torch.topk": TorchTopk,
    "torch.sort": TorchSort,
    "torch.quantile": TorchQuantile,
}
if find_spec("cupy") is not None:
    RIVALS["cupy.partition"] = CupyPartition
