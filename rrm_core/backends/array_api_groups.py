"""The array-API backend for losses with groups: operations where the array lies.

The losses are sorted within their groups. Only numbers of the groups are copied to the host.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from array_api_compat import device

from ..definition.float_errors import ignore_float_errors
from ..definition.formats import BY_NAME, Array
from ..definition.group_numbers import GroupNumbers
from ..definition.group_plan import GroupedPlan
from ..definition.group_thresholds import GroupScan, GroupStatistics
from ..definition.host_copy import copy_to_host
from ..definition.old_weights import InvalidWeights
from ..definition.plan import NonFiniteCounts


class GroupedLosses:
    """See `rrm_core.definition.group_thresholds.GroupedLosses`.

    Parameters
    ----------
    xp : module
        The array namespace of the losses.
    losses : array of shape (n,)
    groups : GroupNumbers
        On the host, or on the device of the losses.
    dtype : str
        Name of the losses' type.
    find_invalid : callable
        Returns the invalid ones among old weights.
    """

    def __init__(
        self,
        xp: Any,
        losses: Any,
        groups: GroupNumbers,
        dtype: str,
        find_invalid: Callable[[Any, Any], InvalidWeights | None],
    ) -> None:
        self._xp = xp
        self._losses = losses
        self._n_groups = groups.n_groups
        self._groups = groups
        self._weights_type = BY_NAME[dtype].weights
        self._find_invalid = find_invalid

    def sizes(self) -> Array:
        """Return the number of samples of each group."""
        return np.diff(self._starts)

    @ignore_float_errors
    def scan(self, ranks: Array) -> GroupScan:
        """Return minima, counts of NaN and -inf, and the losses with these ranks."""
        xp = self._xp
        is_neg_inf = self._losses == -math.inf
        n_of_group_nan = self._sum_by_group(self._is_nan)
        n_nan = int(n_of_group_nan.sum())
        n_neg_inf = int(xp.count_nonzero(is_neg_inf))
        non_finite = NonFiniteCounts(
            n_nan=n_nan,
            first_nan=self._first_index(self._is_nan) if n_nan else 0,
            n_neg_inf=n_neg_inf,
            first_neg_inf=self._first_index(is_neg_inf) if n_neg_inf else 0,
            n_pos_inf=0,
        )
        self._n_valid = self.sizes() - n_of_group_nan
        minima = self._take_ranked(np.minimum(self.sizes(), 1))
        return GroupScan(non_finite, n_of_group_nan, self.count(minima), self.smallest(ranks))

    def smallest(self, ranks: Array) -> GroupStatistics:
        """Return the loss of each group with this rank within the group; NaN for rank 0."""
        return self.count(self._take_ranked(np.minimum(ranks, self._n_valid)))

    def smallest_of_all(self, rank: int) -> float:
        """Return the loss with this rank among all."""
        # Adding 0.0 normalises -0.0 to 0.0, here and below.
        return float(self._xp.sort(self._values)[min(rank, int(self._n_valid.sum())) - 1]) + 0.0

    @ignore_float_errors
    def count(self, values: Array) -> GroupStatistics:
        """Return these losses with their counts."""
        of_samples = self._by_sample(values)
        n_below = self._sum_by_group(self._losses < of_samples)
        return GroupStatistics(values + 0.0, n_below, self._sum_by_group(self._losses == of_samples))

    @ignore_float_errors
    def write(
        self, plan: GroupedPlan, old_weights: Any | None, mu: float, out: Any | None
    ) -> tuple[Any, InvalidWeights | None]:
        """Return the new weights, in `out` if given, and the invalid old weights."""
        xp = self._xp
        T = self._weights_type.type  # noqa: N806
        dtype = getattr(xp, self._weights_type.name)
        # The product is rounded once, the same for every sample of a group on that level.
        steps = T(mu) * plan.levels.astype(self._weights_type)
        pruned, tied, kept, tied_recipient, kept_recipient = (self._by_sample(step, dtype) for step in steps.T)
        threshold = self._by_sample(plan.threshold)
        below = self._losses < threshold
        new = xp.where(
            self._losses <= self._by_sample(plan.recipient_threshold),
            xp.where(below, kept_recipient, tied_recipient),
            xp.where(below, kept, xp.where(self._losses == threshold, tied, pruned)),
        )
        invalid = None
        if mu != 1:
            a = xp.asarray(float(T(1 - mu)), dtype=dtype, device=device(self._losses))
            if old_weights is None:
                new = a + new
            else:
                new = a * old_weights + new
                # Before they are overwritten: `out` may be `old_weights`.
                invalid = self._find_invalid(xp, old_weights)
        if out is None:
            return new, invalid
        out[...] = new
        return out, invalid

    @ignore_float_errors
    def count_foreign(self, plan: GroupedPlan) -> int:
        """Return how many losses the planned ones can't have contained."""
        may_be_nan = self._by_sample(plan.n_nan > 0, self._xp.bool)
        possible = (self._losses >= self._by_sample(plan.loss_min)) | (self._is_nan & may_be_nan)
        return int(self._xp.count_nonzero(~possible))

    @cached_property
    def _numbers(self) -> Any:
        """The group numbers, on the device of the losses."""
        if not self._groups.on_host:
            return self._groups.numbers
        # A copy: frameworks may share the memory of an array, and it is read-only.
        return self._on_device(self._groups.numbers.copy())

    @cached_property
    def _is_nan(self) -> Any:
        return self._xp.isnan(self._losses)

    @cached_property
    def _values(self) -> Any:
        """The losses with +inf for NaN, so that these are sorted last: array-API sort leaves the order of NaN open."""
        xp = self._xp
        return xp.where(self._is_nan, xp.full_like(self._losses, math.inf), self._losses)

    @cached_property
    def _order(self) -> Any:
        """Indices of the samples, sorted by group."""
        return self._xp.argsort(self._numbers, stable=True)

    @cached_property
    def _starts(self) -> Array:
        """Position of each group's first sample in the order and, at the end, the number of samples."""
        xp = self._xp
        numbers = xp.take(self._numbers, self._order, axis=0)
        groups = self._on_device(np.arange(self._n_groups + 1, dtype=np.int32))
        return np.asarray(copy_to_host(xp.searchsorted(numbers, groups)), np.int64)

    @cached_property
    def _sorted(self) -> Any:
        """The values, sorted by group and then by size."""
        xp = self._xp
        by_size = xp.argsort(self._values)
        by_group = xp.argsort(xp.take(self._numbers, by_size, axis=0), stable=True)
        return xp.take(self._values, xp.take(by_size, by_group, axis=0), axis=0)

    def _take_ranked(self, ranks: Array) -> Array:
        """Return the value with this rank in each group, as float64 on the host; NaN for rank 0."""
        is_ranked = ranks > 0
        values = np.full(ranks.shape, math.nan)
        if is_ranked.any():
            positions = self._on_device((self._starts[:-1] + ranks - 1)[is_ranked])
            taken = self._xp.take(self._sorted, positions, axis=0)
            values[is_ranked] = np.asarray(
                copy_to_host(self._xp.astype(taken, getattr(self._xp, self._weights_type.name)))
            )
        return values

    def _by_sample(self, values: Array, dtype: Any = None) -> Any:
        """Return the number of each sample's group; of the losses' type by default."""
        of_groups = self._on_device(values if dtype is self._xp.bool else values.astype(self._weights_type))
        return self._xp.take(self._xp.astype(of_groups, dtype or self._losses.dtype), self._numbers, axis=0)

    def _sum_by_group(self, mask: Any) -> Array:
        """Return the number of samples of each group for which the mask holds: int64, on the host."""
        xp = self._xp
        sums = xp.cumulative_sum(xp.take(xp.astype(mask, xp.int32), self._order, axis=0), include_initial=True)
        return np.diff(np.asarray(copy_to_host(xp.take(sums, self._on_device(self._starts), axis=0)), np.int64))

    def _first_index(self, mask: Any) -> int:
        return int(self._xp.argmax(self._xp.astype(mask, self._xp.uint8)))

    def _on_device(self, array: Array) -> Any:
        return self._xp.asarray(array, device=device(self._losses))
