"""A reweight written as well as possible with each tool: threshold, counts, and new weights in place.

A rival is constructed for one array of losses, with its scratch memory; called, it reweights and returns an `Answer`.
All rivals use one thread: call `one_thread` before constructing them.
"""

from __future__ import annotations

import os
import time
from inspect import signature
from typing import Any

import numpy as np

from benchmarks.common.losses import Answer, Array, Losses, count_wrong, vary

WARM = 10_000_000  # sizes up to which a sample starts with an untimed call; larger arrays fit in no cache


class Rival:
    """One way to reweight."""

    computes_answer = True  # False for a memory floor

    def __init__(self, what: Losses, losses: Array, weights: Array, mu: float) -> None:
        self.what = what
        self.losses = losses
        self.weights = weights
        self.mu = mu
        self.a = weights.dtype.type(1 - mu)
        self.b = weights.dtype.type(mu)

    def __call__(self) -> Answer:
        raise NotImplementedError

    def reload(self) -> None:
        """Reread the weights after they were written from outside."""

    def written(self) -> Array:
        """Return the weights that this rival has written."""
        return self.weights

    def check(self, answer: Answer) -> None:
        """Reweight once and compare everything with `answer`, the weights to the bit."""
        vary(self.weights)
        self.reload()
        result = self()
        if not self.computes_answer:
            return
        assert result == answer, f"{result} instead of {answer}"
        wrong = count_wrong(answer, self.losses, self.written(), self.mu)
        assert not wrong, f"{wrong:_} of {self.what.n:_} weights differ"

    def reset(self) -> None:
        """Set all weights to 1.

        Required every hundred calls: after 250 in-place updates the weights of pruned samples are subnormal, on which
        processors are slow.
        """
        self.weights.fill(1)
        self.reload()

    def seconds(self, calls: int) -> float:
        """Return the mean CPU time of `calls` calls in seconds; the elapsed time with several threads."""
        self.reset()
        if self.what.n <= WARM:
            self()  # fills caches and branch predictors
        return self.time(calls)

    def time(self, calls: int) -> float:
        start = time.process_time()
        for _ in range(calls):
            self()
        return (time.process_time() - start) / calls

    def part_of_top(self, n_above: int, n_lowest: int) -> Any:
        """Return mu * target at the minimum."""
        return self.b * self.weights.dtype.type(1 + n_above / n_lowest)


def one_thread() -> None:
    """Limit all libraries to one thread; some read the limit when they are loaded."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ[name] = "1"
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


class Public(Rival):
    """`rrm_core.reweight`, the public function."""

    def __init__(self, what: Losses, losses: Array, weights: Array, mu: float) -> None:
        super().__init__(what, losses, weights, mu)
        import rrm_core

        self.reweight = rrm_core.reweight
        self.options = {}
        if "threads" in signature(rrm_core.reweight).parameters:
            self.options["threads"] = 1

    def __call__(self) -> Answer:
        w = self.weights
        _, plan = self.reweight(self.losses, w, contamination=0.2, mu=self.mu, out=w, **self.options)
        return Answer(plan.threshold, plan.loss_min, plan.n_recipients, plan.n_pruned)


class NumpyPartition(Rival):
    """Selection on a copy, then ufuncs into reused memory, in blocks that fit in the second-level cache."""

    block = 1 << 15

    def __init__(self, what: Losses, losses: Array, weights: Array, mu: float) -> None:
        super().__init__(what, losses, weights, mu)
        self.scratch = np.empty_like(losses)
        self.mask = np.empty(min(self.block, what.n), bool)
        self.part = np.empty(self.mask.size, weights.dtype)

    def threshold(self) -> Any:
        np.copyto(self.scratch, self.losses)
        self.scratch.partition(self.what.rank - 1)
        return self.scratch[self.what.rank - 1]

    def __call__(self) -> Answer:
        c = self.losses
        w = self.weights
        t = self.threshold()
        lowest = c.min()
        starts = range(0, c.size, self.block)
        places = []
        n_above = 0
        for start in starts:
            block = c[start : start + self.block]
            mask = self.mask[: block.size]
            n_above += np.count_nonzero(np.greater(block, t, out=mask))
            if np.equal(block, lowest, out=mask).any():
                places.append(start + mask.nonzero()[0])
        lowest_at = np.concatenate(places)
        at_lowest = self.a * w[lowest_at] + self.part_of_top(n_above, lowest_at.size)
        for start in starts:
            block = c[start : start + self.block]
            mask = self.mask[: block.size]
            part = self.part[: block.size]
            into = w[start : start + self.block]
            np.multiply(np.less_equal(block, t, out=mask), self.b, out=part)
            np.multiply(into, self.a, out=into)
            np.add(into, part, out=into)
        w[lowest_at] = at_lowest
        return Answer(float(t), float(lowest), lowest_at.size, n_above)


class NumpyQuantile(NumpyPartition):
    """`np.quantile`, whose inverted_cdf is an order statistic, instead of `np.partition`."""

    def threshold(self) -> Any:
        np.copyto(self.scratch, self.losses)
        # As an array the probability stays in double precision; half a rank lower, its rounding has no effect.
        share = np.array((self.what.rank - 0.5) / self.what.n)
        return np.quantile(self.scratch, share, method="inverted_cdf", overwrite_input=True)


class TorchKthvalue(Rival):
    """`torch.kthvalue`, and fused expressions where torch has them."""

    def __init__(self, what: Losses, losses: Array, weights: Array, mu: float) -> None:
        super().__init__(what, losses, weights, mu)
        import torch

        self.torch = torch
        self.c = torch.from_numpy(losses)
        self.w = torch.from_numpy(weights)
        self.zero = torch.zeros((), dtype=self.w.dtype)
        self.kept_target = torch.tensor(self.b)

    def threshold(self) -> Any:
        return self.torch.kthvalue(self.c, self.what.rank).values

    def __call__(self) -> Answer:
        torch = self.torch
        c = self.c
        with torch.inference_mode():
            t = self.threshold()
            lowest = c.min()
            above = c > t
            at = c == lowest
            n_above = int(torch.count_nonzero(above))
            n_lowest = int(torch.count_nonzero(at))
            part = torch.where(at, torch.tensor(self.part_of_top(n_above, n_lowest)), self.kept_target)
            torch.where(above, self.zero, part, out=part)
            self.w.mul_(float(self.a)).add_(part)
            return Answer(float(t), float(lowest), n_lowest, n_above)


def torch_quantile(rank: int, n: int, dtype: Any) -> tuple[Any, str]:
    """Return the quantile and the interpolation with which `torch.quantile` returns the rank-th smallest of n values.

    torch computes the rank in the type of the values: above 2**22 values only some combinations give the exact rank.
    """
    size = dtype(n - 1)
    share = dtype((rank - 1) / (n - 1))
    roundings = {"nearest": np.rint, "lower": np.floor, "higher": np.ceil}
    shares = (share, np.nextafter(share, dtype(0)), np.nextafter(share, dtype(1)))
    exact = ((q, name) for name, rounding in roundings.items() for q in shares if int(rounding(q * size)) == rank - 1)
    return next(exact, (share, "nearest"))


class TorchQuantile(TorchKthvalue):
    """`torch.quantile` instead of `torch.kthvalue`; it sorts, and rejects more than 16 million values."""

    def __init__(self, what: Losses, losses: Array, weights: Array, mu: float) -> None:
        super().__init__(what, losses, weights, mu)
        share, self.interpolation = torch_quantile(what.rank, what.n, np.float32)
        self.share = self.torch.tensor(share)

    def threshold(self) -> Any:
        return self.torch.quantile(self.c, self.share, interpolation=self.interpolation)


class NumbaRadix(Rival):
    """A radix selection and fused loops, compiled by Numba."""

    def __init__(self, what: Losses, losses: Array, weights: Array, mu: float) -> None:
        super().__init__(what, losses, weights, mu)
        from benchmarks.cpu import numba_radix

        self.reweight = numba_radix.reweight
        self.bits = losses.view(np.uint32)
        self.scratch = np.empty(what.n + 1, np.uint32)

    def __call__(self) -> Answer:
        return Answer(
            *self.reweight(self.losses, self.bits, self.weights, self.scratch, self.what.rank, self.a, self.b)
        )


class Polars(Rival):
    """Expressions on columns. Columns are immutable: the new weights are a new column."""

    def __init__(self, what: Losses, losses: Array, weights: Array, mu: float) -> None:
        super().__init__(what, losses, weights, mu)
        import polars

        self.pl = polars
        self.losses_column = polars.Series("c", losses)
        self.share = (what.rank - 1) / (what.n - 1)
        self.reload()

    def reload(self) -> None:
        self.frame = self.pl.DataFrame([self.losses_column, self.pl.Series("w", self.weights)])

    def written(self) -> Array:
        return self.frame["w"].to_numpy()

    def __call__(self) -> Answer:
        pl = self.pl
        c = self.pl.col("c")
        w = self.pl.col("w")

        def single(x: Any) -> Any:
            return pl.lit(float(x), dtype=pl.Float32)

        t, lowest = self.frame.select(c.quantile(self.share, "nearest").alias("t"), c.min().alias("low")).row(0)
        counts = self.frame.select((c == single(lowest)).sum().alias("at"), (c > single(t)).sum().alias("above"))
        n_lowest, n_above = counts.row(0)
        top = single(self.part_of_top(n_above, n_lowest))
        part = pl.when(c > single(t)).then(single(0)).when(c == single(lowest)).then(top).otherwise(single(self.b))
        self.frame = self.frame.with_columns(w=single(self.a) * w + part)
        return Answer(float(t), float(lowest), n_lowest, n_above)


PYTHON_RIVALS: dict[str, type[Rival]] = {
    "NumPy, np.partition": NumpyPartition,
    "NumPy, np.quantile": NumpyQuantile,
    "torch.kthvalue": TorchKthvalue,
    "torch.quantile": TorchQuantile,
    "Numba, radix selection": NumbaRadix,
    "Polars": Polars,
}
