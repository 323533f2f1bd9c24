"""PathMNIST and PneumoniaMNIST (Yang et al. 2023) with synthetic noise: their labels are taken to be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..data.medmnist import load_medmnist
from .image_tasks import pixel_sets
from .label_noise import add_noise
from .recipe import Settings, make_experiment, with_rrm
from .recipe_data import TEST, VALIDATION, RecipeData
from .stand_ins.pixel_sets import write_medmnist

NAME = "medmnist"
DATA = ("pathmnist.npz", "pneumoniamnist.npz")

# Wrong labels are spread over the other classes ("symmetric"), or all in the next class ("pair"). With two classes,
# these are the same.
NOISES = {
    "pathmnist": (("symmetric", 0.2), ("symmetric", 0.4), ("pair", 0.2)),
    "pneumoniamnist": (("symmetric", 0.2), ("symmetric", 0.3)),
}
# Yang et al. 2023: ResNet-18; Adam with batches of 128 and rate 0.001, divided by 10 after epochs 50 and 75 of 100.
# Chosen: images are shifted by up to 2 pixels and flipped.
CE: Settings = {
    "network": "cifar-resnet18",
    "system": None,
    "padding": 2,
    "optimizer": "adam",
    "lr": 1e-3,
    "weight_decay": 0.0,
    "milestones": [50, 75],
    "epochs": 100,
    "autocast": True,
    "options": {"batch_size": 128},
}


def methods() -> dict[str, dict[str, Any]]:
    """Return plain training and RRM on each kind of noise.

    No result of RRM on these sets is known. Chosen: ten epochs of plain training.
    """
    table: dict[str, dict[str, Any]] = {}
    for name, noises in NOISES.items():
        for kind, rate in noises:
            settings = CE | {"data": name, "noise": kind, "rate": rate}
            rrm: dict[str, Settings] = {
                "RRM": {"contamination": rate, "warmup": 10},
                "RRM, auto": {"contamination": "auto"},
            }
            table |= with_rrm(f"{name}, {kind} {rate}: CE", settings, rrm)
    return table


QUICK: Settings = {"network": "small"}


def load(data: Path, settings: Settings, seed: int) -> RecipeData:
    """Return a data set with wrong labels, and its validation and test images."""
    images = load_medmnist(data / f"{settings['data']}.npz")
    # Grey images get three equal channels.
    x_train, x_val, x_test = (
        x.expand(-1, 3, -1, -1).contiguous() for x in (images.x_train, images.x_val, images.x_test)
    )
    train, tests = pixel_sets(
        (x_train, images.y_train),
        {VALIDATION: (x_val, images.y_val), TEST: (x_test, images.y_test)},
        len(images.classes),
        padding=settings["padding"],
    )
    return add_noise(RecipeData(train, tests), settings["noise"], settings["rate"], seed)


EXPERIMENT = make_experiment(NAME, DATA, methods(), load, write_medmnist, quick=QUICK)
