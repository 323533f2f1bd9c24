"""The tables of the experiment on the estimated contamination."""

from __future__ import annotations

import pytest

from benchmarks.pages import auto_tables
from benchmarks.pages.paired_difference import paired_difference
from support import made_up_records

WORST = "CIFAR-10N, worst"
CLEAN = "Fashion-MNIST, clean"
DIGITS = "digits, symmetric, 30 %"


def parts(text):
    """Return the tables of a text, each as first cell -> others, and the paragraphs between and after them."""
    tables = []
    paragraphs = []
    for part in text.split("\n\n"):
        if not part.startswith("|"):
            paragraphs.append(part)
            continue
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines()]
        tables.append({first: rest for first, *rest in rows})
    return tables, paragraphs


def with_seeds(record, count):
    return record | {"runs": [run for run in record["runs"] if run["seed"] < count]}


def test_estimates():
    ((rows,), _) = parts(auto_tables.auto_estimates(made_up_records.auto()))
    head = ["true share", "estimate", "bias", "intervals that hold it", "mean width", "warm-up ended after epoch"]
    assert rows["wrong labels, %"] == head
    assert list(rows)[2:] == [WORST, CLEAN, DIGITS]
    assert rows[WORST] == ["40.5", "36.0 ± 1.4", "−4.5", "1 of 2, 1 without", "15.0", "1.5 ± 0.7 of 3"]
    assert rows[CLEAN] == ["0.0", "3.0 ± 1.4", "+3.0", "1 of 2", "6.5", "1.5 ± 0.7 of 3"]
    assert rows[DIGITS] == ["30.0", "21.0 ± 5.7", "−9.0", "1 of 2", "15.0", "1.5 ± 0.7 of 3"]


def test_sentence_about_all_estimates():
    record = made_up_records.auto()
    _, (sentence, _) = parts(auto_tables.auto_estimates(record))
    assert sentence == (
        "All 6 runs: the mean absolute error is 5.5 points, and the largest 13.0 (digits, symmetric, 30 %). In 5 runs "
        "it is at most 10 points. The interval holds the true share in 3 runs; there is none in 1, where the model was "
        "still learning. The mean width is 11.6 points."
    )
    _, (sentence, _) = parts(auto_tables.auto_estimates(with_seeds(record, 1)))
    assert "in 3 runs. The mean width is 12.0 points." in sentence


def test_estimates_without_an_interval():
    record = made_up_records.auto()
    for run in record["runs"]:
        if "estimate" in run["result"]:
            run["result"]["estimate"]["interval"] = None
    ((rows,), (sentence, _)) = parts(auto_tables.auto_estimates(record))
    assert rows[DIGITS][3:5] == ["0 of 2, 2 without", "–"]
    assert "in 0 runs; there is none in 6, where the model was still learning. The mean width is – points." in sentence


def test_large_estimates_have_the_accuracy_of_the_last_and_the_best_epoch():
    ((rows,), _) = parts(auto_tables.auto_large_estimates(made_up_records.auto_large()))
    assert rows["wrong labels, %"][-2:] == ["accuracy, last epoch", "accuracy, best epoch"]
    assert rows[DIGITS][-2:] == ["66.5 ± 2.1", "90.0 ± 0.0"]


def test_accuracy_has_a_table_for_the_last_and_for_the_best_epoch():
    record = made_up_records.auto()
    for run in record["runs"]:
        if run["method"] == "digits, symmetric 0.3: half":
            run["result"]["accuracy"] = 0.5
            run["result"]["best_accuracy"] = 0.6
    (last, best), _ = parts(auto_tables.auto_accuracy(record))
    columns = ["plain training", "auto", "true C", "true C, warm-up 10", "half of C", "twice C", "auto − true C"]
    assert last["test accuracy, last epoch, %"] == best["test accuracy, best epoch, %"] == columns
    plain = "61.0 ± 1.4"
    true = "71.0 ± 1.4"
    assert last[DIGITS] == [plain, "66.5 ± 2.1", true, true, "50.0 ± 0.0", true, "−4.5 ± 0.5"]
    assert last[WORST] == [plain, "72.5 ± 3.5", true, true, true, true, "+1.5 ± 1.5, within noise"]
    assert best[DIGITS] == [*["90.0 ± 0.0"] * 4, "60.0 ± 0.0", "90.0 ± 0.0", "+0.0 ± 0.0, within noise"]


def test_auto_is_compared_with_plain_training_on_clean_labels():
    (last, _), _ = parts(auto_tables.auto_accuracy(made_up_records.auto()))
    assert last[CLEAN] == ["71.0 ± 1.4", "73.0 ± 1.4", *["–"] * 4, "+2.0 ± 0.0"]


def test_sentence_about_differences_begins_with_losses():
    _, (last, best, _) = parts(auto_tables.auto_accuracy(made_up_records.auto()))
    assert last == (
        "Last epoch, 3 rows: auto is worse than the true C by more than two standard errors in 1 (digits, symmetric, "
        "30 %: −4.5), better in 1 (Fashion-MNIST, clean: +2.0), and within noise in 1."
    )
    assert best == (
        "Best epoch, 3 rows: auto is worse than the true C by more than two standard errors in 0, better in 0, and "
        "within noise in 3."
    )


def test_single_seed_has_no_standard_error():
    record = with_seeds(made_up_records.auto(), 1)
    (last, _), (sentence, *_) = parts(auto_tables.auto_accuracy(record))
    assert last[DIGITS][-1] == "−5.0"
    assert sentence == "Last epoch, 3 rows: one seed has no standard error."


def test_differences_are_paired_whatever_the_order_of_the_runs():
    record = made_up_records.auto()
    expected, _ = parts(auto_tables.auto_accuracy(record))
    record["runs"].sort(key=lambda run: (run["method"], -run["seed"] if "auto" in run["method"] else run["seed"]))
    found, _ = parts(auto_tables.auto_accuracy(record))
    assert found == expected


@pytest.mark.parametrize(
    ("values", "mean", "standard_error", "is_within_noise"),
    [
        ((1.0, 3.0), 2.0, 1.0, True),
        ((-1.0, -3.0), -2.0, 1.0, True),
        ((1.0, 2.5), 1.75, 0.75, False),
        ((-1.0, -2.5), -1.75, 0.75, False),
        ((0.0, 0.0), 0.0, 0.0, True),
        ((0.0,), 0.0, None, False),
    ],
)
def test_paired_difference(values, mean, standard_error, is_within_noise):
    others = [5.0 * seed for seed in range(len(values))]
    found = paired_difference([value + other for value, other in zip(values, others, strict=True)], others)
    assert (found.mean, found.standard_error) == pytest.approx((mean, standard_error))
    assert found.is_within_noise is is_within_noise


def test_paired_difference_rejects_other_numbers_of_seeds():
    with pytest.raises(ValueError, match="zip"):
        paired_difference([1.0, 2.0], [1.0])
