"""Groups: labels of rules and of annotators, with quotas from several sources of knowledge; rare classes, with caps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rrm_torch.training.pipeline import Task
from rrm_torch.weighting.rrm import RRM

from .classify import train
from .grouped_tasks import ANNOTATORS, SAMPLES, GroupedTask, annotators, long_tail, rules
from .runner.jobs import Experiment, Job, OnEpoch

RECIPE: dict[str, Any] = {"optimizer": "adam", "lr": 1e-3, "batch_size": 64, "epochs": 40}
TAIL_NOISE = "symmetric 0.2"
TAIL_SAMPLES = 10_000
"""Samples of which the classes are drawn, in decreasing numbers."""

IMBALANCES = (10, 50, 100)
SOURCES = ("rules", *ANNOTATORS)
# How the contamination of each source, or the cap of each class, is set.
SOURCE_METHODS = (
    "plain",
    "one contamination, true",
    "quotas, true",
    "quotas, checked",
    "quotas, auto",
    "correct labels",
)
TAIL_METHODS = ("plain", "true", "true, cap 0.5", "auto", "auto, cap 0.5", "equal quotas")


def jobs(seeds: int) -> list[Job]:
    """Return all methods on all tasks with all seeds."""
    rows = [(name, SAMPLES, method) for name in SOURCES for method in SOURCE_METHODS]
    rows += [(f"tail {imbalance}", TAIL_SAMPLES, method) for imbalance in IMBALANCES for method in TAIL_METHODS]
    base: dict[str, Any] = {"noise": "by group", "recipe": RECIPE, "loss": "cce", "scoring": "recorded", "rrm": None}
    return [
        Job(f"{name}: {method}", base | {"data": name, "samples": samples, "method": method}, seed)
        for name, samples, method in rows
        for seed in range(seeds)
    ]


def make_task(data: Path, name: str, samples: int, seed: int) -> GroupedTask:
    """Return the task of a row."""
    if name == "rules":
        return rules(data, samples, seed)
    if name in ANNOTATORS:
        return annotators(data, ANNOTATORS[name], samples, seed)
    return long_tail(data, int(name.removeprefix("tail ")), TAIL_NOISE, samples, seed)


def options_of(method: str, grouped: GroupedTask) -> dict[str, Any] | None:
    """Return the arguments of the RRM of a method; None for plain training."""
    assert grouped.task.wrong is not None
    share = float(grouped.task.wrong.mean())
    groups = {"groups": grouped.groups, "warmup": "auto"}
    options: dict[str, dict[str, Any] | None] = {
        "plain": None,
        "correct labels": None,
        "one contamination, true": {"contamination": share, "warmup": "auto"},
        "quotas, true": {"contamination": grouped.true_shares, **groups},
        "quotas, checked": {"contamination": grouped.checked_shares, **groups},
        "quotas, auto": {"contamination": "auto", **groups},
        "true": {"contamination": share, "warmup": "auto"},
        "true, cap 0.5": {"contamination": share, "cap": 0.5, **groups},
        "auto": {"contamination": "auto"},
        "auto, cap 0.5": {"contamination": "auto", "cap": 0.5, **groups},
        "equal quotas": {"contamination": np.full(len(grouped.true_shares), share), **groups},
    }
    return options[method]


def correct_part(task: Task) -> Task:
    """Return a task with the samples whose labels are correct: what the best choice of samples could reach."""
    assert task.wrong is not None
    correct = torch.from_numpy(~task.wrong)
    return replace(
        task, x_train=task.x_train[correct], labels=task.labels[correct], wrong=np.zeros(int(correct.sum()), bool)
    )


def execute(job: Job, data: Path, checkpoint: Path, on_epoch: OnEpoch) -> dict[str, Any]:
    """Execute a job, see `Experiment`; the result also has the shares of each group, and the estimated ones."""
    settings: dict[str, Any] = dict(job.settings)
    grouped = make_task(data, settings["data"], settings["samples"], job.seed)
    options = options_of(settings["method"], grouped)
    made: list[RRM] = []

    def make(_: dict[str, Any] | None, labels: Tensor) -> RRM | None:
        if options is None:
            return None
        made.append(RRM(len(labels), ids=labels, **options))
        return made[0]

    task = grouped.task if settings["method"] != "correct labels" else correct_part(grouped.task)
    result = train(task, settings, job.seed, checkpoint, on_epoch, make)
    assert grouped.task.wrong is not None
    result["true_share"] = float(grouped.task.wrong.mean())
    result["true_shares"] = np.round(grouped.true_shares, 4).tolist()
    if made:
        pruned = made[0].trajectory.last.numpy()
        classes = grouped.task.labels.numpy()
        result["pruned_by_class"] = [round(float(pruned[classes == k].mean()), 4) for k in range(classes.max() + 1)]
        if made[0].estimate is not None and made[0].estimate.by_group is not None:
            result["estimated_shares"] = np.round(made[0].estimate.by_group, 4).tolist()
    return result


EXPERIMENT = Experiment("groups", ("fashion_mnist.npz",), jobs, execute)
