"""The Numba backend for losses with groups: their keys are sorted by group, and selected by bisection.

float16 and bfloat16 have been widened to float32, which is exact.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from ..definition.float_errors import ignore_float_errors
from ..definition.formats import BY_STORAGE, Array
from ..definition.group_numbers import GroupNumbers, GroupOrder
from ..definition.group_plan import GroupedPlan
from ..definition.group_thresholds import GroupScan, GroupStatistics
from ..definition.old_weights import InvalidWeights
from ..definition.plan import NonFiniteCounts
from .numba_arrays import merge_chunks, plain
from .numba_runtime import exclusive, group_kernels, n_chunks, run


class GroupedLosses:
    """See `rrm_core.definition.group_thresholds.GroupedLosses`.

    Parameters
    ----------
    values : float32 or float64 array of shape (n,)
        Contiguous and read-only.
    groups : GroupNumbers
        On the host.
    threads : int or None
    """

    def __init__(self, values: Array, groups: GroupNumbers, threads: int | None) -> None:
        self._values = values
        self._format = BY_STORAGE[values.dtype]
        self._groups = groups
        self._threads = threads
        self._nan = np.uint64((1 << self._format.width) - 1)

    def sizes(self) -> Array:
        """Return the number of samples of each group."""
        return np.diff(self._order.starts)

    @ignore_float_errors
    def scan(self, ranks: Array) -> GroupScan:
        """Return minima, counts of NaN and -inf, and the losses with these ranks."""
        is_nan = np.isnan(self._values)
        is_neg_inf = self._values == -math.inf
        selected, n_nan = self._scan(ranks)
        non_finite = NonFiniteCounts(
            n_nan=int(n_nan.sum()),
            first_nan=int(is_nan.argmax()),
            n_neg_inf=int(np.count_nonzero(is_neg_inf)),
            first_neg_inf=int(is_neg_inf.argmax()),
            n_pos_inf=0,
        )
        minima = self._decode(selected[:, 0])
        minima[n_nan == self.sizes()] = math.inf
        minima[self.sizes() == 0] = math.nan
        return GroupScan(non_finite, n_nan, self.count(minima), self.count(self._decode(selected[:, 1])))

    def smallest(self, ranks: Array) -> GroupStatistics:
        """Return the loss of each group with this rank within the group; NaN for rank 0."""
        return self.count(self._decode(self._scan(ranks)[0][:, 1]))

    def smallest_of_all(self, rank: int) -> float:
        """Return the loss with this rank among all."""
        n = len(self._values)
        starts = np.array([0, n])
        selected, _ = self._scan(np.array([rank]), starts)
        return float(self._decode(selected[:, 1])[0])

    @ignore_float_errors
    def count(self, values: Array) -> GroupStatistics:
        """Return these losses with their counts."""
        counts = np.empty((self._groups.n_groups, 2), np.int64)
        pivots = self._encode(values)
        with exclusive(self._threads):
            run(group_kernels().count, self._keys, n_chunks(), self._order.starts, pivots, counts)
        # The key of NaN, which stands for a group without a loss, would count NaN.
        counts[np.isnan(values)] = 0
        return GroupStatistics(values + 0.0, counts[:, 0].copy(), counts[:, 1].copy())

    @ignore_float_errors
    def write(
        self, plan: GroupedPlan, old_weights: Array | None, mu: float, out: Array
    ) -> tuple[Array, InvalidWeights | None]:
        """Write the new weights to `out`; return it and the invalid old weights."""
        T = out.dtype.type  # noqa: N806
        a = T(1 - mu)
        steps = T(mu) * plan.levels.astype(T)
        old = plain(np.empty(0, out.dtype))
        if mu != 1 and old_weights is not None:
            old = plain(old_weights)
        elif mu != 1:
            steps = a + steps
        new = out if out.flags.carray else np.empty(out.shape, out.dtype)
        thresholds = plan.threshold.astype(self._values.dtype)
        recipient_thresholds = plan.recipient_threshold.astype(self._values.dtype)
        with exclusive(self._threads):
            counts, first_values = run(
                group_kernels().write,
                self._values,
                self._groups.numbers,
                old,
                new,
                n_chunks(),
                thresholds,
                recipient_thresholds,
                steps,
                a,
            )
        if new is not out:
            out[...] = new
        return out, merge_chunks(counts, first_values)

    @ignore_float_errors
    def count_foreign(self, plan: GroupedPlan) -> int:
        """Return how many losses the planned ones can't have contained."""
        numbers = self._groups.numbers
        possible = (self._values >= plan.loss_min[numbers]) | (np.isnan(self._values) & (plan.n_nan > 0)[numbers])
        return int(np.count_nonzero(~possible))

    @cached_property
    def _order(self) -> GroupOrder:
        order = self._groups.prepared.get("order")
        if order is None:
            order = GroupOrder.empty(len(self._groups), self._groups.n_groups)
            with exclusive(self._threads):
                group_kernels().sort_by_group(self._groups.numbers, *order)
            self._groups.prepared["order"] = order
        return order

    @cached_property
    def _keys(self) -> Array:
        bits = self._values.view(f"u{self._values.itemsize}")
        keys = np.empty(len(bits), np.uint64)
        infinity = np.uint64(np.array(np.inf, self._values.dtype).view(bits.dtype))
        with exclusive(self._threads):
            run(group_kernels().sort_keys, bits, n_chunks(), self._order.positions, infinity, keys)
        return keys

    def _scan(self, ranks: Array, starts: Array | None = None) -> tuple[Array, Array]:
        """Return the smallest key of each group and that with a rank, and the number of NaN.

        Of the groups that start at other places, if `starts` is given.
        """
        if starts is None:
            starts = self._order.starts
        selected = np.empty((len(ranks), 2), np.uint64)
        n_nan = np.empty(len(ranks), np.int64)
        with exclusive(self._threads):
            run(group_kernels().scan, self._keys, n_chunks(), starts, self._nan, ranks, selected, n_nan)
        return selected, n_nan

    def _encode(self, values: Array) -> Array:
        """Return the keys of numbers; that of NaN for NaN."""
        # In the type of the losses, -0.0 is made 0.0.
        bits = (values.astype(self._values.dtype) + 0).view(f"u{self._values.itemsize}").astype(np.uint64)
        sign = np.uint64(1) << np.uint64(self._format.width - 1)
        keys = np.where(bits > sign, ~bits & self._nan, bits | sign)
        return np.where(np.isnan(values), self._nan, keys)

    def _decode(self, keys: Array) -> Array:
        """Return the numbers with these keys, as float64; NaN for the key of NaN."""
        sign = np.uint64(1) << np.uint64(self._format.width - 1)
        bits = np.where(keys & sign, keys ^ sign, ~keys & self._nan).astype(f"u{self._values.itemsize}")
        values = bits.view(self._values.dtype).astype(np.float64)
        return np.where(keys == self._nan, math.nan, values)
