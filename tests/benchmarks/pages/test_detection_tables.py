"""The tables of the experiment on listing wrong labels."""

from __future__ import annotations

import pytest

from benchmarks.pages import detection_tables
from support import made_up_records
from support.markdown_tables import tables

BLOCKS = (detection_tables.detection_order, detection_tables.detection_lists)


def test_order_has_a_table_for_each_metric_and_the_best_in_bold():
    found = tables(detection_tables.detection_order(made_up_records.detection()))
    titles = [
        "average precision, %",
        "wrong among the first 100, %",
        "wrong among the first, as many as there are wrong labels, %",
    ]
    assert [next(iter(rows)) for rows in found] == titles
    for rows in found:
        assert list(rows)[2:] == ["digits, symmetric, 30 %", "IMDb, test set, checked by annotators"]
        assert rows[next(iter(rows))] == ["RRM", "confident learning", "small loss", "lead"]
        # Seed by seed 10 and 9 points, although the seeds differ by as much.
        expected = ["**85.0 ± 7.1**", "75.5 ± 7.8", "50.0 ± 0.0", "9.5"]
        assert rows["digits, symmetric, 30 %"] == expected


def test_lists():
    f1, shares = tables(detection_tables.detection_lists(made_up_records.detection()))
    assert f1["F1 of the list, %"] == ["RRM", "confident learning", "lead"]
    assert f1["digits, symmetric, 30 %"] == ["**75.0 ± 7.1**", "65.0 ± 7.1", "within noise"]
    assert "Fashion-MNIST, clean" not in f1
    assert shares["digits, symmetric, 30 %: 30.0 % wrong"] == ["**29.0 ± 1.4**", "20.0 ± 0.0", "9.0"]
    assert shares["Fashion-MNIST, clean: 0.0 % wrong"] == ["5.0 ± 0.0", "**1.0 ± 0.0**", "4.0"]


@pytest.mark.parametrize(
    ("best", "other", "expected"),
    [
        ([0.8, 0.9, 0.7], [0.7, 0.8, 0.6], "10.0"),
        ([0.8, 0.9, 0.7], [0.7, 0.6, 0.8], "within noise"),
        ([0.8, 0.9], [0.8, 0.9], "within noise"),
        ([0.8], [0.7], "–"),
    ],
)
def test_lead_is_paired_by_seed(best, other, expected):
    assert detection_tables.lead(best, other) == expected


def test_runs_are_paired_whatever_their_order():
    here = made_up_records.detection(3)
    expected = [block(here) for block in BLOCKS]
    here["runs"].sort(key=lambda run: (run["settings"]["data"], -run["seed"]))
    for block, text in zip(BLOCKS, expected, strict=True):
        for rows, others in zip(tables(block(here)), tables(text), strict=True):
            assert rows == others


@pytest.mark.parametrize("block", BLOCKS)
def test_notes_state_the_budget(block):
    text = block(made_up_records.detection())
    assert "on 5 folds for a share 1/4 of the epochs each, AUM twice for half of them" in text
    assert "Early epoch: number 10. `python -m experiments detection" in text
