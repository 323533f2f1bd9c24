"""What to do next, after a diagnosis."""

from __future__ import annotations

import math

from ..weighting.base import BaseRRM
from ..weighting.rrm import RRM
from ..weighting.settings import AUTO, MIN_SAMPLES
from ..weighting.warmup import ALMOST_ALL, remedy_for_rare_classes
from .diagnosis_text import interval_in_percent, percent
from .evidence import Evidence

N_CHECKED = 100
"""Labels to check by hand."""


def first_steps(rrm: BaseRRM) -> tuple[str, ...]:
    """Return what to do if there was no reweight yet."""
    warmup = rrm.settings.warmup
    if warmup == AUTO:
        return (f"Train more {rrm.unit}s, or set warmup to a number of them.",)
    return (f"Train more than {warmup:,} {rrm.unit}s, or set warmup to a third of the planned ones at most.",)


def next_steps(evidence: Evidence) -> tuple[str, ...]:
    """Return what to do after a reweight, a sentence or two each."""
    steps = (
        _look_at_labels,
        _check_outputs,
        _time_warmup,
        _set_contamination,
        _check_by_hand,
        _keep_classes,
        _check_classes,
        _check_groups,
        _estimate,
    )
    sentences = [step(evidence) for step in steps]
    return tuple(sentence for sentence in sentences if sentence is not None)


def _look_at_labels(evidence: Evidence) -> str | None:
    if not evidence.has_learnt and not evidence.last.n_pruned:
        return None
    if not evidence.last.n_pruned:
        return "Nothing is flagged. If no labels are expected to be wrong, train without RRM."
    text = "Look at the most suspicious labels: rrm.issues(), or flagged.csv of a report."
    if evidence.may_be_none:
        return f"{text} If they are right, there may be no wrong ones: train without RRM."
    return text


def _check_outputs(evidence: Evidence) -> str | None:
    if evidence.has_learnt:
        return None
    return (
        "See whether the loss falls, logits are logits and not probabilities, and labels are the classes from 0. "
        "Labels that are nearly random can't be learnt."
    )


def _time_warmup(evidence: Evidence) -> str | None:
    rrm = evidence.rrm
    warmup = evidence.warmup
    if warmup.timing == "early" and rrm.settings.warmup == AUTO:
        return f"Train more {rrm.unit}s, of which the warm-up may take a third; or set warmup to a larger number."
    if warmup.timing == "early":
        return f"Train with a longer warm-up than warmup={rrm.settings.warmup}, and with more {rrm.unit}s."
    if warmup.timing == "late" and warmup.end > 1:
        shorter = max(1, warmup.end // 3)
        return f"Train again with a shorter warm-up, such as warmup={shorter}, and compare the accuracy."
    return None


def _set_contamination(evidence: Evidence) -> str | None:
    """Return how the share pruned differs from the interval, where it wasn't estimated."""
    estimate = evidence.estimate
    rrm = evidence.rrm
    if estimate is None or estimate.interval is None or (isinstance(rrm, RRM) and rrm.settings.is_estimated):
        return None
    lower, upper = estimate.interval
    if lower <= evidence.share_pruned <= upper:
        return None
    side = "below" if evidence.share_pruned < lower else "above"
    return (
        f"Consider contamination={estimate.contamination:.2f}: the {percent(evidence.share_pruned)} that were pruned "
        f"are {side} the interval, {interval_in_percent(estimate.interval)}."
    )


def _check_by_hand(evidence: Evidence) -> str | None:
    """Return how to estimate the share better, where a small random sample does."""
    estimate = evidence.estimate
    if estimate is None:
        return None
    if estimate.interval is not None:
        lower, upper = estimate.interval
        middle = (lower + upper) / 2
        if upper - lower <= 4 * math.sqrt(middle * (1 - middle) / N_CHECKED):
            return None
    compared = "this estimate" if evidence.has_learnt else "a guess"
    draw = f"rrm_review.draw_samples([0] * {evidence.rrm.n}, {N_CHECKED})"
    return (
        f"Check {N_CHECKED} random labels by hand: {draw} writes them to samples.csv. The share of wrong ones, "
        f'rrm_review.quotas("samples.csv")[0], is more exact than {compared}, and can be passed as contamination.'
    )


def _keep_classes(evidence: Evidence) -> str | None:
    """Return what to do with classes that may not have been learnt."""
    named = [entry.name for entry in evidence.classes or () if entry.share >= ALMOST_ALL]
    rrm = evidence.rrm
    if not named or not isinstance(rrm, RRM) or rrm.settings.cap is not None:
        return None
    remedy = remedy_for_rare_classes(rrm.settings)
    return f"Almost all labels of {', '.join(map(repr, named))} seem wrong. Rare classes are learnt late: {remedy}."


def _check_classes(evidence: Evidence) -> str | None:
    if evidence.errors.kind in ("random", "unknown") or not evidence.pairs:
        return None
    first = evidence.pairs[0]
    return (
        f"Check how the classes {first.given!r} and {first.predicted!r} are defined, and whether they can be told "
        "apart: they are mixed up more often than at random."
    )


def _check_groups(evidence: Evidence) -> str | None:
    if not evidence.groups or _cap(evidence) is not None:
        # With a cap the groups are classes rather than sources.
        return None
    return (
        "Check ten labels of each group by hand: rrm_review.draw_samples draws them, and rrm_review.quotas makes "
        "contaminations of the answers. Losses don't show a group that is wrong throughout."
    )


def _cap(evidence: Evidence) -> object:
    return evidence.rrm.settings.cap if isinstance(evidence.rrm, RRM) else None


def _estimate(evidence: Evidence) -> str | None:
    if evidence.estimate is not None or evidence.rrm.n < MIN_SAMPLES:
        return None
    return "Let RRM(..., contamination='auto') estimate the share, from the logits and labels given to weighted_mean."
