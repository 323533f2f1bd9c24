"""The tables of the experiment on what ranks the samples."""

from __future__ import annotations

from benchmarks.pages import score_tables
from support import made_up_records
from support.markdown_tables import tables

TAIL = "Fashion-MNIST, long tail, 1 to 50"
WORST = "CIFAR-10N, worst"


def test_accuracy_and_difference_from_the_loss():
    last, best, difference = tables(score_tables.scores_accuracy(made_up_records.scores()))
    assert last["test accuracy, last epoch, %"] == ["loss", "noise-aware"]
    assert last[TAIL] == ["55.0 ± 7.1", "58.0 ± 7.1"]
    assert best[TAIL] == ["65.0 ± 7.1", "68.0 ± 7.1"]
    assert difference[TAIL] == ["–", "+3.0 ± 0.0"]
    assert difference[WORST] == ["–", "+0.0 ± 1.0, within noise"]


def test_wrong_labels_pruned_and_the_worst_class():
    pruned, recall = tables(score_tables.scores_pruned(made_up_records.scores()))
    assert pruned[TAIL] == ["80.0 ± 0.0", "80.0 ± 0.0"]
    assert recall[TAIL] == ["20.0 ± 0.0", "23.0 ± 0.0"]
