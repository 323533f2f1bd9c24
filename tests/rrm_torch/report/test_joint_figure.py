from __future__ import annotations

import numpy as np
import pytest

import rrm_core
from rrm_torch.report.joint_figure import confident_joint, select_classes


def estimate_of(table):
    table = np.asarray(table)
    given, predicted = table.nonzero()
    pairs = np.stack([given, predicted, table[given, predicted]], axis=1)
    return rrm_core.ContaminationEstimate(0.3, (0.2, 0.4), 100, 15, "a test", None, pairs, 5)


def cells(figure):
    """Return the numbers written in the cells, by row and column."""
    return {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in figure.axes[0].texts}


def tick_labels(axis):
    return [text.get_text() for text in axis.get_ticklabels()]


TABLE = [[50, 10, 0], [0, 1200, 0], [5, 0, 20]]


def test_cells_hold_counts_and_colours_the_share_of_the_row():
    figure = confident_joint(estimate_of(TABLE))
    axes = figure.axes[0]
    assert cells(figure) == {(0, 0): "50", (0, 1): "10", (1, 1): "1,200", (2, 0): "5", (2, 2): "20"}
    shares = axes.images[0].get_array().filled(np.nan)
    np.testing.assert_allclose(shares, [[np.nan, 100 / 6, np.nan], [np.nan] * 3, [20, np.nan, np.nan]])
    np.testing.assert_array_equal(axes.images[1].get_array().filled(np.nan), np.where(np.eye(3), 1, np.nan))
    colours = {text.get_text(): text.get_color() for text in axes.texts}
    assert colours == {"50": "gray", "1,200": "gray", "20": "gray", "10": "white", "5": "white"}
    right = axes.child_axes[0].yaxis
    assert tick_labels(right) == ["17 % of 60", "0 % of 1,200", "20 % of 25"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "given class")
    title = figure.get_suptitle()
    assert title.startswith("Confident joint: labels by given and predicted class,\n")
    assert title.endswith("half of the predictions (right: contradicted)")


def test_few_errors_are_pale():
    axes = confident_joint(estimate_of([[100, 1], [0, 100]])).axes[0]
    assert axes.images[0].get_clim() == (0, 10)


def test_names_are_drawn_literally_and_shortened(tmp_path):
    names = ["$x_{$", "a name that is much too long", "c", "never seen"]
    figure = confident_joint(estimate_of(TABLE), names)
    axes = figure.axes[0]
    assert tick_labels(axes.yaxis) == ["$x_{$", "a name th…too long", "c", "never seen"]
    assert tick_labels(axes.xaxis) == tick_labels(axes.yaxis)
    assert tick_labels(axes.child_axes[0].yaxis)[3] == "no labels"
    figure.savefig(tmp_path / "joint.png")
    with pytest.raises(ValueError, match="classes must name each of the 3 classes, got 2"):
        confident_joint(estimate_of(TABLE), ["a", "b"])


def test_of_many_classes_those_with_most_contradictions_are_shown():
    table = 10 * np.eye(77, dtype=int)
    frequent = [(70 - 3 * k, 3 * k) for k in range(10)]
    for k, (given, predicted) in enumerate(frequent):
        table[given, predicted] += 40 - k
    table[1, 2] += 1
    table[70, 1] += 3  # of which only the row's share tells
    figure = confident_joint(estimate_of(table))
    axes = figure.axes[0]
    assert tick_labels(axes.yaxis) == sorted({str(k) for pair in frequent for k in pair}, key=int)
    n_shown = sum(40 - k for k in range(10))
    assert figure.get_suptitle().endswith(
        f"\n20 of 77 classes, with {n_shown} of the {n_shown + 4} contradicted labels"
    )
    assert tick_labels(axes.child_axes[0].yaxis)[-1] == f"{100 * 43 / 53:.0f} % of 53"


def test_classes_with_most_labels_fill_the_figure_if_few_are_contradicted():
    table = np.diag(np.arange(1, 31))
    table[0, 5] = 1
    estimate = estimate_of(table)
    assert select_classes(estimate.pairs, 30) == [0, 5, *range(12, 30)]
    assert select_classes(estimate.pairs, 20) == list(range(20))


def test_nothing_contradicted_and_a_single_class(tmp_path):
    for table in (np.diag([5, 5, 5]), [[7]]):
        confident_joint(estimate_of(table)).savefig(tmp_path / "joint.png")
