"""cleanlab: the table as the data frames of CleanLearning and Datalab."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..issues import Column, read_items, to_frame
from .columns import is_text, read_table

if TYPE_CHECKING:
    import pandas as pd

LABELS = ("given_label", "predicted_label")


def to_cleanlab(issues: Mapping[str, npt.ArrayLike], labels: npt.ArrayLike | None = None) -> pd.DataFrame:
    """Return a table as the `label_issues` of cleanlab's ``CleanLearning.fit``, which trains without the issues.

    Parameters
    ----------
    issues : mapping of str to array, shape (n,)
        A table from `make_issues` with all of its rows, in any order.
    labels : array of integers, shape (n,), optional
        The labels that ``fit`` gets, in the order of the samples. It is needed if the labels of the table are strings,
        which cleanlab doesn't take: they are replaced by these numbers.

    Returns
    -------
    pandas.DataFrame
        ``is_label_issue``, ``label_quality``, ``given_label``, ``predicted_label`` and ``sample_weight``, as far as the
        table has them, in the order of the samples.

    Raises
    ------
    TypeError
        The labels are strings, and `labels` are missing or no integers.
    ValueError
        A column is missing, the table has not all samples, `labels` have another length or other classes than the
        table, or no sample is labelled as a predicted class, which has no number then.
    ModuleNotFoundError
        pandas isn't installed.
    """
    table = _sort_rows(read_table("to_cleanlab", issues, "is_label_issue", "label_quality"))
    if labels is not None:
        table |= _number_labels(table, labels)
    for name in LABELS:
        if name in table and is_text(table[name]):
            raise TypeError(
                f"cleanlab needs labels that are integers, column {name!r} of issues holds strings; pass labels=, the "
                "integers that fit gets, to to_cleanlab"
            )
    names = ("is_label_issue", "label_quality", *LABELS, "sample_weight")
    return to_frame({name: table[name] for name in names if name in table})


def to_datalab(issues: Mapping[str, npt.ArrayLike]) -> pd.DataFrame:
    """Return a table with the columns of cleanlab's ``Datalab.get_issues("label")``.

    Parameters
    ----------
    issues : mapping of str to array, shape (n,)
        A table from `make_issues` with all of its rows, in any order, with ``given_label`` and ``predicted_label``.

    Returns
    -------
    pandas.DataFrame
        ``is_label_issue``, ``label_score`` (the label quality), ``given_label`` and ``predicted_label``, in the order
        of the samples.

    Raises
    ------
    ValueError
        A column is missing, or the table has not all samples.
    ModuleNotFoundError
        pandas isn't installed.
    """
    table = _sort_rows(read_table("to_datalab", issues, "is_label_issue", "label_quality", *LABELS))
    table["label_score"] = table["label_quality"]
    return to_frame({name: table[name] for name in ("is_label_issue", "label_score", *LABELS)})


def _sort_rows(table: Mapping[str, Column]) -> dict[str, Column]:
    """Return the rows in the order of the samples."""
    index = table["index"]
    rows = np.argsort(index, kind="stable")
    if len(index) and index[rows[-1]] != len(index) - 1:
        raise ValueError(
            f"issues must have a row for each sample, got {len(index):,} rows and the index {index[rows[-1]]}; pass "
            "the whole table"
        )
    return {name: column[rows] for name, column in table.items()}


def _number_labels(table: Mapping[str, Column], labels: npt.ArrayLike) -> dict[str, Column]:
    """Return the columns of labels with the numbers of the classes, given the table in the order of the samples."""
    numbers = read_items("labels", labels, len(table["index"]))
    if is_text(numbers):
        raise TypeError("labels must be integers, got strings; np.unique(labels, return_inverse=True)[1] numbers them")
    if "given_label" not in table:
        if "predicted_label" in table and is_text(table["predicted_label"]):
            raise ValueError("to_cleanlab needs the column 'given_label' of issues to number the predicted classes")
        return {"given_label": numbers}
    given = table["given_label"].tolist()
    number_of = dict(zip(given, numbers.tolist(), strict=True))
    pairs = set(zip(given, numbers.tolist(), strict=True))
    if len(pairs) != len(number_of) or len(number_of) != len(set(number_of.values())):
        raise ValueError(
            "labels must be one number for each class of the column 'given_label' of issues, got several; pass the "
            "labels in the order of the samples"
        )
    columns = {"given_label": numbers}
    if "predicted_label" in table:
        predicted = table["predicted_label"].tolist()
        unknown = sorted(set(predicted) - set(number_of))
        if unknown:
            raise ValueError(
                f"labels have no number for the predicted class {unknown[0]!r}, which no sample is labelled as; make "
                "the table with integer labels and predictions"
            )
        columns["predicted_label"] = np.array([number_of[label] for label in predicted], numbers.dtype)
    return columns
