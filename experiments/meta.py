"""Methods that learn weights from a small clean set, against RRM, which has none."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rrm_torch.data import images
from rrm_torch.methods.clean_set import CleanSetMethod
from rrm_torch.methods.learning_to_reweight import LearningToReweight
from rrm_torch.methods.meta_weight_net import MetaWeightNet
from rrm_torch.methods.method import Row
from rrm_torch.methods.training_set import TrainingSet
from rrm_torch.training.evaluate import evaluate
from rrm_torch.training.fit import Seconds
from rrm_torch.training.history import History
from rrm_torch.training.pipeline import Recipe, Task

from .classify import Reporting, evaluate_run, train
from .noisy_tasks import DATA_SETS, task
from .runner.jobs import Experiment, Job, OnEpoch

DATA = "fashion_mnist.npz"
NOISES = ("symmetric 0.4", "pair 0.3", "instance 0.3")
N_CLEAN = (250, 1000)
SAMPLES = DATA_SETS["fashion"].samples
RECIPE = DATA_SETS["fashion"].recipe | {"epochs": 15}
VIRTUAL_RATE = 0.1
"""That of the paper, whose model is trained by SGD. With the rate of Adam the gradient of the weight net is so small
that its weight decay outweighs it."""

PLAIN = "plain"
WITH_CLEAN = "plain, with the clean samples"
META_METHODS: dict[str, Callable[..., CleanSetMethod]] = {
    "Meta-Weight-Net": partial(MetaWeightNet, virtual_rate=VIRTUAL_RATE),
    "Ren et al.": LearningToReweight,
}


def jobs(seeds: int) -> list[Job]:
    """Return all methods on all kinds of noise with all seeds."""
    base: dict[str, Any] = {"data": "fashion", "samples": SAMPLES, "recipe": RECIPE, "loss": "cce"}
    base |= {"scoring": "recorded", "rrm": None, "n_clean": 0}
    rows: list[tuple[str, dict[str, Any]]] = [(PLAIN, {}), ("RRM, auto", {"rrm": {"contamination": "auto"}})]
    rows += [(name, {"n_clean": n_clean}) for n_clean in N_CLEAN for name in (WITH_CLEAN, *META_METHODS)]
    return [
        Job(
            f"fashion, {noise}: {_title(name, settings)}",
            base | {"noise": noise, "method": name, **settings},
            seed,
        )
        for noise in NOISES
        for name, settings in rows
        for seed in range(seeds)
    ]


def _title(name: str, settings: dict[str, Any]) -> str:
    return f"{name}, {settings['n_clean']}" if "n_clean" in settings else name


def clean_samples(data: Path, n_training: int, n_clean: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return images and correct labels, as many of each class, that the training set of this seed doesn't hold.

    Parameters
    ----------
    data : Path
        The data folder.
    n_training : int
        Images in the training set, see `classify.subset`.
    n_clean : int
        A multiple of the number of classes.
    seed : int

    Raises
    ------
    ValueError
        There are too few images of a class.
    """
    loaded = images.load_npz(data / DATA)
    labels = loaded.y_train.numpy()
    n_classes = int(labels.max()) + 1
    others = np.random.default_rng(seed).permutation(len(labels))[n_training:]
    chosen = [others[labels[others] == k][: n_clean // n_classes] for k in range(n_classes)]
    fewest = min(map(len, chosen))
    if fewest < n_clean // n_classes:
        raise ValueError(f"the data hold {fewest} further images of a class, and {n_clean // n_classes} are needed")
    index = np.concatenate(chosen)
    return loaded.x_train[index], loaded.y_train[index]


def with_clean_samples(noisy: Task, x: Tensor, y: Tensor) -> Task:
    """Return a task whose training set has further samples, with correct labels."""
    assert noisy.wrong is not None
    return replace(
        noisy,
        x_train=torch.cat([noisy.x_train, x]),
        labels=torch.cat([noisy.labels, y]),
        wrong=np.concatenate([noisy.wrong, np.zeros(len(y), bool)]),
    )


def train_meta(
    noisy: Task,
    clean: tuple[Tensor, Tensor],
    settings: dict[str, Any],
    seed: int,
    checkpoint: Path,
    on_epoch: OnEpoch,
) -> dict[str, Any]:
    """Train by a method with a clean set, from its checkpoint if there is one.

    Parameters
    ----------
    noisy, settings, seed, checkpoint, on_epoch
        See `classify.train`; ``settings["method"]`` is one of `META_METHODS`.
    clean : pair of Tensors
        Inputs and labels.

    Returns
    -------
    dict
        See `classify.evaluate_run`; and ``mean_weight`` of correct and of wrong labels in the last epoch, where 1 is
        the mean of all.
    """
    recipe = Recipe(**settings["recipe"])
    torch.manual_seed(seed)
    model = noisy.model()
    n_classes = int(noisy.y_test.max()) + 1
    method = META_METHODS[settings["method"]](
        model,
        TrainingSet(noisy.x_train, noisy.labels, n_classes),
        TrainingSet(*clean, n_classes),
        optimizer=lambda _: recipe.make_optimizer(model),
        batch_size=recipe.batch_size,
        seed=seed,
    )
    history = History(noisy.wrong)

    def record(row: Row) -> None:
        history.record(row["epoch"], row["loss"], evaluate(model, noisy.test_loader()))

    reporting = Reporting(checkpoint, lambda epoch: on_epoch(epoch, recipe.epochs), method=method, history=history)
    method.fit(recipe.epochs, checkpoint=reporting, on_epoch=record)
    result = evaluate_run(noisy, model, history, None, Seconds())
    del result["seconds"]  # not measured; `EpochClock` does
    assert noisy.wrong is not None
    weights = method.weights.numpy() / method.weights.numpy().mean()
    result["mean_weight"] = {
        "clean": round(float(weights[~noisy.wrong].mean()), 5),
        "wrong": round(float(weights[noisy.wrong].mean()), 5),
    }
    return result


class EpochClock:
    """Measures the processor time of epochs, from one call to the next.

    Parameters
    ----------
    on_epoch : callable
        Called in turn.
    """

    def __init__(self, on_epoch: OnEpoch) -> None:
        self._on_epoch = on_epoch
        self._times: list[float] = []

    def __call__(self, done: int, total: int) -> None:
        """Note the time and pass the call on."""
        self._on_epoch(done, total)
        self._times.append(time.process_time())

    def seconds(self, noisy: Task) -> float | None:
        """Return the median seconds of training for an epoch, without the evaluation; None of fewer than two epochs."""
        if len(self._times) < 2:
            return None
        start = time.process_time()
        evaluate(noisy.model(), noisy.test_loader())
        evaluation = time.process_time() - start
        return float(np.median(np.diff(self._times))) - evaluation


def execute(job: Job, data: Path, checkpoint: Path, on_epoch: OnEpoch) -> dict[str, Any]:
    """Execute a job, see `Experiment`; the result also has the processor's seconds for an epoch of training."""
    settings: dict[str, Any] = dict(job.settings)
    noisy = task(data, settings["data"], settings["noise"], settings["samples"], job.seed)
    clock = EpochClock(on_epoch)
    if settings["n_clean"]:
        clean = clean_samples(data, settings["samples"], settings["n_clean"], job.seed)
    if settings["method"] in META_METHODS:
        result = train_meta(noisy, clean, settings, job.seed, checkpoint, clock)
    else:
        if settings["n_clean"]:
            noisy = with_clean_samples(noisy, *clean)
        result = train(noisy, settings, job.seed, checkpoint, clock)
    return result | {"seconds_per_epoch": clock.seconds(noisy)}


EXPERIMENT = Experiment("meta", (DATA,), jobs, execute)
