"""WebVision-mini: the images that a search engine found for 50 classes of ImageNet (Li et al. 2017)."""

from __future__ import annotations

from pathlib import Path

from ..data.webvision import N_CLASSES, load_webvision_mini
from .image_tasks import file_set
from .recipe import Settings, make_experiment, with_rrm
from .recipe_data import TEST, RecipeData
from .stand_ins.image_sets import write_webvision

NAME = "webvision"
DATA = ("webvision",)

IMAGENET = "ilsvrc2012_val"
"""The folder in the data folder with the validation images of ImageNet, one folder per synset; it may be missing."""

# The share of wrong labels that Li et al. 2017 estimate.
CONTAMINATION = 0.20

# Li et al. 2020 (DivideMix) and their repository: Inception-ResNet v2, not trained before; images scaled to 256 pixels,
# of which training takes a random crop of 227; rate 0.01, divided by 10 after epoch 40 of 80.
SHARED: Settings = {
    "network": "inception-resnet-v2",
    "resize": 256,
    "crop": 227,
    "optimizer": "sgd",
    "lr": 0.01,
    "weight_decay": 5e-4,
    "milestones": [40],
    "epochs": 80,
    "autocast": True,
}
# Their DivideMix passes on the mixtures of labelled images only, here on all. Chosen for CE: the same settings, with
# batches of 64, which their warm-up has.
CE = SHARED | {"system": None, "options": {"batch_size": 64}}
DIVIDEMIX = SHARED | {
    "system": "DivideMix",
    "options": {"warmup": 1, "batch_size": 32, "alpha": 0.5, "unlabelled_weight": 0.0},
}
# No result of RRM on this set is known. Chosen: five epochs of plain training.
METHODS = with_rrm(
    "CE", CE, {"RRM": {"contamination": CONTAMINATION, "warmup": 5}, "RRM, auto": {"contamination": "auto"}}
) | with_rrm("DivideMix", DIVIDEMIX, {"RRM": {}})
QUICK: Settings = {"network": "small", "resize": 36, "crop": 32}


def load(data: Path, settings: Settings, _seed: int) -> RecipeData:
    """Return the images with labels of the search engine, and the validation images of WebVision and of ImageNet."""
    imagenet = data / IMAGENET
    files = load_webvision_mini(data / DATA[0], imagenet if imagenet.is_dir() else None)
    parts = {"train": files.train, TEST: files.val}
    if files.imagenet is not None:
        parts["imagenet"] = files.imagenet
    sets = {
        name: file_set(part, N_CLASSES, resize=settings["resize"], crop=settings["crop"])
        for name, part in parts.items()
    }
    return RecipeData(sets.pop("train"), sets)


EXPERIMENT = make_experiment(
    NAME, DATA, METHODS, load, write_webvision, quick=QUICK, packages=("pillow", "scikit-learn")
)
