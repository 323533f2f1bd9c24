"""A linear classifier of frozen features on CIFAR-10N: plain, with RRM, and with what others do about wrong labels.

The features are those of MobileNetV2, trained on ImageNet, so no wrong label has touched them. Each seed draws 40,000
of the 50,000 training images, the order of the samples, and the samples that a warm-up holds out; the classifier begins
with zeros.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rrm_torch.losses.per_sample import cross_entropy
from rrm_torch.methods.linear_probe import LinearProbe, feature_moments
from rrm_torch.training.pipeline import Recipe, Task, TrainingRun

from .cifar10n import DATA, LABELS
from .classify import Reporting, evaluate_run, subset, train
from .data.cifar_features import PIXELS, WEIGHTS_PACKAGE, load_cifar_features
from .data.cifar_n import check_order, load_cifar_n
from .detectors.confident_learning import LISTING, ConfidentLearning, part_of
from .detectors.successive_runs import detect
from .runner.jobs import Experiment, Job, OnEpoch, find_data

SAMPLES = 40_000
N_CLASSES = 10
FOLDS = 5
EPOCHS = 10
WARMUP = 3

# Of five pairs of learning rate and weight decay, nearly the best on aggre and on worst for plain training with seed 0,
# by the accuracy on the given labels of the 10,000 images that were not drawn. No clean label was used.
RECIPE: dict[str, Any] = {
    "optimizer": "adam",
    "lr": 1e-3,
    "weight_decay": 0.03,
    "batch_size": 512,
    "epochs": EPOCHS,
    "cosine": True,
}

PLAIN = "plain"
AUTO = "RRM, auto"
TRUE = "RRM, true C"
TRIMMED = "trimmed"
CONFIDENT = "cleanlab"


def jobs(seeds: int) -> list[Job]:
    """Return all methods on all kinds of labels with all seeds."""
    jobs = []
    for labels, (_, rate) in LABELS.items():
        rrm = {"contamination": rate, "warmup": WARMUP, "redistribute": "kept"}
        base = {
            "labels": labels,
            "samples": SAMPLES,
            "pixels": PIXELS,
            "loss": "cce",
            "recipe": RECIPE,
            "scoring": "recorded",
        }
        methods: dict[str, dict[str, Any]] = {
            PLAIN: base | {"rrm": None},
            AUTO: base | {"rrm": {"contamination": "auto", "redistribute": "kept"}},
            TRUE: base | {"rrm": rrm},
            TRIMMED: base | {"rrm": rrm | {"preset": "trimmed", "redistribute": "drop"}},
            CONFIDENT: base | {"folds": FOLDS},
        }
        jobs += [Job(method, settings, seed) for method, settings in methods.items() for seed in range(seeds)]
    return jobs


def task(data: Path, cache: Path, labels: str, samples: int, pixels: int, seed: int) -> Task:
    """Return features of a random part of the training set with human labels, and those of the whole test set.

    Parameters
    ----------
    data : Path
        Folder with the files of `experiments.cifar10n.DATA`.
    cache : Path
        Folder for the file of features, see `load_cifar_features`.
    labels : str
        One of `experiments.cifar10n.LABELS`.
    samples : int
        Number of training images to draw.
    pixels : int
        Height and width to which images are resized.
    seed : int
        Seed of the draw.

    Raises
    ------
    ValueError
        The files hold fewer images, images and labels do not match, or the parameters of the network are missing.
    """
    image_file, label_file = (find_data(data, names) or data / names for names in DATA)
    features = load_cifar_features(image_file, cache, pixels)
    human_labels = load_cifar_n(label_file)
    check_order(human_labels, features.y_train)
    chosen = subset(len(features.y_train), samples, seed)
    x_train = features.x_train[chosen]
    noisy = human_labels[LABELS[labels][0]][chosen]
    mean, std = feature_moments(x_train)
    return Task(
        x_train=x_train,
        labels=noisy,
        wrong=(noisy != features.y_train[chosen]).numpy(),
        x_test=features.x_test,
        y_test=features.y_test,
        model=partial(LinearProbe, mean, std, N_CLASSES),
    )


def train_without_flagged(
    task: Task, settings: dict[str, Any], seed: int, checkpoint: Path, on_epoch: OnEpoch
) -> dict[str, Any]:
    """Train on the labels that confident learning doesn't list, from checkpoints if there are any.

    The probabilities of each sample are predicted by a model that was trained on the other folds, as long as the model
    that is trained at last.

    Parameters
    ----------
    task : Task
    settings : dict
        ``recipe`` and ``folds``.
    seed : int
    checkpoint : Path
        That of the folds; the one of the last model has the same name with ``.last``.
    on_epoch : callable
        Called as ``on_epoch(done, total)``; the epochs of all folds are counted.

    Returns
    -------
    dict
        See `evaluate_run`; with ``recall`` and ``precision`` of the list.
    """
    folds = settings["folds"]
    recipe = Recipe(**settings["recipe"])
    total = (folds + 1) * recipe.epochs
    # ConfidentLearning divides the epochs by one less than the number of folds.
    for_folds = settings["recipe"] | {"epochs": recipe.epochs * (folds - 1)}
    detector = ConfidentLearning(task, for_folds, seed, folds)
    listings = detect(detector, checkpoint, lambda done, _: on_epoch(done, total))
    listed = listings[LISTING].listed
    assert listed is not None
    assert task.wrong is not None
    run = TrainingRun(part_of(task, np.flatnonzero(~listed)), recipe, seed)
    reporting = Reporting(
        checkpoint.with_name(f"{checkpoint.name}.last"),
        lambda epoch: on_epoch(folds * recipe.epochs + epoch, total),
        **run.stateful(),
    )
    seconds = run.fit(loss=cross_entropy, checkpoint=reporting)
    result = evaluate_run(task, run.model, run.history, None, seconds)
    return result | _listing_metrics(listed, task.wrong)


def _listing_metrics(listed: npt.NDArray[np.bool_], wrong: npt.NDArray[np.bool_]) -> dict[str, float | None]:
    precision = None
    if listed.any():
        precision = float(wrong[listed].mean())
    return {"recall": float(listed[wrong].mean()), "precision": precision}


def execute(job: Job, data: Path, checkpoint: Path, on_epoch: OnEpoch) -> dict[str, Any]:
    """Execute a job, see `Experiment`.

    The features lie beside the folder of the results, where other runs find them.

    Returns
    -------
    dict
        See `evaluate_run`; ``true_share`` of wrong labels; ``task_seconds`` until the features were there.
    """
    settings: dict[str, Any] = dict(job.settings)
    cache = checkpoint.parent.parent / "features"
    start = time.perf_counter()
    probe_task = task(data, cache, settings["labels"], settings["samples"], settings["pixels"], job.seed)
    task_seconds = round(time.perf_counter() - start, 2)
    method = train_without_flagged if "folds" in settings else train
    result = method(probe_task, settings, job.seed, checkpoint, on_epoch)
    assert probe_task.wrong is not None
    return result | {"true_share": float(probe_task.wrong.mean()), "task_seconds": task_seconds}


EXPERIMENT = Experiment(
    "linear-probe",
    DATA,
    jobs,
    execute,
    packages=("cleanlab", "scikit-learn"),
    packages_without_requirements=(WEIGHTS_PACKAGE,),
)
