"""MNIST and Fashion-MNIST with symmetric label noise, and the execution of a job on them."""

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
from .runner.jobs import Job, OnEpoch

MODELS: dict[str, Callable[[], nn.Module]] = {
    "784-320-320-200-10, no biases": paper_perceptron,
    "784-256-256-10": partial(perceptron, 784, (256, 256), 10),
}

AUGMENTATIONS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "none": None,
    "strong": Compose(FlipCrop(padding=2, flip=False), GaussianNoise(1.0)),
}


def execute(file: str, job: Job, data: Path, checkpoint: Path, on_epoch: OnEpoch) -> dict[str, Any]:
    """Execute a job on a file of the data folder, see `Experiment`."""
    settings: dict[str, Any] = dict(job.settings)
    augment = AUGMENTATIONS[settings.get("augment", "none")]
    noisy_task = task(
        data / file,
        samples=settings["samples"],
        rate=settings["noise"],
        seed=job.seed,
        model=settings["model"],
        augment=augment,
    )
    return train(noisy_task, settings, job.seed, checkpoint, on_epoch)


def task(
    file: Path,
    *,
    samples: int,
    rate: float,
    seed: int,
    model: str,
    augment: Callable[[Tensor], Tensor] | None = None,
) -> Task:
    """Return a random part of a training set, with exactly ``floor(rate * samples)`` labels flipped to another class.

    Parameters
    ----------
    file : Path
        .npz, see `rrm_torch.data.images`.
    samples : int
        Number of training images to draw.
    rate : float
        Share of wrong labels.
    seed : int
        Seed of the draw and of the noise.
    model : str
        One of `MODELS`.
    augment : callable, optional
        Applied to each training batch.

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
