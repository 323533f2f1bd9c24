"""The findings of a diagnosis in words, a line each."""

from __future__ import annotations

from collections.abc import Sequence

from ..weighting.base import BaseRRM
from ..weighting.reweight import Reweight
from ..weighting.rrm import RRM
from ..weighting.settings import AUTO
from .evidence import Evidence
from .joint_findings import ClassShare, ErrorKind
from .warmup_timing import LOW_OVERLAP, WarmupTiming

MAX_NAMED = 3
"""Classes, pairs and groups that the text names."""

KINDS = {
    "random": "they look random",
    "partly systematic": "partly systematic, as human mistakes are",
    "systematic": "systematic: most labels of a class that are wrong belong to one other class",
}

MODEL_ERRORS = "some contradictions are errors of the model, where classes are hard to tell apart"
HARD_SAMPLES = "some of the pruned samples are hard ones with correct labels"
UNCERTAIN = "unlikely outcomes of what is uncertain, such as clicks, look like wrong labels"
INVISIBLE = "labels that follow a wrong rule throughout are learnt like correct ones, and don't show"


def percent(share: float) -> str:
    """Return a share in per cent."""
    return f"{100 * share:.1f} %"


def interval_in_percent(interval: tuple[float, float]) -> str:
    """Return an interval in per cent."""
    lower, upper = (100 * bound for bound in interval)
    return f"{lower:.1f} to {upper:.1f} %"


def before_first_reweight(rrm: BaseRRM) -> str:
    """Return how far the warm-up is, and when the first reweight follows."""
    ended = f"No reweight yet: {rrm.epoch:,} {rrm.unit}s have ended"
    if rrm.epoch == 1:
        ended = f"No reweight yet: 1 {rrm.unit} has ended"
    warmup = rrm.settings.warmup
    if not isinstance(rrm, RRM):
        return f"{ended}, and batches are weighted after epoch {warmup:,} (warmup={warmup})."
    if warmup != AUTO:
        return f"{ended}, and the first reweight follows {rrm.unit} {warmup:,} (warmup={warmup})."
    latest = "how many epochs are planned is not known (epochs=), or the warm-up would end after a third of them"
    if rrm.epochs is not None:
        latest = f"it ends after a third of the {rrm.epochs:,} planned epochs at the latest"
    return (
        f"{ended}. The warm-up ends once held-out samples are no longer predicted as labelled more often than before, "
        f"or the trained ones are memorised; {latest}."
    )


def findings(evidence: Evidence) -> tuple[str, ...]:
    """Return what a run shows after its first reweight, a line for each finding."""
    lines = [f"Share: {_share(evidence)}"]
    if evidence.classes is not None:
        verb = "pruned" if evidence.estimate is None else "contradicted"
        lines.append(f"Classes: {_classes(evidence.classes, verb)}")
    if evidence.pairs is not None:
        lines.append(f"Pairs: {_pairs(evidence)}")
    if evidence.groups:
        lines.append(f"Groups: {_groups(evidence)}")
    if evidence.has_learnt:
        lines.append(f"Warm-up: {_warmup(evidence.warmup, evidence.rrm.unit)}")
    if evidence.interval is not None:
        lines.append(f"Kind of errors: {_kind(evidence.errors)}{_doubt(evidence)}")
    doubtful = HARD_SAMPLES if evidence.estimate is None else MODEL_ERRORS
    return (*lines, f"Limits: {doubtful}; {UNCERTAIN}; and {INVISIBLE}.")


def _share(evidence: Evidence) -> str:
    """Return the estimated share of wrong labels, what it rests on, and what was pruned."""
    estimate = evidence.estimate
    last = evidence.last
    pruned = f"The last reweight pruned {last.n_pruned:,} of {last.n_planned:,} samples"
    if estimate is None:
        return f"not estimated. {pruned} ({percent(evidence.share_pruned)}), which follows from {_setting(last)}."
    if not evidence.has_learnt:
        return (
            "not estimated: when the warm-up ended, the model predicted the labels of held-out samples hardly more "
            f"often than by chance. {pruned}."
        )
    interval = "roughly; no interval"
    if estimate.interval is not None:
        interval = interval_in_percent(estimate.interval)
    return (
        f"{percent(estimate.contamination)} of the labels are estimated to be wrong ({interval}), by {estimate.basis} "
        f"({estimate.n_held_out:,} of {estimate.n:,} samples). {pruned}."
    )


def _classes(classes: Sequence[ClassShare], verb: str) -> str:
    if not classes:
        return f"no class has clearly more {verb} labels than the others."
    named = [
        f"{entry.name!r} {percent(entry.share)} ({entry.n_suspicious:,} of {entry.n:,})"
        for entry in classes[:MAX_NAMED]
    ]
    return f"highest {verb} shares: {_enumerate(named, len(classes))}."


def _pairs(evidence: Evidence) -> str:
    if not evidence.pairs:
        return "none occurs clearly more often than if labels were replaced at random."
    named = [
        f"{entry.given!r} → {entry.predicted!r} ({entry.n:,} of {entry.n_contradicted:,})"
        for entry in evidence.pairs[:MAX_NAMED]
    ]
    return (
        f"given → predicted (of the contradicted labels of the given class): {_enumerate(named, len(evidence.pairs))}."
    )


def _groups(evidence: Evidence) -> str:
    groups = evidence.groups
    verb = "estimated" if evidence.is_estimated_by_group else "pruned"
    named = [f"{entry.name} ({percent(entry.share)})" for entry in groups[:MAX_NAMED]]
    return f"highest {verb} shares: {_enumerate(named, len(groups))}; the lowest is {percent(groups[-1].share)}."


def _warmup(warmup: WarmupTiming, unit: str) -> str:
    ended = f"it ended after {unit} {warmup.end:,}"
    overlap = ""
    if warmup.overlap is not None:
        overlap = f" (mean overlap of the first pruned sets: {warmup.overlap:.2f})"
    if warmup.timing == "early" and warmup.is_measured:
        return f"{ended}, too early: the model was still learning."
    if warmup.timing == "early":
        counts = f"{warmup.n_pruned_first:,} samples and the last {warmup.n_pruned_last:,}"
        return f"{ended}, perhaps too early: the first reweight pruned {counts}."
    if warmup.timing == "late":
        return (
            f"{ended}, perhaps too late: the first reweights pruned different samples{overlap}, as they do where wrong "
            "labels were memorised before. Augmentation and a contamination that is too low have the same effect."
        )
    if warmup.timing == "unknown":
        return f"{ended}; the reweights don't show whether this was in time."
    if warmup.overlap is None:
        return f"{ended}; no sign that this was too early. Whether it was too late, the reweights don't show."
    if warmup.overlap < LOW_OVERLAP:
        # The losses of the pruned samples were high, see `warmup_timing.MEMORISED_LOSS`.
        overlap = f"{overlap[:-1]}, as low as with augmentation, hard samples or a contamination that is too low)"
    if warmup.is_measured:
        return f"{ended}; no sign that this was too early or too late{overlap}."
    return f"{ended}; no sign that this was too late{overlap}. Without an estimate, too early can't be seen."


def _kind(errors: ErrorKind) -> str:
    if errors.expected == 1:
        return "with two classes, random errors can't be told from systematic ones."
    if errors.kind == "unknown" or errors.concentration is None or errors.expected is None:
        return f"{errors.n:,} contradicted labels are too few to tell random errors from systematic ones."
    return (
        f"{KINDS[errors.kind]}. Two contradicted labels of one class have the same predicted class in "
        f"{percent(errors.concentration)} of the cases; at random it would be {percent(errors.expected)}."
    )


def _doubt(evidence: Evidence) -> str:
    """Return what else systematic errors may be, if there may be no wrong labels."""
    if evidence.may_be_none and evidence.errors.kind in ("partly systematic", "systematic"):
        return " If no label is wrong, these are errors of the model."
    return ""


def _setting(last: Reweight) -> str:
    """Return the setting that a reweight followed from."""
    if last.contamination is None:
        return "gamma"
    return "the contamination given to step()" if last.is_given else "the contamination"


def _enumerate(named: Sequence[str], n: int) -> str:
    """Return the first names of n, and how many more there are."""
    text = ", ".join(named)
    return f"{text} and {n - len(named):,} more" if n > len(named) else text
