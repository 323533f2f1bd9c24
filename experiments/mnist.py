"""MNIST and Fashion-MNIST with wrong labels, and the run of an experiment on them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rrm_torch.data import images, noise
from rrm_torch.data.augmentation import Compose, FlipCrop, GaussianNoise
from rrm_torch.models import paper_perceptron, perceptron
from rrm_torch.training.pipeline import Task

from .classify import subset, train
from .runner.jobs import OnEpoch, Run

MODELS: dict[str, Callable[[], nn.Module]] = {
    "784-320-320-200-10, no biases": paper_perceptron,
    "784-256-256-10": partial(perceptron, 784, (256, 256), 10),
}


AUGMENTATIONS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "none": None,
    "strong": Compose(FlipCrop(padding=2, flip=False), GaussianNoise(1.0)),
}


def execute(file: str, run: Run, data: Path, checkpoint: Path, on_epoch: OnEpoch) -> dict[str, Any]:
    """Train once, as `Experiment.execute` does, on a file of the data folder."""
    settings: dict[str, Any] = dict(run.settings)
    augment = AUGMENTATIONS[settings.get("augment", "none")]
    parts = {name: settings[name] for name in ("samples", "model")}
    here = task(data / file, rate=settings["noise"], seed=run.seed, augment=augment, **parts)
    return train(here, settings, run.seed, checkpoint, on_epoch)


def task(
    file: Path,
    *,
    samples: int,
    rate: float,
    seed: int,
    model: str,
    augment: Callable[[Tensor], Tensor] | None = None,
) -> Task:
    """Return part of a training set, with exactly ``floor(rate * samples)`` labels flipped to another class.

    Parameters
    ----------
    file : Path
        .npz, see `rrm_torch.images`.
    samples : int
        How many training images to take, at random.
    rate : float
        Share of wrong labels.
    seed : int
        Of the choice and of the noise.
    model : str
        One of `MODELS`.
    augment : callable, optional
        What training batches go through.

    Returns
    -------
    Task

    Raises
    ------
    ValueError
        The file holds fewer images.
    """
    data = images.load_npz(file)
    chosen = subset(len(data.y_train), samples, seed)
    noisy = noise.symmetric(data.y_train.numpy()[chosen], rate, 10, rng=seed)
    return Task(
        x_train=data.x_train[chosen],
        labels=torch.from_numpy(noisy.labels),
        wrong=noisy.wrong,
        x_test=data.x_test,
        y_test=data.y_test,
        model=MODELS[model],
        augment=augment,
    )
