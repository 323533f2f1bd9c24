"""The tables of the experiment on texts."""

from __future__ import annotations

from benchmarks.pages import text_tables
from support import made_up_records
from support.markdown_tables import tables

REVIEWS = "IMDb, symmetric, 20 %"
QUESTIONS = "BANKING77, as published"
MESSAGES = "SMS Spam, labels of rules"


def test_accuracy_and_difference_from_plain():
    text = text_tables.text_accuracy(made_up_records.text())
    rows, *_ = tables(text)
    assert rows["test accuracy, %"] == [
        "last epoch",
        "last epoch, difference from plain",
        "best epoch",
        "best epoch, difference from plain",
    ]
    assert rows[f"{REVIEWS}: plain training"] == ["55.0 ± 7.1", "–", "65.0 ± 7.1", "–"]
    assert rows[f"{REVIEWS}: RRM, auto"][:2] == ["62.0 ± 14.1", "+7.0 ± 5.0, within noise"]
    assert rows[f"{QUESTIONS}: RRM, auto"][1] == "+0.0 ± 0.0, within noise"
    assert rows[f"{MESSAGES}: RRM, auto"][3] == "−2.0 ± 0.0"
    assert rows[f"{MESSAGES}: correct labels only"][1] == "+10.0 ± 0.0"
    assert "Last epoch, 3 rows: RRM, auto, is better than plain training by more than two standard errors in 0," in text
    assert f"worse in 1 ({MESSAGES}), and within noise in 2." in text


def test_one_seed_has_no_verdict():
    text = text_tables.text_accuracy(made_up_records.text(1))
    assert text.count("3 rows: one seed has no standard error.") == 2


def test_precision_is_that_of_the_runs_that_prune():
    (rows,) = tables(text_tables.text_pruned(made_up_records.text()))
    assert rows["labels, %"] == ["wrong", "estimate", "runs that prune", "pruned", "precision", "recall", "memorised"]
    assert rows[f"{REVIEWS}: plain training"] == ["20.0", *["–"] * 5, "25.0 ± 0.0"]
    auto = rows[f"{REVIEWS}: RRM, auto"]
    assert auto == ["20.0", "10.0 ± 14.1", "1 of 2", "10.0 ± 14.1", "80.0", "40.0 ± 56.6", "25.0 ± 0.0"]
    assert rows[f"{REVIEWS}: RRM, true C"][:3] == ["20.0", "–", "2 of 2"]
    assert f"{MESSAGES}: correct labels only" not in rows


def test_precision_is_unknown_where_no_label_is_known_to_be_wrong():
    (rows,) = tables(text_tables.text_pruned(made_up_records.text()))
    assert rows[f"{QUESTIONS}: RRM, auto"] == ["–", "2.0 ± 0.0", "2 of 2", "2.0 ± 0.0", "–", "–", "–"]


def test_groups_have_shares_from_every_source():
    (rows,) = tables(text_tables.text_groups(made_up_records.text()))
    assert rows["1"] == ["40", "5.0", "10.0", "0.0 ± 0.0", "4.0 ± 0.0", "1.0 ± 0.0"]
    assert rows["2 or more"] == ["1,200", "10.0", "0.0", "5.0 ± 7.1", "0.5 ± 0.7", "0.0 ± 0.0"]
