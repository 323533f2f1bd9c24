"""State of an exact multi-pass selection: the rule, what earlier rounds found, and the key ranges still to count."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..definition.counting import BIN_BITS
from ..definition.formats import Array, Format
from ..definition.plan import Counts, NonFiniteCounts, Plan, Thresholds, check_losses, make_plan
from ..definition.rule import Rule
from .rank_search import MAX_KEYS, PivotCount, RankRange, Target


@dataclass(frozen=True)
class SelectionState:
    """State of a selection at the start of a round, the same for all planners of the round. Immutable.

    Attributes
    ----------
    rule : Rule
    round : int
        Current round, counted from 1; the last one once the selection is complete.
    format : Format, optional
        Type of the losses. This and the attributes below are known after the first round.
    n, checksum, n_nan : int
        Number of losses, sum of their words modulo 2**32, and number of NaN.
    min_key : int
        Smallest key.
    threshold : RankRange or PivotCount, optional
        The threshold of pruning.
    recipients : RankRange or PivotCount, optional
        The threshold of the recipients; None if it equals `threshold`, or if there are no recipients.
    """

    rule: Rule
    round: int = 1
    format: Format | None = None
    n: int = 0
    checksum: int = 0
    n_nan: int = 0
    min_key: int = 0
    threshold: Target | None = None
    recipients: Target | None = None

    @property
    def targets(self) -> list[Target]:
        """The thresholds that exist."""
        return [target for target in (self.threshold, self.recipients) if target is not None]

    @property
    def complete(self) -> bool:
        """True once all thresholds are known, so that there is a plan."""
        return self.threshold is not None and all(target.resolved for target in self.targets)

    @property
    def pivots(self) -> list[int]:
        """Keys whose rank this round counts."""
        return list({t.key: t for t in self.targets if isinstance(t, PivotCount) and not t.resolved})

    @property
    def ranges(self) -> dict[tuple[int, int, int], int]:
        """Bounds of the key ranges that this round counts, with the number of losses in each; see `RankRange.bounds`.

        Two targets may share a range.
        """
        return {t.bounds: t.n_inside for t in self.targets if isinstance(t, RankRange) and not t.resolved}

    @property
    def collects_keys(self) -> bool:
        """True if the ranges of this round hold so few losses that their keys are collected rather than counted."""
        return self.round > 1 and sum(self.ranges.values()) <= MAX_KEYS

    def after_first_round(
        self, format: Format, n: int, checksum: int, minima: Sequence[int], histogram: Array
    ) -> SelectionState:
        """Return the state after the first round, still with the number of the first round.

        Parameters
        ----------
        format : Format
            Type of the losses.
        n, checksum : int
            Number of losses, and sum of their words modulo 2**32.
        minima : sequence of int
            Smallest key, index of the first NaN, and index of the first -inf.
        histogram : int64 array of shape (BINS,)
            Number of losses in each bin.

        Raises
        ------
        ValueError
            The losses cannot be reweighted.
        """
        shift = format.width - BIN_BITS
        min_key, first_nan, first_neg_inf = minima
        # NaN and the infinities have bins of their own.
        n_nan = int(histogram[-1])
        n_pos_inf = int(histogram[format.key(math.inf) >> shift])
        n_neg_inf = int(histogram[format.key(-math.inf) >> shift])
        check_losses(self.rule, n, NonFiniteCounts(n_nan, first_nan, n_neg_inf, first_neg_inf, n_pos_inf))

        def count(target: Target | None) -> Target | None:
            if target is None:
                return None
            if isinstance(target, RankRange):
                return target.narrow(histogram)
            if shift:
                return target
            # Losses of 16 bits have a bin per key: no other round is needed.
            return PivotCount(target.key, int(histogram[: target.key].sum()), int(histogram[target.key]))

        threshold, recipients = map(count, find_targets(self.rule, format, n, n_nan, min_key))
        return SelectionState(self.rule, 1, format, n, checksum, n_nan, min_key, threshold, recipients)

    def plan(self) -> Plan:
        """Return the plan; the state must be complete."""
        assert self.format is not None
        assert self.threshold is not None
        decode = self.format.decode
        threshold = self.threshold
        recipients = self.recipients
        n_kept = threshold.n_below + threshold.n_at
        if self.rule.recipient_rank(self.n) == 0:
            recipient_threshold = -math.inf
            n_recipients = 0
        # Comparing keys is comparing losses, as `rrm_core.plan` does.
        elif recipients is None or recipients.key >= threshold.key:
            recipient_threshold = decode(threshold.key)
            n_recipients = n_kept
        else:
            recipient_threshold = decode(recipients.key)
            n_recipients = recipients.n_below + recipients.n_at
        thresholds = Thresholds(decode(self.min_key), decode(threshold.key), recipient_threshold)
        counts = Counts(self.n - n_kept, threshold.n_at, n_recipients)
        return make_plan(self.rule, self.format, self.n, self.n_nan, thresholds, counts)


def find_targets(rule: Rule, format: Format, n: int, n_nan: int, min_key: int) -> tuple[Target, Target | None]:
    """Return the thresholds by their ranks or keys, before anything is counted; see `SelectionState`.

    Parameters
    ----------
    rule : Rule
    format : Format
        Type of the losses.
    n, n_nan : int
        Number of losses, and of NaN among them.
    min_key : int
        Smallest key.
    """

    def of_rank(rank: int) -> RankRange:
        return RankRange(min(rank, n - n_nan), 0, format.width)

    threshold: Target
    if rule.gamma is None:
        threshold = of_rank(n - rule.quota(n))
    elif rule.gamma:
        threshold = PivotCount(format.key(format.round_down(format.decode(min_key) + rule.gamma)))
    else:
        threshold = PivotCount(min_key)
    rank = rule.recipient_rank(n)
    if rank == 1:
        return threshold, PivotCount(min_key)
    # The recipients' threshold never lies above the other one.
    if 0 < rank <= n and (rule.gamma is not None or rank < n - rule.quota(n)):
        return threshold, of_rank(rank)
    return threshold, None
