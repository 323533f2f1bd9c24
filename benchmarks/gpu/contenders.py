"""Who does the job in bench_gpu.py: we, on the device and on the host; and a copy, which is the floor.

A contender is made for a job, and called with the number of the arrays whose turn it is. rivals.py has the others.
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

MOST_SETS = 32
REFERENCE = 100_000_000  # up to here the reference backend says what is right; beyond, it takes minutes


class Job:
    """A cell's losses and weights on the device, in several sets that take turns, so that no cache keeps them all."""

    def __init__(self, cell: Cell, device: Device, losses: Array) -> None:
        self.cell = cell
        self.device = device
        self.drawn = losses
        self.host_losses = device.on_host(losses)
        n = cell.what.n
        rule = {name: value for name, value in cell.options.items() if name != "mu"}
        self.rank, self.gamma, self.recipient_rank, *_ = Rule(**rule).ranks(n)
        self.old = np.empty(n, cell.what.weights_type)
        vary(self.old)
        backend = "numpy" if n <= REFERENCE else None
        old = device.on_host(self.old)
        right, self.plan = rrm_core.reweight(self.host_losses, old, backend=backend, **cell.options)
        self.right = np.asarray(right)
        self.right_on_device = device.put(self.right)
        self.old_on_device = device.put(self.old)
        self.sets = [(device.put(losses), device.put(self.old)) for _ in range(n_sets(cell, device))]

    def reset(self) -> None:
        for _, weights in self.sets:
            self.device.fill(weights)

    def forget_answer(self) -> None:
        """Make room, once all have proven theirs."""
        del self.right, self.old, self.right_on_device, self.old_on_device


def n_sets(cell: Cell, device: Device) -> int:
    """Return how many sets are twice as large as the cache, if that isn't too many."""
    one = cell.what.n * (cell.bytes_of_loss + cell.bytes_of_weight)
    return min(max(-(-2 * device.cache_bytes // one), 1), MOST_SETS)


def bytes_needed(cell: Cell, device: Device) -> tuple[int, int]:
    """Return about how much memory a job takes on the device, without its rivals, and on the host."""
    loss = cell.bytes_of_loss
    weight = cell.bytes_of_weight
    sets = n_sets(cell, device)
    on_device = sets * (loss + weight + cell.floor) + 2 * weight + loss  # the last for the workspace
    return cell.what.n * on_device, cell.what.n * (3 * loss + 7 * weight)


class Contender:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.device = job.device
        self.cell = job.cell

    def __call__(self, i: int) -> Any:
        raise NotImplementedError

    def reset(self) -> None:
        """Set all weights to 1: smoothed often enough, those of pruned samples become subnormal."""
        self.job.reset()

    def turn(self, i: int) -> tuple[Any, Any]:
        return self.job.sets[i % len(self.job.sets)]

    def prove(self) -> None:
        """Do the job once, and compare the weights with what is right, to the bit."""
        _, weights = self.turn(0)
        self.device.copy(weights, self.job.old_on_device)
        self(0)
        assert self.device.same(weights, self.job.right_on_device), "its weights are wrong"


class Copy(Contender):
    """Moves as many bytes as have to be moved, from memory to memory of the device."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        half = self.cell.what.n * self.cell.floor // 2
        self.pairs = [(self.device.memory(half), self.device.memory(half)) for _ in job.sets]

    def __call__(self, i: int) -> None:
        self.device.copy(*self.pairs[i % len(self.pairs)])

    def reset(self) -> None:
        """Leave the weights alone."""

    def prove(self) -> None:
        """Claim nothing."""


class Ours(Contender):
    def __init__(self, job: Job, backend: str | None = None) -> None:
        super().__init__(job)
        self.call = partial(rrm_core.reweight, backend=backend, **self.cell.options)

    def __call__(self, i: int) -> Any:
        losses, weights = self.turn(i)
        return self.call(losses, weights, out=weights)[1]


class OursAnswered(Ours):
    """Also waits for the plan."""

    def __call__(self, i: int) -> Any:
        return super().__call__(i).n_pruned

    def prove(self) -> None:
        super().prove()
        losses, weights = self.turn(0)
        plan = self.call(losses, weights, out=weights)[1]
        assert plan == self.job.plan, f"{plan} instead of {self.job.plan}"


class Graph(Ours):
    """A reweight of each set, captured in a CUDA graph and replayed."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        call = partial(Ours.__call__, self)
        call(0)  # a capture isn't the place for whatever the first call loads
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

    def __call__(self, i: int) -> None:  # noqa: ARG002
        rrm_core.reweight(self.losses, self.weights, out=self.weights, **self.cell.options)

    def reset(self) -> None:
        self.weights[:] = 1

    def prove(self) -> None:
        self(0)
        assert np.asarray(self.weights).tobytes() == self.job.right.tobytes(), "its weights are wrong"


class ByWayOfHost(OnHost):
    """Losses from the device to the host, the CPU's kernel there, and the new weights back.

    The old weights need no copy: whoever works like this keeps them on the host.
    """

    def __init__(self, job: Job, *, pinned: bool) -> None:
        super().__init__(job)
        self.losses = self.device.on_host(np.empty_like(job.drawn), pinned=pinned)
        self.weights = self.device.on_host(job.old.copy(), pinned=pinned)

    def __call__(self, i: int) -> None:
        losses, weights = self.turn(i)
        self.device.copy(self.losses, losses)
        self.device.wait()
        super().__call__(i)
        self.device.copy(weights, self.weights)
        self.device.wait()

    def prove(self) -> None:
        _, weights = self.turn(0)
        self(0)
        assert self.device.same(weights, self.job.right_on_device), "its weights are wrong"


# ---- What is timed of a contender: Timed in timing.py
class OnDevice:
    """How long the device works."""

    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        self.device = contender.device

    def seconds(self, calls: int) -> float:
        self.contender.reset()
        return self.device.seconds(self.contender, calls)


class ByTheWall(OnDevice):
    """How long the caller waits until a call returns."""

    most = 1 << 30

    def seconds(self, calls: int) -> float:
        calls = min(calls, self.most)
        self.contender.reset()
        self.contender(0)
        self.device.wait()
        began = time.perf_counter()
        for i in range(calls):
            self.contender(i)
        ended = time.perf_counter()
        self.device.wait()
        return (ended - began) / calls


class UntilReturn(ByTheWall):
    """The same, of calls that leave the device working: few enough that none waits for room in its queue."""

    most = 16
