"""The rounds of a fit: out-of-fold losses by the last weights, then new weights by these losses."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

import rrm_core
from rrm_core._learnt_estimate import NOTHING_LEARNT
from rrm_core._out_of_fold import estimate_wrong_share, share_to_prune

from .estimation import combine
from .losses import Floats, Integers, Mask
from .settings import Settings

# The losses for predictions and, of classes, an estimate.
ComputeLosses: TypeAlias = Callable[[Floats, rrm_core.ContaminationEstimate | None], Floats]


@dataclass(frozen=True, eq=False)
class Rounds:
    """What the rounds of a fit found, up to one of them.

    Attributes
    ----------
    weights : float64 array of shape (n,)
        1 for a sample that isn't judged.
    losses, mean_loss, share_pruned : float64 array of shape (n,)
        The losses of the last round, the mean over the rounds, and the share of the rounds that pruned a sample; NaN
        for a sample that isn't judged.
    predictions : float64 array of shape (n,) or (n, n_classes)
        Those of the last round.
    is_pruned : bool array of shape (n,)
        The samples that the last round pruned.
    plans : list of Plan or GroupedPlan
        Of each round.
    estimate : ContaminationEstimate or None
        Of all rounds, see `combine`.
    """

    weights: Floats
    losses: Floats
    mean_loss: Floats
    share_pruned: Floats
    predictions: Floats
    is_pruned: Mask
    plans: list[rrm_core.Plan | rrm_core.GroupedPlan]
    estimate: rrm_core.ContaminationEstimate | None


def iterate_rounds(
    settings: Settings,
    predict: Callable[[Floats, int], Floats],
    compute_losses: ComputeLosses,
    is_judged: Mask,
    classes: Integers | None = None,
) -> Iterator[Rounds]:
    """Reweight the samples round by round, until the weights stay the same; yield what is known after each round.

    Parameters
    ----------
    settings : Settings
    predict : callable
        ``predict(weights, number)`` returns out-of-fold predictions of models fitted by these weights.
    compute_losses : callable
        ``compute_losses(predictions, estimate)`` returns the loss of each sample.
    is_judged : bool array of shape (n,)
        The samples that take part in the reweights.
    classes : array of integers, shape (n,), optional
        The given labels, if there are classes: then each round makes an estimate.

    Raises
    ------
    ValueError
        A prediction is NaN or infinite.
    """
    weights = np.ones(len(is_judged))
    n_pruned = np.zeros(len(is_judged), np.int64)
    loss_sum = np.zeros(len(is_judged))
    plans: list[rrm_core.Plan | rrm_core.GroupedPlan] = []
    estimates: list[rrm_core.ContaminationEstimate] = []
    estimate = None
    for number in range(1, settings.rounds + 1):
        predictions = predict(weights, number)
        _check_predictions(predictions[is_judged], number)
        if classes is not None:
            estimates.append(estimate_wrong_share(classes[is_judged], predictions[is_judged]))
            estimate = combine(estimates)
        losses = np.where(is_judged, compute_losses(predictions, estimate), np.nan)
        loss_sum += losses
        before = weights
        weights = weights.copy()
        is_pruned = np.zeros(len(is_judged), bool)
        groups = None if classes is None else classes[is_judged]
        weights[is_judged], is_pruned[is_judged], plan = _reweight(
            settings, estimate, losses[is_judged], weights[is_judged], groups
        )
        n_pruned += is_pruned
        plans.append(plan)
        yield Rounds(
            weights=weights,
            losses=losses,
            mean_loss=loss_sum / len(plans),
            share_pruned=np.where(is_judged, n_pruned / len(plans), np.nan),
            predictions=predictions,
            is_pruned=is_pruned,
            plans=list(plans),
            estimate=estimate,
        )
        if np.array_equal(weights, before):
            break
    _warn_of_ties(plans[-1])
    if settings.is_estimated and estimates[0].basis == NOTHING_LEARNT:
        warnings.warn(
            "the models predicted the labels of samples held out hardly more often than by chance, and no sample is "
            "pruned: they have learnt nothing, the labels are nearly random, or the samples are too few to tell; give "
            "a contamination, or an estimator that fits better",
            UserWarning,
            stacklevel=3,
        )


def _reweight(
    settings: Settings,
    estimate: rrm_core.ContaminationEstimate | None,
    losses: Floats,
    weights: Floats,
    classes: Integers | None,
) -> tuple[Floats, Mask, rrm_core.Plan | rrm_core.GroupedPlan]:
    """Return the new weights, which samples are pruned, and the plan."""
    share = None
    if settings.is_estimated:
        assert estimate is not None
        share = share_to_prune(estimate)
    arguments = settings.arguments(share)
    if settings.rule.cap is None:
        new, plan = rrm_core.reweight(losses, weights, **arguments)
        return new, losses > plan.threshold, plan
    assert classes is not None
    new, grouped = rrm_core.reweight(losses, weights, groups=classes, cap=settings.rule.cap, **arguments)
    return new, losses > grouped.threshold[classes], grouped


def _warn_of_ties(plan: rrm_core.Plan | rrm_core.GroupedPlan) -> None:
    """Warn that nothing is pruned although some samples should be, because their losses tie."""
    if isinstance(plan, rrm_core.Plan) and plan.removed == 0 < plan.rule.quota(plan.n):
        warnings.warn(
            f"no sample is pruned, although {plan.rule.quota(plan.n):,} of {plan.n:,} should be: {plan.n_tied:,} "
            "losses tie at the threshold; give ties='share', or an estimator with more distinct predictions",
            UserWarning,
            stacklevel=4,
        )


def _check_predictions(predictions: Floats, number: int) -> None:
    n = len(predictions)
    n_invalid = len(np.unique(np.nonzero(~np.isfinite(predictions))[0]))
    if n_invalid:
        raise ValueError(
            f"the predictions of round {number} are no finite numbers for {n_invalid:,} of {n:,} samples; "
            "check whether the estimator diverges, such as by too high a learning rate"
        )
