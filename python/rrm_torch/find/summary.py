"""A summary of what a search found, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from rrm_core._learnt_estimate import NOTHING_LEARNT
from rrm_review import CorrectedLabels

from .duplicates import Duplicates
from .earlier_run import Changes
from .readers.labelled_data import LabelledData, join_names
from .result import Result

MAX_CLASSES = 5
MAX_PAIRS = 5
SURE = 0.9
"""A prediction with at least this probability is confident."""

NOUNS = {"images": "images", "texts": "texts", "table": "rows", "features": "samples", "probabilities": "samples"}


def summarise(
    data: LabelledData,
    result: Result,
    duplicates: Sequence[Duplicates],
    corrected: CorrectedLabels | None = None,
    changes: Changes | None = None,
) -> list[str]:
    """Return the summary, a paragraph per item.

    Parameters
    ----------
    data : LabelledData
    result : Result
    duplicates : sequence of Duplicates
    corrected : CorrectedLabels, optional
        The corrections of an earlier round.
    changes : Changes, optional
        The differences from an earlier run.
    """
    n_classes = len(np.unique(data.labels))
    paragraphs = [
        f"{data.name}: {result.n:,} {NOUNS[data.kind]} of {n_classes:,} classes, judged by {result.model}.",
        _describe_share(result),
        _describe_flagged(result),
        *_describe_classes(result),
        *_describe_corrections(corrected),
        *_describe_changes(changes),
        *_describe_duplicates(data, duplicates),
        *data.notes,
        *result.notes,
    ]
    if data.left_out:
        names = join_names([str(item.id) for item in data.left_out])
        paragraphs.append(f"{len(data.left_out):,} samples are left out, listed in left_out.csv: {names}.")
    if not result.is_complete:
        paragraphs.append("The search was interrupted: these are the findings up to then.")
    return paragraphs


def _describe_share(result: Result) -> str:
    estimate = result.estimate
    if estimate is None:
        return f"The share to flag was given: {result.contamination:.1%} of the labels are flagged."
    if estimate.basis == NOTHING_LEARNT:
        return (
            "The share of wrong labels can't be estimated: the model predicts labels hardly more often than by chance. "
            "The list is no better than a random order. Check the labels and the columns, or pass features or a model "
            "that suit the data."
        )
    share = f"{estimate.contamination:.1%} of the labels are estimated to be wrong, about "
    share += f"{estimate.contamination * result.n:,.0f}"
    if estimate.interval is None:
        return f"{share}. The model was still learning, so that the estimate is rough and has no interval."
    lower, upper = estimate.interval
    return f"{share}; the interval of the estimate is {lower:.1%} to {upper:.1%}."


def _describe_flagged(result: Result) -> str:
    if not result.n_flagged:
        return (
            "No label is flagged: the share can't be told from 0. The samples are listed by suspicion all the same; "
            "look at the first ones."
        )
    is_issue = result.issues["is_label_issue"]
    differs = result.issues["given_label"] != result.issues["predicted_label"]
    is_sure = is_issue & differs & (result.issues["confidence"] >= SURE)
    return (
        f"{result.n_flagged:,} labels are flagged; for {np.count_nonzero(is_sure):,} of them another class is "
        f"predicted with a probability of at least {SURE:.0%}."
    )


def _describe_classes(result: Result) -> list[str]:
    """Return which classes have the largest shares of flagged labels, and which pairs are the most frequent."""
    is_issue = result.issues["is_label_issue"]
    labels = result.issues["given_label"]
    n_samples = Counter(labels.tolist())
    n_flagged = Counter(labels[is_issue].tolist())
    if not n_flagged:
        return []
    # A class with few flagged labels says little, however small it is.
    frequent = [name for name, count in n_flagged.items() if count > 1] or list(n_flagged)
    worst = sorted(frequent, key=lambda name: -n_flagged[name] / n_samples[name])[:MAX_CLASSES]
    classes = ", ".join(
        f"{name} ({n_flagged[name]:,} of {n_samples[name]:,}, {n_flagged[name] / n_samples[name]:.0%})"
        for name in worst
    )
    predictions = result.issues["predicted_label"][is_issue]
    pairs = Counter(zip(labels[is_issue].tolist(), predictions.tolist(), strict=True))
    confusions = [(pair, count) for pair, count in pairs.most_common() if pair[0] != pair[1]][:MAX_PAIRS]
    paragraphs = [f"Classes with the largest share of flagged labels: {classes}."]
    if confusions:
        texts = ", ".join(f"{label} predicted as {prediction} ({count:,})" for (label, prediction), count in confusions)
        paragraphs.append(f"Most frequent among the flagged: {texts}.")
    return paragraphs


def _describe_corrections(corrected: CorrectedLabels | None) -> list[str]:
    if corrected is None:
        return []
    counts = Counter(corrected.decisions.tolist())
    n_judged = counts.total() - counts[""]
    text = f"{n_judged:,} samples were judged before: {counts['relabel']:,} relabelled, {counts['keep']:,} kept, "
    return [f"{text}{counts['drop']:,} dropped, {counts['unsure']:,} unsure."]


def _describe_changes(changes: Changes | None) -> list[str]:
    if changes is None:
        return []
    text = (
        f"Since the earlier run in this folder: of {changes.n_before:,} labels flagged then, {changes.n_still:,} are "
    )
    return [f"{text}still flagged, {changes.n_settled:,} are not; {changes.n_new:,} are new."]


def _describe_duplicates(data: LabelledData, duplicates: Sequence[Duplicates]) -> list[str]:
    if not duplicates:
        return []
    conflicts = [group for group in duplicates if group.labels_differ]
    n_members = sum(len(group.members) for group in duplicates)
    groups = "1 group" if len(duplicates) == 1 else f"{len(duplicates):,} groups"
    text = f"{n_members:,} samples have the same content as another, in {groups}"
    if not conflicts:
        return [f"{text}; their labels agree."]
    first = conflicts[0]
    example = join_names([f"{data.ids[row]} ({data.classes[data.labels[row]]})" for row in first.members.tolist()], 3)
    return [
        f"{text}; in {len(conflicts):,} of the groups the labels differ, listed in duplicates.csv, such as {example}."
    ]
