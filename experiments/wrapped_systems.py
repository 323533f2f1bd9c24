"""DivideMix, ProMix and CC made from JSON settings, trained, and what happens in their labelled sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from rrm_torch._models import autocast_context, device_of
from rrm_torch.data.augmentation import RandAugment
from rrm_torch.methods import CC, CentralityNetwork, DivideMix, ProMix, TrainingSet, TwoHeadNetwork
from rrm_torch.methods.division import Division
from rrm_torch.methods.method import MakeScheduler
from rrm_torch.training.evaluate import evaluate
from rrm_torch.training.pipeline import Task
from rrm_torch.training.score import predict
from rrm_torch.weighting.rrm import RRM

from .classify import Reporting, class_recall

System: TypeAlias = DivideMix | ProMix | CC
Backbone: TypeAlias = Callable[[], tuple[nn.Module, int]]
"""Returns a new backbone, initialised from torch's global generator, and the number of its features."""

STRONG = RandAugment(n_ops=3, magnitude=5, probability=0.5)
"""The strong augmentation of ProMix, which comes before the weak one."""

DIVISION_COLUMNS = ("labelled", "wrong_selected", "wrong_labelled", "pruned", "precision")


def make_system(
    data: TrainingSet,
    model: Callable[[], nn.Module],
    backbone: Backbone,
    settings: dict[str, Any],
    seed: int,
    autocast: torch.dtype | None,
) -> System:
    """Return a system.

    Parameters
    ----------
    data : TrainingSet
    model, backbone : callable
        Return a new classifier, and a new backbone of the same network.
    settings : dict
        ``system`` ("DivideMix", "ProMix" or "CC"), ``options`` of it, ``lr`` and ``weight_decay`` (5e-4 by default) of
        SGD, its schedule (see `make_scheduler`), and ``rrm`` (options of each `RRM`, or None).
    seed : int
        Of the networks' parameters and of all draws.
    autocast : torch.dtype, optional

    Raises
    ------
    ValueError
        The settings ask for another optimizer, with which no system was published.
    """
    if settings.get("optimizer", "sgd") != "sgd":
        raise ValueError(f"optimizer of {settings['system']} must be 'sgd', got {settings['optimizer']!r}")
    torch.manual_seed(seed)
    rrm = None
    if settings["rrm"] is not None:
        options = dict(settings["rrm"])
        if options.pop("by_class", False):
            options["groups"] = data.labels
        first, second = (RRM(len(data), warmup=1, losses_from="pass", ids=data.labels, **options) for _ in range(2))
        rrm = (first, second)
    shared: dict[str, Any] = {
        "rrm": rrm,
        "optimizer": partial(
            torch.optim.SGD, lr=settings["lr"], momentum=0.9, weight_decay=settings.get("weight_decay", 5e-4)
        ),
        "scheduler": make_scheduler(settings),
        "autocast": autocast,
        "seed": seed,
        **settings["options"],
    }
    name = settings["system"]
    if name == "CC":
        return CC((_centrality_network(data, backbone), _centrality_network(data, backbone)), data, **shared)
    if name == "ProMix":
        return ProMix((_two_head_network(data, backbone), _two_head_network(data, backbone)), data, **shared)
    return DivideMix((model(), model()), data, **shared)


def make_scheduler(settings: dict[str, Any]) -> MakeScheduler:
    """Return a schedule that anneals the rate over ``epochs``, or multiplies it after each of ``milestones``.

    It is annealed along half a cosine to ``final_lr``, by default 0; the factor is ``gamma``, by default 0.1.
    """
    milestones = settings.get("milestones")
    if milestones is None:
        return partial(
            torch.optim.lr_scheduler.CosineAnnealingLR, T_max=settings["epochs"], eta_min=settings.get("final_lr", 0.0)
        )
    return partial(torch.optim.lr_scheduler.MultiStepLR, milestones=milestones, gamma=settings.get("gamma", 0.1))


def _two_head_network(data: TrainingSet, backbone: Backbone) -> TwoHeadNetwork:
    features, n_features = backbone()
    return TwoHeadNetwork(features, n_features, data.n_classes).to(device_of(features))


def _centrality_network(data: TrainingSet, backbone: Backbone) -> CentralityNetwork:
    features, n_features = backbone()
    return CentralityNetwork(features, n_features, data.n_classes).to(device_of(features))


def train_system(
    task: Task,
    data: TrainingSet,
    backbone: Backbone,
    settings: dict[str, Any],
    seed: int,
    checkpoint: Path,
    on_epoch: Callable[[int, int], None],
) -> dict[str, Any]:
    """Train a system, from its checkpoint if there is one.

    Returns
    -------
    dict
        ``accuracy`` of both networks together on the test set after the last epoch, and ``best_accuracy`` of any;
        ``class_recall``; ``memorised`` and ``fitted``, the shares of wrong and of correct training labels that are
        predicted; ``epochs``, curves of the accuracy, the loss and, as means of both networks, of `divide_metrics`;
        ``by_class``, the labelled set of the last epoch in each class.
    """
    assert task.wrong is not None
    wrong = task.wrong
    epochs = settings["epochs"]
    autocast = torch.bfloat16 if settings["autocast"] else None
    system = make_system(data, task.model, backbone, settings, seed, autocast)
    reporting = Reporting(checkpoint, lambda epoch: on_epoch(epoch, epochs), method=system)

    def after_epoch(row: dict[str, Any]) -> None:
        with autocast_context(device_of(system.predictor), autocast):
            row["accuracy"] = evaluate(system.predictor, task.test_loader())
        if system.divisions is not None:
            row |= division_metrics(system.divisions, wrong)
            row["by_class"] = [class_metrics(division, wrong, data) for division in system.divisions]

    history = system.fit(epochs, checkpoint=reporting, on_epoch=after_epoch)
    with autocast_context(device_of(system.predictor), autocast):
        predicted = predict(system.predictor, task.score_loader()).argmax(1).cpu().numpy() == task.labels.numpy()
        recall = class_recall(task, system.predictor)
    accuracies = [row["accuracy"] for row in history]
    columns = {name: [rounded(row.get(name)) for row in history] for name in ("loss", *DIVISION_COLUMNS)}
    return {
        "accuracy": accuracies[-1],
        "best_accuracy": max(accuracies),
        "class_recall": recall,
        "memorised": _share(predicted[wrong]),
        "fitted": _share(predicted[~wrong]),
        "epochs": {"accuracy": [round(value, 4) for value in accuracies], **columns},
        "by_class": history[-1].get("by_class"),
    }


def division_metrics(divisions: tuple[Division, Division], wrong: npt.NDArray[np.bool_]) -> dict[str, float | None]:
    """Return what the labelled sets of both networks hold, on average.

    Returns
    -------
    dict
        ``labelled``, the number of labels that count; ``wrong_selected`` and ``wrong_labelled``, the share of wrong
        ones before and after RRM prunes; ``pruned``, their number; and ``precision``, the share of wrong ones among
        them, None if there are none.
    """
    rows = []
    for division in divisions:
        selected, counted = _selected_and_counted(division)
        rows.append(
            (
                len(counted),
                _share(wrong[selected]),
                _share(wrong[counted]),
                len(division.pruned),
                _share(wrong[division.pruned.numpy()]),
            )
        )
    return {name: mean_of_known(values) for name, values in zip(DIVISION_COLUMNS, zip(*rows, strict=True), strict=True)}


def class_metrics(
    division: Division, wrong: npt.NDArray[np.bool_], data: TrainingSet
) -> dict[str, list[float | int | None]]:
    """Return by given class: the labels that count, the share of wrong ones, those pruned, and the precision."""
    labels = data.labels.numpy()
    _, counted = _selected_and_counted(division)
    pruned = division.pruned.numpy()
    columns: dict[str, list[float | int | None]] = {
        name: [] for name in ("labelled", "wrong_labelled", "pruned", "precision")
    }
    for k in range(data.n_classes):
        own = counted[labels[counted] == k]
        own_pruned = pruned[labels[pruned] == k]
        columns["labelled"].append(len(own))
        columns["wrong_labelled"].append(_share(wrong[own]))
        columns["pruned"].append(len(own_pruned))
        columns["precision"].append(_share(wrong[own_pruned]))
    return columns


def _selected_and_counted(division: Division) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the samples selected, and those of them whose labels count: that RRM has not pruned."""
    labelled = division.labelled.numpy()
    pruned = division.pruned.numpy()
    return np.union1d(labelled, pruned), np.setdiff1d(labelled, pruned)


def _share(mask: npt.NDArray[np.bool_]) -> float | None:
    return round(float(mask.mean()), 5) if len(mask) else None


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that aren't None; None if there is none."""
    numbers = [value for value in values if value is not None]
    return float(np.mean(numbers)) if numbers else None


def rounded(value: Any) -> float | None:
    """Return a value of a history to five digits, for a list its mean; None for None."""
    if value is None:
        return None
    if isinstance(value, list):
        value = float(np.mean(value))
    return float(f"{value:.5g}")
