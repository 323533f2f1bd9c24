"""What is known of wrong labels, and the shares of wrong labels of rules."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from experiments.data.wrench import VotedSamples
from experiments.recipes.label_noise import add_noise
from experiments.recipes.recipe_data import CheckedLabels, RecipeData
from experiments.recipes.wrench import checked_shares
from experiments.wrapped_systems import make_scheduler
from rrm_torch.methods import TrainingSet


def test_precision_and_recall_count_checked_labels_only():
    checked = CheckedLabels(torch.tensor([0, 2, 4, 6]), torch.tensor([True, False, True, True]))
    assert checked.pruning(torch.tensor([0, 1, 2, 3])) == (0.5, pytest.approx(1 / 3))
    assert checked.pruning(torch.tensor([1, 3])) == (None, 0.0)
    none_wrong = CheckedLabels.of_all(np.zeros(3, np.bool_))
    assert none_wrong.pruning(torch.tensor([1])) == (0.0, None)


def test_no_noise_leaves_the_labels_unknown():
    data = RecipeData(TrainingSet(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1]), 2))
    assert add_noise(data, "symmetric", 0.0, 0) is data
    noisy = add_noise(data, "symmetric", 0.5, 0)
    assert int((noisy.train.labels != data.train.labels).sum()) == 2
    assert noisy.checked.is_wrong.tolist() == (noisy.train.labels != data.train.labels).tolist()


def test_shares_of_rules_are_those_of_the_validation_samples():
    # Rule 0 votes for class 0, rule 1 for class 1, rule 2 for class 1; the last group is that of several rules.
    votes = np.array([[0, -1, -1], [-1, 1, -1], [-1, -1, 1], [0, -1, 1]], np.int8)
    valid = VotedSamples(
        texts=None,
        features=np.zeros((6, 1), np.float32),
        labels=np.array([0, 1, 1, 0, 1, 1]),
        votes=np.array([[0, -1, -1], [0, -1, -1], [-1, 1, -1], [-1, 1, 1], [-1, 1, 1], [-1, -1, -1]], np.int8),
    )
    # Rule 0: one of two is wrong; rule 1: none; rule 2 alone: unknown, so 2 of 5; several: 1 of 2.
    assert checked_shares(votes, valid, 2).tolist() == [0.5, 0.0, 0.4, 0.5]


def test_validation_samples_without_votes_are_refused():
    votes = np.array([[0], [0]], np.int8)
    valid = VotedSamples(None, np.zeros((1, 1), np.float32), np.array([0]), np.array([[-1]], np.int8))
    with pytest.raises(ValueError, match="rules must vote on some validation samples, got no vote"):
        checked_shares(votes, valid, 2)


@pytest.mark.parametrize(
    ("settings", "rates"),
    [
        ({"milestones": [1, 3]}, [1.0, 0.1, 0.1, 0.01]),
        ({"milestones": [2], "gamma": 0.2}, [1.0, 1.0, 0.2, 0.2]),
        ({"milestones": []}, [1.0, 1.0, 1.0, 1.0]),
        ({"milestones": None}, [1.0, 0.85355, 0.5, 0.14645]),
        ({"milestones": None, "final_lr": 0.5}, [1.0, 0.92678, 0.75, 0.57322]),
        ({}, [1.0, 0.85355, 0.5, 0.14645]),
    ],
)
def test_schedule_of_the_rate(settings, rates):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make_scheduler({"epochs": 4} | settings)(optimizer)
    seen = []
    for _ in range(4):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert seen == pytest.approx(rates, abs=1e-5)
