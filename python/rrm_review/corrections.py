"""Applying the decisions of a person to the labels: corrected labels, and the samples to train with."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .corrections_file import Correction, read_corrections
from .issues import Column, read_items

Source: TypeAlias = str | os.PathLike[str] | Mapping[str, npt.ArrayLike]

MAX_NAMED = 5  # problems in a message


@dataclass(frozen=True, eq=False)
class CorrectedLabels:
    """Labels after corrections.

    Attributes
    ----------
    labels : array of integers or strings, shape (n,)
        The corrected labels, of the type of the original ones; those of dropped samples are unchanged.
    retained, dropped : array of int64
        The indices of the samples to train with, and of those to leave out, in ascending order.
    decisions : array of str, shape (n,)
        ``"keep"``, ``"relabel"``, ``"drop"``, ``"unsure"``, or an empty string for a sample that wasn't judged.
    n_changed : int
        The number of labels that differ from the original ones.
    """

    labels: Column
    retained: npt.NDArray[np.int64]
    dropped: npt.NDArray[np.int64]
    decisions: Column
    n_changed: int


def apply_corrections(
    labels: npt.ArrayLike,
    corrections: Source | Sequence[Source],
    *,
    ids: npt.ArrayLike | None = None,
    classes: Iterable[int | str] | None = None,
) -> CorrectedLabels:
    """Return the labels after corrections, and which samples remain.

    Parameters
    ----------
    labels : array of integers or strings, shape (n,)
        The given labels.
    corrections : str, path, mapping of str to array, or a sequence of these
        ``corrections.csv`` or ``corrections.json`` from the page that `write_page` writes, also after a spreadsheet
        saved it; or a table with its columns: ``id``, ``given_label`` (optional), ``decision`` (keep, relabel, drop or
        unsure) and ``label`` (the new label). Several, such as those of several persons, may agree on a sample.
    ids : array of integers or strings, shape (n,), optional
        What identifies the samples, as in the table of label issues. By default their indices.
    classes : iterable of int or str, optional
        Labels that are allowed beside those of `labels`, and of their type.

    Returns
    -------
    CorrectedLabels

    Raises
    ------
    TypeError
        `labels` or `ids` are neither integers nor strings, or `classes` are of another type than `labels`.
    ValueError
        No sample has an id, or several have it; two corrections of a sample differ; a given label is neither that of
        the sample nor the new one; a new label is no class; or a file isn't one of corrections. The message names the
        first five. Nothing is applied then.
    OSError
        A file can't be read.

    Notes
    -----
    Applying the same corrections twice gives the same labels. A decision to keep or unsure changes nothing.

    Examples
    --------
    >>> import rrm_review
    >>> corrections = {"id": ["b.png", "c.png"], "decision": ["relabel", "drop"], "label": ["cat", ""]}
    >>> corrected = rrm_review.apply_corrections(["cat", "dog", "dog"], corrections, ids=["a.png", "b.png", "c.png"])
    >>> corrected.labels.tolist(), corrected.retained.tolist()
    (['cat', 'cat', 'dog'], [0, 1])
    """
    original = read_items("labels", labels, len(np.asarray(labels)))
    positions = _positions(ids, len(original))
    names = _name_labels(original, classes)
    decisions: dict[int, Correction] = {}
    problems: list[str] = []
    for correction in read_all(corrections):
        problem = find_problem(correction, positions, decisions, original, names)
        if problem:
            problems.append(f"{correction.place}: {problem}")
        else:
            decisions.setdefault(positions[correction.id], correction)
    if problems:
        more = f"; and {len(problems) - MAX_NAMED:,} more" if len(problems) > MAX_NAMED else ""
        if any("\\udc" in problem for problem in problems):
            more += "; names have bytes that aren't UTF-8: if a spreadsheet saved the file, save it as CSV in UTF-8"
        raise ValueError(f"corrections don't fit the labels: {'; '.join(islice(problems, MAX_NAMED))}{more}")
    return _correct(original, decisions, names)


def read_all(corrections: Source | Sequence[Source]) -> list[Correction]:
    """Return the corrections of one or several files or tables."""
    # Data frames have columns as mappings do.
    if isinstance(corrections, (str, os.PathLike)) or hasattr(corrections, "keys"):
        corrections = [corrections]  # type: ignore[list-item]
    return [correction for source in corrections for correction in read_corrections(source)]


def _positions(ids: npt.ArrayLike | None, n: int) -> dict[str, int]:
    """Return the index of each sample by its id."""
    if ids is None:
        return {str(index): index for index in range(n)}
    texts = [str(item) for item in read_items("ids", ids, n).tolist()]
    positions = {text: index for index, text in enumerate(texts)}
    if len(positions) < n:
        twice = next(text for index, text in enumerate(texts) if positions[text] != index)
        raise ValueError(f"ids must differ from sample to sample, got {twice!r} more than once")
    return positions


def _name_labels(original: Column, classes: Iterable[int | str] | None) -> dict[str, int | str]:
    """Return the labels that are allowed by their texts."""
    labels = set(original.tolist())
    is_integer = original.dtype.kind in "iu"
    for label in () if classes is None else classes:
        if isinstance(label, (int, np.integer)) != is_integer:
            kinds = ("integers", "strings") if is_integer else ("strings", "integers")
            raise TypeError(f"classes must be {kinds[0]}, as labels are, not {kinds[1]}, got {label!r}")
        labels.add(int(label) if is_integer else str(label))
    return {str(label): label for label in labels}


def find_problem(
    correction: Correction,
    positions: Mapping[str, int],
    decisions: Mapping[int, Correction],
    original: Column,
    names: Mapping[str, int | str],
) -> str | None:
    """Return what is wrong with a correction, if anything is.

    Parameters
    ----------
    correction : Correction
    positions : mapping of str to int
        The position of each sample by its id.
    decisions : mapping of int to Correction
        The corrections so far, by position.
    original : array of integers or strings
        The labels before the corrections.
    names : mapping of str to int or str
        The labels that are allowed, by their texts.
    """
    if correction.id not in positions:
        return f"no sample has the id {correction.id!r}"
    position = positions[correction.id]
    label = str(original[position])
    # A label that is the new one already was corrected before.
    if correction.given_label not in ("", label) and correction.label != label:
        return f"{correction.id!r} had the label {correction.given_label!r} when it was judged, and has {label!r} now"
    if correction.decision == "relabel" and correction.label not in names:
        return f"{correction.id!r} gets the label {correction.label!r}, which no sample has; name it in classes"
    earlier = decisions.get(position)
    if earlier is not None and _outcome(earlier) != _outcome(correction):
        return f"{correction.id!r} is {_describe(correction)}, but {_describe(earlier)} in {earlier.place}"
    return None


def _outcome(correction: Correction) -> tuple[str, str]:
    return correction.decision, correction.label if correction.decision == "relabel" else ""


def _describe(correction: Correction) -> str:
    decision, label = _outcome(correction)
    return f"{decision} {label!r}" if label else decision


def _correct(original: Column, decisions: Mapping[int, Correction], names: Mapping[str, int | str]) -> CorrectedLabels:
    # Objects, so that a new label that is longer isn't cut off.
    labels = original.astype(object)
    judgements = np.full(len(original), "", dtype=object)
    is_dropped = np.zeros(len(original), bool)
    for position, correction in decisions.items():
        judgements[position] = correction.decision
        is_dropped[position] = correction.decision == "drop"
        if correction.decision == "relabel":
            labels[position] = names[correction.label]
    n_changed = int(np.count_nonzero(labels != original.astype(object)))
    if original.dtype.kind in "iu":
        labels = labels.astype(np.int64 if original.dtype.kind == "i" else np.uint64)
    return CorrectedLabels(
        labels=labels,
        retained=np.flatnonzero(~is_dropped),
        dropped=np.flatnonzero(is_dropped),
        decisions=judgements,
        n_changed=n_changed,
    )
