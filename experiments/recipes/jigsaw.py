"""Toxic comments of Wikipedia's talk pages (Jigsaw 2018): their own labels, and these with synthetic noise."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from ..data.jigsaw import read_toxic_comments
from .label_noise import add_noise
from .recipe import Settings, make_experiment, with_rrm
from .recipe_data import RecipeData
from .stand_ins.text_sets import write_jigsaw
from .text_tasks import text_data

NAME = "jigsaw"
DATA = ("jigsaw",)
N_CLASSES = 2
TASK = "toxic"

RATE = 0.2

# The network and the settings of RRM's paper aren't known. Chosen: as for IMDb.
CE: Settings = {
    "network": "perceptron",
    "system": None,
    "optimizer": "adam",
    "lr": 1e-3,
    "weight_decay": 0.0,
    "milestones": [],
    "epochs": 40,
    "autocast": False,
    "options": {"batch_size": 100},
}
# One comment in ten is toxic: without a cap, most of what is pruned would be of this class.
CAPPED: Settings = {"by_class": True, "cap": 0.5}
AUTO = CAPPED | {"contamination": "auto"}

METHODS = with_rrm("own labels: CE", CE | {"rate": 0.0}, {"RRM, auto": AUTO}) | with_rrm(
    f"symmetric {RATE}: CE",
    CE | {"rate": RATE},
    {"RRM": CAPPED | {"contamination": RATE, "warmup": 2}, "RRM, auto": AUTO},
)
QUICK: Settings = {}


def load(data: Path, settings: Settings, seed: int) -> RecipeData:
    """Return all comments as features, those of the test set that are scored, and perhaps wrong labels."""
    return add_noise(_load(data / DATA[0]), "symmetric", settings["rate"], seed)


@lru_cache(maxsize=1)
def _load(folder: Path) -> RecipeData:
    """Return the comments with their own labels, whose features are computed once per process."""
    return text_data(read_toxic_comments(folder, TASK), N_CLASSES)


EXPERIMENT = make_experiment(NAME, DATA, METHODS, load, write_jigsaw, quick=QUICK, packages=("scikit-learn",))
