from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rrm_torch.adversarial.attacks import BY_NAME
from rrm_torch.data.images import load_digits
from rrm_torch.training.compare import ComparisonSettings, compare

QUICK = {"epochs": 12, "warmup": 5, "hidden": (64,)}


@pytest.fixture(scope="module")
def digits():
    return load_digits()


@pytest.fixture(scope="module")
def trial(digits):
    return compare(digits, ComparisonSettings(noise=0.3, contamination=0.3, **QUICK), seed=0)


def test_rrm_flags_wrong_labels(trial):
    assert trial.wrong.sum() == 404  # 30 % of 1,347
    assert len(trial.rrm.flagged()) == 404
    assert trial.recall > 0.93
    assert trial.precision == trial.recall  # the numbers of flagged and wrong labels are equal
    assert trial.weighted.accuracy > 0.93
    assert trial.weighted.memorised < 0.08


def test_measurements_can_be_reproduced_from_the_trial(trial, digits):
    actual = set(trial.rrm.flagged().tolist()) & set(np.flatnonzero(trial.wrong).tolist())
    assert trial.recall == len(actual) / 404
    assert (trial.labels != digits.y_train.numpy()).sum() == 404
    predicted = trial.probabilities.argmax(1)
    assert trial.weighted.memorised == np.mean(predicted[trial.wrong] == trial.labels[trial.wrong])
    assert trial.probabilities.sum(1) == pytest.approx(1, abs=1e-5)


def test_both_runs_have_the_same_initial_model_and_batches(trial):
    plain = trial.plain.history.epochs
    weighted = trial.weighted.history.epochs
    assert [e.epoch for e in plain] == list(range(1, 13))
    assert [e.loss for e in plain[:5]] == [e.loss for e in weighted[:5]]  # until the first reweight
    assert plain[5].loss != weighted[5].loss


def test_same_seed_gives_the_same_trial(trial, digits):
    settings = ComparisonSettings(noise=0.3, contamination=0.3, **QUICK)
    torch.manual_seed(99)  # compare must not depend on the global generator
    again = compare(digits, settings, seed=0)
    other = compare(digits, settings, seed=1)
    np.testing.assert_array_equal(again.probabilities, trial.probabilities)
    assert (other.labels != trial.labels).any()


def test_without_noise_wrong_labels_are_unknown(digits):
    observed = []
    trial = compare(digits, ComparisonSettings(contamination=0.02, epochs=3, warmup=1, hidden=()), 0, observed.append)
    assert trial.wrong is None
    assert trial.precision is trial.recall is trial.plain.memorised is trial.weighted.memorised is None
    np.testing.assert_array_equal(trial.labels, digits.y_train)
    assert len(trial.rrm.flagged()) == 26  # floor(0.02 * 1347)
    assert observed == ["plain"] * 3 + ["RRM"] * 3


def test_precision_without_flagged_labels(digits):
    trial = compare(digits, ComparisonSettings(noise=0.1, gamma=1e9, epochs=2, warmup=1, hidden=()), 0)
    assert trial.precision is None
    assert trial.recall == 0


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"noise": 1.5}, ValueError, r"noise must lie in \[0, 1\], got 1.5"),
        ({"noise_kind": "white"}, ValueError, "noise_kind must be one of symmetric, redraw, pair, got 'white'"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"hidden": (8, 0)}, ValueError, r"hidden must be at least 1, got \(8, 0\)"),
        ({"lr": 0.0}, ValueError, "lr must be finite and above 0, got 0.0"),
        ({"lr": math.inf}, ValueError, "lr must be finite and above 0, got inf"),
        ({"warmup": 60}, ValueError, "epochs must exceed warmup.*epochs=60 and warmup=60"),
        ({"warmup": "auto", "epochs": 1}, ValueError, "epochs must exceed warmup.*epochs=1 and warmup=auto"),
        ({"mu": 2.0}, ValueError, r"mu must lie in \(0, 1\], got 2.0"),
        ({"scoring": "later"}, ValueError, "scoring must be 'recorded' or 'pass', got 'later'"),
    ],
)
def test_settings_rejects_bad_values(changes, error, message):
    with pytest.raises(error, match=message):
        ComparisonSettings(**{"contamination": 0.3, **changes})


def test_classes_have_a_cap_where_the_contamination_is_estimated():
    settings = ComparisonSettings()
    assert (settings.contamination, settings.groups, settings.cap) == ("auto", "labels", 0.5)
    assert ComparisonSettings(groups="labels", cap=0.3).cap == 0.3
    assert ComparisonSettings(cap=0.3).groups == "labels"
    sources = ComparisonSettings(groups="sources.npy")
    assert (sources.groups, sources.cap) == ("sources.npy", None)
    told = ComparisonSettings(contamination=0.3)
    assert (told.groups, told.cap) == (None, None)


@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_adversarial_training_with_and_without_rrm(digits, attack):
    settings = ComparisonSettings(noise=0.3, contamination=0.3, attack=attack, eps=0.05, **(QUICK | {"epochs": 7}))
    trial = compare(digits, settings, seed=0)
    for outcome in (trial.plain, trial.weighted):
        assert 0.2 < outcome.robust_accuracy < outcome.accuracy
    assert trial.recall > 0.8


@pytest.mark.parametrize("name", BY_NAME)
def test_make_attack_uses_the_pixel_range(digits, name):
    data = replace(digits, black=2.0, white=5.0)
    expected = BY_NAME[name](0.05, unit=3.0, clip=(2.0, 5.0))
    assert ComparisonSettings(contamination=0.3, attack=name, eps=0.05).make_attack(data) == expected


def test_no_robust_accuracy_without_attack(trial):
    assert trial.plain.robust_accuracy is None


def test_gce_loss(digits):
    trial = compare(digits, ComparisonSettings(noise=0.3, contamination=0.3, loss="gce", **QUICK), seed=0)
    assert trial.rrm.losses.max() <= 1 / 0.7
    assert trial.recall > 0.8
