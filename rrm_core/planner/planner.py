"""Planner: the plan of losses that come in parts, over time or over machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from operator import index
from typing import Any

import numpy as np

from ..arrays import convert as arrays
from ..backends import registry as dispatch
from ..definition.arguments import check_threads
from ..definition.counting import BINS
from ..definition.formats import BY_CODE, Array, Format
from ..definition.plan import Plan
from ..definition.rule import NaN, Redistribute, Rule, Ties
from .rank_search import PivotCount, RankRange
from .round_state import Question, from_numbers, signed, unsigned

NOWHERE = np.iinfo(np.int64).max  # of an index, or of a key where there is none
HEAD = 8  # sums besides the counts of bins: losses, checksum, below and at both points, inside both intervals


class Planner:
    """The plan of losses that are never in one place: a file larger than memory, the ranks of a job, a cluster.

    The losses are counted in rounds. In each, every loss is given to some planner once, with `update`; the planners are
    merged into one, which ends the round with `advance`, until it is `done` and has the `plan`: that of
    `rrm_core.plan`, to the bit. float16 and bfloat16 take one round, float32 takes two, float64 two to four. Neither
    the order of the parts nor who counts them matters. A planner serves one thread at a time: let each have its own,
    and merge them.

    Parameters
    ----------
    contamination, gamma, redistribute, ties, nan
        The rule, as for `rrm_core.reweight`.
    backend : {"cpp", "numpy"}, optional
        Who counts; by default the first that is available.
    threads : int, at least 1, optional
        As for `rrm_core.reweight`.

    Raises
    ------
    TypeError, ValueError
        As `rrm_core.reweight`.

    See Also
    --------
    rrm_core.stream : files and other streams, planned and reweighted by a planner.

    Examples
    --------
    >>> import numpy as np, rrm_core
    >>> chunks = [np.array([0.1, 0.3, 0.2]), np.array([4.0, 0.4])]
    >>> planner = rrm_core.Planner(contamination=0.2)
    >>> while not planner.done:
    ...     for chunk in chunks:
    ...         planner.update(chunk)
    ...     planner.advance()
    >>> planner.plan == rrm_core.plan(np.concatenate(chunks), contamination=0.2)
    True

    Elsewhere, another planner can do the counting. A partial result is a few arrays:

    >>> def count(question, chunk):
    ...     planner = rrm_core.Planner.from_partial(question)
    ...     planner.update(chunk)
    ...     return planner.partial()
    >>> planner = rrm_core.Planner(contamination=0.2)
    >>> while not planner.done:
    ...     question = planner.partial()
    ...     for chunk in chunks:
    ...         planner.merge(rrm_core.Planner.from_partial(count(question, chunk)))
    ...     planner.advance()
    >>> planner.plan.threshold
    0.4
    """

    def __init__(
        self,
        *,
        contamination: float | None = None,
        gamma: float | None = None,
        redistribute: Redistribute = "argmin",
        ties: Ties = "keep",
        nan: NaN = "raise",
        backend: str | None = None,
        threads: int | None = None,
    ) -> None:
        self._backend, self._threads = dispatch.choose_counting(backend), check_threads(threads)
        self._begin(Question(Rule(contamination, gamma, redistribute, ties, nan)))

    def _begin(self, question: Question) -> None:
        """Make ready for a round."""
        plan = question.plan() if question.answered else None
        points, intervals, keeps = question.points, question.intervals, question.wants_keys
        counted = 0 if plan is not None or keeps else len(intervals) or 1
        sums = np.zeros(HEAD + counted * BINS, np.int64)
        # From here on nothing fails.
        self._question, self._plan, self._format = question, plan, question.format
        self._points, self._intervals, self._keeps = points, intervals, keeps
        self._sums, self._counts = sums, sums[HEAD:].reshape(counted, BINS)
        self._minima = np.full(3, NOWHERE, np.int64)  # the lowest key, the first index of NaN and of -inf
        self._keys: list[Array] = []

    @property
    def rule(self) -> Rule:
        """What was asked for."""
        return self._question.rule

    @property
    def round(self) -> int:
        """The round under way, counted from 1; the last one once it is over."""
        return self._question.round

    @property
    def n(self) -> int:
        """Losses counted so far in this round."""
        return int(self._sums[0])

    @property
    def done(self) -> bool:
        """Whether there is a plan, and no need of another round."""
        return self._plan is not None

    @property
    def plan(self) -> Plan:
        """The plan of all losses; a ValueError before `done`."""
        if self._plan is None:
            raise ValueError(f"the plan isn't there yet: round {self.round} is under way; advance() ends it")
        return self._plan

    def update(self, losses: Any, *, offset: int | None = None) -> None:
        """Count some losses in this round.

        Parameters
        ----------
        losses : array of shape (m,), float16, bfloat16, float32 or float64
            From any framework; those of a device are copied to the host. May be empty. All have the same type.
        offset : int, optional
            The index of the first of them among all losses, by which NaN are reported; by default, as many as this
            planner has counted in this round.

        Raises
        ------
        TypeError, ValueError
            The array has the wrong type or shape, or another type than those before; or the planner is done. Nothing
            has been counted. What is wrong with the losses is raised by `advance`.
        """
        self._require_open()
        first = self.n if offset is None else _index("offset", offset)
        view, format = arrays.read_on_host("losses", losses)
        self._require_format(format)
        if not len(view):
            self._format = format
            return
        if self.round == 1:
            found = self._backend.count_first_pass(view, first, self._counts[0], self._threads)
            checksum = found.checksum
            lowest = NOWHERE if found.min_key == (1 << format.width) - 1 else signed(found.min_key)  # all are NaN
            first_nan, first_low = (NOWHERE if i < 0 else i for i in (found.first_nan, found.first_neg_inf))
            self._minima = np.minimum(self._minima, np.array([lowest, first_nan, first_low], np.int64))
        else:
            memory: list[Array] = list(self._counts)
            if self._keeps:
                memory = [np.empty(min(len(view), at), np.uint64) for at in self._intervals.values()]
            tallied = self._backend.count_pass(view, list(self._intervals), memory, self._points, self._threads)
            checksum = tallied.checksum
            for i, census in enumerate(tallied.pivot_counts):
                self._sums[2 + 2 * i : 4 + 2 * i] += census
            for i, inside in enumerate(tallied.n_in_range):
                self._sums[6 + i] += inside
                if self._keeps:
                    self._keys.append(memory[i][:inside].copy())  # without the memory for more
        self._format = format
        self._sums[0] += len(view)
        self._sums[1] += checksum

    def merge(self, other: Planner) -> None:
        """Add what another planner has counted in the same round, which stays as it is.

        Raises
        ------
        TypeError, ValueError
            `other` is no planner, or one of another rule, another round, other losses, or another type of them; or it
            is this one. Nothing has changed.
        """
        if not isinstance(other, Planner):
            raise TypeError(f"other must be a Planner, got {type(other).__name__}; from_partial makes one")
        self._require_open()
        if other is self:
            raise ValueError("other is this planner itself, whose losses would be counted twice")
        if other.rule != self.rule:
            raise ValueError(f"other has another rule: {other.rule}, not {self.rule}")
        if other.done:
            raise ValueError("other is done; begin each round from this planner's partial()")
        if other._question != self._question:
            raise ValueError(
                f"other is in round {other.round} of another selection, not in round {self.round} of this one; begin "
                "each round from this planner's partial()"
            )
        if other._format is not None:
            self._require_format(other._format)
            self._format = other._format
        self._sums += other._sums
        self._minima = np.minimum(self._minima, other._minima)
        self._keys += other._keys

    def advance(self) -> None:
        """End the round, in which every loss was counted: make the plan, or the question of the next round.

        Raises
        ------
        ValueError
            The losses can't be reweighted, as for `rrm_core.reweight`; or other losses were counted than in the first
            round.
        """
        self._require_open()
        question, (n, checksum) = self._question, self._sums[:2].tolist()
        if self._format is None or (self.round == 1 and not n):
            raise ValueError("no losses were counted; at least one sample is needed")
        self._require_same()
        if self.round == 1:
            lowest, *places = self._minima.tolist()
            question = question.after_first(
                self._format, n, checksum % 2**32, [unsigned(lowest), *places], self._counts[0]
            )
        else:
            threshold, recipients = map(self._narrowed, (question.threshold, question.recipients))
            question = replace(question, threshold=threshold, recipients=recipients)
        self._begin(question if question.answered else replace(question, round=question.round + 1))

    def partial(self) -> dict[str, Array]:
        """Return what was counted in this round, and the question: all that `from_partial` needs.

        Returns
        -------
        dict of str to array of int64
            ``"question"``: the rule and what the rounds before have found, the same for all planners of a round.
            ``"sums"`` and ``"minima"``: of two planners, their sum and the lesser. ``"keys"``: of two planners, both.
            A round has 65,536 sums for each threshold that it looks for, or some keys. They are copies; ``np.savez``
            or a message can hold them.
        """
        code = NOWHERE if self._format is None else self._format.code
        return {
            "question": self._question.as_numbers(),
            "sums": self._sums.copy(),
            "minima": np.array([*self._minima, code, NOWHERE if code == NOWHERE else -code], np.int64),
            "keys": np.concatenate([*self._keys, np.empty(0, np.uint64)]).view(np.int64),
        }

    @classmethod
    def from_partial(
        cls, partial: Mapping[str, Any], *, backend: str | None = None, threads: int | None = None
    ) -> Planner:
        """Return a planner from a `partial` result: with its counts, in its round.

        Parameters
        ----------
        partial : mapping of str to array
            As `partial` returned it, or combined of several as is said there. The ``"question"`` alone, some bytes, is
            enough for a planner that has counted nothing yet.
        backend, threads
            See `Planner`.

        Raises
        ------
        ValueError
            It isn't a partial result of this version.
        TypeError
            It is combined of several whose losses have different types.
        """
        planner = cls.__new__(cls)
        planner._backend, planner._threads = dispatch.choose_counting(backend), check_threads(threads)
        try:
            planner._begin(from_numbers(_numbers(partial["question"]).tolist()))
            if len(partial) > 1:
                planner._take(*(_numbers(partial[name]) for name in ("sums", "minima", "keys")))
        except (KeyError, ValueError) as error:
            what = f"it lacks {error}" if isinstance(error, KeyError) else error
            raise ValueError(f"partial isn't what Planner.partial() returns in this version: {what}") from None
        return planner

    @property
    def checksum(self) -> int:
        """The sum of all losses' words, modulo 2**32, after the first round: by it a source that changes is noticed."""
        return self._question.checksum

    def __repr__(self) -> str:
        state = f"plan={self._plan}" if self.done else f"round={self.round}, n={self.n:_}"
        return f"Planner({self.rule}; {state})"

    def _require_open(self) -> None:
        if self.done:
            raise ValueError("the planner is done; make a new one for other losses")

    def _require_format(self, format: Format) -> None:
        if self._format not in (None, format):
            raise TypeError(f"losses must be {self._format.name}, as those before, got {format.name}")

    def _require_same(self) -> None:
        """Raise unless what was counted is of one piece, and after the first round of the same losses as there."""
        n, checksum, *_ = self._sums[:HEAD].tolist()
        inside = [n] if self.round == 1 else self._sums[6 : 6 + len(self._intervals)].tolist()
        if self.round > 1:
            remedy = "give every loss to one planner once in each round, and leave the source as it is meanwhile"
            if n != self._question.n:
                raise ValueError(
                    f"{n:_} losses were counted in round {self.round}, but {self._question.n:_} in the first; {remedy}"
                )
            if checksum % 2**32 != self._question.checksum or inside != list(self._intervals.values()):
                raise ValueError(f"other losses were counted in round {self.round} than in the first; {remedy}")
        counted = [sum(map(len, self._keys))] if self._keeps else self._counts.sum(axis=1).tolist()
        if counted != ([sum(inside)] if self._keeps else inside):
            raise ValueError(
                "the counts contradict each other: an update was interrupted, or partial results were combined in "
                "another way than partial() says; begin the round again"
            )

    def _take(self, sums: Array, minima: Array, keys: Array) -> None:
        """Take over the counts of a partial result."""
        if sums.shape != self._sums.shape or minima.shape != (5,):
            raise ValueError("arrays of another length")
        codes = {int(minima[3]), -int(minima[4])} - {NOWHERE, -NOWHERE}
        if not codes <= set(BY_CODE):
            raise ValueError(f"losses of types {sorted(codes)}")
        for code in sorted(codes):
            self._require_format(BY_CODE[code])
            self._format = BY_CODE[code]
        self._sums[...], self._minima = sums, minima[:3]
        if len(keys):
            self._keys = [keys.view(np.uint64)]

    def _narrowed(self, sought: RankRange | PivotCount | None) -> RankRange | PivotCount | None:
        """Return what is known of a threshold after this round, a later one."""
        if sought is None or sought.found:
            return sought
        if isinstance(sought, PivotCount):
            i = 2 + 2 * self._question.points.index(sought.key)
            return PivotCount(sought.key, *self._sums[i : i + 2].tolist())
        if self._question.wants_keys:
            return sought.among_keys(np.concatenate(self._keys))
        return sought.among_counts(self._counts[list(self._question.intervals).index(sought.interval)])


def _index(name: str, value: Any) -> int:
    try:
        place = index(value)
    except TypeError:
        place = -1
    if not 0 <= place < 1 << 62:  # to which kernels may add
        raise ValueError(f"{name} must be a whole number, at least 0, or None, got {value!r}")
    return place


def _numbers(array: Any) -> Array:
    """Return a copy of an array of whole numbers, as int64."""
    numbers = np.array(array)
    if numbers.ndim != 1 or (numbers.dtype.kind not in "iu" and numbers.size):
        raise ValueError(f"an array of {numbers.ndim} dimensions and {numbers.dtype}, not of one and int64")
    return numbers.astype(np.int64, copy=False)
