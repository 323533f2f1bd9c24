"""The tables of the experiment on groups."""

from __future__ import annotations

from benchmarks.pages import quota_tables
from support import made_up_records
from support.markdown_tables import tables


def test_sources():
    text = quota_tables.groups_sources(made_up_records.groups())
    rules, better_annotators, annotators = tables(text)
    assert list(rules) == [
        "20 rules, 25 % wrong: test accuracy, %",
        "---",
        "plain",
        "one contamination, true",
        "quotas, auto",
    ]
    assert rules["plain"] == ["55.0 ± 7.1", "65.0 ± 7.1", "−10.0 ± 0.0", "–", "–"]
    assert rules["one contamination, true"] == ["65.0 ± 7.1", "75.0 ± 7.1", "–", "80.0 ± 0.0", "80.0 ± 0.0"]
    assert better_annotators["quotas, auto"][2] == "+2.0 ± 0.0"
    assert annotators["quotas, auto"][2] == "+5.0 ± 0.0"
    assert "differ from the true shares by 4.0 points for 20 rules, 25 % wrong; 4.0 points for 20 annotators" in text


def test_tails_are_weighted_as_trained_and_equally():
    (rows,) = tables(quota_tables.groups_tails(made_up_records.groups()))
    # Classes of 9, 3 and 1 parts.
    assert rows["true"][:3] == ["85.4 ± 0.0", "70.0 ± 0.0", "70.0 ± 0.0"]
    assert rows["true"][3:] == ["–", "30.0 ± 0.0"]
    assert rows["true, cap 0.5"][1] == "80.0 ± 0.0"
    assert rows["true, cap 0.5"][3:] == ["+10.0 ± 0.0", "70.0 ± 0.0"]


def test_share_pruned_of_each_class_is_that_of_the_methods_that_prune():
    (rows,) = tables(quota_tables.groups_pruned(made_up_records.groups()))
    assert rows["sizes 1 to 9: labels pruned of class"] == ["0", "1", "2"]
    assert rows["true"] == ["10", "20", "55"]
    assert "plain" not in rows
