"""Clothing1M: a million images of clothes in 14 classes, with labels from the texts around them (Xiao et al. 2015)."""

from __future__ import annotations

from pathlib import Path

from ..data.clothing1m import N_CLASSES, load_clothing1m
from .image_tasks import file_set
from .recipe import Settings, make_experiment, with_rrm
from .recipe_data import TEST, VALIDATION, RecipeData
from .stand_ins.image_sets import write_clothing1m

NAME = "clothing1m"
DATA = ("clothing1m",)

# 61.54 % of the labels are right (Xiao et al. 2015).
CONTAMINATION = 0.38

# Li et al. 2020 (DivideMix), which later work follows: ResNet-50 trained on ImageNet; images scaled to 256 pixels, of
# which training takes a random crop of 224; batches of 32; rate 0.002, divided by 10 after epoch 40 of 80; each epoch
# draws 32,000 images, as many of each class. Standardised by the mean and the deviation of ImageNet; theirs are those
# of the data set.
SHARED: Settings = {
    "network": "resnet50",
    "resize": 256,
    "crop": 224,
    "optimizer": "sgd",
    "lr": 0.002,
    "weight_decay": 1e-3,
    "milestones": [40],
    "epochs": 80,
    "autocast": True,
}
OPTIONS: Settings = {"batch_size": 32, "epoch_samples": 32_000}

CE = SHARED | {"system": None, "options": OPTIONS}
# Zhao et al. 2022 (CC). Theirs scores 160,000 images in each epoch and keeps 32,000 of them; warms up on 64,000; takes
# half of the heads' losses; passes on the mixtures of labelled images only; and doesn't use those that Otsu rejects.
CC = SHARED | {
    "system": "CC",
    "options": OPTIONS
    | {
        "warmup": 1,
        "confidence_penalty": 1.0,
        "alpha": 0.5,
        "unlabelled_weight": 0.0,
        "split": "otsu",
        "discrepancy_threshold": 0.5,
        "discrepancy_batches": 1500,
    },
}
# The settings of RRM's paper aren't known here. Chosen: one epoch of plain training, as the systems have; the draw
# of an epoch is scored, and RRM plans over it, before the network trains on it.
METHODS = with_rrm("CE", CE, {"RRM": {"contamination": CONTAMINATION, "warmup": 1}}) | with_rrm("CC", CC, {"RRM": {}})
QUICK: Settings = {"network": "small", "resize": 36, "crop": 32}


def load(data: Path, settings: Settings, _seed: int) -> RecipeData:
    """Return the images with noisy labels, and those of the validation and the test set."""
    files = load_clothing1m(data / DATA[0])
    train, val, test = (
        file_set(part, N_CLASSES, resize=settings["resize"], crop=settings["crop"])
        for part in (files.train, files.val, files.test)
    )
    return RecipeData(train, {VALIDATION: val, TEST: test})


EXPERIMENT = make_experiment(
    NAME, DATA, METHODS, load, write_clothing1m, quick=QUICK, packages=("pillow", "scikit-learn")
)
