"""The reference backend for losses with groups: the definition of the result in plain NumPy."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from ..definition.float_errors import ignore_float_errors
from ..definition.formats import Array, widen
from ..definition.group_numbers import GroupNumbers
from ..definition.group_plan import GroupedPlan
from ..definition.group_thresholds import GroupScan, GroupStatistics
from ..definition.old_weights import InvalidWeights
from ..definition.plan import NonFiniteCounts
from .numpy_smoothing import smooth


class GroupedLosses:
    """See `rrm_core.definition.group_thresholds.GroupedLosses`.

    Parameters
    ----------
    losses : array of shape (n,)
    groups : GroupNumbers
        On the host.
    """

    def __init__(self, losses: Array, groups: GroupNumbers) -> None:
        self._values = widen(losses)
        self._numbers = groups.numbers
        self._sizes = groups.host_sizes
        self._n_nan = self._count_by_group(np.isnan(self._values))
        self._n_valid = self._sizes - self._n_nan
        # Where each group starts among the sorted losses.
        self._starts = np.cumsum(self._n_valid) - self._n_valid

    @cached_property
    def _sorted(self) -> Array:
        """The losses other than NaN, sorted by group and then by size; not needed to write weights."""
        is_number = ~np.isnan(self._values)
        values = self._values[is_number]
        return values[np.lexsort((values, self._numbers[is_number]))]

    def sizes(self) -> Array:
        """Return the number of samples of each group."""
        return self._sizes

    @ignore_float_errors
    def scan(self, ranks: Array) -> GroupScan:
        """Return minima, counts of NaN and -inf, and the losses with these ranks."""
        is_nan = np.isnan(self._values)
        is_neg_inf = self._values == -math.inf
        non_finite = NonFiniteCounts(
            n_nan=int(np.count_nonzero(is_nan)),
            first_nan=int(is_nan.argmax()),
            n_neg_inf=int(np.count_nonzero(is_neg_inf)),
            first_neg_inf=int(is_neg_inf.argmax()),
            n_pos_inf=0,
        )
        values = np.where(self._sizes > 0, math.inf, math.nan)
        has_minimum = self._n_valid > 0
        values[has_minimum] = self._sorted[self._starts[has_minimum]]
        return GroupScan(non_finite, self._n_nan, self.count(values), self.smallest(ranks))

    def smallest(self, ranks: Array) -> GroupStatistics:
        """Return the loss of each group with this rank within the group; NaN for rank 0."""
        values = np.full(ranks.shape, math.nan)
        is_ranked = (ranks > 0) & (self._n_valid > 0)
        values[is_ranked] = self._sorted[(self._starts + np.minimum(ranks, self._n_valid) - 1)[is_ranked]]
        return self.count(values)

    def smallest_of_all(self, rank: int) -> float:
        """Return the loss with this rank among all."""
        k = min(rank, self._sorted.size) - 1
        # Adding 0.0 normalises -0.0 to 0.0, here and below.
        return float(np.partition(self._sorted, k)[k]) + 0.0

    @ignore_float_errors
    def count(self, values: Array) -> GroupStatistics:
        """Return these losses with their counts."""
        of_samples = values[self._numbers]
        n_below = self._count_by_group(self._values < of_samples)
        return GroupStatistics(values + 0.0, n_below, self._count_by_group(self._values == of_samples))

    @ignore_float_errors
    def write(
        self, plan: GroupedPlan, old_weights: Array | None, mu: float, out: Array
    ) -> tuple[Array, InvalidWeights | None]:
        """Write the new weights to `out`; return it and the invalid old weights."""
        threshold = plan.threshold[self._numbers]
        is_recipient = self._values <= plan.recipient_threshold[self._numbers]
        level = (self._values <= threshold).astype(np.intp) + (self._values < threshold) + 2 * is_recipient
        target = plan.levels.astype(out.dtype)[self._numbers, level]
        return smooth(target, old_weights, mu, out)

    @ignore_float_errors
    def count_foreign(self, plan: GroupedPlan) -> int:
        """Return how many losses the planned ones can't have contained."""
        may_be_nan = (plan.n_nan > 0)[self._numbers]
        possible = (self._values >= plan.loss_min[self._numbers]) | (np.isnan(self._values) & may_be_nan)
        return int(np.count_nonzero(~possible))

    def _count_by_group(self, mask: Array) -> Array:
        return np.bincount(self._numbers[mask], minlength=len(self._sizes)).astype(np.int64)
