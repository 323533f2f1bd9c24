"""The paper's MNIST experiment: weights of correctly and of wrongly labelled samples in the course of training."""

from __future__ import annotations

from functools import partial
from typing import Any

from .mnist import execute
from .runner.jobs import Experiment, Job

NOISE = 0.2
SGD = {"optimizer": "sgd", "lr": 0.1, "batch_size": 100}  # as the authors

# The authors train on 48,000 samples and sum a batch's loss over all n: 1/480 of the batch mean in each step.
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


def jobs(seeds: int) -> list[Job]:
    """Return all methods with all seeds."""
    return [Job(method, settings, seed) for method, settings in METHODS.items() for seed in range(seeds)]


EXPERIMENT = Experiment(
    "mnist-table6",
    ("mnist.npz",),
    jobs,
    partial(execute, "mnist.npz"),
)
