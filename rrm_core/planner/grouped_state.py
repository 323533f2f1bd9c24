"""State of an exact multi-pass selection with groups, as `round_state` without groups."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..definition.counting import FIRST_NAN, FIRST_NEG_INF, MISSING, TYPE_CODE
from ..definition.formats import BY_CODE, Array, Format
from ..definition.group_counting import GROUP_MIN_KEYS, GroupPass, TargetNumbers
from ..definition.group_plan import GroupedPlan
from ..definition.group_thresholds import (
    GroupScan,
    GroupStatistics,
    GroupThresholds,
    check_scan,
    find_group_thresholds,
    make_grouped_plan,
)
from ..definition.key_arrays import decode_keys, encode_keys
from ..definition.plan import NonFiniteCounts
from ..definition.rule import Rule
from .grouped_ranges import KeyRanges, own_ranks, ranks_of_all


@dataclass(frozen=True, eq=False)
class GroupedState:
    """State of a selection with groups at the start of a round, the same for all planners of the round. Immutable.

    The first rounds narrow the ranges of keys that contain the order statistics, by `bits` bits each. If a group has
    thresholds other than its own order statistics, a last round counts its losses relative to them.

    Attributes
    ----------
    rule : Rule
    n_groups : int
    bits : int
        Number of bits of the keys that one round determines.
    n_counted : int
        Number of rounds that have been counted.
    format : Format, optional
        Type of the losses. This and the attributes below are known after the first round.
    checksum : int
        See `group_checksum` in `rrm_core.backends.numpy_group_counting`.
    sizes, n_nan : int64 arrays of shape (n_groups,)
        Number of losses of each group, and of NaN.
    min_keys : uint64 array of shape (n_groups,)
        Smallest keys; 0 for an empty group.
    own : KeyRanges of shape (number of thresholds, n_groups)
        Order statistics of the groups, see `own_ranks`.
    of_all : KeyRanges of shape (number of thresholds,)
        Order statistics of all losses, see `ranks_of_all`.
    pivot_counts : int64 array of shape (number of pivots, 2, n_groups), optional
        The losses of each group below and at each of `pivots`, once counted.
    """

    rule: Rule
    n_groups: int
    bits: int
    n_counted: int
    format: Format | None
    checksum: int
    sizes: Array
    n_nan: Array
    min_keys: Array
    own: KeyRanges
    of_all: KeyRanges
    pivot_counts: Array | None

    @classmethod
    def start(cls, rule: Rule, n_groups: int, bits: int) -> GroupedState:
        """Return the state at the start of the first round."""
        targets = TargetNumbers(rule)
        return cls(
            rule,
            n_groups,
            bits,
            n_counted=0,
            format=None,
            checksum=0,
            sizes=np.zeros(n_groups, np.int64),
            n_nan=np.zeros(n_groups, np.int64),
            min_keys=np.zeros(n_groups, np.uint64),
            own=KeyRanges.unknown((targets.own, n_groups)),
            of_all=KeyRanges.unknown((targets.of_all,)),
            pivot_counts=None,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GroupedState):
            return NotImplemented
        return self._scalars == other._scalars and all(
            np.array_equal(one, another) for one, another in zip(self._arrays, other._arrays, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def _scalars(self) -> tuple[Any, ...]:
        has_pivot_counts = self.pivot_counts is not None
        return self.rule, self.n_groups, self.bits, self.n_counted, self.format, self.checksum, has_pivot_counts

    @property
    def _arrays(self) -> list[Array]:
        pivot_counts = [] if self.pivot_counts is None else [self.pivot_counts]
        return [self.sizes, self.n_nan, self.min_keys, *self.own, *self.of_all, *pivot_counts]

    @property
    def n(self) -> int:
        """Number of losses."""
        return int(self.sizes.sum())

    @property
    def round(self) -> int:
        """Current round, counted from 1; the last one once the selection is complete."""
        return self.n_counted if self.complete else self.n_counted + 1

    @property
    def complete(self) -> bool:
        """True once all thresholds and counts are known, so that there is a plan."""
        return self.n_counted > 0 and self.width == 0 and (self.pivot_counts is not None or not len(self.pivots))

    @property
    def width(self) -> int:
        """Binary logarithm of the number of keys in a range, after the first round; 0 if there are no ranges."""
        assert self.format is not None
        has_ranges = self.own.first.size + self.of_all.first.size > 0
        return max(self.format.width - self.bits * self.n_counted, 0) if has_ranges else 0

    @cached_property
    def ranks(self) -> tuple[Array, Array]:
        """The ranks of the order statistics of the groups, and of all losses."""
        return own_ranks(self.rule, self.sizes, self.n_nan), ranks_of_all(self.rule, self.n, int(self.n_nan.sum()))

    @cached_property
    def pivots(self) -> Array:
        """Keys relative to which the last round counts the losses of each group: uint64, shape (number, n_groups)."""
        assert self.format is not None
        known = _StateStatistics(replace(self, pivot_counts=None))
        known.find_thresholds()
        keys = [encode_keys(values, self.format) for values in known.counted]
        return np.array(keys, np.uint64).reshape(-1, self.n_groups)

    @cached_property
    def group_pass(self) -> GroupPass:
        """What this round counts."""
        none = KeyRanges.unknown((0, self.n_groups)).first
        if self.n_counted == 0:
            # All order statistics share a histogram.
            return GroupPass(
                self.n_groups, True, self.bits, -1, own=self.own.first[:1], of_all=self.of_all.first[:1], pivots=none
            )
        if self.width > 0:
            bits = min(self.bits, self.width)
            shift = self.width - bits
            return GroupPass(self.n_groups, False, bits, shift, self.own.first, self.of_all.first, pivots=none)
        pivots = none if self.complete else self.pivots
        return GroupPass(self.n_groups, False, 0, 0, own=none, of_all=none[:, 0], pivots=pivots)

    def after_round(self, counts: Array) -> GroupedState:
        """Return the state at the start of the next round.

        Parameters
        ----------
        counts : int64 array
            Those of `group_pass`.

        Raises
        ------
        ValueError
            The losses cannot be reweighted.
        """
        places = self.group_pass
        if self.n_counted and not self.width:
            shape = (len(places.pivots), 2, self.n_groups)
            pivot_counts = counts[places.pivot_counts : places.own_histograms].reshape(shape).copy()
            return replace(self, n_counted=self.n_counted + 1, pivot_counts=pivot_counts)
        state = self._after_first_round(counts) if self.n_counted == 0 else self
        bins = 1 << places.bits
        shape = (len(places.own), self.n_groups, bins)
        own_histograms = counts[places.own_histograms : places.histograms_of_all].reshape(shape)
        histograms_of_all = counts[places.histograms_of_all :].reshape(-1, bins)
        own_ranks, ranks_of_all = state.ranks
        assert state.format is not None
        shift = places.shift_of(state.format)
        return replace(
            state,
            n_counted=self.n_counted + 1,
            own=self.own.narrow(own_ranks, own_histograms, shift),
            of_all=self.of_all.narrow(ranks_of_all, histograms_of_all, shift),
        )

    def _after_first_round(self, counts: Array) -> GroupedState:
        """Return this state with the type, the sizes and the minima of the first round."""
        places = self.group_pass
        format = BY_CODE[int(counts[TYPE_CODE])]
        sizes = counts[places.sizes : places.n_nan].copy()
        n_nan = counts[places.n_nan : places.pivot_counts].copy()
        signed = counts[GROUP_MIN_KEYS : places.n]
        min_keys = np.where(signed == MISSING, np.uint64(0), signed.view(np.uint64) ^ np.uint64(1 << 63))
        state = replace(
            self, format=format, checksum=int(counts[places.checksum]), sizes=sizes, n_nan=n_nan, min_keys=min_keys
        )
        first_nan, first_neg_inf = counts[[FIRST_NAN, FIRST_NEG_INF]].tolist()
        n_neg_inf = int(counts[places.n_neg_inf])
        non_finite = NonFiniteCounts(int(n_nan.sum()), first_nan, n_neg_inf, first_neg_inf, 0)
        check_scan(self.rule, sizes, _StateStatistics(state).scan._replace(non_finite=non_finite))
        return state

    def plan(self) -> GroupedPlan:
        """Return the plan; the state must be complete."""
        assert self.format is not None
        known = _StateStatistics(self)
        thresholds = known.find_thresholds()
        return make_grouped_plan(self.rule, self.format, self.sizes.copy(), known.scan, thresholds)


class _StateStatistics:
    """The order statistics and counts in a state; see `OrderStatistics`.

    Attributes
    ----------
    scan : GroupScan
    counted : list of float64 arrays of shape (n_groups,)
        The arguments of `count`, in order. The counts are 0 until the state has them.
    """

    def __init__(self, state: GroupedState) -> None:
        assert state.format is not None
        self._state = state
        self._format = state.format
        self._is_empty = state.sizes == 0
        self.counted: list[Array] = []
        minimum = self._decode(state.min_keys, state.n_nan < state.sizes)
        minimum[~self._is_empty & (state.n_nan == state.sizes)] = math.inf
        none = np.zeros_like(state.sizes)
        ranked = GroupStatistics(minimum, none, none)
        if state.rule.group_shares is not None and not state.width:
            ranked = self._own(0)
        if state.rule.mass == "group" and state.rule.redistribute == "argmin":
            scanned = self.count(minimum)
        else:
            scanned = GroupStatistics(minimum, none, none)
        self.scan = GroupScan(NonFiniteCounts(0, 0, 0, 0, 0), state.n_nan.copy(), scanned, ranked)

    def find_thresholds(self) -> GroupThresholds:
        """Return the thresholds, as far as their counts are known."""
        state = self._state
        return find_group_thresholds(self, state.rule, self._format, state.sizes, self.scan)

    def smallest(self, ranks: Array) -> GroupStatistics:  # noqa: ARG002
        """Return the losses with the ranks of the recipients."""
        return self._own(-1)

    def smallest_of_all(self, rank: int) -> float:
        """Return the loss with this rank among all."""
        ranks = self._state.ranks[1]
        place = int((ranks == min(rank, self._state.n - int(self._state.n_nan.sum()))).argmax())
        return self._format.decode(int(self._state.of_all.first[place]))

    def count(self, values: Array) -> GroupStatistics:
        """Return these losses with their counts."""
        place = len(self.counted)
        self.counted.append(values)
        counts = self._state.pivot_counts
        if counts is None:
            none = np.zeros_like(self._state.sizes)
            return GroupStatistics(values, none, none)
        return GroupStatistics(values + 0.0, counts[place, 0], counts[place, 1])

    def _own(self, place: int) -> GroupStatistics:
        own = self._state.own
        values = self._decode(own.first[place], ~self._is_empty)
        return GroupStatistics(values, own.n_below[place], own.n_inside[place])

    def _decode(self, keys: Array, has_key: Array) -> Array:
        """Return the numbers with these keys, and NaN where there is none."""
        zero = np.uint64(self._format.key(0.0))
        return np.where(has_key, decode_keys(np.where(has_key, keys, zero), self._format), math.nan)
