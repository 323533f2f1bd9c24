"""The tables of DivideMix, ProMix and CC with and without RRM."""

from __future__ import annotations

import pytest

from benchmarks.pages import system_tables
from support import made_up_records
from support.markdown_tables import tables

WITH_RRM = "DivideMix + RRM, drop"


def test_accuracy_and_what_rrm_changes():
    worst, aggre = tables(system_tables.systems(made_up_records.systems()))
    assert worst["DivideMix"] == ["61.0 ± 1.4", "71.0 ± 1.4", "–", "25.0 ± 0.0"]
    assert worst[WITH_RRM] == ["66.0 ± 1.4", "76.0 ± 1.4", "+5.0 ± 0.0", "25.0 ± 0.0"]
    assert worst["RRM"][2] == "+5.0 ± 0.0"
    assert aggre[WITH_RRM] == ["65.0", "75.0", "+5.0", "25.0"]


def test_labelled_sets_are_shown_at_their_beginning_middle_and_end():
    (sets,) = tables(system_tables.system_sets(made_up_records.systems()))
    assert sets[f"worst: {WITH_RRM}, first epoch"] == [
        "800 ± 0",
        "20.0 ± 0.0",
        "10.0 ± 0.0",
        "100 ± 0",
        "50.0 ± 0.0",
    ]
    assert sets["aggre: DivideMix, last epoch"] == ["800", "10.0", "10.0", "–", "–"]
    assert not [row for row in sets if "CCE" in row]


def test_classes_are_shown_by_their_smallest_and_largest_mean():
    (classes,) = tables(system_tables.system_classes(made_up_records.systems()))
    assert classes[WITH_RRM] == ["10 to 70", "10.0 to 50.0", "25 to 100", "25.0 to 25.0"]
    assert classes["DivideMix"] == ["10 to 70", "10.0 to 50.0", "–", "–"]


@pytest.mark.parametrize(
    ("method", "plain"), [("CCE", None), ("Co-teaching", None), ("RRM", "CCE"), ("CC + RRM, drop", "CC")]
)
def test_method_with_rrm_is_compared_with_the_same_without(method, plain):
    assert system_tables.plain_method(method) == plain
