"""A summary of what a search found, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from rrm_core._learnt_estimate import FEW_HELD_OUT, NOTHING_LEARNT
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
        By their corrected labels.
    corrected : CorrectedLabels, optional
        The corrections of an earlier round.
    changes : Changes, optional
        The differences from an earlier run.
    """
    n_classes = len(np.unique(data.labels))
    paragraphs = [
        f"{data.name}: {result.n:,} {NOUNS[data.kind]} of {n_classes:,} classes, judged by {result.model}.",
        _describe_share(data, result),
        _describe_flagged(result),
        *_describe_classes(result),
        *_describe_corrections(result, corrected),
        *_describe_changes(changes),
        *_describe_duplicates(data, duplicates),
        *data.notes,
        *result.notes,
    ]
    if data.left_out:
        names = join_names([str(item.id) for item in data.left_out])
        n_samples = _count(len(data.left_out), "sample is", "samples are")
        paragraphs.append(f"{n_samples} left out, listed in left_out.csv: {names}.")
    if not result.is_complete:
        paragraphs.append("The search was interrupted: these are the findings up to then.")
    return paragraphs


def _count(n: int, singular: str, plural: str) -> str:
    return f"{n:,} {singular if n == 1 else plural}"


def _describe_share(data: LabelledData, result: Result) -> str:
    estimate = result.estimate
    if estimate is None:
        return f"The share to flag was given: {result.contamination:.1%} of the labels are flagged."
    if estimate.basis == NOTHING_LEARNT:
        return f"{_describe_failure(data, estimate.n_held_out)} The list may be no better than a random order."
    share = f"{estimate.contamination:.1%} of the labels are estimated to be wrong, about "
    share += f"{estimate.contamination * result.n:,.0f}"
    if estimate.interval is None:
        return f"{share}. The model was still learning, so that the estimate is rough and has no interval."
    lower, upper = estimate.interval
    doubt = ", so that there may be none" if lower == 0 else ""
    return f"{share}; the interval of the estimate is {lower:.1%} to {upper:.1%}{doubt}."


def _describe_failure(data: LabelledData, n_held_out: int) -> str:
    """Return why the share of wrong labels can't be estimated, and what helps."""
    text = (
        "The share of wrong labels can't be estimated: the model predicts labels not clearly more often than by chance"
    )
    if n_held_out < FEW_HELD_OUT:
        sample = "sample that it wasn't" if n_held_out == 1 else "samples that it wasn't"
        text += f", as far as {n_held_out:,} {sample} trained on can tell; pass the share to flag, --contamination"
    if data.kind == "images":
        return f"{text}. Train longer, --epochs, check the labels, or pass a model that suits the images."
    if data.kind == "probabilities":
        return f"{text}. Check the labels, and whether the columns of scores are in the order of the classes."
    return f"{text}. Check the labels and the columns, or pass features or a model that suit the data."


def _describe_flagged(result: Result) -> str:
    if not result.n_flagged:
        return (
            f"No label is flagged{_find_reason(result)}. The samples are listed by suspicion all the same; look at the "
            "first ones."
        )
    is_issue = result.issues["is_label_issue"]
    # Those of a search with corrections are the labels that the model was trained with.
    labels = result.issues.get("label", result.issues["given_label"])
    differs = labels != result.issues["predicted_label"]
    is_sure = is_issue & differs & (result.issues["confidence"] >= SURE)
    n_flagged = _count(result.n_flagged, "label is", "labels are")
    return (
        f"{n_flagged} flagged; for {np.count_nonzero(is_sure):,} of them another class is predicted with a probability "
        f"of at least {SURE:.0%}."
    )


def _find_reason(result: Result) -> str:
    """Return why no label is flagged, unless that is said already."""
    estimate = result.estimate
    if estimate is not None and estimate.basis == NOTHING_LEARNT:
        return ""
    if estimate is not None and (estimate.interval is None or estimate.interval[0] == 0):
        return ": the share can't be told from 0"
    return ": the share to flag is less than one label, or too many are equally suspicious"


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


def _describe_corrections(result: Result, corrected: CorrectedLabels | None) -> list[str]:
    if corrected is None:
        return []
    counts = Counter(corrected.decisions.tolist())
    n_judged = counts.total() - counts[""]
    text = f"{_count(n_judged, 'sample was', 'samples were')} judged before: {counts['relabel']:,} relabelled"
    text += f", {counts['keep']:,} kept, {counts['drop']:,} dropped, {counts['unsure']:,} unsure."
    is_open = result.issues["is_label_issue"] & (corrected.decisions[result.issues["index"]] == "")
    return [f"{text} {_count(int(is_open.sum()), 'flagged label is', 'flagged labels are')} not judged yet."]


def _describe_changes(changes: Changes | None) -> list[str]:
    if changes is None:
        return []
    text = f"The earlier run in this folder flagged {_count(changes.n_before, 'label', 'labels')}: "
    text += f"{changes.n_still:,} still flagged, {changes.n_settled:,} no longer, {changes.n_new:,} new."
    return [text]


def _describe_duplicates(data: LabelledData, duplicates: Sequence[Duplicates]) -> list[str]:
    if not duplicates:
        return []
    conflicts = [group for group in duplicates if group.labels_differ]
    n_members = sum(len(group.members) for group in duplicates)
    groups = _count(len(duplicates), "group", "groups")
    text = f"{n_members:,} samples have the same content as another, in {groups} listed in duplicates.csv"
    if not conflicts:
        return [f"{text}; their labels agree."]
    where = "" if len(duplicates) == 1 else f" in {_count(len(conflicts), 'group', 'groups')}"
    first = conflicts[0]
    example = join_names(
        [
            f"{data.ids[row]} ({data.classes[label]})"
            for row, label in zip(first.members.tolist(), first.labels.tolist(), strict=True)
        ],
        3,
    )
    return [f"{text}; the labels differ{where}, such as {example}."]
