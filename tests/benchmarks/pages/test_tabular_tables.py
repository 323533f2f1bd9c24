"""The tables of the experiment on tables."""

from __future__ import annotations

import pytest

from benchmarks.pages import tabular_tables
from support import made_up_records

METHODS = ("plain", "CleanLearning", "auto", "told", "auto, by the loss")


def result(true_share, accuracy, estimate, interval=(0.1, 0.4)):
    methods = {
        name: {
            "accuracy": accuracy + i / 100,
            "estimate": None if name == "plain" else estimate + i / 100,
            "interval": list(interval),
            "listing": None if name == "plain" else {"precision": 0.5 + i / 10, "recall": 0.4 + i / 10},
        }
        for i, name in enumerate(METHODS)
    }
    if true_share == 0:
        for name in METHODS[1:]:
            methods[name]["listing"] = {"precision": None, "recall": None}
    return {"true_share": true_share, "package": "1.2", "methods": methods}


def tabular():
    runs = []
    for table, asymmetric in (("digits", "pair 0.3"), ("spambase", "one-sided 0.4")):
        for noise, share in (("clean", 0.0), ("symmetric 0.3", 0.3), (asymmetric, 0.2)):
            for estimator in ("LightGBM", "XGBoost"):
                for seed in range(2):
                    settings = {"data": table, "noise": noise, "estimator": estimator}
                    made = made_up_records.run(f"{table}, {noise}: {estimator}", seed, settings, 0.0)
                    runs.append(made | {"result": result(share, 0.8 + seed / 50, share + seed / 25)})
    return made_up_records.record("tabular", runs)


def rows_of(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first: rest for first, *rest in cells if not first.startswith("---")}


def test_accuracy_has_a_row_for_each_noise_and_estimator():
    text = tabular_tables.tabular_accuracy(tabular())
    rows = rows_of(text)
    assert list(rows)[1:] == [
        f"{noise}: {estimator}"
        for noise in ("clean", "symmetric, 30 %", "one class for another")
        for estimator in ("LightGBM", "XGBoost")
    ]
    assert "LightGBM of version 1.2, XGBoost of version 1.2." in text
    assert rows["clean: LightGBM"] == ["81.0", "82.0", "83.0", "84.0", "85.0", "+1.0 ± 0.0"]


def test_clean_labels_have_differences_by_table():
    rows = rows_of(tabular_tables.tabular_clean(tabular()))
    assert rows["RRM, auto: digits"] == ["+2.0 ± 0.0", "+2.0 ± 0.0"]
    assert rows["CleanLearning: spambase"] == ["+1.0 ± 0.0", "+1.0 ± 0.0"]


def test_estimates_have_biases_and_intervals():
    text = tabular_tables.tabular_estimates(tabular())
    rows = rows_of(text)
    assert rows["symmetric, 30 %"] == ["30.0", "+4.0", "+4.0", "+4.0", "8 of 8", "+3.0"]
    assert rows["clean"][4] == "0 of 8"
    assert "All 24 estimates of RRM: the bias is +4.0 points, the mean absolute error 4.0, and the largest 6.0 " in text


def test_lists_have_precision_and_recall():
    rows = rows_of(tabular_tables.tabular_lists(tabular()))
    assert list(rows)[1:] == ["symmetric, 30 %", "one class for another"]
    assert rows["symmetric, 30 %"] == ["60.0, 50.0", "70.0, 60.0", "80.0, 70.0", "90.0, 80.0"]


def test_failures_of_clean_learning_are_counted():
    record = tabular()
    for name in ("accuracy", "estimate", "listing"):
        record["runs"][0]["result"]["methods"]["CleanLearning"][name] = None
    text = tabular_tables.tabular_accuracy(record)
    assert "CleanLearning fails in 1 of 24 runs, such as in digits, clean: LightGBM; its means are without" in text
    assert rows_of(text)["clean: LightGBM"][1] == "82.3"
    assert "CleanLearning fails" not in tabular_tables.tabular_accuracy(tabular())


def test_drafts_are_refused():
    with pytest.raises(SystemExit, match="is a draft"):
        tabular_tables.tabular_lists(tabular() | {"missing": 1})
