"""The tables of the experiment with a small clean set."""

from __future__ import annotations

from benchmarks.pages import meta_tables
from support import made_up_records
from support.markdown_tables import tables

META = "Meta-Weight-Net, 250"


def test_accuracy_and_difference_from_rrm():
    last, best, difference = tables(meta_tables.meta_accuracy(made_up_records.meta()))
    assert last["test accuracy, last epoch, %"] == [
        f"Fashion-MNIST, {kind}" for kind in ("symmetric, 40 %", "pair, 30 %", "instance, 30 %")
    ]
    assert last["plain"] == ["51.0 ± 1.4", "31.0 ± 1.4", "31.0 ± 1.4"]
    assert last[META] == ["71.0 ± 1.4", "51.0 ± 1.4", "51.0 ± 1.4"]
    assert best["RRM, auto"] == ["71.0 ± 1.4", "51.0 ± 1.4", "51.0 ± 1.4"]
    assert difference["plain"] == ["−10.0 ± 0.0", "−10.0 ± 0.0", "−10.0 ± 0.0"]
    assert difference[META] == ["+10.0 ± 0.0", "+10.0 ± 0.0", "+10.0 ± 0.0"]
    assert "RRM, auto" not in difference


def test_weights_are_those_of_the_methods_that_have_them():
    memorised, weights = tables(meta_tables.meta_weights(made_up_records.meta()))
    assert memorised[META] == ["30.0 ± 0.0", "30.0 ± 0.0", "30.0 ± 0.0"]
    assert weights["RRM, auto"] == ["20.0 ± 0.0", "20.0 ± 0.0", "20.0 ± 0.0"]
    assert weights[META] == ["40.0 ± 0.0", "40.0 ± 0.0", "40.0 ± 0.0"]
    assert "plain" not in weights


def test_cost_is_the_ratio_to_plain_training_of_the_same_seed():
    record = made_up_records.meta()
    (cost,) = tables(meta_tables.meta_cost(record))
    assert cost["plain"] == ["1.50 s", "1.0x"]
    assert cost[META] == ["6.00 s", "4.0x"]
    for run in record["runs"]:
        if run["method"].endswith(META) and run["seed"] == 1:
            run["result"]["seconds_per_epoch"] = None  # resumed before its last epoch
    (cost,) = tables(meta_tables.meta_cost(record))
    assert cost[META] == ["4.00 s", "4.0x"]
