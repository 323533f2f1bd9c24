"""Fashion-MNIST at three rates of wrong labels, with four losses, with and without RRM."""

from __future__ import annotations

from functools import partial
from typing import Any

from .mnist import execute
from .runner.jobs import Experiment, Job

RATES = (0.1, 0.2, 0.3)
LOSSES = {"CCE": "cce", "MSE": "mse", "MAE": "mae", "GCE": "gce"}
BOUNDED = ("MSE", "MAE", "GCE")  # the highest losses tie
SAMPLES = 10_000
EPOCHS = 80
WARMUP = 10


def jobs(seeds: int) -> list[Job]:
    """Return all losses at all rates, with and without RRM, with all seeds."""
    jobs = []
    for rate in RATES:
        for name, loss in LOSSES.items():
            rrm = {"contamination": rate, "warmup": WARMUP}
            rules: dict[str, Any] = {name: None, f"{name} + RRM": rrm}
            if name in BOUNDED:
                rules[f"{name} + RRM, ties shared"] = rrm | {"ties": "share"}
            for method, rule in rules.items():
                settings = {
                    "noise": rate,
                    "samples": SAMPLES,
                    "model": "784-256-256-10",
                    "loss": loss,
                    "recipe": {"optimizer": "adam", "lr": 1e-3, "batch_size": 100, "epochs": EPOCHS},
                    "rrm": rule,
                    "scoring": "recorded",
                }
                jobs += [Job(method, settings, seed) for seed in range(seeds)]
    return jobs


EXPERIMENT = Experiment(
    "fashion-synthetic",
    ("fashion_mnist.npz",),
    jobs,
    partial(execute, "fashion_mnist.npz"),
)
