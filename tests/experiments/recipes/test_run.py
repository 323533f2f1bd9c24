"""The result of a recipe, from the history of its epochs."""

from __future__ import annotations

import pytest
import torch

from experiments.recipes.recipe_data import CheckedLabels, RecipeData
from experiments.recipes.run import _result
from rrm_torch.methods import TrainingSet

HISTORY = [
    {"epoch": 1, "loss": [1.0, 2.0], "val": 0.5, "test": 0.4},
    {"epoch": 2, "loss": [0.5, 0.7], "val": 0.7, "test": 0.6, "pruned": 3.0, "precision": 0.25},
    {"epoch": 3, "loss": [0.1, 0.2], "val": 0.6, "test": 0.8, "pruned": 4.0, "precision": None},
    {"epoch": 4, "loss": [0.1, 0.2], "val": 0.7, "test": 0.7, "pruned": 4.0, "precision": 0.5},
]


def data(*, validation=True, checked=True):
    samples = TrainingSet(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1]), 2)
    tests = {"val": samples, "test": samples} if validation else {"test": samples}
    known = CheckedLabels(torch.tensor([0, 1]), torch.tensor([True, False])) if checked else None
    return RecipeData(samples, tests, known)


def test_last_best_and_chosen_accuracy():
    result = _result(HISTORY, data(), has_rrm=True)
    assert (result["accuracy"], result["best_accuracy"], result["best_epoch"]) == (0.7, 0.8, 3)
    assert result["chosen_accuracy"] == 0.6  # of the first epoch with the highest accuracy on the validation set
    assert (result["n"], result["n_classes"], result["wrong"]) == (4, 2, 0.5)
    assert "chosen_accuracy" not in _result(HISTORY, data(validation=False), has_rrm=True)
    assert _result(HISTORY, data(checked=False), has_rrm=True)["wrong"] is None


def test_curves_have_an_entry_for_each_epoch():
    curves = _result(HISTORY, data(), has_rrm=True)["epochs"]
    assert list(curves) == ["loss", "val", "test", "pruned", "precision"]
    assert curves["loss"] == pytest.approx([1.5, 0.6, 0.15, 0.15])
    assert curves["pruned"] == [None, 3.0, 4.0, 4.0]
    assert curves["precision"] == [None, 0.25, None, 0.5]
    assert list(_result(HISTORY, data(), has_rrm=False)["epochs"]) == ["loss", "val", "test"]
