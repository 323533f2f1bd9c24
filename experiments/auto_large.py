"""The contamination estimated from all 50,000 training images of CIFAR-10N."""

from __future__ import annotations

from . import auto, cifar10n
from .runner.jobs import Experiment, Job

NOISES = ("aggre", "random1", "worst")
SAMPLES = 50_000
# A third of the epochs on 10,000 images, because each has five times as many batches.
EPOCHS = 20


def jobs(seeds: int) -> list[Job]:
    """Return runs with an estimated contamination on all sets of labels with all seeds."""
    sizes = {"samples": SAMPLES, "recipe": cifar10n.RECIPE | {"epochs": EPOCHS}}
    return [
        Job(f"cifar10n, {noise}: {auto.AUTO}", auto.make_settings("cifar10n", noise, auto.AUTO) | sizes, seed)
        for noise in NOISES
        for seed in range(seeds)
    ]


EXPERIMENT = Experiment("auto-large", cifar10n.DATA, jobs, auto.execute)
