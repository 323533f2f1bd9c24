"""What ranks the samples: the loss, two scores, and the number of epochs in which the model disagreed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

import rrm_core
from rrm_torch.training.pipeline import Task
from rrm_torch.weighting.rrm import RRM

from .classify import train
from .grouped_tasks import long_tail
from .noisy_tasks import DATA_SETS, task
from .ranking_variants import DisagreementRRM, MeanOutputsRRM
from .runner.jobs import Experiment, Job, OnEpoch

TAIL = "tail "
ROWS = (
    ("fashion", "pair 0.3"),
    ("fashion", "instance 0.3"),
    ("fashion", "tail 50"),
    ("fashion", "tail 100"),
    ("cifar10n", "worst"),
)
TAIL_NOISE = "symmetric 0.2"
METHODS: dict[str, tuple[type[RRM], dict[str, Any]]] = {
    "loss": (RRM, {}),
    "loss, cap 0.5": (RRM, {"cap": 0.5}),
    "noise-aware": (RRM, {"rank_by": "noise-aware"}),
    "noise-aware, mean of 5 epochs": (MeanOutputsRRM, {"rank_by": "noise-aware"}),
    "prior-adjusted": (RRM, {"rank_by": "prior-adjusted"}),
    "disagreement": (DisagreementRRM, {}),
}


def jobs(seeds: int) -> list[Job]:
    """Return all methods on all data sets with all seeds."""
    base: dict[str, Any] = {"loss": "cce", "scoring": "recorded", "rrm": None}
    return [
        Job(
            f"{name}, {noise}: {method}",
            base | {"data": name, "noise": noise, "method": method, **_sizes(name)},
            seed,
        )
        for name, noise in ROWS
        for method in METHODS
        for seed in range(seeds)
    ]


def make_task(data: Path, name: str, noise: str, samples: int, seed: int) -> Task:
    """Return the task of a row."""
    if noise.startswith(TAIL):
        return long_tail(data, int(noise.removeprefix(TAIL)), TAIL_NOISE, samples, seed).task
    return task(data, name, noise, samples, seed)


def _sizes(name: str) -> dict[str, Any]:
    return {"samples": DATA_SETS[name].samples, "recipe": DATA_SETS[name].recipe}


def execute(job: Job, data: Path, checkpoint: Path, on_epoch: OnEpoch) -> dict[str, Any]:
    """Execute a job, see `Experiment`. Each method is told the true share of wrong labels."""
    settings: dict[str, Any] = dict(job.settings)
    noisy = make_task(data, settings["data"], settings["noise"], settings["samples"], job.seed)
    kind, options = METHODS[settings["method"]]
    assert noisy.wrong is not None
    share = float(noisy.wrong.mean())
    n_classes = int(noisy.y_test.max()) + 1

    def make(_: dict[str, Any] | None, labels: Tensor) -> RRM:
        arguments = dict(options)
        if "rank_by" in arguments or "cap" in arguments:
            arguments["groups"] = rrm_core.Groups(labels.numpy(), n_classes)
        return kind(len(labels), contamination=share, warmup="auto", ids=labels, **arguments)

    result = train(noisy, settings, job.seed, checkpoint, on_epoch, make)
    return result | {"true_share": share}


EXPERIMENT = Experiment(
    "scores",
    tuple(dict.fromkeys(file for name, _ in ROWS for file in DATA_SETS[name].files)),
    jobs,
    execute,
)
