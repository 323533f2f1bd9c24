"""A warm-up that holds out samples: how it begins, what ends with each round, and what the first reweight shows."""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
from torch import Tensor

from rrm_core._agreement import UNKNOWN
from rrm_core._learnt_estimate import doubt_about

from .estimation import check_sources, make_estimate
from .held_out import held_out, warmup_weights
from .layout import Layout
from .live_state import LiveState
from .prediction_buffer import PredictionBuffer
from .prediction_rounds import WarmupSchedule, end_round
from .sample_scores import DEFAULT_CAP
from .settings import Settings

ALMOST_ALL = 0.9
"""A class of which the first reweight prunes at least this share may not have been learnt."""

MIN_PRUNED = 5
"""Fewest pruned labels of such a class."""

MAX_NAMED = 5
"""Classes that a warning names."""


def begin_warmup(state: LiveState, settings: Settings, layout: Layout) -> LiveState:
    """Return the first state of a warm-up that records predictions."""
    # Ranks that hold all samples share the training, those that hold a slice train on it.
    n_expected = layout.n_local if layout.n_local < layout.n else layout.n / layout.size
    mask = held_out(layout.start, layout.end, settings.seed)
    keeps_mass = settings.redistribute != "drop"
    return replace(
        state,
        weights=warmup_weights(layout.n, layout.start, layout.end, settings.seed, keeps_mass=keeps_mass),
        predictions=PredictionBuffer(mask, layout.start, max(n_expected, 1)),
    )


def end_warmup_round(
    state: LiveState, settings: Settings, layout: Layout, schedule: WarmupSchedule, *, stacklevel: int
) -> LiveState:
    """Return the state after a round of a warm-up that records predictions. Collective where there are ranks.

    At the end of the warm-up the state has an estimate, and no more predictions.

    Raises
    ------
    ValueError
        No estimate can be made; the message says why.
    """
    if state.predictions is None:
        return state
    epoch = state.epoch + 1
    predictions = end_round(state.predictions, layout, epoch, schedule)
    groups = settings.sample_groups if settings.estimates_by_group else None
    n_rounds_before = state.predictions.agreement.n_rounds
    if groups is not None and n_rounds_before < schedule.rounds_of_pass <= predictions.agreement.n_rounds:
        check_sources(predictions, layout, groups)
    if not schedule.is_over(predictions, epoch):
        return replace(state, predictions=predictions)
    estimate = make_estimate(predictions, layout, groups, epoch)
    doubt = doubt_about(
        estimate,
        predictions.agreement.best,
        has_learnt=predictions.agreement.has_learnt,
        is_used=settings.is_estimated,
        end=f"when the warm-up ended, after {settings.unit} {epoch}",
        hint="logits are logits, not probabilities, and labels are the classes from 0",
    )
    if doubt is not None:
        warnings.warn(doubt, stacklevel=stacklevel + 1)
    return replace(state, predictions=None, estimate=estimate)


def trained_on(layout: Layout, settings: Settings, device: torch.device) -> Tensor:
    """Return which local samples the warm-up trained on: bool, shape (n_local,).

    The first reweight plans over these. The losses of those held out are those of a model that has not seen them, and
    higher: by one threshold for all, too many of them would be pruned.
    """
    return ~held_out(layout.start, layout.end, settings.seed).to(device)


def warn_of_pruned_classes(
    labels: Tensor, pruned: Tensor, members: Tensor | None, layout: Layout, settings: Settings, *, stacklevel: int
) -> None:
    """Warn if the first reweight prunes a given class almost whole. Collective where there are ranks.

    Parameters
    ----------
    labels : Tensor of integers, shape (n_local,)
        The given classes, `UNKNOWN` for a sample without one.
    pruned : Tensor of bool, shape (n_local,)
    members : Tensor of bool, shape (n_local,), or None
        The samples that took part; None if all did.
    layout : Layout
    settings : Settings
    stacklevel : int
        See `warnings.warn`.
    """
    is_known = labels != UNKNOWN
    if members is not None:
        is_known &= members.to(labels.device)
    own = labels[is_known].long()
    n_classes = 1 + max(row[0] for row in layout.sync_or_raise(None, int(own.max()) if len(own) else -1))
    counts = torch.stack([own.bincount(minlength=n_classes), own[pruned[is_known]].bincount(minlength=n_classes)])
    table = [(k, n, n_pruned) for k, (n, n_pruned) in enumerate(layout.all_reduce_sum(counts).T.tolist()) if n]
    classes = [k for k, n, n_pruned in table if n_pruned >= max(ALMOST_ALL * n, MIN_PRUNED)]
    if not classes:
        return
    named = ", ".join(map(str, classes[:MAX_NAMED])) + (", ..." if len(classes) > MAX_NAMED else "")
    warnings.warn(
        f"the first reweight prunes almost all labels of {len(classes)} of {len(table)} classes ({named}): a rare "
        f"class is learnt late, and until then all its labels seem wrong; {remedy_for_rare_classes(settings)}",
        stacklevel=stacklevel + 1,
    )


def remedy_for_rare_classes(settings: Settings) -> str:
    """Return what keeps a class from being pruned whole."""
    if settings.groups is None and settings.gamma is None:
        return (
            f"make RRM with groups=, the given classes of all samples, and cap={DEFAULT_CAP}, which keeps half of each "
            "class"
        )
    return "make RRM with a longer warmup, so that the class is learnt"
