"""A round of a planner, with or without groups: its state, its counts and, at the end, the plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .._arguments import as_integer
from ..arrays.groups import check_n_groups
from ..definition.formats import Array
from ..definition.group_counting import choose_bits
from ..definition.group_plan import GroupedPlan
from ..definition.plan import Plan
from ..definition.rule import Rule
from .grouped_counts import GroupedCounts
from .grouped_state import GroupedState
from .grouped_state_format import GROUPED_VERSION, decode_grouped_state, encode_grouped_state
from .round_counts import RoundCounts
from .round_state import SelectionState
from .state_format import decode_state, encode_state


class Round(NamedTuple):
    """What changes as a whole when a round ends; the counts change during the round.

    Attributes
    ----------
    state : SelectionState or GroupedState
        State at the start of the round.
    counts : RoundCounts or GroupedCounts
    plan : Plan or GroupedPlan, optional
        The plan, once complete.
    """

    state: SelectionState | GroupedState
    counts: RoundCounts | GroupedCounts
    plan: Plan | GroupedPlan | None

    @classmethod
    def start(cls, state: SelectionState | GroupedState) -> Round:
        """Return the round that starts with a state, without counts."""
        counts = GroupedCounts(state) if isinstance(state, GroupedState) else RoundCounts(state)
        return cls(state, counts, state.plan() if state.complete else None)

    @classmethod
    def first(cls, rule: Rule, n_groups: int | None, group_memory: int | None) -> Round:
        """Return the first round; for the parameters see `Planner`."""
        if n_groups is None:
            n_groups = rule.n_groups
        if n_groups is None:
            rule.check_without_groups()
            if group_memory is not None:
                raise ValueError(f"group_memory needs groups, got {group_memory}; pass n_groups, or leave it out")
            return cls.start(SelectionState(rule))
        n_groups = check_n_groups(n_groups)
        rule.check_n_groups(n_groups)
        if group_memory is not None:
            group_memory = as_integer("group_memory", group_memory, 1, "a whole number of bytes, at least 1, or None")
        return cls.start(GroupedState.start(rule, n_groups, choose_bits(rule, n_groups, group_memory)))

    def merge(self, other: Round) -> None:
        """Add the counts of another round; see `Planner.merge`."""
        if other.state.rule != self.state.rule:
            raise ValueError(f"other has another rule: {other.state.rule}, not {self.state.rule}")
        if other.plan is not None:
            raise ValueError("other is done; start each round from this planner's partial()")
        if other.state != self.state:
            raise ValueError(
                f"other is in round {other.state.round} of another selection, not in round {self.state.round} of this "
                "one; start each round from this planner's partial()"
            )
        counts: Any = self.counts
        if other.counts.format is not None:
            counts.require_format(other.counts.format)
        # Both have groups, or none of them, since their states are equal.
        counts.add_counts(other.counts)

    def to_partial(self) -> dict[str, Array]:
        """Return the state and the counts as `Planner.partial` does."""
        state = self.state
        encoded = encode_grouped_state(state) if isinstance(state, GroupedState) else encode_state(state)
        return {"state": encoded} | self.counts.to_arrays()

    @classmethod
    def from_partial(cls, partial: Mapping[str, Any]) -> Round:
        """Return the round of a partial result; see `Planner.from_partial`."""
        try:
            vector = _as_int64("state", partial["state"])
            is_grouped = len(vector) > 0 and vector[0] == GROUPED_VERSION
            round = cls.start(decode_grouped_state(vector) if is_grouped else decode_state(vector))
            if len(partial) > 1:
                round.counts.load_arrays(*(_as_int64(name, partial[name]) for name in ("sums", "minima", "keys")))
        except KeyError as error:
            raise ValueError(
                f"partial is not a result of Planner.partial() in this version: it lacks {error}"
            ) from None
        except ValueError as error:
            raise ValueError(f"partial is not a result of Planner.partial() in this version: {error}") from None
        return round


def _as_int64(name: str, array: Any) -> Array:
    """Return a one-dimensional array of integers as int64."""
    numbers = np.asarray(array)
    if numbers.ndim != 1 or (numbers.dtype.kind not in "iu" and numbers.size):
        raise ValueError(f"{name} must be a vector of int64, got shape {numbers.shape} and type {numbers.dtype}")
    if numbers.dtype.kind == "u" and numbers.size and numbers.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} has numbers that int64 cannot hold")
    return numbers.astype(np.int64, copy=False)
