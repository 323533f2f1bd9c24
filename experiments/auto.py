"""The contamination estimated, against the true one, half and twice of it, and plain training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .classify import train
from .noisy_tasks import CLEAN, DATA_SETS, task
from .runner.jobs import Experiment, Job, OnEpoch

NOISES = {
    "cifar10n": ("aggre", "random1", "worst"),
    "fashion": (CLEAN, "symmetric 0.2", "pair 0.3", "instance 0.3"),
    "digits": ("symmetric 0.3",),
    "imdb": ("symmetric 0.3",),
    "banking77": ("symmetric 0.2",),
}
PLAIN = "plain"
AUTO = "auto"
# The contamination of each method as a multiple of the true share of wrong labels.
MULTIPLES = {"true": 1.0, "half": 0.5, "double": 2.0}
# As before there was an estimate: the true share, and the default warm-up.
FIXED_WARMUP = "true, warm-up 10"
METHODS = (PLAIN, AUTO, "true", FIXED_WARMUP, "half", "double")
SEEDS_OF_PERCEPTRONS = 2
"""Times as many seeds where the model is a perceptron, whose runs take seconds."""

RESIDUAL_NETWORKS = ("cifar10n",)


def jobs(seeds: int) -> list[Job]:
    """Return the methods on all data sets with all seeds; on clean labels only those that differ there.

    Perceptrons have `SEEDS_OF_PERCEPTRONS` times as many seeds, and one method more.
    """
    rows = [(name, noise) for name, noises in NOISES.items() for noise in noises]
    return [
        Job(f"{name}, {noise}: {method}", make_settings(name, noise, method), seed)
        for method in METHODS
        for name, noise in rows
        if (noise != CLEAN or method in (PLAIN, AUTO)) and (name not in RESIDUAL_NETWORKS or method != FIXED_WARMUP)
        for seed in range(seeds if name in RESIDUAL_NETWORKS else SEEDS_OF_PERCEPTRONS * seeds)
    ]


def make_settings(name: str, noise: str, method: str) -> dict[str, Any]:
    """Return the settings of a method on a data set, as JSON."""
    rrm: dict[str, Any] | None = None
    if method == AUTO:
        rrm = {"contamination": "auto"}
    elif method != PLAIN:
        # `execute` replaces the multiple by the share.
        rrm = {"multiple": MULTIPLES.get(method, 1.0), "warmup": 10 if method == FIXED_WARMUP else "auto"}
    return {
        "data": name,
        "noise": noise,
        "loss": "cce",
        "recipe": DATA_SETS[name].recipe,
        "scoring": "recorded",
        "rrm": rrm,
    }


def execute(job: Job, data: Path, checkpoint: Path, on_epoch: OnEpoch) -> dict[str, Any]:
    """Execute a job, see `Experiment`; the result also has the true share of wrong labels."""
    settings: dict[str, Any] = dict(job.settings)
    noisy = task(data, settings["data"], settings["noise"], settings.get("samples"), job.seed)
    assert noisy.wrong is not None
    true_share = float(noisy.wrong.mean())
    if settings["rrm"] is not None and "multiple" in settings["rrm"]:
        rrm = dict(settings["rrm"])
        rrm["contamination"] = rrm.pop("multiple") * true_share
        settings["rrm"] = rrm
    return train(noisy, settings, job.seed, checkpoint, on_epoch) | {"true_share": true_share}


EXPERIMENT = Experiment(
    "auto",
    tuple(dict.fromkeys(file for name in NOISES for file in DATA_SETS[name].files)),
    jobs,
    execute,
)
