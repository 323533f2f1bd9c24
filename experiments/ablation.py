"""What each setting of RRM is worth, one changed at a time, on Fashion-MNIST: the table behind the defaults."""

from __future__ import annotations

from functools import partial
from typing import Any

from .mnist import AUGMENTATIONS, execute
from .runner.jobs import Experiment, Run

NOISE, SAMPLES, EPOCHS = 0.3, 10_000, 80
RRM: dict[str, Any] = {"contamination": NOISE, "warmup": 10}
BASE: dict[str, Any] = {
    "noise": NOISE,
    "samples": SAMPLES,
    "model": "784-256-256-10",
    "loss": "cce",
    "recipe": {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "batch_size": 100, "epochs": EPOCHS},
    "augment": "none",
    "rrm": RRM,
    "scoring": "recorded",
}
ADAM: dict[str, Any] = {"optimizer": "adam", "lr": 1e-3, "batch_size": 100, "epochs": EPOCHS}


def settings() -> dict[str, dict[str, Any]]:
    """Return all methods, by name, with their settings."""
    found: dict[str, dict[str, Any]] = {}
    for augment in AUGMENTATIONS:
        for scale in ("mean", "paper", "mean, Adam"):
            where = f"augmentation {augment}, scale {scale}"
            rule = {"scale": scale} if scale == "paper" else {}
            base = BASE | {"augment": augment} | ({"recipe": ADAM} if scale == "mean, Adam" else {})
            off = RRM | rule | {"contamination": 0.0}  # plain training, at this scale
            found[f"plain, {where}"] = base | {"rrm": off if rule else None}
            for redistribute in ("argmin", "kept", "drop", 0.1):
                found[f"{redistribute}, {where}"] = base | {"rrm": RRM | rule | {"redistribute": redistribute}}
    changes: dict[str, dict[str, Any]] = {
        **{f"contamination {c}": {"contamination": c} for c in (0.15, 0.45, 0.6)},
        **{f"warm-up {epochs}": {"warmup": epochs} for epochs in (1, 3, 20, 40)},
        **{f"mu {mu}": {"mu": mu} for mu in (0.1, 0.5)},
    }
    found |= {name: BASE | {"rrm": RRM | change} for name, change in changes.items()}
    for augment in AUGMENTATIONS:
        found[f"fresh losses, augmentation {augment}"] = BASE | {"augment": augment, "scoring": "pass"}
    return found


def runs(seeds: int) -> list[Run]:
    """Return all methods with all seeds."""
    return [Run(method, given, seed) for method, given in settings().items() for seed in range(seeds)]


EXPERIMENT = Experiment(
    "ablation",
    "what each setting of RRM is worth, on Fashion-MNIST",
    ("fashion_mnist.npz",),
    runs,
    partial(execute, "fashion_mnist.npz"),
)
