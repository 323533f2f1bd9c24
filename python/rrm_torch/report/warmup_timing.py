"""Whether the warm-up ended in time, judged by the estimate and by the first reweights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

import rrm_core

from ..weighting.base import BaseRRM
from ..weighting.batch_rrm import BatchRRM
from ..weighting.reweight import Reweight

Timing: TypeAlias = Literal["in time", "early", "late", "unknown"]

FIRST_REWEIGHTS = 10
MIN_OVERLAPS = 3

LOW_OVERLAP = 0.75
"""Mean overlap of the first reweights, below which the warm-up may have been too long.

In the recorded ablation it is 0.84 to 0.90 after warm-ups of 1 to 10 epochs, 0.70 after 20 and 0.52 after 40.
"""

MEMORISED_LOSS = 1.0
"""A threshold of the first reweight above which the pruned labels had not been memorised, for cross-entropy.

The model gave them a probability below 1 / e. With the augmentation and human mistakes of CIFAR-10N the overlap is 0.49
to 0.71 without harm, at a first threshold of 1.8 to 2.7; after the long warm-ups of the ablation the threshold is 0.95
and 0.24.
"""

SIMILAR_SIZES = 0.9
"""Pruned sets whose sizes differ by more than this ratio have a low overlap for that reason alone."""

SHRINKAGE = 2.0
"""With gamma: a first pruned set larger than the last by this factor shows that little had been learnt."""


@dataclass(frozen=True)
class WarmupTiming:
    """Whether the warm-up ended in time.

    Attributes
    ----------
    timing : {"in time", "early", "late", "unknown"}
    end : int
        The epoch or step that it ended with.
    overlap : float or None
        Mean overlap of the first reweights; None if it says nothing of the warm-up.
    is_measured : bool
        Whether an estimate shows if the model was still learning.
    n_pruned_first, n_pruned_last : int
    """

    timing: Timing
    end: int
    overlap: float | None = None
    is_measured: bool = False
    n_pruned_first: int = 0
    n_pruned_last: int = 0


def judge_warmup(rrm: BaseRRM, estimate: rrm_core.ContaminationEstimate | None) -> WarmupTiming:
    """Return whether the warm-up ended in time, after the first reweight.

    It was too short if the model was still learning, or if with gamma the first reweight pruned far more than the last;
    perhaps too long if the first reweights pruned different samples although the losses of these were low.
    """
    rounds = rrm.trajectory.rounds
    first = rounds[0]
    # Each batch has a threshold of its own, so the pruned sets differ by chance.
    overlap = None if isinstance(rrm, BatchRRM) else mean_overlap(rounds, rrm.n)
    return WarmupTiming(
        timing=_judge(rrm, estimate, overlap),
        end=first.epoch - 1 if isinstance(rrm, BatchRRM) else first.epoch,
        overlap=overlap,
        is_measured=estimate is not None,
        n_pruned_first=first.n_pruned,
        n_pruned_last=rounds[-1].n_pruned,
    )


def mean_overlap(rounds: Sequence[Reweight], n: int) -> float | None:
    """Return the mean overlap of successive reweights among the first; None if fewer than three can be compared.

    Only pairs of pruned sets of similar size are compared, and only if all n samples took part.
    """
    overlaps = []
    first = rounds[:FIRST_REWEIGHTS]
    for before, after in pairwise(first):
        sizes = sorted((before.n_pruned, after.n_pruned))
        is_comparable = before.n_planned == after.n_planned == n and sizes[0] >= SIMILAR_SIZES * sizes[1]
        if after.overlap is not None and is_comparable:
            overlaps.append(after.overlap)
    if len(overlaps) < MIN_OVERLAPS:
        return None
    return sum(overlaps) / len(overlaps)


def _judge(rrm: BaseRRM, estimate: rrm_core.ContaminationEstimate | None, overlap: float | None) -> Timing:
    first = rrm.trajectory.rounds[0]
    last = rrm.trajectory.rounds[-1]
    if estimate is not None and estimate.interval is None:
        return "early"
    has_constant_gamma = isinstance(rrm.settings.gamma, float) and first.n_planned == last.n_planned
    if has_constant_gamma and first.n_pruned > SHRINKAGE * last.n_pruned:
        return "early"
    if overlap is None:
        return "unknown" if estimate is None else "in time"
    # Without a threshold, with groups, the overlap alone decides.
    is_memorised = first.threshold is None or first.threshold < MEMORISED_LOSS
    return "late" if overlap < LOW_OVERLAP and is_memorised else "in time"
