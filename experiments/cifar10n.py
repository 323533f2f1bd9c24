"""CIFAR-10 with human labels (CIFAR-10N): real label errors, mostly between similar classes."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from rrm_torch.data.augmentation import Compose, FlipCrop, Standardise
from rrm_torch.models import small_resnet
from rrm_torch.training.pipeline import Task

from .classify import subset, train
from .co_teaching import train_two
from .data.cifar import Cifar, load_cifar10
from .data.cifar_n import check_order, load_cifar_n
from .runner.jobs import Experiment, Job, OnEpoch, find_data

# The majority of three annotators, one annotator, the worst of three: key of the labels, and the share of wrong labels
# in the whole set (Wei et al. 2022), which stands for an estimate of the contamination.
LABELS = {"aggre": ("aggre_label", 0.09), "random1": ("random_label1", 0.17), "worst": ("worse_label", 0.40)}
DATA = ("cifar10_jpegq75.npz|cifar-10-batches-py", "cifar10n_labels.npz|CIFAR-10_human.pt")
SAMPLES = 10_000
EPOCHS = 60
WARMUP = 10

RECIPE: dict[str, Any] = {
    "optimizer": "sgd",
    "lr": 0.05,
    "momentum": 0.9,
    "batch_size": 128,
    "epochs": EPOCHS,
    "cosine": True,
    "autocast": True,
}


def jobs(seeds: int) -> list[Job]:
    """Return all methods on all kinds of labels with all seeds."""
    jobs = []
    for labels, (_, rate) in LABELS.items():
        rrm = {"contamination": rate, "warmup": WARMUP, "redistribute": "kept"}
        base = {"labels": labels, "samples": SAMPLES, "loss": "cce", "recipe": RECIPE, "scoring": "recorded"}
        methods: dict[str, dict[str, Any]] = {
            "CCE": base | {"rrm": None},
            "RRM": base | {"rrm": rrm},
            "trimmed": base | {"rrm": rrm | {"preset": "trimmed", "redistribute": "drop"}},
            "Co-teaching": base | {"co_teaching": True, "contamination": rate, "over": WARMUP},
        }
        if labels == "worst":  # the effect of a wrong estimate
            methods |= {f"RRM, C = {c}": base | {"rrm": rrm | {"contamination": c}} for c in (0.2, 0.6)}
            methods["RRM, redistribute 0.1"] = base | {"rrm": rrm | {"redistribute": 0.1}}
        jobs += [Job(method, settings, seed) for method, settings in methods.items() for seed in range(seeds)]
    return jobs


@lru_cache(maxsize=1)
def _images(path: Path) -> Cifar:
    """Return the images, decoded once per process."""
    return load_cifar10(path)


def _model() -> nn.Module:
    return cast("nn.Module", small_resnet(10).to(memory_format=torch.channels_last))  # type: ignore[call-overload]


def task(data: Path, labels: str, samples: int, seed: int) -> Task:
    """Return a random part of the training set with human labels, and the whole test set.

    Parameters
    ----------
    data : Path
        Folder with the files of `DATA`. The recorded results were computed from the JPEG images, whose pixels differ
        from those of the Python batches.
    labels : str
        One of `LABELS`.
    samples : int
        Number of training images to draw.
    seed : int
        Seed of the draw.

    Returns
    -------
    Task

    Raises
    ------
    ValueError
        The files hold fewer images, or images and labels do not match.
    """
    image_file, label_file = (find_data(data, names) or data / names for names in DATA)
    images = _images(image_file)
    human_labels = load_cifar_n(label_file)
    check_order(human_labels, images.y_train)
    chosen = subset(len(images.y_train), samples, seed)
    std, mean = torch.std_mean(images.x_train[chosen] / 255, (0, 2, 3))
    standardise = Standardise(mean.tolist(), std.tolist())
    labels_key, _ = LABELS[labels]
    noisy = human_labels[labels_key][chosen]
    return Task(
        x_train=images.x_train[chosen],
        labels=noisy,
        wrong=(noisy != images.y_train[chosen]).numpy(),
        x_test=images.x_test,
        y_test=images.y_test,
        model=_model,
        augment=Compose(FlipCrop(padding=2), standardise),
        prepare=standardise,
    )


def execute(job: Job, data: Path, checkpoint: Path, on_epoch: OnEpoch) -> dict[str, Any]:
    """Execute a job, see `Experiment`."""
    settings: dict[str, Any] = dict(job.settings)
    cifar_task = task(data, settings["labels"], settings["samples"], job.seed)
    method = train_two if settings.get("co_teaching") else train
    return method(cifar_task, settings, job.seed, checkpoint, on_epoch)


EXPERIMENT = Experiment(
    "cifar10n",
    DATA,
    jobs,
    execute,
)
