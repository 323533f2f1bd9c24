"""CIFAR-100 with human labels (CIFAR-100N): about 40 % are wrong (Wei et al. 2022)."""

from __future__ import annotations

from pathlib import Path

from ..data.cifar100 import N_CLASSES, load_cifar100
from ..data.cifar_n import check_order, load_cifar100_n
from ..runner.jobs import find_data
from .image_tasks import pixel_sets
from .recipe import Settings, make_experiment, with_rrm
from .recipe_data import TEST, CheckedLabels, RecipeData
from .stand_ins.pixel_sets import write_cifar100n

NAME = "cifar100n"
DATA = ("cifar-100-python", "CIFAR-100_human.pt|cifar100n_labels.npz")

# The share of wrong labels in the whole set (Wei et al. 2022, Table 1).
CONTAMINATION = 0.40

SHARED: Settings = {"padding": 4, "optimizer": "sgd", "weight_decay": 5e-4, "autocast": True}

# Wei et al. 2022: ResNet-34, batches of 128, rate 0.1, divided by 10 after epoch 60 of 100.
CE = SHARED | {
    "network": "cifar-resnet34",
    "system": None,
    "lr": 0.1,
    "milestones": [60],
    "epochs": 100,
    "options": {"batch_size": 128},
}
# Li et al. 2020, for CIFAR-100; lambda_u is theirs for 50 % symmetric noise, the closest share of wrong labels: nobody
# states the one for CIFAR-100N. Chosen: ResNet-18 with its activations after, not before, the convolutions.
DIVIDEMIX = SHARED | {
    "network": "cifar-resnet18",
    "system": "DivideMix",
    "lr": 0.02,
    "milestones": [150],
    "epochs": 300,
    "options": {"warmup": 30, "batch_size": 64, "unlabelled_weight": 150.0},
}
# Xiao et al. 2023, and the command for CIFAR-100N in their repository.
PROMIX = SHARED | {
    "network": "cifar-resnet18",
    "system": "ProMix",
    "lr": 0.05,
    "milestones": None,
    "final_lr": 5e-5,
    "epochs": 600,
    "options": {
        "warmup": 30,
        "batch_size": 256,
        "share": 0.5,
        "confidence": 0.95,
        "debiasing": 0.5,
        "agreement_epoch": 350,
    },
}
# The settings of RRM's paper aren't known here. Chosen: ten epochs of plain training; inside DivideMix, the share of
# wrong labels in the labelled set as its probabilities tell; inside ProMix, which keeps half of the labels, a tenth.
METHODS = (
    with_rrm(
        "CE",
        CE,
        {"RRM": {"contamination": CONTAMINATION, "warmup": 10}, "RRM, auto": {"contamination": "auto"}},
    )
    | with_rrm("DivideMix", DIVIDEMIX, {"RRM": {}})
    | with_rrm("ProMix", PROMIX, {"RRM": {"contamination": 0.1}})
)
QUICK: Settings = {"network": "small", "padding": 2}


def load(data: Path, settings: Settings, _seed: int) -> RecipeData:
    """Return the images with their human labels, and the test images."""
    images = load_cifar100(data / DATA[0])
    human = load_cifar100_n(find_data(data, DATA[1]) or data / DATA[1].partition("|")[0])
    check_order(human, images.y_train)
    train, tests = pixel_sets(
        (images.x_train, human["noisy_label"]),
        {TEST: (images.x_test, images.y_test)},
        N_CLASSES,
        padding=settings["padding"],
    )
    return RecipeData(train, tests, CheckedLabels.of_all(human["noisy_label"] != images.y_train))


EXPERIMENT = make_experiment(NAME, DATA, METHODS, load, write_cifar100n, quick=QUICK, packages=("scikit-learn",))
