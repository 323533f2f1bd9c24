"""How well the methods list wrong labels, each with the same number of training epochs.

Every method trains on as many samples, epochs times their number: one model with RRM or without, the two models of the
area under the margin with half of the epochs each, or the models of five folds, each on four fifths of the samples for
a quarter of the epochs. Metrics see `experiments.detection_metrics`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rrm_torch.training.pipeline import Task

from . import checked_tasks, noisy_tasks
from .detection_metrics import Listing, evaluate_listing
from .detectors.area_under_margin import AreaUnderMargin
from .detectors.confident_learning import ConfidentLearning
from .detectors.plain_training import PlainTraining
from .detectors.relaxation import detect_by_rrm
from .detectors.successive_runs import Detector, detect
from .noisy_tasks import DATA_SETS
from .runner.jobs import Experiment, Job, OnEpoch

CHECKED = "checked"
FOLDS = 5
EARLY = 10  # the default warm-up of RRM

# Data set and noise of each row of the tables.
ROWS = (
    ("cifar10n", "aggre"),
    ("cifar10n", "random1"),
    ("cifar10n", "worst"),
    ("fashion", "clean"),
    ("fashion", "symmetric 0.2"),
    ("fashion", "pair 0.3"),
    ("fashion", "instance 0.3"),
    ("digits", "symmetric 0.3"),
    ("banking77", "symmetric 0.2"),
    ("cifar10n", CHECKED),
    ("imdb", CHECKED),
)

METHODS: dict[str, dict[str, Any]] = {
    "RRM": {"rrm": {"contamination": "auto", "redistribute": "kept"}},
    "confident learning": {"folds": FOLDS},
    "AUM": {},
    "plain training": {"early": EARLY},
}


def jobs(seeds: int) -> list[Job]:
    """Return all methods on all data sets with all seeds."""
    jobs = []
    for name, noise in ROWS:
        data_set = DATA_SETS[name]
        samples = data_set.samples
        if noise == CHECKED:
            samples = None
        base = {"data": name, "noise": noise, "samples": samples, "recipe": data_set.recipe}
        jobs += [Job(method, base | options, seed) for method, options in METHODS.items() for seed in range(seeds)]
    return jobs


def files() -> tuple[str, ...]:
    """Return the names of the data files of all rows."""
    names = [file for name, _ in ROWS for file in DATA_SETS[name].files]
    names += [checked_tasks.FILES[name] for name, noise in ROWS if noise == CHECKED]
    return tuple(dict.fromkeys(names))


def make_task(settings: dict[str, Any], data: Path, seed: int) -> Task:
    """Return the task of a row: a training set with wrong labels, or a test set with those that annotators found."""
    if settings["noise"] == CHECKED:
        return checked_tasks.task(data, settings["data"], seed)
    return noisy_tasks.task(data, settings["data"], settings["noise"], settings["samples"], seed)


def list_labels(task: Task, job: Job, checkpoint: Path, on_epoch: OnEpoch) -> dict[str, Listing]:
    """Train as the method does, and return its listings by the name of the row.

    Raises
    ------
    ValueError
        The job's method is not one of `METHODS`.
    """
    settings: dict[str, Any] = dict(job.settings)
    recipe = settings["recipe"]
    detector: Detector
    if job.method == "RRM":
        return detect_by_rrm(task, settings, job.seed, checkpoint, on_epoch)
    if job.method == "confident learning":
        detector = ConfidentLearning(task, recipe, job.seed, settings["folds"])
    elif job.method == "AUM":
        detector = AreaUnderMargin(task, recipe, job.seed)
    elif job.method == "plain training":
        detector = PlainTraining(task, recipe, job.seed, settings["early"])
    else:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {job.method!r}")
    return detect(detector, checkpoint, on_epoch)


def execute(job: Job, data: Path, checkpoint: Path, on_epoch: OnEpoch) -> dict[str, Any]:
    """Execute a job, see `Experiment`.

    Returns
    -------
    dict
        ``n`` and ``n_wrong``, the number of labels and of wrong ones; ``listings``, the metrics of
        `experiments.detection_metrics.evaluate_listing` by the name of the row.
    """
    settings: dict[str, Any] = dict(job.settings)
    task = make_task(settings, data, job.seed)
    listings = list_labels(task, job, checkpoint, on_epoch)
    assert task.wrong is not None
    return {
        "n": len(task.labels),
        "n_wrong": int(task.wrong.sum()),
        "listings": {name: evaluate_listing(listing, task.wrong) for name, listing in listings.items()},
    }


EXPERIMENT = Experiment("detection", files(), jobs, execute)
