"""The paper's MNIST experiment: what becomes of the weights of right and of wrong labels, round by round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .classify import train
from .mnist import task
from .runs import Experiment, OnEpoch, Run

NOISE = 0.2
SGD = {"optimizer": "sgd", "lr": 0.1, "batch_size": 100}  # the authors'

# Their training set has 48,000 samples, and so many steps of batch means are 480 times those of sums over n.
PLAIN: dict[str, Any] = {
    "noise": NOISE,
    "samples": 48_000,
    "model": "784-320-320-200-10, no biases",
    "loss": "cce",
    "recipe": {**SGD, "epochs": 60},
    "rrm": None,
    "scoring": "pass",
}
AUTHORS_RULE = {"gamma": 0.8, "mu": 0.5, "redistribute": "argmin", "warmup": 10}

METHODS: dict[str, dict[str, Any]] = {
    "plain training": PLAIN,
    "RRM, the authors' recipe": PLAIN
    | {"recipe": {**SGD, "epochs": 500}, "rrm": AUTHORS_RULE | {"scale": "paper", "every": 10}},
    "RRM, the authors' rule, mean scale": PLAIN | {"rrm": AUTHORS_RULE},
    "RRM, gamma 0.8, kept": PLAIN | {"rrm": {"gamma": 0.8, "warmup": 5}},
    "RRM, contamination 0.2, argmin": PLAIN
    | {"rrm": {"contamination": NOISE, "mu": 0.5, "redistribute": "argmin", "warmup": 5}},
    "RRM, contamination 0.2, kept": PLAIN | {"rrm": {"contamination": NOISE, "warmup": 5}, "scoring": "recorded"},
}


def runs(seeds: int) -> list[Run]:
    """Return all methods with all seeds."""
    return [Run(method, settings, seed) for method, settings in METHODS.items() for seed in range(seeds)]


def execute(run: Run, data: Path, checkpoint: Path, on_epoch: OnEpoch) -> dict[str, Any]:
    """Train once."""
    settings: dict[str, Any] = dict(run.settings)
    parts = {name: settings[name] for name in ("samples", "model")}
    here = task(data / "mnist.npz", rate=settings["noise"], seed=run.seed, **parts)
    return train(here, settings, run.seed, checkpoint, on_epoch)


EXPERIMENT = Experiment(
    "mnist-table6",
    "MNIST, 20 % wrong labels: what becomes of the weights, round by round",
    ("mnist.npz",),
    runs,
    execute,
)
