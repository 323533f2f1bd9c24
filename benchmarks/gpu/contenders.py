"""Contenders of bench_gpu.py: `rrm_core.reweight` on the device and on the host, and the copy that is the memory floor.

A contender is constructed for a job, and called with the number of the set of arrays to use. More are in rivals.py.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np

import rrm_core
from benchmarks.common.losses import Array, vary
from benchmarks.gpu.cells import Cell
from benchmarks.gpu.devices import Device
from rrm_core.definition.rule import Rule

MAX_SETS = 32
REFERENCE = 100_000_000  # sizes up to which the reference backend computes the expected result; above, it takes minutes


class Job:
    """Losses and weights of a cell on the device, in several sets used in turn, together larger than the cache."""

    def __init__(self, cell: Cell, device: Device, losses: Array) -> None:
        self.cell = cell
        self.device = device
        self.losses_on_host = losses
        self.host_losses = device.on_host(losses)
        n = cell.what.n
        rule = {name: value for name, value in cell.options.items() if name != "mu"}
        self.rank, self.gamma, self.recipient_rank, *_ = Rule(**rule).ranks(n)
        self.old = np.empty(n, cell.what.weights_type)
        vary(self.old)
        backend = "numpy" if n <= REFERENCE else None
        old = device.on_host(self.old)
        expected, self.plan = rrm_core.reweight(self.host_losses, old, backend=backend, **cell.options)
        self.expected = np.asarray(expected)
        self.expected_on_device = device.put(self.expected)
        self.old_on_device = device.put(self.old)
        self.sets = [(device.put(losses), device.put(self.old)) for _ in range(n_sets(cell, device))]

    def reset(self) -> None:
        for _, weights in self.sets:
            self.device.fill(weights)

    def free_expected(self) -> None:
        """Free the memory of the expected result, once all contenders are checked."""
        del self.expected, self.old, self.expected_on_device, self.old_on_device


def n_sets(cell: Cell, device: Device) -> int:
    """Return the number of sets that together are twice as large as the cache, at most MAX_SETS."""
    one = cell.what.n * (cell.bytes_of_loss + cell.bytes_of_weight)
    return min(max(-(-2 * device.cache_bytes // one), 1), MAX_SETS)


def bytes_needed(cell: Cell, device: Device) -> tuple[int, int]:
    """Return the approximate bytes of a job on the device, without its rivals, and on the host."""
    loss = cell.bytes_of_loss
    weight = cell.bytes_of_weight
    sets = n_sets(cell, device)
    on_device = sets * (loss + weight + cell.floor) + 2 * weight + loss  # the last term for the workspace
    return cell.what.n * on_device, cell.what.n * (3 * loss + 7 * weight)


class Contender:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.device = job.device
        self.cell = job.cell

    def __call__(self, i: int) -> Any:
        raise NotImplementedError

    def reset(self) -> None:
        """Set all weights to 1: after many updates those of pruned samples become subnormal."""
        self.job.reset()

    def arrays(self, i: int) -> tuple[Any, Any]:
        return self.job.sets[i % len(self.job.sets)]

    def check(self) -> None:
        """Reweight once and compare the weights with the expected ones, to the bit."""
        _, weights = self.arrays(0)
        self.device.copy(weights, self.job.old_on_device)
        self(0)
        assert self.device.same(weights, self.job.expected_on_device), "its weights are wrong"


class Copy(Contender):
    """Copies on the device as many bytes as a reweight must move."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        half = self.cell.what.n * self.cell.floor // 2
        self.pairs = [(self.device.memory(half), self.device.memory(half)) for _ in job.sets]

    def __call__(self, i: int) -> None:
        self.device.copy(*self.pairs[i % len(self.pairs)])

    def reset(self) -> None:
        """Do nothing: it writes no weights."""

    def check(self) -> None:
        """Do nothing: it computes no result."""


class Reweight(Contender):
    def __init__(self, job: Job, backend: str | None = None) -> None:
        super().__init__(job)
        self.call = partial(rrm_core.reweight, backend=backend, **self.cell.options)

    def __call__(self, i: int) -> Any:
        losses, weights = self.arrays(i)
        return self.call(losses, weights, out=weights)[1]


class ReweightAndReadPlan(Reweight):
    """Also waits for the plan."""

    def __call__(self, i: int) -> Any:
        return super().__call__(i).n_pruned

    def check(self) -> None:
        super().check()
        losses, weights = self.arrays(0)
        plan = self.call(losses, weights, out=weights)[1]
        assert plan == self.job.plan, f"{plan} instead of {self.job.plan}"


class Graph(Reweight):
    """A reweight of each set, captured in a CUDA graph and replayed."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        call = partial(Reweight.__call__, self)
        call(0)  # the first call loads modules, which a capture cannot contain
        self.replays = [self.device.graph(partial(call, i)) for i in range(len(job.sets))]

    def __call__(self, i: int) -> None:
        self.replays[i % len(self.replays)]()


class GraphAnswered(Graph):
    def __call__(self, i: int) -> None:
        super().__call__(i)
        self.device.wait()


class OnHost(Contender):
    """The CPU's kernel, with losses and weights in host memory."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.losses = job.host_losses
        self.weights = self.device.on_host(job.old.copy())

    def __call__(self, i: int) -> None:
        rrm_core.reweight(self.losses, self.weights, out=self.weights, **self.cell.options)

    def reset(self) -> None:
        self.weights[:] = 1

    def check(self) -> None:
        self(0)
        assert np.asarray(self.weights).tobytes() == self.job.expected.tobytes(), "its weights are wrong"


class ByWayOfHost(OnHost):
    """Losses copied to the host, the CPU's kernel, and the new weights copied back.

    The old weights are not copied: they stay on the host.
    """

    def __init__(self, job: Job, *, pinned: bool) -> None:
        super().__init__(job)
        self.losses = self.device.on_host(np.empty_like(job.losses_on_host), pinned=pinned)
        self.weights = self.device.on_host(job.old.copy(), pinned=pinned)

    def __call__(self, i: int) -> None:
        losses, weights = self.arrays(i)
        self.device.copy(self.losses, losses)
        self.device.wait()
        super().__call__(i)
        self.device.copy(weights, self.weights)
        self.device.wait()

    def check(self) -> None:
        _, weights = self.arrays(0)
        self(0)
        assert self.device.same(weights, self.job.expected_on_device), "its weights are wrong"


# ---- Ways to time a contender, see Timed in timing.py
class OnDevice:
    """Time of the work on the device."""

    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        self.device = contender.device

    def seconds(self, calls: int) -> float:
        self.contender.reset()
        return self.device.seconds(self.contender, calls)


class WallClock(OnDevice):
    """Time until a call returns."""

    max_calls = 1 << 30

    def seconds(self, calls: int) -> float:
        calls = min(calls, self.max_calls)
        self.contender.reset()
        self.contender(0)
        self.device.wait()
        began = time.perf_counter()
        for i in range(calls):
            self.contender(i)
        ended = time.perf_counter()
        self.device.wait()
        return (ended - began) / calls


class UntilReturn(WallClock):
    """Time until a call returns that does not wait for the device; few enough calls for none to wait for its queue."""

    max_calls = 16
