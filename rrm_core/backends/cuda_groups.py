"""The compiled CUDA backend for losses with groups.

The losses are sorted by group and by size on the device, in memory from the caller's allocator, and the order
statistics of all groups are found there. The policy follows from them on the host, which waits for the device after
each step: for a call, a number of times that depends neither on the number of samples nor on that of groups. When a
method returns, the device has finished.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..definition.formats import Array
from ..definition.group_numbers import GroupNumbers
from ..definition.group_plan import GroupedPlan
from ..definition.group_thresholds import GroupScan, GroupStatistics
from ..definition.old_weights import InvalidWeights
from ..definition.plan import NonFiniteCounts
from .cuda_call import allocate_result, allocate_scratch, copy_to_out, extension, locate_argument, locate_losses
from .cuda_interop import Memory, device_context


class _SortedLosses(NamedTuple):
    """The losses, sorted on the device, and what is known of them then.

    Attributes
    ----------
    workspace : Memory
    non_finite : NonFiniteCounts
        Without those that are +inf.
    sizes, n_numbers : int64 array of shape (n_groups,)
        Number of samples of each group, and of those whose loss is not NaN.
    minima : float64 array of shape (n_groups,)
    n_minima : int64 array of shape (n_groups,)
    """

    workspace: Memory
    non_finite: NonFiniteCounts
    sizes: Array
    n_numbers: Array
    minima: Array
    n_minima: Array


class GroupedLosses:
    """See `rrm_core.definition.group_thresholds.GroupedLosses`.

    Parameters
    ----------
    losses : CUDA array of shape (n,)
    groups : GroupNumbers
        On the host, from where they are copied once for each device, or on the device of the losses.
    """

    def __init__(self, losses: Any, groups: GroupNumbers) -> None:
        self._array = losses
        self._groups = groups
        self._current_device = device_context(losses)
        with self._current_device():
            self._losses = locate_losses(losses)
            self._numbers = self._locate_numbers()

    def sizes(self) -> Array:
        """Return the number of samples of each group."""
        return self._sorted.sizes

    def scan(self, ranks: Array) -> GroupScan:
        """Return minima, counts of NaN and -inf, and the losses with these ranks."""
        _, non_finite, sizes, n_numbers, minima, n_minima = self._sorted
        minimum = GroupStatistics(minima, np.zeros_like(n_minima), n_minima)
        return GroupScan(non_finite, sizes - n_numbers, minimum, self.smallest(ranks))

    def smallest(self, ranks: Array) -> GroupStatistics:
        """Return the loss of each group with this rank within the group; NaN for rank 0."""
        return self._find(ranks.astype(np.int64), by_rank=True)

    def smallest_of_all(self, rank: int) -> float:
        """Return the loss with this rank among all."""
        cuda = extension()
        memory, n, format, device, stream, _ = self._losses
        rule = cuda.Rule(rank, 0.0, 0, 0, "drop", True)
        with self._current_device():
            outcome = self._allocate(cuda.OUTCOME_BYTES)
            workspace = self._allocate(cuda.workspace_bytes(format.code, n, rule, device))
            cuda.reweight(
                memory.address,
                format.code,
                n,
                rule,
                1.0,
                0,
                0,
                False,
                outcome.address,
                workspace.address,
                device,
                stream.handle,
            )
            _, fields, _ = cuda.read_outcome(outcome.address, n, True, device, stream.handle)
        return float(fields[2])

    def count(self, values: Array) -> GroupStatistics:
        """Return these losses with their counts."""
        return self._find(values.astype(np.float64), by_rank=False)

    def write(
        self, plan: GroupedPlan, old_weights: Any | None, mu: float, out: Any | None
    ) -> tuple[Any, InvalidWeights | None]:
        """Return the new weights, in `out` if given, and the invalid old weights."""
        cuda = extension()
        memory, n, format, device, stream, _ = self._losses
        with self._current_device():
            new = allocate_result(self._array, out)
            target = locate_argument("out", new, self._losses)
            old = None if old_weights is None else locate_argument("weights", old_weights, self._losses)
            workspace = self._allocate(cuda.group_write_bytes(format.code, plan.n_groups))
            invalid = cuda.write_groups(
                memory.address,
                format.code,
                n,
                self._numbers.address,
                plan.n_groups,
                np.concatenate([plan.threshold, plan.recipient_threshold, plan.levels.ravel()]),
                mu,
                old.address if old else 0,
                target.address,
                out is None,
                workspace.address,
                device,
                stream.handle,
            )
            return copy_to_out(new, out), None if invalid is None else InvalidWeights(*invalid)

    def count_foreign(self, plan: GroupedPlan) -> int:
        """Return how many losses the planned ones can't have contained."""
        memory, n, format, device, stream, _ = self._losses
        minima_and_n_nan = np.stack([plan.loss_min, plan.n_nan.astype(np.float64)])
        with self._current_device():
            scratch = self._allocate(8 + minima_and_n_nan.nbytes)
            return int(
                extension().count_foreign_in_groups(
                    memory.address,
                    format.code,
                    n,
                    self._numbers.address,
                    plan.n_groups,
                    minima_and_n_nan,
                    scratch.address,
                    device,
                    stream.handle,
                )
            )

    @cached_property
    def _sorted(self) -> _SortedLosses:
        cuda = extension()
        memory, n, format, device, stream, _ = self._losses
        n_groups = self._groups.n_groups
        result = np.empty(4 + 5 * n_groups, np.int64)
        with self._current_device():
            workspace = self._allocate(cuda.group_workspace_bytes(format.code, n, n_groups, device))
            cuda.sort_groups(
                memory.address,
                format.code,
                n,
                self._numbers.address,
                n_groups,
                workspace.address,
                device,
                stream.handle,
                result,
            )
        n_nan, first_nan, n_neg_inf, first_neg_inf = result[:4].tolist()
        _, sizes, n_numbers, minima, n_minima = result[4:].reshape(5, n_groups)
        non_finite = NonFiniteCounts(n_nan, first_nan, n_neg_inf, first_neg_inf, 0)
        return _SortedLosses(workspace, non_finite, sizes, n_numbers, minima.view(np.float64), n_minima)

    def _find(self, query: Array, *, by_rank: bool) -> GroupStatistics:
        _, n, format, device, stream, _ = self._losses
        result = np.empty((3, self._groups.n_groups), np.int64)
        with self._current_device():
            extension().find_in_groups(
                format.code,
                n,
                self._groups.n_groups,
                by_rank,
                query,
                self._sorted.workspace.address,
                device,
                stream.handle,
                result,
            )
        values, n_below, n_equal = result
        return GroupStatistics(values.view(np.float64), n_below, n_equal)

    def _locate_numbers(self) -> Memory:
        """Return the group numbers on the device of the losses."""
        if not self._groups.on_host:
            return locate_argument("groups", self._groups.numbers, self._losses)
        device = self._losses.device
        name = f"numbers on CUDA device {device}"
        memory: Memory | None = self._groups.prepared.get(name)
        if memory is None:
            memory = self._allocate(self._groups.numbers.nbytes)
            # It waits, so that calls on other streams can use the copy.
            extension().copy_to_device(self._groups.numbers, memory.address, device, self._losses.stream.handle)
            self._groups.prepared[name] = memory
        return memory

    def _allocate(self, size: int) -> Memory:
        return allocate_scratch(self._array, size, self._losses)
