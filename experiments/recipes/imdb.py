"""IMDb: 25,000 film reviews and as many for testing (Maas et al. 2011), with synthetic noise."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from ..data.text_features import read_imdb
from ..runner.jobs import find_data
from .label_noise import add_noise
from .recipe import Settings, make_experiment, with_rrm
from .recipe_data import RecipeData
from .stand_ins.text_sets import write_imdb
from .text_tasks import text_data

NAME = "imdb"
DATA = ("aclImdb|imdb.jsonl.xz",)
N_CLASSES = 2

RATES = (0.1, 0.2, 0.3, 0.4)

# The network and the settings of RRM's paper aren't known. Chosen: TF-IDF reduced to 256 features, a
# perceptron with two hidden layers of 256, Adam.
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


def methods() -> dict[str, dict[str, Any]]:
    """Return plain training and RRM at each rate of noise.

    Chosen: two epochs of plain training, since a perceptron learns wrong labels soon.
    """
    table: dict[str, dict[str, Any]] = {}
    for rate in RATES:
        rrm: dict[str, Settings] = {"RRM": {"contamination": rate, "warmup": 2}, "RRM, auto": {"contamination": "auto"}}
        table |= with_rrm(f"symmetric {rate}: CE", CE | {"noise": "symmetric", "rate": rate}, rrm)
    return table


QUICK: Settings = {}


def load(data: Path, settings: Settings, seed: int) -> RecipeData:
    """Return all reviews as features, with wrong labels in the training set."""
    reviews = _load(find_data(data, DATA[0]) or data / "aclImdb")
    return add_noise(reviews, settings["noise"], settings["rate"], seed)


@lru_cache(maxsize=1)
def _load(path: Path) -> RecipeData:
    """Return the reviews with their own labels, whose features are computed once per process."""
    return text_data(read_imdb(path), N_CLASSES)


EXPERIMENT = make_experiment(NAME, DATA, methods(), load, write_imdb, quick=QUICK, packages=("scikit-learn",))
