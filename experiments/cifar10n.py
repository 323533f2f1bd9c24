"""CIFAR-10 with the labels that people gave it (CIFAR-10N): real noise, where a class is mistaken for its likes."""

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
from .data.cifar import Cifar, check_order, load_cifar10, load_cifar_n
from .runner.jobs import Experiment, OnEpoch, Run, located

# The labels of one annotator, the majority of three, and the worst of three: their key, and the share of wrong ones in
# the whole set (Wei et al. 2022), which is what one would estimate contamination by.
LABELS = {"aggre": ("aggre_label", 0.09), "random1": ("random_label1", 0.17), "worst": ("worse_label", 0.40)}
DATA = ("cifar10_jpegq75.npz|cifar-10-batches-py", "cifar10n_labels.npz|CIFAR-10_human.pt")
SAMPLES, EPOCHS, WARMUP = 10_000, 60, 10

RECIPE: dict[str, Any] = {
    "optimizer": "sgd",
    "lr": 0.05,
    "momentum": 0.9,
    "batch_size": 128,
    "epochs": EPOCHS,
    "cosine": True,
    "autocast": True,
}


def runs(seeds: int) -> list[Run]:
    """Return all methods on all kinds of labels with all seeds."""
    found = []
    for labels, (_, rate) in LABELS.items():
        rrm = {"contamination": rate, "warmup": WARMUP, "redistribute": "kept"}
        base = {"labels": labels, "samples": SAMPLES, "loss": "cce", "recipe": RECIPE, "scoring": "recorded"}
        methods: dict[str, dict[str, Any]] = {
            "CCE": base | {"rrm": None},
            "RRM": base | {"rrm": rrm},
            "trimmed": base | {"rrm": rrm | {"preset": "trimmed", "redistribute": "drop"}},
            "Co-teaching": base | {"co_teaching": True, "contamination": rate, "over": WARMUP},
        }
        if labels == "worst":  # what if the estimate were wrong?
            methods |= {f"RRM, C = {c}": base | {"rrm": rrm | {"contamination": c}} for c in (0.2, 0.6)}
            methods["RRM, redistribute 0.1"] = base | {"rrm": rrm | {"redistribute": 0.1}}
        found += [Run(method, settings, seed) for method, settings in methods.items() for seed in range(seeds)]
    return found


@lru_cache(maxsize=1)
def _images(path: Path) -> Cifar:
    """Return the images, decoded once a process."""
    return load_cifar10(path)


def _model() -> nn.Module:
    return cast("nn.Module", small_resnet(10).to(memory_format=torch.channels_last))  # type: ignore[call-overload]


def task(data: Path, labels: str, samples: int, seed: int) -> Task:
    """Return part of the training set with the labels that people gave, and the whole test set.

    Parameters
    ----------
    data : Path
        Folder with the files of `DATA`. The recorded results are those of the JPEG images: other pixels, other numbers.
    labels : str
        One of `LABELS`.
    samples : int
        How many training images to take, at random.
    seed : int
        Of the choice.

    Returns
    -------
    Task

    Raises
    ------
    ValueError
        The files hold fewer images, or images and labels don't belong together.
    """
    image_file, label_file = (located(data, names) or data / names for names in DATA)
    images, given = _images(image_file), load_cifar_n(label_file)
    check_order(given, images.y_train)
    chosen = subset(len(images.y_train), samples, seed)
    std, mean = torch.std_mean(images.x_train[chosen] / 255, (0, 2, 3))
    standardise = Standardise(mean.tolist(), std.tolist())
    noisy = given[LABELS[labels][0]][chosen]
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


def execute(run: Run, data: Path, checkpoint: Path, on_epoch: OnEpoch) -> dict[str, Any]:
    """Train once."""
    settings: dict[str, Any] = dict(run.settings)
    here = task(data, settings["labels"], settings["samples"], run.seed)
    method = train_two if settings.get("co_teaching") else train
    return method(here, settings, run.seed, checkpoint, on_epoch)


EXPERIMENT = Experiment(
    "cifar10n",
    "CIFAR-10 with the wrong labels that people gave: real noise",
    DATA,
    runs,
    execute,
)
