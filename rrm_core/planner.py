"""Planner: the plan of losses that come in parts, over time or over machines."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from operator import index
from typing import Any, Literal

import numpy as np

from . import arrays, dispatch
from .formats import BY_CODE, Array, Format
from .plan import Counts, Plan, find_thresholds, refuse_losses, settle
from .rule import NaN, Redistribute, Rule, Ties, thread_count
from .selection import BIN_BITS, BINS, FEW, Point, Search

VERSION = 1
NOWHERE = np.iinfo(np.int64).max  # of an index, or of a key where there is none
HEAD = 8  # sums besides the counts of bins: losses, checksum, below and at both points, inside both intervals


class Planner:
    """The plan of losses that are never in one place: a file larger than memory, the ranks of a job, a cluster.

    The losses are counted in rounds. In each, every loss is given to some planner once, with `update`; the planners are
    merged into one, which ends the round with `advance`, until it is `done` and has the `plan`: that of
    `rrm_core.plan`, to the bit. float16 and bfloat16 take one round, float32 takes two, float64 two to four. Neither
    the order of the parts nor who counts them matters.

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
        self._open(Rule(contamination, gamma, redistribute, ties, nan), backend, threads)

    def _open(self, rule: Rule, backend: str | None, threads: int | None) -> None:
        self._rule, self._round = rule, 1
        self._format: Format | None = None
        self._backend, self._threads = dispatch.choose_counting(backend), thread_count(threads)
        # Known after the first round:
        self._n = self._checksum = self._n_nan = self._lowest = 0
        self._searches: tuple[Search | Point | None, ...] = (None, None)  # the threshold, the recipients' threshold
        self._plan: Plan | None = None
        self._begin()

    def _begin(self) -> None:
        """Make ready for a round."""
        unfound = [search for search in self._searches if search is not None and not search.found]
        self._points = [search.key for search in unfound if isinstance(search, Point)]
        # Two ranks may lie in one interval, as they do in the first round, where that is all keys.
        self._intervals = {search.interval: search.at for search in unfound if isinstance(search, Search)}
        self._takes_keys = self._round > 1 and sum(self._intervals.values()) <= FEW
        counted = 0 if self.done or self._takes_keys else len(self._intervals) or 1
        self._sums = np.zeros(HEAD + counted * BINS, np.int64)
        self._counts = self._sums[HEAD:].reshape(counted, BINS)
        self._minima = np.full(3, NOWHERE, np.int64)  # the lowest key, the first index of NaN and of -inf
        self._keys: list[Array] = []

    @property
    def rule(self) -> Rule:
        """What was asked for."""
        return self._rule

    @property
    def round(self) -> int:
        """The round under way, counted from 1; the last one once it is over."""
        return self._round

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
            raise ValueError(f"the plan isn't there yet: round {self._round} is under way; advance() ends it")
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
        view, format = arrays.read_on_host("losses", losses)
        self._require_format(format)
        self._format = format
        if not len(view):
            return
        if self._round == 1:
            first = self.n if offset is None else index(offset)
            found = self._backend.tally_all(view, first, self._counts[0], self._threads)
            lowest = NOWHERE if found.lowest == (1 << format.width) - 1 else _signed(found.lowest)  # all are NaN
            first_nan, first_low = (NOWHERE if i < 0 else i for i in found[1:3])
            self._minima = np.minimum(self._minima, np.array([lowest, first_nan, first_low], np.int64))
            checksum = found.checksum
        else:
            memory: list[Array] = list(self._counts)
            if self._takes_keys:
                memory = [np.empty(min(len(view), at), np.uint64) for at in self._intervals.values()]
            tallied = self._backend.tally_some(view, list(self._intervals), memory, self._points, self._threads)
            checksum = tallied.checksum
            for i, census in enumerate(tallied.censuses):
                self._sums[2 + 2 * i : 4 + 2 * i] += census
            for i, inside in enumerate(tallied.inside):
                self._sums[6 + i] += inside
                if self._takes_keys:
                    self._keys.append(memory[i][:inside])
        self._sums[0] += len(view)
        self._sums[1] += checksum

    def merge(self, other: Planner) -> None:
        """Add what another planner has counted in the same round, which stays as it is.

        Raises
        ------
        TypeError, ValueError
            `other` is no planner, or one of another rule, another round, other losses, or another type of them. Nothing
            has changed.
        """
        if not isinstance(other, Planner):
            raise TypeError(f"other must be a Planner, got {type(other).__name__}; from_partial makes one")
        self._require_open()
        if other._rule != self._rule:
            raise ValueError(f"other has another rule: {other._rule}, not {self._rule}")
        if (other._round, other._searches, other.done) != (self._round, self._searches, False):
            raise ValueError(
                f"other is in round {other._round} of its own, not in round {self._round} of this planner; begin each "
                "round from this planner's partial()"
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
        if self._format is None or (self._round == 1 and not self.n):
            raise ValueError("no losses were counted; at least one sample is needed")
        format = self._format
        if self._round == 1:
            searches = self._after_first(format)
        else:
            self._require_same()
            searches = tuple(map(self._narrowed, self._searches))
        self._searches = searches
        if all(search is None or search.found for search in searches):
            self._plan = self._settled(format)
        else:
            self._round += 1
        self._begin()

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
            "question": self._question(),
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
            As `partial` returned it, or combined of several as is said there.
        backend, threads
            See `Planner`.

        Raises
        ------
        ValueError
            It isn't a partial result of this version.
        """
        try:
            question, sums, minima, keys = (
                np.array(partial[name], np.int64) for name in ("question", "sums", "minima", "keys")
            )
            planner = cls.__new__(cls)
            planner._ask(question, backend, threads)
            if sums.shape != planner._sums.shape or minima.shape != (5,) or keys.ndim != 1:
                raise ValueError("arrays of another length")
        except (KeyError, IndexError, TypeError, ValueError, struct.error) as error:
            what = f"it lacks {error}" if isinstance(error, KeyError) else error
            raise ValueError(f"partial isn't what Planner.partial() returns in this version: {what}") from None
        planner._sums[...] = sums
        planner._minima, codes = minima[:3], (int(minima[3]), -int(minima[4]))
        if codes[0] != NOWHERE:
            formats = [BY_CODE[code] for code in codes]
            for format in formats:
                planner._require_format(format)
                planner._format = format
        if len(keys):
            planner._keys.append(keys.view(np.uint64))
        return planner

    @property
    def checksum(self) -> int:
        """The sum of all losses' words, modulo 2**32, after the first round: by it a source that changes is noticed."""
        return self._checksum

    def __repr__(self) -> str:
        state = f"plan={self._plan}" if self.done else f"round={self._round}, n={self.n:_}"
        return f"Planner({self._rule}; {state})"

    def _require_open(self) -> None:
        if self.done:
            raise ValueError("the planner is done; make a new one for other losses")

    def _require_format(self, format: Format) -> None:
        if self._format not in (None, format):
            raise TypeError(f"losses must be {self._format.name}, as those before, got {format.name}")

    def _require_same(self) -> None:
        """Raise unless this round saw the losses of the first."""
        remedy = "give every loss to one planner once in each round, and leave the source as it is meanwhile"
        if self.n != self._n:
            raise ValueError(
                f"{self.n:_} losses were counted in round {self._round}, but {self._n:_} in the first; {remedy}"
            )
        inside = self._sums[6 : 6 + len(self._intervals)].tolist()
        if int(self._sums[1]) % 2**32 != self._checksum or inside != list(self._intervals.values()):
            raise ValueError(f"other losses were counted in round {self._round} than in the first; {remedy}")

    def _after_first(self, format: Format) -> tuple[Search | Point | None, ...]:
        """Return the questions of the second round, or their answers where a bin holds one key."""
        rule, n, counts = self._rule, self.n, self._counts[0]
        lowest, first_nan, first_low = self._minima.tolist()
        nan, high, low = (
            (format.key(x) if x else (1 << format.width) - 1) >> format.width - BIN_BITS for x in _SPECIAL
        )
        n_nan, n_inf, n_low = (int(counts[i]) for i in (nan, high, low))
        refuse_losses(rule, n, n_nan=n_nan, first_nan=first_nan, n_low=n_low, first_low=first_low, n_inf=n_inf)
        self._n, self._checksum, self._n_nan, self._lowest = n, int(self._sums[1]) % 2**32, n_nan, _unsigned(lowest)

        def ranked(rank: int) -> Search:
            return Search(min(rank, n - n_nan), 0, format.width).among_counts(counts)

        def point(x: float) -> Point:
            key = format.key(x)
            if format.width > BIN_BITS:
                return Point(key)
            return Point(key, int(counts[:key].sum()), int(counts[key]))

        loss_min, rank, recipient_rank = format.decode(self._lowest), n - rule.quota(n), rule.recipient_rank(n)
        threshold = ranked(rank) if rule.gamma is None else point(format.round_down(loss_min + rule.gamma))
        if recipient_rank == 1:
            return threshold, point(loss_min)
        # The recipients' threshold never lies above the other.
        if recipient_rank == 0 or recipient_rank > n or (rule.gamma is None and recipient_rank >= rank):
            return threshold, None
        return threshold, ranked(recipient_rank)

    def _narrowed(self, search: Search | Point | None) -> Search | Point | None:
        if search is None or search.found:
            return search
        if isinstance(search, Point):
            i = 2 + 2 * self._points.index(search.key)
            return Point(search.key, *self._sums[i : i + 2].tolist())
        if self._takes_keys:
            return search.among_keys(np.concatenate(self._keys))
        return search.among_counts(self._counts[list(self._intervals).index(search.interval)])

    def _settled(self, format: Format) -> Plan:
        rule, n = self._rule, self._n
        threshold, own = self._searches
        assert threshold is not None

        def smallest(rank: int) -> float:
            search = own if rank == rule.recipient_rank(n) and own is not None else threshold
            return format.decode(search.key)

        thresholds = find_thresholds(rule, format, n, format.decode(self._lowest), smallest)
        upto = threshold.below + threshold.at
        n_recipients = 0
        if thresholds.recipient_threshold == thresholds.threshold:
            n_recipients = upto
        elif own is not None:
            n_recipients = own.below + own.at
        return settle(rule, format, n, self._n_nan, thresholds, Counts(n - upto, threshold.at, n_recipients))

    def _question(self) -> Array:
        """Return what all planners of a round have in common, as integers."""
        rule = self._rule
        code = -1 if self._format is None else self._format.code
        value, kind = (rule.contamination or 0.0, 0) if rule.gamma is None else (rule.gamma, 1)
        fraction, receivers = (
            (0.0, rule.redistribute) if isinstance(rule.redistribute, str) else (rule.redistribute, "")
        )
        asked = [
            kind,
            _bits(value),
            _RECEIVERS.index(receivers),
            _bits(fraction),
            int(rule.ties == "share"),
            int(rule.nan == "prune"),
        ]
        # Types become known in the first round, and are part of the question only from then on.
        known = [self._round, code if self._n else -1, self._n, self._checksum, self._n_nan, _signed(self._lowest)]
        return np.array(
            [VERSION, *asked, *known, *(x for s in self._searches for x in _search_as_numbers(s))], np.int64
        )

    def _ask(self, question: Array, backend: str | None, threads: int | None) -> None:
        """Open the planner with a question."""
        numbers: list[int] = question.tolist()
        version, kind, value, receivers, fraction, share, prune, round, code, *found = numbers
        if version != VERSION:
            raise ValueError(f"version {version}, not {VERSION}")
        rule = Rule(
            contamination=None if kind else _double(value),
            gamma=_double(value) if kind else None,
            redistribute=_RECEIVERS[receivers] or _double(fraction),
            ties="share" if share else "keep",
            nan="prune" if prune else "raise",
        )
        self._open(rule, backend, threads)
        self._round, self._n, self._checksum, self._n_nan = round, *found[:3]
        self._lowest = _unsigned(found[3])
        if code >= 0:
            self._format = BY_CODE[code]
        first, second = found[4:10], found[10:16]
        self._searches = _search_from_numbers(first), _search_from_numbers(second)
        if self._searches[0] is not None and all(s is None or s.found for s in self._searches):
            self._plan = self._settled(BY_CODE[code])
        self._begin()


_RECEIVERS: tuple[Redistribute | Literal[""], ...] = ("argmin", "kept", "drop", "")  # the last: a fraction
_SPECIAL = (None, np.inf, -np.inf)  # NaN, and the infinities, which have bins of their own


def _signed(key: int) -> int:
    """Return a key in the order of int64."""
    return key - (1 << 63)


def _unsigned(number: int) -> int:
    return number + (1 << 63)


def _bits(x: float) -> int:
    return int(struct.unpack("<q", struct.pack("<d", x))[0])


def _double(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<q", bits))[0])


def _search_as_numbers(search: Search | Point | None) -> tuple[int, ...]:
    if search is None:
        return (0,) * 6
    if isinstance(search, Point):
        return 1, _signed(search.key), search.below, search.at, 0, 0
    return 2, _signed(search.first), search.below, search.at, search.rank, search.width


def _search_from_numbers(numbers: list[int]) -> Search | Point | None:
    kind, key, below, at, rank, width = numbers
    if kind == 0:
        return None
    if kind == 1:
        return Point(_unsigned(key), below, at)
    return Search(rank, _unsigned(key), width, below, at)
