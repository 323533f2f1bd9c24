"""Every method that lists wrong labels, on a few hundred digits."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from experiments.detection_metrics import evaluate_listing
from experiments.detectors.area_under_margin import AreaUnderMargin, last_linear, with_additional_class
from experiments.detectors.confident_learning import ConfidentLearning
from experiments.detectors.plain_training import PlainTraining
from experiments.detectors.relaxation import detect_by_rrm
from experiments.detectors.successive_runs import Batch, detect, divide_epochs
from experiments.noisy_tasks import task as noisy_task
from rrm_torch import batches
from rrm_torch.models import perceptron, small_resnet
from rrm_torch.training.score import predict

pytest.importorskip("sklearn")
pytest.importorskip("cleanlab")

N, N_CLASSES, EPOCHS = 330, 10, 8
RECIPE = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "batch_size": 30, "epochs": EPOCHS, "cosine": True}
DETECTORS = {
    "confident learning": lambda here: ConfidentLearning(here, RECIPE, 1, 5),
    "AUM": lambda here: AreaUnderMargin(here, RECIPE, 1),
    "plain training": lambda here: PlainTraining(here, RECIPE, 1, 3),
}


@pytest.fixture(scope="module")
def here():
    digits = noisy_task(Path(), "digits", "symmetric 0.2", N, 0)
    return replace(digits, model=partial(perceptron, 64, (16,), N_CLASSES))


def nothing(done, total):
    pass


def values(listings):
    return {
        name: (found.scores.tolist(), None if found.listed is None else found.listed.tolist())
        for name, found in listings.items()
    }


@pytest.mark.parametrize("name", DETECTORS)
def test_wrong_labels_come_first(name, here, tmp_path):
    for listing in detect(DETECTORS[name](here), tmp_path / "run.pt", nothing).values():
        found = evaluate_listing(listing, here.wrong)
        assert found["average_precision"] > 0.7
        if listing.listed is not None:
            assert found["f1"] > 0.6


@pytest.mark.parametrize("name", DETECTORS)
def test_budget_is_the_same(name, here, tmp_path, monkeypatch):
    detector = DETECTORS[name](here)
    seen = []
    record = detector.record_batch
    detector.record_batch = lambda batch: (seen.append(len(batch.index)), record(batch))
    epochs = []

    def after(done, total):
        assert (tmp_path / "run.pt").exists()
        epochs.append((done, total))

    detect(detector, tmp_path / "run.pt", after)
    assert sum(seen) == EPOCHS * N
    total = detector.n_runs * detector.recipe.epochs
    assert epochs == [(done, total) for done in range(1, total + 1)]


@pytest.mark.parametrize("name", DETECTORS)
def test_method_resumes_from_its_checkpoint(name, here, tmp_path):
    whole = detect(DETECTORS[name](here), tmp_path / "whole.pt", nothing)

    class StoppedError(Exception):
        pass

    def stop(last, done, total):
        if done == last:
            raise StoppedError

    # In the first run, at the end of a run, in another run, and at the end of all.
    for last in (1, 2, 4, 5, 8):
        with pytest.raises(StoppedError):
            detect(DETECTORS[name](here), tmp_path / "run.pt", partial(stop, last))
    resumed = detect(DETECTORS[name](here), tmp_path / "run.pt", nothing)
    assert values(resumed) == values(whole)


def test_plain_training_records_losses_and_margins(here, tmp_path):
    torch.manual_seed(1)
    model = here.model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    order = torch.Generator().manual_seed(1)
    losses = torch.zeros(EPOCHS, N)
    margins = torch.zeros(EPOCHS, N)
    for epoch in range(EPOCHS):
        for index, x, y in batches(here.x_train, here.labels, 30, shuffle=True, generator=order):
            logits = model(x)
            losses[epoch, index] = functional.cross_entropy(logits, y, reduction="none").detach()
            for i, row, label in zip(index, logits.detach(), y, strict=True):
                margins[epoch, i] = row[label] - max(row[k] for k in range(N_CLASSES) if k != label)
            optimizer.zero_grad()
            functional.cross_entropy(logits, y).backward()
            optimizer.step()
        scheduler.step()
    found = detect(PlainTraining(here, RECIPE, 1, 3), tmp_path / "run.pt", nothing)
    np.testing.assert_allclose(found["small loss, early epoch"].scores, losses[2], rtol=1e-5)
    np.testing.assert_allclose(found["small loss, mean of epochs"].scores, losses.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found["margin, mean of epochs"].scores, -margins.mean(0), rtol=1e-4, atol=1e-5)


def test_mixture_separates_two_levels_of_losses(here):
    detector = PlainTraining(here, RECIPE, 0, 1)
    low, high = np.random.default_rng(0).normal([0.2, 3.0], [0.1, 0.5], (N, 2)).T
    losses = torch.from_numpy(np.where(np.arange(N) < 100, high, low))
    detector.recorded["losses"][:] = EPOCHS * losses
    detector.recorded["early_losses"][:] = losses
    found = detector.listings()
    for name in ("small loss, early epoch", "small loss, mean of epochs"):
        assert found[name].listed.nonzero()[0].tolist() == list(range(100))


def test_area_under_margin_compares_with_samples_of_an_additional_class(here):
    detector = AreaUnderMargin(here, RECIPE, 1)
    first, second = detector.make_run(0), detector.make_run(1)
    threshold_samples = [(run.task.labels == N_CLASSES).numpy() for run in (first, second)]
    assert [samples.sum() for samples in threshold_samples] == [N // 11, N // 11]
    assert not (threshold_samples[0] & threshold_samples[1]).any()
    for run, samples in zip((first, second), threshold_samples, strict=True):
        assert torch.equal(run.task.labels[~samples], here.labels[~samples])
        assert run.model(here.x_train[:2]).shape == (2, 11)
        assert run.recipe.epochs == EPOCHS / 2
    areas = np.random.default_rng(0).normal(size=(2, N))
    detector.recorded["margins"][:] = torch.from_numpy(EPOCHS / 2 * areas)
    below = [
        np.where(samples, np.nan, np.percentile(row[samples], 99) - row)
        for row, samples in zip(areas, threshold_samples, strict=True)
    ]
    found = detector.listings()["AUM"]
    both = ~(threshold_samples[0] | threshold_samples[1])
    np.testing.assert_allclose(found.scores[both], (below[0] + below[1])[both] / 2, atol=1e-5)
    np.testing.assert_allclose(found.scores[threshold_samples[0]], below[1][threshold_samples[0]], atol=1e-5)
    np.testing.assert_array_equal(found.listed, found.scores >= 0)


def test_additional_class_of_a_residual_network():
    model = with_additional_class(lambda: small_resnet(10))
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 11)
    assert last_linear(nn.Sequential(nn.Linear(3, 4), nn.ReLU()))[0] == "0"


def test_probabilities_come_from_models_that_have_not_seen_the_sample(here, tmp_path, monkeypatch):
    detector = ConfidentLearning(here, RECIPE, 1, 5)
    samples = []
    for number in range(5):
        run = detector.make_run(number)
        training = {tuple(x.flatten().tolist()) for x in run.task.x_train}
        detector.recorded["probabilities"].zero_()
        detector.end_run(number, run)
        held_out = detector.recorded["probabilities"].sum(1).nonzero()[:, 0]
        assert not training & {tuple(here.x_train[i].flatten().tolist()) for i in held_out}
        loader = batches(here.x_train[held_out], here.labels[held_out], 1000, shuffle=False)
        assert torch.equal(detector.recorded["probabilities"][held_out], predict(run.model, loader))
        samples += held_out.tolist()
    assert sorted(samples) == list(range(N))


def test_confident_learning_is_that_of_cleanlab(here):
    from cleanlab.filter import find_label_issues

    detector = ConfidentLearning(here, RECIPE, 1, 5)
    labels = here.labels.numpy()
    logits = np.random.default_rng(0).normal(size=(N, N_CLASSES)) + 3 * np.eye(N_CLASSES)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    detector.recorded["probabilities"][:] = torch.from_numpy(probabilities)
    found = detector.listings()
    default, other = found["confident learning"], found["confident learning, normalised margin"]
    given = probabilities[np.arange(N), labels]
    np.testing.assert_allclose(default.scores, -given, atol=1e-6)
    np.testing.assert_array_equal(default.listed, find_label_issues(labels, probabilities, n_jobs=1))
    assert default.listed.any()
    assert other.listed is None
    others = np.where(np.arange(N_CLASSES) == labels[:, None], 0, probabilities).max(1)
    np.testing.assert_allclose(other.scores, -(given - others + 1) / 2, atol=1e-6)


def test_margins():
    logits = torch.tensor([[1.0, 5.0, 3.0], [1.0, 5.0, 3.0], [2.0, 2.0, -1.0]])
    batch = Batch(0, 1, torch.arange(3), torch.tensor([1, 0, 0]), logits, torch.zeros(3))
    assert batch.margins().tolist() == [2.0, -4.0, 0.0]


def test_rrm_lists_what_it_pruned(here, tmp_path):
    rrm = {"contamination": 0.2, "warmup": 2, "redistribute": "kept"}
    epochs = []
    found = detect_by_rrm(here, {"recipe": RECIPE, "rrm": rrm}, 1, tmp_path / "run.pt", lambda *a: epochs.append(a))
    listing = found["RRM"]
    assert epochs == [(done, EPOCHS) for done in range(1, EPOCHS + 1)]
    assert listing.listed.sum() == N // 5
    assert sorted(listing.scores) == list(range(1, N + 1))
    # In the order of the ranking, the samples that more reweights pruned come first.
    assert evaluate_listing(listing, here.wrong)["average_precision"] > 0.8
    assert listing.listed[listing.scores > N - 30].all()


def test_epochs_that_cannot_be_divided_are_rejected():
    with pytest.raises(ValueError, match=r"epochs must be a multiple of 4, .* got 30"):
        divide_epochs(RECIPE | {"epochs": 30}, 4)
    with pytest.raises(ValueError, match="early must be one of the epochs 1 to 8, got 9"):
        PlainTraining(noisy_task(Path(), "digits", "clean", 20, 0), RECIPE, 0, 9)
