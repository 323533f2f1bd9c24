"""The memory that a streaming call uses for groups, beside that for the losses."""

from __future__ import annotations

from typing import NamedTuple

from ..definition.group_counting import MIN_BITS, choose_bits, histogram_bytes
from ..definition.rule import Rule

HISTOGRAM_DIVISOR = 8  # one part in eight of the memory is for the histograms of one planner
# Bytes for each group other than those of histograms: in every planner, for its state and its other counts; and once,
# for what follows from them. The least memory has twice as many, for two planners and one copy.
PLANNER_BYTES = 160
PLAN_BYTES = 512
LEAST_BYTES = 1024


class GroupMemory(NamedTuple):
    """Bytes for groups.

    Attributes
    ----------
    histograms : int
        Of one planner, as `Planner` gets them.
    workspace : int
        Of each workspace that counts.
    shared : int
        Of everything else.
    """

    histograms: int
    workspace: int
    shared: int


def divide_memory(rule: Rule, n_groups: int, memory: int) -> GroupMemory:
    """Return what part of the memory of a call is for groups.

    Raises
    ------
    ValueError
        The memory is too small.
    """
    least = HISTOGRAM_DIVISOR * histogram_bytes(rule, n_groups, MIN_BITS) + LEAST_BYTES * n_groups
    if memory < least:
        raise ValueError(f"memory must be at least {least:_} bytes for {n_groups:_} groups, got {memory:_}")
    histograms = (memory - LEAST_BYTES * n_groups) // HISTOGRAM_DIVISOR
    used = histogram_bytes(rule, n_groups, choose_bits(rule, n_groups, histograms))
    # The planner into which those of the workspaces are merged, and two copies of its counts.
    shared = 3 * used + PLAN_BYTES * n_groups
    return GroupMemory(histograms, used + PLANNER_BYTES * n_groups, shared)
