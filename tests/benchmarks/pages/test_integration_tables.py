from __future__ import annotations

from benchmarks.pages.integration_tables import frameworks, preferences, swapped_pairs

LISTED = {"estimate": 0.25, "precision": 0.9, "recall": 0.8, "n_flagged": 10}


def framework_runs():
    return [
        {"framework": name, "lines": lines, "method": method, "seed": seed, "accuracy": accuracy + seed / 100, **LISTED}
        for name, lines in (("Lightning", 6), ("skorch", 2))
        for method, accuracy in (("plain", 0.9), ("auto", 0.95), ("told", 0.96))
        for seed in (0, 1)
    ]


def preference_runs():
    return [
        {"task": task, "share": 0.3, "method": method, "seed": seed, "last": last, "best": 0.9, **LISTED}
        for task in ("reward", "dpo")
        for method, last in (("plain", 0.6), ("cdpo", 0.6), ("rdpo", 0.7), ("auto", 0.75), ("told", 0.8))
        for seed in (0, 1)
    ]


def test_frameworks_have_a_row_each():
    settings = {"epochs": 30, "hidden": 256, "batch_size": 32}
    text = frameworks({"runs": framework_runs(), "settings": settings, "command": "record"})
    assert "| Lightning | 6 | 90.5 ± 0.7 | 95.5 ± 0.7 | 96.5 ± 0.7 | +5.0 ± 0.0 | +6.0 ± 0.0 | 25.0 ± 0.0 |" in text
    assert "| skorch | 2 |" in text
    assert "over 2 seeds" in text


def test_preferences_have_the_last_and_the_best_epoch_and_the_difference():
    text = preferences({"runs": preference_runs(), "command": "record"})
    assert "| reward model, 30 % swapped | 60.0 ± 0.0 | 60.0 ± 0.0 | 70.0 ± 0.0 | 75.0 ± 0.0 | 80.0 ± 0.0 |" in text
    assert "| DPO, 30 % swapped | 90.0 ± 0.0 |" in text
    assert "| reward model, 30 % swapped | – | +0.0 ± 0.0, within noise | +10.0 ± 0.0 |" in text


def test_swapped_pairs_have_estimate_precision_and_recall():
    text = swapped_pairs({"runs": preference_runs(), "command": "record"})
    assert "| DPO, 30 % swapped | 25.0 ± 0.0 | 90.0 ± 0.0 | 80.0 ± 0.0 | 90.0 ± 0.0 | 80.0 ± 0.0 |" in text
