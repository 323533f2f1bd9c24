"""Ablation on Fashion-MNIST: each setting of RRM varied separately; the basis of the defaults."""

from __future__ import annotations

from functools import partial
from typing import Any

from .mnist import AUGMENTATIONS, execute
from .runner.jobs import Experiment, Job

NOISE = 0.3
SAMPLES = 10_000
EPOCHS = 80
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
    """Return the settings of all methods, by name."""
    methods: dict[str, dict[str, Any]] = {}
    for augment in AUGMENTATIONS:
        for scale in ("mean", "paper", "mean, Adam"):
            where = f"augmentation {augment}, scale {scale}"
            base = BASE | {"augment": augment}
            rule: dict[str, Any] = {}
            plain: dict[str, Any] | None = None
            if scale == "mean, Adam":
                base |= {"recipe": ADAM}
            if scale == "paper":
                rule = {"scale": scale}
                plain = RRM | rule | {"contamination": 0.0}  # plain training at this scale
            methods[f"plain, {where}"] = base | {"rrm": plain}
            for redistribute in ("argmin", "kept", "drop", 0.1):
                methods[f"{redistribute}, {where}"] = base | {"rrm": RRM | rule | {"redistribute": redistribute}}
    changes: dict[str, dict[str, Any]] = {
        **{f"contamination {c}": {"contamination": c} for c in (0.15, 0.45, 0.6)},
        **{f"warm-up {epochs}": {"warmup": epochs} for epochs in (1, 3, 20, 40)},
        **{f"mu {mu}": {"mu": mu} for mu in (0.1, 0.5)},
    }
    methods |= {name: BASE | {"rrm": RRM | change} for name, change in changes.items()}
    for augment in AUGMENTATIONS:
        methods[f"fresh losses, augmentation {augment}"] = BASE | {"augment": augment, "scoring": "pass"}
    return methods


def jobs(seeds: int) -> list[Job]:
    """Return all methods with all seeds."""
    return [Job(method, options, seed) for method, options in settings().items() for seed in range(seeds)]


EXPERIMENT = Experiment(
    "ablation",
    ("fashion_mnist.npz",),
    jobs,
    partial(execute, "fashion_mnist.npz"),
)
