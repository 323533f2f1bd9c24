"""Fashion-MNIST with wrong labels of three rates and losses of four kinds, with and without RRM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .classify import train
from .mnist import task
from .runs import Experiment, OnEpoch, Run

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


def execute(run: Run, data: Path, checkpoint: Path, on_epoch: OnEpoch) -> dict[str, Any]:
    """Train once."""
    settings: dict[str, Any] = dict(run.settings)
    parts = {name: settings[name] for name in ("samples", "model")}
    here = task(data / "fashion_mnist.npz", rate=settings["noise"], seed=run.seed, **parts)
    return train(here, settings, run.seed, checkpoint, on_epoch)


EXPERIMENT = Experiment(
    "fashion-synthetic",
    "Fashion-MNIST, 10 to 30 % wrong labels: four losses with and without RRM",
    ("fashion_mnist.npz",),
    runs,
    execute,
)
