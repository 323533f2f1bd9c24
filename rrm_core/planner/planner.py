"""Planner: the exact plan of losses that come in parts, over time or over machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar, cast, overload

from .._arguments import as_integer, check_threads
from ..arrays.convert import to_host
from ..arrays.kinds import check_same_labels
from ..backends import registry
from ..definition.formats import Array
from ..definition.group_plan import GroupedPlan
from ..definition.plan import Plan
from ..definition.rule import Mass, NaN, Redistribute, Rule, Ties, make_grouped_rule
from .grouped_state import GroupedState
from .round import Round

if TYPE_CHECKING:
    from typing_extensions import Unpack

MAX_OFFSET = 1 << 62  # so that kernels can add a length without overflow
PlanT = TypeVar("PlanT", bound="Plan | GroupedPlan")


class _Options(TypedDict, total=False):
    gamma: float | None
    redistribute: Redistribute
    ties: Ties
    nan: NaN
    backend: str | None
    threads: int | None


class Planner(Generic[PlanT]):
    """Plan losses that are never in one place: a file larger than memory, the ranks of a job, the blocks of a cluster.

    The losses are counted in rounds. In each round every loss is passed once to `update` of some planner; the planners
    are merged into one, and its `advance` ends the round, until it is `done` and has the `plan`, which is that of
    `rrm_core.plan` bit for bit. float16 and bfloat16 take one round, float32 takes two, float64 two to four. Neither
    the order of the parts nor their distribution over planners changes the result. A planner is not thread-safe: give
    each thread its own, and merge them.

    Parameters
    ----------
    contamination, gamma, redistribute, ties, nan, cap, mass
        The rule, as for `rrm_core.reweight`.
    n_groups : int, at least 1, optional
        Number of groups; by default the number of shares in `contamination` or `cap`. With groups, `update` takes the
        group of each loss, and the plan is that of `rrm_core.plan` with `groups`.
    group_memory : int, optional
        Bytes for the histograms of a round with groups: the more, the fewer rounds. By default 64 MiB, which are two
        rounds of float32 for 128 groups and three for 4,096, or the least that a rule needs for many groups: 128 bytes
        for each group and each threshold within groups. One more round counts the losses at thresholds that are no
        order statistics of a group. For each group a planner holds up to 160 bytes more, and `merge` and `advance` copy
        the counts.
    backend : {"cpp", "numpy"}, optional
        Backend that counts; by default the first available one.
    threads : int, at least 1, optional
        As for `rrm_core.reweight`.

    Raises
    ------
    TypeError, ValueError
        As `rrm_core.reweight`.

    Notes
    -----
    If a method raises another exception than those documented, such as KeyboardInterrupt or MemoryError, the losses
    have been counted as a whole or not at all, and the round has ended or goes on with its counts; `n`, `round` and
    `done` tell which.

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

    Other processes can count. What they exchange, a partial result, is a dict of a few arrays:

    >>> def count(start, chunk):
    ...     planner = rrm_core.Planner.from_partial(start)
    ...     planner.update(chunk)
    ...     return planner.partial()
    >>> planner = rrm_core.Planner(contamination=0.2)
    >>> while not planner.done:
    ...     start = planner.partial()
    ...     for chunk in chunks:
    ...         planner.merge(rrm_core.Planner.from_partial(count(start, chunk)))
    ...     planner.advance()
    >>> planner.plan.threshold
    0.4
    """

    @overload
    def __init__(
        self: Planner[Plan], *, contamination: float | None = None, n_groups: None = None, **options: Unpack[_Options]
    ) -> None: ...
    @overload
    def __init__(
        self: Planner[GroupedPlan],
        *,
        contamination: Any | None = None,
        cap: Any | None = None,
        mass: Mass = "all",
        n_groups: int | None = None,
        group_memory: int | None = None,
        **options: Unpack[_Options],
    ) -> None: ...
    def __init__(
        self,
        *,
        contamination: Any | None = None,
        gamma: float | None = None,
        redistribute: Redistribute = "argmin",
        ties: Ties = "keep",
        nan: NaN = "raise",
        cap: Any | None = None,
        mass: Mass = "all",
        n_groups: int | None = None,
        group_memory: int | None = None,
        backend: str | None = None,
        threads: int | None = None,
    ) -> None:
        self._set_backend(backend, threads)
        rule = make_grouped_rule(contamination, gamma, redistribute, ties, nan, cap, mass)
        self._round = Round.first(rule, n_groups, group_memory)

    @classmethod
    def from_rule(
        cls,
        rule: Rule,
        *,
        n_groups: int | None = None,
        group_memory: int | None = None,
        backend: str | None = None,
        threads: int | None = None,
    ) -> Planner[Any]:
        """Return a planner for a rule. See `Planner` for the other parameters.

        Raises
        ------
        TypeError, ValueError
            `rule` is not a `Rule`, or another argument is invalid, as for `Planner`.
        """
        if not isinstance(rule, Rule):
            raise TypeError(f"rule must be a Rule, got {type(rule).__name__}")
        planner: Planner[Any] = cls.__new__(cls)
        planner._set_backend(backend, threads)
        planner._round = Round.first(rule, n_groups, group_memory)
        return planner

    def _set_backend(self, backend: str | None, threads: int | None) -> None:
        self._backend = registry.choose_counting(backend)
        self._threads = check_threads(threads)

    @property
    def rule(self) -> Rule:
        """The rule."""
        return self._round.state.rule

    @property
    def n_groups(self) -> int | None:
        """Number of groups; None without groups."""
        state = self._round.state
        return state.n_groups if isinstance(state, GroupedState) else None

    @property
    def round(self) -> int:
        """Current round, counted from 1; the last one once the planner is done."""
        return self._round.state.round

    @property
    def n(self) -> int:
        """Number of losses counted so far in this round."""
        return self._round.counts.n

    @property
    def done(self) -> bool:
        """True once the plan is complete and no further round is needed."""
        return self._round.plan is not None

    @property
    def plan(self) -> PlanT:
        """The plan of all losses, a `GroupedPlan` with groups; raises a ValueError before the planner is done."""
        if self._round.plan is None:
            raise ValueError(f"the plan is not complete: round {self.round} is in progress; end it with advance()")
        return cast("PlanT", self._round.plan)

    @property
    def checksum(self) -> int:
        """Sum of the losses' words modulo 2**32, known after the first round; detects a source that changes.

        With groups, the words of each loss are multiplied by its group number + 1.
        """
        return self._round.state.checksum

    def update(self, losses: Any, *, groups: Any | None = None, offset: int | None = None) -> None:
        """Count some losses in this round.

        Parameters
        ----------
        losses : array of shape (m,), float16, bfloat16, float32 or float64
            Of any framework, as for `rrm_core.reweight`; losses on a device are copied to the host. May be empty. All
            updates must have the same type.
        groups : array of integers, shape (m,), or Groups, optional
            The group of each loss, from 0 to ``n_groups - 1``; required if the planner has groups.
        offset : int, optional
            Index of the first of them among all losses, used to report the position of a NaN; by default the number of
            losses that this planner has counted in this round.

        Raises
        ------
        TypeError, ValueError
            The losses have the wrong type or shape, or another type than those before; the groups are no integers, of
            another length, or outside [0, n_groups); or the planner is done. Nothing has been counted. Losses that
            cannot be reweighted, such as NaN, are reported by `advance`.
        """
        self._require_not_done()
        first = self.n if offset is None else _check_offset(offset)
        view, format = to_host("losses", losses)
        counts = self._round.counts
        counts.require_format(format)
        check_same_labels("groups", groups, "losses", losses)
        counts.add(view, groups, first, self._backend, self._threads)

    def merge(self, other: Planner[Any]) -> None:
        """Add the counts of another planner of the same round. The other planner does not change.

        Raises
        ------
        TypeError, ValueError
            `other` is not a planner, or has another rule, round or type of losses, or has seen other losses in the
            rounds before; or it is this planner. Nothing has changed.
        """
        if not isinstance(other, Planner):
            raise TypeError(f"other must be a Planner, got {type(other).__name__}; Planner.from_partial makes one")
        self._require_not_done()
        if other is self:
            raise ValueError("other is this planner itself, whose losses would be counted twice")
        self._round.merge(other._round)

    def advance(self) -> None:
        """End the round, in which every loss was counted: complete the plan, or start the next round.

        Raises
        ------
        ValueError
            The losses cannot be reweighted, as for `rrm_core.reweight`; or other losses or groups were counted than in
            the first round. The round goes on.
        """
        self._require_not_done()
        counts = self._round.counts
        if self.round == 1 and not self.n:
            raise ValueError("no losses were counted; at least one sample is needed")
        counts.check()
        # One assignment, so that a call that is interrupted leaves the old round or the new one.
        self._round = Round.start(counts.next_state())

    def partial(self) -> dict[str, Array]:
        """Return the partial result: the state of the selection and the counts of this round.

        Returns
        -------
        dict of str to int64 array
            ``"state"``: the rule and the results of earlier rounds, the same for all planners of a round.
            ``"sums"`` and ``"minima"``: to combine two planners, add them and take the minimum, elementwise.
            ``"keys"``: to combine two planners, concatenate them.
            A round has 65,536 sums for each threshold it looks for, or a few keys; with groups, `group_memory` limits
            the sums, and there are no keys. The arrays are copies, and fit in ``np.savez`` or a message.
        """
        return self._round.to_partial()

    @classmethod
    def from_partial(
        cls, partial: Mapping[str, Any], *, backend: str | None = None, threads: int | None = None
    ) -> Planner[Any]:
        """Return a planner with the state and the counts of a `partial` result, after a check of their consistency.

        Parameters
        ----------
        partial : mapping of str to array
            Result of `partial`, or several combined as documented there. ``"state"`` alone, 200 bytes without
            groups, is enough to start a planner without counts.
        backend, threads
            See `Planner`.

        Raises
        ------
        ValueError
            It is not a partial result of this version, or its numbers contradict each other.
        TypeError
            It is not a mapping, or is combined of results for losses of different types.

        Notes
        -----
        A result that was altered leads to one of these errors, to an error of `advance`, or to the plan of other
        losses; never to a plan that no losses have.
        """
        if not isinstance(partial, Mapping):
            raise TypeError(f"partial must be a mapping of str to array, got {type(partial).__name__}")
        planner: Planner[Any] = cls.__new__(cls)
        planner._set_backend(backend, threads)
        planner._round = Round.from_partial(partial)
        return planner

    def __repr__(self) -> str:
        progress = f"plan={self._round.plan}" if self.done else f"round={self.round}, n={self.n:_}"
        return f"Planner({self.rule}; {progress})"

    def _require_not_done(self) -> None:
        if self.done:
            raise ValueError("the planner is done; make a new one for other losses")


def _check_offset(offset: Any) -> int:
    first = as_integer("offset", offset, 0, "a whole number, at least 0, or None")
    if first >= MAX_OFFSET:
        raise ValueError(f"offset must be below 2**62, got {offset}")
    return first
