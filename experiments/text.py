"""Texts: flipped labels of IMDb and BANKING77, BANKING77 as published, and labels of rules for text messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from rrm_torch.training.pipeline import Task
from rrm_torch.weighting.rrm import RRM

from . import sms_task
from .classify import train
from .grouped_tasks import GroupedTask
from .groups import correct_part
from .noisy_tasks import CLEAN, DATA_SETS, task
from .runner.jobs import Experiment, Job, OnEpoch

SMS = "sms"
RULES = "rules"
ROWS = (
    ("imdb", "symmetric 0.2"),
    ("imdb", "symmetric 0.4"),
    ("banking77", CLEAN),
    ("banking77", "symmetric 0.2"),
    (SMS, RULES),
)
PLAIN = "plain"
AUTO = "auto"
TRUE = "true"
# The perceptron memorises reviews before a warm-up ends by itself.
EARLY = "true, warm-up 1"
CORRECT = "correct labels"
QUOTAS = ("quotas, auto", "quotas, checked")
"""A share for each number of rules that fired: estimated; or that of the validation messages of this number.

Groups of 74 to 1,365 messages hold out few, and rules are wrong in the same way again and again, so that a model
predicts their wrong labels of messages that it hasn't trained on. Of sources whose errors can't be estimated, a careful
user checks some labels, see docs/groups.md: here the 200 validation messages on which a rule fired.
"""


def methods_of(name: str, noise: str) -> tuple[str, ...]:
    """Return the methods of a row: where no label is known to be wrong, there is no true share to be told."""
    if noise == CLEAN:
        return (PLAIN, AUTO)
    if name == SMS:
        return (PLAIN, AUTO, TRUE, *QUOTAS, CORRECT)
    if name == "imdb":
        return (PLAIN, AUTO, TRUE, EARLY)
    return (PLAIN, AUTO, TRUE)


def jobs(seeds: int) -> list[Job]:
    """Return all methods on all rows with all seeds, row by row, since a process keeps the features of one row."""
    return [
        Job(f"{name}, {noise}: {method}", make_settings(name, noise, method), seed)
        for name, noise in ROWS
        for method in methods_of(name, noise)
        for seed in range(seeds)
    ]


def make_settings(name: str, noise: str, method: str) -> dict[str, Any]:
    """Return the settings of a method on a row, as JSON."""
    # Messages are trained on like the other texts.
    recipe = DATA_SETS["imdb" if name == SMS else name].recipe
    base: dict[str, Any] = {"loss": "cce", "recipe": recipe, "scoring": "recorded", "rrm": None}
    return base | {"data": name, "noise": noise, "method": method}


def make_task(data: Path, name: str, noise: str, samples: int | None, seed: int) -> tuple[Task, GroupedTask | None]:
    """Return the task of a row, and its groups if it has any."""
    if name != SMS:
        return task(data, name, noise, samples, seed), None
    grouped = sms_task.load_sms(data / sms_task.FILE)
    return grouped.task, grouped


def options_of(method: str, noisy: Task, grouped: GroupedTask | None) -> dict[str, Any] | None:
    """Return the arguments of the RRM of a method; None for plain training."""
    if method in (PLAIN, CORRECT):
        return None
    if method == AUTO:
        return {"contamination": "auto"}
    if method in (TRUE, EARLY):
        assert noisy.wrong is not None
        return {"contamination": float(noisy.wrong.mean()), "warmup": 1 if method == EARLY else "auto"}
    assert grouped is not None
    contamination = "auto" if method == "quotas, auto" else grouped.checked_shares
    return {"contamination": contamination, "groups": grouped.groups, "warmup": "auto"}


def execute(job: Job, data: Path, checkpoint: Path, on_epoch: OnEpoch) -> dict[str, Any]:
    """Execute a job, see `Experiment`; the result also has the true share of wrong labels, and those of the groups."""
    settings: dict[str, Any] = dict(job.settings)
    method = settings["method"]
    noisy, grouped = make_task(data, settings["data"], settings["noise"], settings.get("samples"), job.seed)
    options = options_of(method, noisy, grouped)
    made: list[RRM] = []

    def make(_: dict[str, Any] | None, labels: Tensor) -> RRM | None:
        if options is None:
            return None
        made.append(RRM(len(labels), ids=labels, **options))
        return made[0]

    trained = correct_part(noisy) if method == CORRECT else noisy
    result = train(trained, settings, job.seed, checkpoint, on_epoch, make)
    assert noisy.wrong is not None
    result["true_share"] = float(noisy.wrong.mean())
    result["n"] = len(trained.labels)
    if method in QUOTAS:
        assert grouped is not None
        result["groups"] = _group_results(grouped, made[0])
    return result


def _group_results(grouped: GroupedTask, rrm: RRM) -> dict[str, list[float]]:
    """Return the sizes of the groups, and the shares of wrong labels in each by several sources of knowledge."""
    assert grouped.task.wrong is not None
    pruned = rrm.trajectory.last.numpy()
    members = [grouped.groups == g for g in range(len(grouped.true_shares))]
    result = {
        "size": [int(own.sum()) for own in members],
        "true": np.round(grouped.true_shares, 4).tolist(),
        "checked": np.round(grouped.checked_shares, 4).tolist(),
        "pruned": [int(pruned[own].sum()) for own in members],
        "wrong_pruned": [int((pruned & grouped.task.wrong)[own].sum()) for own in members],
    }
    if rrm.estimate is not None and rrm.estimate.by_group is not None:
        result["estimated"] = np.round(rrm.estimate.by_group, 4).tolist()
    return result


EXPERIMENT = Experiment(
    "text",
    (*dict.fromkeys(file for name, _ in ROWS if name != SMS for file in DATA_SETS[name].files), sms_task.FILE),
    jobs,
    execute,
)
