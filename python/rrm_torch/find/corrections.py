"""Corrections of an earlier round: the labels to train with, and the columns that a person's decisions add."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rrm_review import CorrectedLabels, apply_corrections

from .duplicates import Duplicates
from .readers.labelled_data import LabelledData, LeftOut
from .result import Result

DROPPED = "dropped by a correction"


def correct(data: LabelledData, files: Sequence[Path]) -> CorrectedLabels:
    """Return the names of the corrected labels of all samples, and which samples to train with.

    Parameters
    ----------
    data : LabelledData
    files : sequence of Path
        Files of corrections.

    Raises
    ------
    ValueError
        As `rrm_review.apply_corrections`.
    OSError
        A file can't be read.
    """
    names = np.array(data.classes, dtype=object)[data.labels]
    return apply_corrections(names, list(files), ids=data.ids, classes=data.classes)


def corrected_data(data: LabelledData, corrected: CorrectedLabels) -> LabelledData:
    """Return the samples to train with, by their corrected labels."""
    rows = corrected.retained
    labels = _encode(data, corrected)[rows]
    dropped = [LeftOut(data.ids[row], DROPPED) for row in corrected.dropped.tolist()]
    return replace(data.take(rows), labels=labels, left_out=[*data.left_out, *dropped])


def corrected_duplicates(
    duplicates: Sequence[Duplicates], data: LabelledData, corrected: CorrectedLabels
) -> list[Duplicates]:
    """Return the groups by their corrected labels, without the samples that are dropped.

    Parameters
    ----------
    duplicates : sequence of Duplicates
        Of `data`.
    data : LabelledData
        Before the corrections.
    corrected : CorrectedLabels
    """
    labels = _encode(data, corrected)
    is_retained = np.zeros(len(labels), bool)
    is_retained[corrected.retained] = True
    members = [group.members[is_retained[group.members]] for group in duplicates]
    return [Duplicates(rows, labels[rows]) for rows in members if len(rows) > 1]


def _encode(data: LabelledData, corrected: CorrectedLabels) -> npt.NDArray[np.int64]:
    """Return the corrected labels of all samples as codes."""
    codes = {name: code for code, name in enumerate(data.classes)}
    return np.array([codes[name] for name in corrected.labels.tolist()], np.int64)


def with_decisions(result: Result, data: LabelledData, corrected: CorrectedLabels) -> Result:
    """Return a result on `corrected_data` with the indices and labels of all data, and the decisions.

    Parameters
    ----------
    result : Result
        Of the samples that are retained.
    data : LabelledData
        Before the corrections.
    corrected : CorrectedLabels
    """
    rows = corrected.retained[result.issues["index"]]
    names = np.array(data.classes, dtype=object)
    table: dict[str, npt.NDArray[Any]] = {}
    for name, column in result.issues.items():
        table[name] = column
        if name == "given_label":
            table[name] = names[data.labels[rows]]
            table["decision"] = corrected.decisions[rows]
            table["label"] = corrected.labels[rows]
    table["index"] = rows
    pruned = None
    if result.pruned is not None:
        pruned = np.zeros((len(result.pruned), len(data.labels)), bool)
        pruned[:, corrected.retained] = result.pruned
    return replace(result, issues=table, pruned=pruned)
