"""The figure of the confident joint: which given classes the most confident predictions contradict, and by which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

import rrm_core

from .evidence import ClassNames

MAX_CLASSES = 20
MAX_NAME = 18  # characters
DIAGONAL = "gainsboro"
LEAST_SCALE = 10.0  # per cent, so that few errors don't look like many

Counts = npt.NDArray[np.int64]


def confident_joint(estimate: rrm_core.ContaminationEstimate, classes: Sequence[str] | None = None) -> Figure:
    """Plot the confident joint: a row for each given class, a column for each predicted one.

    Parameters
    ----------
    estimate : ContaminationEstimate
    classes : sequence of str, optional
        The names of the classes; by default their numbers.

    Returns
    -------
    Figure
        A cell holds the number of labels among the more confident half of the predictions; its colour is their share of
        the row. The labels that agree with their prediction, on the diagonal, are grey. The number of labels of a row
        and their contradicted share are at its right. Of more than 20 classes, those of the most frequent
        contradictions are shown.

    Raises
    ------
    ValueError
        A class has no name.
    """
    largest = int(estimate.pairs[:, :2].max(initial=-1))
    name_of = ClassNames(classes, largest)
    n_classes = largest + 1 if classes is None else len(classes)
    shown = select_classes(estimate.pairs, n_classes)
    table = _table(estimate.pairs, shown)
    totals, contradicted = _row_sums(estimate.pairs, shown)
    errors = np.where(np.eye(len(shown), dtype=bool), 0, table)
    shares = 100 * errors / np.maximum(totals, 1)[:, None]

    size = 2.6 + 0.42 * max(len(shown), 6)
    figure = Figure(figsize=(size + 1.2, size), layout="constrained")
    axes = figure.add_subplot()
    largest_share = max(float(shares.max(initial=0)), LEAST_SCALE)
    image = axes.imshow(np.where(errors > 0, shares, np.nan), "Reds", vmin=0, vmax=largest_share)
    agreeing = np.where(np.eye(len(shown), dtype=bool), 1.0, np.nan)
    axes.imshow(agreeing, ListedColormap([DIAGONAL]))
    _write_counts(axes, table, shares > 0.6 * largest_share)
    names = [_shorten(name_of(k)) for k in shown]
    rotation = 90 if max(map(len, names), default=0) > 3 else 0
    axes.set_xticks(range(len(shown)), names, fontsize=8, rotation=rotation, parse_math=False)
    axes.set_yticks(range(len(shown)), names, fontsize=8, parse_math=False)
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(shown)), list(map(_describe_row, totals, contradicted)), fontsize=8)
    right.tick_params(length=0)
    axes.set(xlabel="predicted class", ylabel="given class")
    figure.suptitle(_title(estimate, len(shown), n_classes, int(errors.sum())), fontsize=10)
    figure.colorbar(image, label="% of the labels of the given class", pad=0.02, shrink=0.8)
    return figure


def select_classes(pairs: Counts, n_classes: int) -> list[int]:
    """Return the classes to show, in ascending order: all, or those of the most frequent contradictions."""
    if n_classes <= MAX_CLASSES:
        return list(range(n_classes))
    errors = pairs[pairs[:, 0] != pairs[:, 1]]
    # Without enough contradictions, the classes with the most labels come next.
    agreeing = pairs[pairs[:, 0] == pairs[:, 1]]
    ordered = np.concatenate([part[np.argsort(-part[:, 2], kind="stable")] for part in (errors, agreeing)])
    shown: dict[int, None] = {}
    for pair in ordered[:, :2].tolist():
        candidates = {**shown, **dict.fromkeys(pair)}
        if len(candidates) <= MAX_CLASSES:
            shown = candidates
    return sorted(shown)


def _table(pairs: Counts, shown: Sequence[int]) -> Counts:
    """Return the counts of the shown classes: shape (len(shown), len(shown))."""
    position = {number: i for i, number in enumerate(shown)}
    table = np.zeros((len(shown), len(shown)), np.int64)
    for given, predicted, count in pairs.tolist():
        if given in position and predicted in position:
            table[position[given], position[predicted]] = count
    return table


def _row_sums(pairs: Counts, shown: Sequence[int]) -> tuple[Counts, Counts]:
    """Return the labels of each shown class, and how many of them are contradicted, by any class."""
    rows = [pairs[pairs[:, 0] == number] for number in shown]
    totals = [row[:, 2].sum() for row in rows]
    contradicted = [row[row[:, 1] != number, 2].sum() for row, number in zip(rows, shown, strict=True)]
    return np.array(totals, np.int64), np.array(contradicted, np.int64)


def _write_counts(axes: Any, table: Counts, is_dark: npt.NDArray[np.bool_]) -> None:
    """Write the counts above 0 in their cells."""
    fontsize = 8 if len(table) <= 12 else 7
    for i, j in np.argwhere(table > 0).tolist():
        colour = "white" if is_dark[i, j] else "black"
        if i == j:
            colour = "gray"
        axes.text(j, i, f"{table[i, j]:,}", ha="center", va="center", fontsize=fontsize, color=colour)


def _describe_row(n: int, n_contradicted: int) -> str:
    if n == 0:
        return "no labels"
    return f"{100 * n_contradicted / n:.0f} % of {n:,}"


def _title(estimate: rrm_core.ContaminationEstimate, n_shown: int, n_classes: int, n_errors: int) -> str:
    title = "Confident joint: labels by given and predicted class,\nof the more confident half of the predictions"
    title += " (right: contradicted)"
    if n_shown < n_classes:
        is_error = estimate.pairs[:, 0] != estimate.pairs[:, 1]
        n_all = int(estimate.pairs[is_error, 2].sum())
        title += f"\n{n_shown} of {n_classes:,} classes, with {n_errors:,} of the {n_all:,} contradicted labels"
    return title


def _shorten(name: str) -> str:
    """Return a name without its middle if it is long."""
    if len(name) <= MAX_NAME:
        return name
    return f"{name[: MAX_NAME // 2]}…{name[1 - MAX_NAME // 2 :]}"
