"""Question: what all planners of one round look for; and the plan, once nothing is left to look for."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from ..definition.counting import BIN_BITS
from ..definition.formats import BY_CODE, Array, Format
from ..definition.plan import Counts, NonFiniteCounts, Plan, Thresholds, check_losses, make_plan
from ..definition.rule import Redistribute, Rule
from .rank_search import MAX_KEYS, PivotCount, RankRange

VERSION = 1
LENGTH = 25  # numbers
Sought: TypeAlias = "RankRange | PivotCount"


@dataclass(frozen=True)
class Question:
    """The rule, what the rounds before have found, and what is still sought. An immutable value.

    Attributes
    ----------
    rule : Rule
        What was asked for.
    round : int
        The round under way, from 1; the last one once it is over.
    format : Format, optional
        Of the losses. This and the rest are known after the first round.
    n, checksum, n_nan : int
        Losses, the sum of their words modulo 2**32, and how many are NaN.
    lowest : int
        The lowest key.
    threshold, recipients : RankRange, PivotCount or None
        Where the two thresholds are. Without one of its own, the recipients' threshold is the other, or there is none.
    """

    rule: Rule
    round: int = 1
    format: Format | None = None
    n: int = 0
    checksum: int = 0
    n_nan: int = 0
    lowest: int = 0
    threshold: Sought | None = None
    recipients: Sought | None = None

    @property
    def answered(self) -> bool:
        """Whether there is a plan."""
        return self.threshold is not None and self.threshold.found and (not self.recipients or self.recipients.found)

    @property
    def points(self) -> list[int]:
        """The keys to which the losses of this round are compared."""
        sought = (self.threshold, self.recipients)
        return list({s.key: s for s in sought if isinstance(s, PivotCount) and not s.found})

    @property
    def intervals(self) -> dict[tuple[int, int, int], int]:
        """The intervals in which the losses of this round are counted, with how many losses each has."""
        # Two ranks may lie in one, as they do in the first round, where it is that of all keys.
        return {s.interval: s.at for s in (self.threshold, self.recipients) if isinstance(s, RankRange) and not s.found}

    @property
    def wants_keys(self) -> bool:
        """Whether the losses in the intervals are few enough to be taken as they are."""
        return self.round > 1 and sum(self.intervals.values()) <= MAX_KEYS

    def after_first(self, format: Format, n: int, checksum: int, minima: Sequence[int], counts: Array) -> Question:
        """Return what is left to ask after the first round.

        Parameters
        ----------
        minima : sequence of int
            The lowest key, and the first index of NaN and of -inf.
        counts : array of shape (BINS,)
            How many losses there are in each bin.

        Raises
        ------
        ValueError
            The losses can't be reweighted.
        """
        rule, shift = self.rule, format.width - BIN_BITS
        lowest, first_nan, first_low = minima
        # NaN and the infinities have bins of their own.
        n_nan, n_inf, n_low = int(counts[-1]), *(int(counts[format.key(x) >> shift]) for x in (math.inf, -math.inf))
        check_losses(rule, n, NonFiniteCounts(n_nan, first_nan, n_low, first_low, n_inf))

        def ranked(rank: int) -> RankRange:
            return RankRange(min(rank, n - n_nan), 0, format.width).among_counts(counts)

        def point(key: int) -> PivotCount:
            return PivotCount(key) if shift else PivotCount(key, int(counts[:key].sum()), int(counts[key]))

        if rule.gamma is None:
            threshold: Sought = ranked(n - rule.quota(n))
        elif rule.gamma:
            threshold = point(format.key(format.round_down(format.decode(lowest) + rule.gamma)))
        else:
            threshold = point(lowest)
        recipients: Sought | None = None
        rank = rule.recipient_rank(n)
        if rank == 1:
            recipients = point(lowest)
        # It never lies above the other one.
        elif 0 < rank <= n and (rule.gamma is not None or rank < n - rule.quota(n)):
            recipients = ranked(rank)
        return Question(rule, 1, format, n, checksum, n_nan, lowest, threshold, recipients)

    def plan(self) -> Plan:
        """Return the plan, once the question is answered."""
        assert self.format is not None
        assert self.threshold is not None
        format, threshold, own = self.format, self.threshold, self.recipients
        upto = threshold.below + threshold.at
        # Keys are compared, as `plan.find_thresholds` compares losses.
        if self.rule.recipient_rank(self.n) == 0:
            reach, n_recipients = -math.inf, 0
        elif own is None or own.key >= threshold.key:
            reach, n_recipients = format.decode(threshold.key), upto
        else:
            reach, n_recipients = format.decode(own.key), own.below + own.at
        thresholds = Thresholds(format.decode(self.lowest), format.decode(threshold.key), reach)
        counts = Counts(self.n - upto, threshold.at, n_recipients)
        return make_plan(self.rule, format, self.n, self.n_nan, thresholds, counts)

    def as_numbers(self) -> Array:
        """Return the question as integers, from which `from_numbers` makes it again."""
        rule = self.rule
        value, kind = (rule.contamination or 0.0, 0) if rule.gamma is None else (rule.gamma, 1)
        receivers, fraction = (
            (rule.redistribute, 0.0) if isinstance(rule.redistribute, str) else ("", rule.redistribute)
        )
        asked = [
            kind,
            _bits(value),
            _RECEIVERS.index(receivers),
            _bits(fraction),
            int(rule.ties == "share"),
            int(rule.nan == "prune"),
        ]
        code = -1 if self.format is None else self.format.code
        known = [self.round, code, self.n, self.checksum, self.n_nan, signed(self.lowest)]
        return np.array(
            [VERSION, *asked, *known, *_sought_as_numbers(self.threshold), *_sought_as_numbers(self.recipients)],
            np.int64,
        )


def from_numbers(numbers: Sequence[int]) -> Question:
    """Return the question that `Question.as_numbers` returned as integers.

    Raises
    ------
    ValueError
        They are of another version, or no question.
    """
    if numbers[:1] != [VERSION]:
        raise ValueError(f"version {numbers[0] if numbers else 'none'}, not {VERSION}")
    if len(numbers) != LENGTH:
        raise ValueError(f"a question of {len(numbers)} numbers")
    kind, value, receivers, fraction, share, prune, round, code, *known = numbers[1:13]
    if not 0 <= receivers < len(_RECEIVERS):
        raise ValueError("an unknown way to redistribute")
    rule = Rule(
        contamination=None if kind else _double(value),
        gamma=_double(value) if kind else None,
        redistribute=_RECEIVERS[receivers] or _double(fraction),
        ties="share" if share else "keep",
        nan="prune" if prune else "raise",
    )
    n, checksum, n_nan, lowest = known
    threshold, recipients = (_sought_from_numbers(numbers[i : i + 6]) for i in (13, 19))
    question = Question(rule, round, BY_CODE.get(code), n, checksum, n_nan, unsigned(lowest), threshold, recipients)
    if not _makes_sense(question) or question.as_numbers().tolist() != numbers:
        raise ValueError("a question that makes no sense")
    return question


_RECEIVERS: tuple[Redistribute | Literal[""], ...] = ("argmin", "kept", "drop", "")  # the last: a fraction


def signed(key: int) -> int:
    """Return a key in the order of int64, which is what NumPy, npz files and messages hold best."""
    return key - (1 << 63)


def unsigned(number: int) -> int:
    """Return the key of which `signed` made this number."""
    return number + (1 << 63)


def _bits(x: float) -> int:
    return int(struct.unpack("<q", struct.pack("<d", x))[0])


def _double(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<q", bits))[0])


def _sought_as_numbers(sought: Sought | None) -> tuple[int, ...]:
    if sought is None:
        return (0,) * 6
    if isinstance(sought, PivotCount):
        return 1, signed(sought.key), sought.below, sought.at, 0, 0
    return 2, signed(sought.first), sought.below, sought.at, sought.rank, sought.width


def _sought_from_numbers(numbers: Sequence[int]) -> Sought | None:
    kind, key, below, at, rank, width = numbers
    if kind == 0:
        return None
    if kind == 1:
        return PivotCount(unsigned(key), below, at)
    if width not in range(0, 64, BIN_BITS):
        raise ValueError(f"an interval of {width} bits")
    return RankRange(rank, unsigned(key), width, below, at)


def _makes_sense(question: Question) -> bool:
    format, sought = question.format, [s for s in (question.threshold, question.recipients) if s is not None]
    if format is None or question.threshold is None:  # before the first round is over
        return question == Question(question.rule)
    keys, intervals = range(1 << format.width), [s for s in sought if isinstance(s, RankRange)]
    return (
        question.n > 0
        and (question.round > 1 or (question.round == 1 and question.answered))
        and all(s.key in keys for s in (*sought, PivotCount(question.lowest)))
        and all(s.width < format.width and s.first + (1 << s.width) - 1 in keys for s in intervals)
    )
