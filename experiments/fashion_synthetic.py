"""Fashion-MNIST with wrong labels of three rates and losses of four kinds, with and without RRM."""

from __future__ import annotations

from functools import partial
from typing import Any

from .mnist import execute
from .runner.jobs import Experiment, Run

RATES = (0.1, 0.2, 0.3)
LOSSES = {"CCE": "cce", "MSE": "mse", "MAE": "mae", "GCE": "gce"}
BOUNDED = ("MSE", "MAE", "GCE")  # whose highest losses tie
SAMPLES, EPOCHS, WARMUP = 10_000, 80, 10


def runs(seeds: int) -> list[Run]:
    """Return all losses at all rates, with and without RRM, with all seeds."""
    found = []
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
                found += [Run(method, settings, seed) for seed in range(seeds)]
    return found


EXPERIMENT = Experiment(
    "fashion-synthetic",
    "Fashion-MNIST, 10 to 30 % wrong labels: four losses with and without RRM",
    ("fashion_mnist.npz",),
    runs,
    partial(execute, "fashion_mnist.npz"),
)
