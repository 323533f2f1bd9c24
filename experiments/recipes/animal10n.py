"""Animal-10N: 50,000 images of animals that people mistook for similar ones (Song et al. 2019)."""

from __future__ import annotations

import os
from pathlib import Path

from rrm_torch.data.image_files import ImageFiles

from ..data.animal10n import CLASSES, SHAPE, Animal10NPixels, load_animal10n, load_animal10n_binary
from .image_tasks import pixel_sets
from .recipe import Settings, make_experiment, with_rrm
from .recipe_data import TEST, RecipeData
from .stand_ins.pixel_sets import write_animal10n

NAME = "animal10n"
DATA = ("animal10n",)

# The share of wrong labels that Song et al. 2019 estimate.
CONTAMINATION = 0.08

# Song et al. 2019 (SELFIE): VGG-19, not trained before; batches of 128; 100 epochs. Chosen: batch norm; images are
# shifted by up to 8 of 64 pixels and flipped; the weight decay.
SHARED: Settings = {
    "network": "vgg19",
    "padding": 8,
    "optimizer": "sgd",
    "weight_decay": 5e-4,
    "epochs": 100,
    "autocast": True,
}
# Theirs: rate 0.1, divided by 5 after epochs 50 and 75.
CE = SHARED | {"system": None, "lr": 0.1, "milestones": [50, 75], "gamma": 0.2, "options": {"batch_size": 128}}
# Zhao et al. 2022 (CC) don't state settings for this set. Chosen: those for CIFAR-10 with few wrong labels, in a third
# of the epochs.
CC = SHARED | {
    "system": "CC",
    "lr": 0.02,
    "milestones": [50],
    "options": {"warmup": 10, "batch_size": 64, "threshold": 0.4, "unlabelled_weight": 0.0},
}
# No result of RRM on this set is known. Chosen: ten epochs of plain training.
METHODS = with_rrm(
    "CE", CE, {"RRM": {"contamination": CONTAMINATION, "warmup": 10}, "RRM, auto": {"contamination": "auto"}}
) | with_rrm("CC", CC, {"RRM": {}})
QUICK: Settings = {"network": "small", "padding": 4}


def load_pixels(folder: Path) -> Animal10NPixels:
    """Return the images in memory, from the image files if there are any, or from the binary form."""
    if not (folder / "training").is_dir():
        return load_animal10n_binary(folder)
    files = load_animal10n(folder)
    side = SHAPE[1]
    x_train, x_test = (
        ImageFiles(part.paths, side, resize=side, threads=os.cpu_count() or 1)[:] for part in (files.train, files.test)
    )
    return Animal10NPixels(x_train, files.train.labels, x_test, files.test.labels, files.classes)


def load(data: Path, settings: Settings, _seed: int) -> RecipeData:
    """Return the images, with the labels that people gave, and the test images."""
    images = load_pixels(data / DATA[0])
    train, tests = pixel_sets(
        (images.x_train, images.y_train),
        {TEST: (images.x_test, images.y_test)},
        len(CLASSES),
        padding=settings["padding"],
    )
    return RecipeData(train, tests)


EXPERIMENT = make_experiment(NAME, DATA, METHODS, load, write_animal10n, quick=QUICK, packages=("scikit-learn",))
