"""Food-101N: 310,009 images of 101 dishes with labels from the web (Lee et al. 2018), tested on Food-101."""

from __future__ import annotations

from pathlib import Path

from ..data.food101n import N_CLASSES, load_food101n
from .image_tasks import file_set
from .recipe import Settings, make_experiment, with_rrm
from .recipe_data import TEST, CheckedLabels, RecipeData
from .stand_ins.image_sets import write_food101n

NAME = "food101n"
DATA = ("Food-101N_release", "food-101")

# The share of wrong labels that Lee et al. 2018 estimate.
CONTAMINATION = 0.20

# Li et al. 2024 (SURE): ResNet-50 trained on ImageNet, batches of 64, rate 0.01, 30 epochs. Chosen: the rate is divided
# by 10 after epochs 10 and 20; the weight decay; images scaled to 256 pixels, of which training takes a random crop of
# 224.
CE: Settings = {
    "network": "resnet50",
    "system": None,
    "resize": 256,
    "crop": 224,
    "optimizer": "sgd",
    "lr": 0.01,
    "weight_decay": 5e-4,
    "milestones": [10, 20],
    "epochs": 30,
    "autocast": True,
    "options": {"batch_size": 64},
}
# The settings of RRM's paper aren't known here. Chosen: three epochs of plain training from weights of ImageNet.
METHODS = with_rrm(
    "CE", CE, {"RRM": {"contamination": CONTAMINATION, "warmup": 3}, "RRM, auto": {"contamination": "auto"}}
)
QUICK: Settings = {"network": "small", "resize": 36, "crop": 32}


def load(data: Path, settings: Settings, _seed: int) -> RecipeData:
    """Return the images with labels from the web, of which some were checked, and the test images of Food-101."""
    files = load_food101n(*(data / name for name in DATA))
    train, test = (
        file_set(part, N_CLASSES, resize=settings["resize"], crop=settings["crop"])
        for part in (files.train, files.test)
    )
    checked = CheckedLabels(files.verified_train.index, ~files.verified_train.is_right)
    return RecipeData(train, {TEST: test}, checked)


EXPERIMENT = make_experiment(NAME, DATA, METHODS, load, write_food101n, quick=QUICK, packages=("pillow",))
