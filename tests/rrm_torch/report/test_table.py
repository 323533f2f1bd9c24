from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

import rrm_core
from rrm_torch.data.images import load_digits
from rrm_torch.report.table import describe_estimate, make_table, mean_and_std
from rrm_torch.training.compare import ComparisonSettings, compare
from rrm_torch.training.fit import Seconds


@pytest.fixture(scope="module")
def trials():
    settings = ComparisonSettings(noise=0.3, contamination=0.3, epochs=8, warmup=4, hidden=(32,))
    return [compare(load_digits(), settings, seed) for seed in range(2)]


def render(trials):
    console = Console(width=100, markup=False)
    with console.capture() as capture:
        console.print(make_table(trials, "title"))
    return capture.get()


def test_every_cell_of_the_table(trials):
    """Every measurement has a different value, so that swapped cells are detected."""
    seconds = [Seconds(10.0, 11.0, 12.0), Seconds(20.0, 21.0, 22.0)]
    plain = replace(trials[0].plain, accuracy=0.11, memorised=0.12, seconds=seconds[0])
    weighted = replace(trials[0].weighted, accuracy=0.21, memorised=0.22, seconds=seconds[1])
    trial = replace(trials[0], plain=plain, weighted=weighted, precision=0.31, recall=0.32)
    rows = [line.strip("│ ").split("│") for line in render([trial]).splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["test accuracy, %", "11.0", "21.0"],
        ["wrong labels memorised, %", "12.0", "22.0"],
        ["labels made wrong, %", "30.0", "30.0"],
        ["flagged labels", "", "404"],
        ["of them wrong (precision), %", "", "31.0"],
        ["of the wrong, found (recall), %", "", "32.0"],
        ["training, s", "10.00", "20.00"],
        ["scoring, s", "11.00", "21.00"],
        ["reweighting, s", "12.00", "22.00"],
    ]


def test_rows_on_wrong_labels_are_left_out_where_these_are_not_known(trials):
    unknown = [replace(trial, wrong=None, precision=None, recall=None) for trial in trials]
    text = render(unknown)
    assert "flagged labels" in text
    assert "–" not in text
    assert "wrong" not in text


def test_table_shows_mean_and_standard_deviation(trials):
    text = render(trials)
    accuracies = [100 * t.weighted.accuracy for t in trials]
    assert f"{np.mean(accuracies):.1f} ± {np.std(accuracies, ddof=1):.1f}" in text
    assert "mean ± standard deviation over 2 seeds" in text
    assert "one seed" in render(trials[:1])


def test_estimates_are_described_with_their_interval(trials):
    pairs = np.array([[0, 0, 5]])
    rrm = copy.copy(trials[0].rrm)
    estimate = rrm_core.ContaminationEstimate(0.25, (0.2, 0.325), 1347, 200, "a test", None, pairs)
    rrm._state = replace(rrm._state, estimate=estimate)
    estimated = replace(trials[0], rrm=rrm)
    assert describe_estimate(trials[0]) == ""
    assert describe_estimate(estimated) == ", 25.0% of the labels estimated to be wrong (20.0% to 32.5%)"
    text = render([estimated])
    assert "labels estimated to be wrong, %" in text
    assert "20.0 to 32.5" in text
    unsure = copy.copy(rrm)
    unsure._state = replace(rrm._state, estimate=replace(estimate, interval=None))
    assert "20.0 to 32.5 (1 of 2" in render([estimated, replace(estimated, rrm=unsure)])
    rrm._state = replace(rrm._state, estimate=replace(estimate, interval=None))
    assert describe_estimate(estimated) == ", 25.0% of the labels estimated to be wrong"


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.5, 0.7], "60.0 ± 14.1"), ([0.5], "50.0"), ([None, 0.5], "50.0"), ([None], "–"), ([], "–")],
)
def test_mean_and_std(values, expected):
    assert mean_and_std(values) == expected  # the sample standard deviation, sqrt(2) * 10
