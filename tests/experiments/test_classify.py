"""Training follows the settings of an experiment, and its results describe the trained model."""

from __future__ import annotations

import json
import math
from functools import partial

import numpy as np
import pytest
import torch

from experiments import ablation, cifar10n, classify, co_teaching, mnist, mnist_table6
from experiments.runner.jobs import Job
from rrm_torch import RRM, BatchRRM, batches, evaluate, fit, predict
from rrm_torch.adversarial.attacks import FGSM, PGD, robustness
from rrm_torch.data import noise
from rrm_torch.data.augmentation import GaussianNoise
from rrm_torch.data.images import load_digits
from rrm_torch.losses import per_sample as losses
from rrm_torch.models import perceptron
from rrm_torch.training.history import WEIGHT_EDGES
from rrm_torch.training.pipeline import Task

EPOCHS, N, RATE = 8, 300, 0.3
RRM_OPTIONS = {"contamination": RATE, "warmup": 3, "every": 5}
BASE = {
    "recipe": {"epochs": EPOCHS, "batch_size": 50, "optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "cosine": True},
    "loss": "cce",
    "rrm": RRM_OPTIONS,
    "scoring": "recorded",
}
ATTACKED = BASE | {
    "attack": {"name": "fgsm", "eps": 0.3},
    "test_attacks": [{"name": "pgd", "steps": 3}],
    "test_eps": [0.0, 0.3],
}


def task(augment=None):
    digits = load_digits()
    noisy = noise.symmetric(digits.y_train.numpy()[:N], RATE, 10, rng=0)
    return Task(
        x_train=digits.x_train[:N],
        labels=torch.from_numpy(noisy.labels),
        wrong=noisy.wrong,
        x_test=digits.x_test,
        y_test=digits.y_test,
        model=partial(perceptron, 64, (16,), 10),
        augment=augment,
        prepare=lambda x: x / 2,
    )


def by_hand(here, *, rrm=None, loss="cce", **options):
    """Train as `classify.train` should; return the model, its accuracies, and the weights of each epoch."""
    torch.manual_seed(1)
    model = here.model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    order = torch.Generator().manual_seed(1)
    seen = here.augment or here.prepare
    training = batches(here.x_train, here.labels, 50, shuffle=True, generator=order, transform=seen)
    testing = batches(here.x_test, here.y_test, 100, shuffle=False, transform=here.prepare)
    accuracies, weights = [], [torch.ones(N)]

    def after(epoch, loss):
        accuracies.append(evaluate(model, testing))
        if rrm is not None:
            weights.append(rrm.weights.clone())

    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    options |= {"loss": losses.by_name(loss), "scheduler": scheduler, "on_epoch": after}
    fit(model, training, optimizer, EPOCHS, rrm=rrm, **options)
    return model, accuracies, weights


def in_order(here):
    return batches(here.x_train, here.labels, 100, shuffle=False, transform=here.prepare)


def told(here, settings, tmp_path):
    return classify.train(here, settings, 1, tmp_path / "run.pt", lambda done, total: None)


def rounded(values):
    return [round(value, 4) for value in values]


CASES = {
    "recorded losses": (BASE, None, {}),
    "fresh losses": (BASE | {"scoring": "pass"}, None, {"score": True}),
    "another loss": (BASE | {"loss": "mse"}, None, {"loss": "mse"}),
    "augmentation": (BASE, GaussianNoise(0.5), {}),
    "an attack": (ATTACKED, None, {"attack": FGSM(0.3)}),
    "an attack, fresh losses": (ATTACKED | {"scoring": "pass"}, None, {"attack": FGSM(0.3), "score": True}),
    "an attack, fresh losses of clean inputs": (
        ATTACKED | {"scoring": "pass", "score_inputs": "clean"},
        None,
        {"attack": FGSM(0.3), "score": True, "score_inputs": "clean"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_training_follows_the_settings(case, tmp_path):
    settings, augment, options = CASES[case]
    here, rrm, options = task(augment), RRM(N, **RRM_OPTIONS), dict(options)
    if options.pop("score", False):
        options["score_loader"] = in_order(here)
    model, accuracies, weights = by_hand(here, rrm=rrm, **options)
    found = told(here, settings, tmp_path)
    assert found["accuracy"] == accuracies[-1]
    assert found["best_accuracy"] == max(accuracies)
    assert found["epochs"]["accuracy"] == rounded(accuracies)
    right = predict(model, in_order(here)).argmax(1).numpy() == here.labels.numpy()
    assert found["memorised"] == right[here.wrong].mean()
    assert found["fitted"] == right[~here.wrong].mean()
    pruned = (weights[-1] == 0).numpy()
    assert found["recall"] == pruned[here.wrong].mean()
    assert found["precision"] == here.wrong[pruned].mean()
    for name, group in (("wrong", here.wrong), ("clean", ~here.wrong)):
        trained_with = weights[-2].numpy()[group]  # the last reweight came after the last epoch
        assert found["histogram"][name] == np.histogram(trained_with, WEIGHT_EDGES)[0].tolist()
        assert found["mean_weight"][name] == pytest.approx(trained_with.mean(), abs=1e-5)
        assert found["epochs"][f"{name}_pruned"][-1] == pytest.approx(pruned[group].mean(), abs=1e-4)
    assert not np.array_equal(weights[-1], weights[-2])  # or the histogram could be that of another epoch
    if "test_attacks" in settings:
        testing = batches(here.x_test, here.y_test, 1000, shuffle=False, transform=here.prepare)
        expected = robustness(model, testing, PGD(0.3, steps=3), [0.0, 0.3])
        assert found["robust"] == {"pgd": {str(eps): share for eps, share in expected.items()}}


def test_plain_training_with_constant_learning_rate(tmp_path):
    here = task()
    _, accuracies, _ = by_hand(here)
    assert told(here, BASE | {"rrm": None}, tmp_path)["epochs"]["accuracy"] == rounded(accuracies)
    constant = BASE | {"rrm": None, "recipe": BASE["recipe"] | {"cosine": False}}
    (tmp_path / "run.pt").unlink()
    assert told(here, constant, tmp_path)["epochs"]["accuracy"] != rounded(accuracies)


def test_infinite_thresholds_become_null(tmp_path, monkeypatch):
    def odd(outputs, y):
        return torch.where(torch.arange(len(y)) % 2 == 0, torch.inf, losses.cross_entropy(outputs, y))

    monkeypatch.setitem(losses.BY_NAME, "odd", odd)
    found = told(task(), BASE | {"loss": "odd"}, tmp_path)
    assert found["rounds"]["threshold"][0] is None
    json.dumps(found, allow_nan=False)


def test_co_teaching_networks_select_for_each_other(tmp_path, monkeypatch):
    calls = []
    weighted_mean = BatchRRM.weighted_mean

    def spy(self, losses, index, *, ranking):
        calls.append((losses, ranking))
        return weighted_mean(self, losses, index, ranking=ranking)

    monkeypatch.setattr(BatchRRM, "weighted_mean", spy)
    settings = BASE | {"co_teaching": True, "contamination": RATE, "over": 3}
    found = co_teaching.train_two(task(), settings, 1, tmp_path / "run.pt", lambda done, total: None)
    assert len(calls) == 2 * EPOCHS * math.ceil(N / 50)
    for first, second in zip(calls[::2], calls[1::2], strict=True):
        assert first[1] is second[0]
        assert second[1] is first[0]
        assert first[0] is not second[0]
    assert sum(found["rounds"]["n_pruned"][-1:]) == RATE * N


def smaller(job):
    return Job(job.method, job.settings | {"samples": 100}, job.seed)


def test_task_follows_the_settings(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (400, 28, 28), np.uint8)
    y = np.arange(400) % 10
    for name in ("mnist", "fashion_mnist"):
        np.savez(tmp_path / f"{name}.npz", x_train=images, y_train=y, x_test=images[:10], y_test=y[:10])
    given = []
    monkeypatch.setattr(mnist, "train", lambda *arguments: given.append(arguments))
    for module in (ablation, mnist_table6):
        for job in map(smaller, module.jobs(2)):
            module.EXPERIMENT.execute(job, tmp_path, tmp_path / "run.pt", None)
            here, settings, seed, *_ = given[-1]
            assert settings == job.settings
            assert seed == job.seed
            assert here.augment is (mnist.AUGMENTATIONS[settings["augment"]] if module is ablation else None)
            assert here.wrong.sum() == round(100 * settings["noise"])
            chosen = np.random.default_rng(seed).permutation(400)[:100]
            np.testing.assert_array_equal(here.labels[~here.wrong], y[chosen][~here.wrong])
    assert len(given) == len(ablation.jobs(2)) + len(mnist_table6.jobs(2))


@pytest.mark.parametrize("labels", cifar10n.LABELS)
def test_cifar10n_task_uses_the_named_labels(labels, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    clean = torch.arange(50) % 10
    kinds = {key: torch.from_numpy(rng.integers(0, 10, 50)) for key, _ in cifar10n.LABELS.values()}
    images = torch.from_numpy(rng.integers(0, 256, (50, 3, 32, 32), np.uint8))
    cifar = cifar10n.Cifar(images, clean, images[:5], clean[:5], list("0123456789"))
    monkeypatch.setattr(cifar10n, "_images", lambda path: cifar)
    monkeypatch.setattr(cifar10n, "load_cifar_n", lambda path: kinds | {"clean_label": clean})
    here = cifar10n.task(tmp_path, labels, 20, 3)
    chosen = np.random.default_rng(3).permutation(50)[:20]
    expected = kinds[cifar10n.LABELS[labels][0]][chosen]
    assert torch.equal(here.labels, expected)
    np.testing.assert_array_equal(here.wrong, expected != clean[chosen])
    assert torch.equal(here.x_train, images[chosen])


def test_task_rejects_too_few_images(tmp_path):
    images, y = np.arange(40 * 784, dtype=np.uint8).reshape(40, 28, 28), np.arange(40) % 10
    np.savez(tmp_path / "mnist.npz", x_train=images, y_train=y, x_test=images[:10], y_test=y[:10])
    with pytest.raises(ValueError, match="takes 48,000 training samples, and the data hold 40: other data"):
        mnist.task(tmp_path / "mnist.npz", samples=48_000, rate=0.2, seed=0, model="784-256-256-10")


def test_make_rrm_rejects_unknown_method():
    with pytest.raises(KeyError):
        classify.make_rrm({"preset": "other", "contamination": 0.2}, torch.zeros(10))
    trimmed = classify.make_rrm({"preset": "trimmed", "contamination": 0.2}, torch.zeros(10, dtype=torch.int64))
    assert trimmed.state_dict()["settings"]["redistribute"] == "drop"
