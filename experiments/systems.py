"""DivideMix, ProMix and CC with and without RRM on human labels: CIFAR-10N, and a small version on digits."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from rrm_torch.data import images
from rrm_torch.data.augmentation import Augmentation, Compose, FlipCrop, Standardise
from rrm_torch.methods import TrainingSet
from rrm_torch.models import residual_features, small_resnet
from rrm_torch.training.pipeline import Task

from . import cifar10n
from .classify import train
from .co_teaching import train_two
from .noisy_tasks import add_noise
from .runner.jobs import Experiment, Job, OnEpoch
from .wrapped_systems import STRONG, train_system

N_CLASSES = 10
WIDTH = 16
EPOCHS = 60
WARMUP = 10
SEEDS = {"worst": None, "aggre": 1}
"""At most so many seeds with each kind of labels; None is as many as asked for."""

# The published settings for the closest share of wrong labels, in runs of a fifth of the 300 epochs of DivideMix and CC
# and a tenth of the 600 of ProMix. Of ProMix's lengths, the last epoch without agreement is a tenth of the published
# one; its ramp and its epochs with guesses are 0.3 of theirs. The ramp of DivideMix and CC is the published one.
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "worst": {
        "DivideMix": {"unlabelled_weight": 25.0},
        "CC": {"unlabelled_weight": 25.0},
        "ProMix": {"share": 0.5},
    },
    "aggre": {
        "DivideMix": {"unlabelled_weight": 0.0},
        "CC": {"unlabelled_weight": 0.0},
        "ProMix": {"share": 0.7},
    },
}
RATES: dict[str, dict[str, float]] = {
    "DivideMix": {"lr": 0.02},
    "CC": {"lr": 0.02},
    "ProMix": {"lr": 0.05, "final_lr": 5e-5},
}
SHARED: dict[str, dict[str, Any]] = {
    "DivideMix": {"warmup": WARMUP, "batch_size": 64},
    "CC": {"warmup": WARMUP, "batch_size": 64},
    "ProMix": {
        "warmup": WARMUP,
        "batch_size": 128,
        "ramp": 15.0,
        "pseudo_epochs": 30,
        "agreement_epoch": 35,
    },
}
# Inside ProMix's choice no estimate of the share of wrong labels is at hand: a tenth is pruned.
PROMIX_CONTAMINATION = 0.1


def jobs(seeds: int) -> list[Job]:
    """Return all methods on both kinds of labels."""
    all_jobs = []
    for labels, most in SEEDS.items():
        n_seeds = seeds if most is None else min(seeds, most)
        base = {"data": "cifar10n", "noise": labels, "samples": cifar10n.SAMPLES, "width": WIDTH, "epochs": EPOCHS}
        methods = _baselines(base, cifar10n.RECIPE, cifar10n.LABELS[labels][1], WARMUP)
        methods |= _systems(base | {"autocast": True}, OPTIONS[labels], SHARED)
        all_jobs += [Job(method, settings, seed) for method, settings in methods.items() for seed in range(n_seeds)]
    return all_jobs


def quick_jobs(seeds: int) -> list[Job]:
    """Return all methods on a few digits, for a few epochs: whether everything runs, not how well."""
    base = {"data": "digits", "noise": "symmetric 0.3", "samples": None, "width": WIDTH, "epochs": 4}
    recipe = {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "batch_size": 64, "epochs": 4}
    shared = {name: options | {"warmup": 2, "batch_size": 64} for name, options in SHARED.items()}
    methods = _baselines(base, recipe, 0.3, 2)
    methods |= _systems(base | {"autocast": False}, OPTIONS["worst"], shared)
    return [Job(method, settings, seed) for method, settings in methods.items() for seed in range(min(seeds, 1))]


def _baselines(base: dict[str, Any], recipe: dict[str, Any], rate: float, warmup: int) -> dict[str, dict[str, Any]]:
    single = base | {"recipe": recipe, "loss": "cce", "scoring": "recorded", "rrm": None}
    rrm = {"contamination": rate, "warmup": warmup, "redistribute": "kept"}
    return {
        "CCE": single,
        "RRM": single | {"rrm": rrm},
        "Co-teaching": single | {"co_teaching": True, "contamination": rate, "over": warmup},
    }


def _systems(
    base: dict[str, Any], options: dict[str, dict[str, Any]], shared: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return the systems, each without RRM, and with RRM that drops pruned samples or takes them as unlabelled.

    ProMix selects as many samples of each class. One threshold for all of them prunes those of hard classes, so that
    it is also run with a threshold for each class.
    """
    methods: dict[str, dict[str, Any]] = {}
    for name, own in options.items():
        settings = base | RATES[name] | {"system": name, "options": shared[name] | own, "rrm": None}
        rrm: dict[str, Any] = {"contamination": PROMIX_CONTAMINATION} if name == "ProMix" else {}
        methods[name] = settings
        methods[f"{name} + RRM, drop"] = settings | {"rrm": rrm}
        if name == "DivideMix":
            unlabelled = settings["options"] | {"on_pruned": "unlabelled"}
            methods[f"{name} + RRM, unlabelled"] = settings | {"rrm": rrm, "options": unlabelled}
        if name == "ProMix":
            by_class = {"contamination": [PROMIX_CONTAMINATION] * N_CLASSES, "by_class": True}
            methods[f"{name} + RRM, drop by class"] = settings | {"rrm": by_class}
    return methods


def _network(width: int) -> nn.Module:
    network: nn.Module = small_resnet(N_CLASSES, width).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _backbone(width: int) -> tuple[nn.Module, int]:
    features: nn.Module = residual_features(width).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return features, 4 * width


def make_task(settings: dict[str, Any], data: Path, seed: int) -> Task:
    """Return the task of a job."""
    model = partial(_network, settings["width"])
    if settings["data"] == "digits":
        return _digits(settings["noise"], seed, model)
    return replace(cifar10n.task(data, settings["noise"], settings["samples"], seed), model=model)


def _digits(noise: str, seed: int, model: Any) -> Task:
    """Return scikit-learn's digits as colour images of 8 x 8 pixels, with noise."""
    loaded = images.load("digits")
    white = Standardise((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    task = Task(
        x_train=_colour(loaded.x_train),
        labels=loaded.y_train,
        x_test=_colour(loaded.x_test),
        y_test=loaded.y_test,
        model=model,
        augment=Compose(FlipCrop(padding=1, flip=False), white),
        prepare=white,
    )
    return add_noise(task, noise, seed)


def _colour(x: Tensor) -> Tensor:
    """Return images as bytes with three equal channels."""
    return (x.view(-1, 1, 8, 8) / x.max() * 255).to(torch.uint8).expand(-1, 3, -1, -1).contiguous()


def training_set(task: Task) -> TrainingSet:
    """Return the training set of a task, with RandAugment before its augmentation as the strong one."""
    weak = cast("Augmentation", task.augment)
    return TrainingSet(
        task.x_train,
        task.labels,
        n_classes=int(task.y_test.max()) + 1,
        weak=weak,
        strong=Compose(STRONG, weak),
        prepare=task.prepare,
    )


def execute(job: Job, data: Path, checkpoint: Path, on_epoch: OnEpoch) -> dict[str, Any]:
    """Execute a job, see `Experiment`."""
    settings: dict[str, Any] = dict(job.settings)
    task = make_task(settings, data, job.seed)
    if "system" not in settings:
        method = train_two if settings.get("co_teaching") else train
        return method(task, settings, job.seed, checkpoint, on_epoch)
    backbone = partial(_backbone, settings["width"])
    return train_system(task, training_set(task), backbone, settings, job.seed, checkpoint, on_epoch)


EXPERIMENT = Experiment("systems", cifar10n.DATA, jobs, execute, packages=("scikit-learn",), quick=quick_jobs)
