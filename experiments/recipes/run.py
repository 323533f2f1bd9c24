"""Training by a recipe's settings, and its result."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any, TypeAlias

import torch
from torch import Tensor

from rrm_torch._models import autocast_context, device_of
from rrm_torch.methods import TrainingSet
from rrm_torch.methods.method import MakeOptimizer, Row
from rrm_torch.training.evaluate import evaluate
from rrm_torch.training.score import predict
from rrm_torch.weighting.rrm import RRM

from ..classify import Reporting
from ..wrapped_systems import System, make_scheduler, make_system, mean_of_known, rounded
from .networks import make_backbone, make_network
from .read_ahead import read_ahead
from .recipe_data import TEST, VALIDATION, RecipeData
from .weighted_training import WeightedTraining

EVALUATION_BATCH = 500

AnyMethod: TypeAlias = WeightedTraining | System


def train(
    data: RecipeData,
    settings: dict[str, Any],
    seed: int,
    checkpoint: Path,
    on_epoch: Callable[[int, int], None],
) -> dict[str, Any]:
    """Train by settings, from the checkpoint if there is one.

    Parameters
    ----------
    data : RecipeData
    settings : dict
        As `make_method` takes them, with ``epochs``.
    seed : int
    checkpoint : Path
    on_epoch : callable
        Called as ``on_epoch(done, total)`` after each epoch.

    Returns
    -------
    dict
        ``accuracy`` on the test set after the last epoch; ``best_accuracy`` of any epoch, and ``best_epoch``: choosing
        it takes the test labels; ``chosen_accuracy``, the test accuracy after the epoch with the highest accuracy on
        the validation set, if there is one; ``class_recall``, the accuracy of each class after the last epoch; ``n``,
        the number of training samples, and ``n_classes``; ``wrong``, the share of wrong labels among those that were
        checked, None if none was; ``epochs``, curves of the loss, of the accuracy on each test set, and with RRM of the
        number of ``pruned`` samples, and of the ``precision`` and the ``recall`` of these, as far as the labels were
        checked. With two networks, these are means. ``estimate``: the estimated contamination, if there is one.
    """
    epochs = settings["epochs"]
    method = make_method(data, settings, seed)
    reporting = Reporting(checkpoint, lambda epoch: on_epoch(epoch, epochs), method=method)

    def after_epoch(row: Row) -> None:
        for name, test in data.tests.items():
            with autocast_context(device_of(method.predictor), _autocast(settings)):
                row[name] = evaluate(method.predictor, read_ahead(test.batches(EVALUATION_BATCH)))
        _add_pruning(row, method, data)

    history = method.fit(epochs, checkpoint=reporting, on_epoch=after_epoch)
    result = _result(history, data, method.rrm is not None) | _estimate(method)
    with autocast_context(device_of(method.predictor), _autocast(settings)):
        result["class_recall"] = _class_recall(method, data.tests[TEST])
    return result


def make_method(data: RecipeData, settings: dict[str, Any], seed: int) -> AnyMethod:
    """Return a system, or the training of one classifier.

    Parameters
    ----------
    data : RecipeData
    settings : dict
        ``network``, see `make_network`; ``system``, "DivideMix", "CC" or "ProMix", or None; ``options`` of the system
        or of `WeightedTraining`; ``optimizer``, "sgd" or "adam", ``lr``, ``weight_decay``, and ``milestones``, epochs
        after which the rate is multiplied by ``gamma`` (0.1), or None to anneal it along half a cosine;
        ``autocast``; ``rrm``, arguments of each `RRM` or None, where ``by_class`` makes groups of the given classes
        and ``by_source`` of the sources, and a contamination of "group" stands for ``data.group_shares``.
    seed : int
    """
    n_classes = data.train.n_classes
    model = partial(make_network, settings["network"], data.n_inputs, n_classes)
    if settings["system"] is not None:
        backbone = partial(make_backbone, settings["network"])
        return make_system(data.train, model, backbone, settings, seed, _autocast(settings))
    torch.manual_seed(seed)
    options = dict(settings["options"])
    rrm_options = settings["rrm"]
    if rrm_options is not None and "epoch_samples" in options:
        # The method counts the warm-up, in which it doesn't call RRM.
        options["warmup"] = rrm_options["warmup"]
        rrm_options = rrm_options | {"warmup": 1}
    return WeightedTraining(
        model(),
        data.train,
        rrm=_make_rrm(data, rrm_options, settings["epochs"]),
        optimizer=_optimizer(settings),
        scheduler=make_scheduler(settings),
        autocast=_autocast(settings),
        seed=seed,
        **options,
    )


def _make_rrm(data: RecipeData, options: dict[str, Any] | None, epochs: int) -> RRM | None:
    if options is None:
        return None
    options = dict(options)
    if options.pop("by_source", False):
        options["groups"] = data.groups
    if options.pop("by_class", False):
        options["groups"] = data.train.labels
    if options.get("contamination") == "group":
        options["contamination"] = data.group_shares
    return RRM(len(data.train), ids=data.train.labels, losses_from="pass", epochs=epochs, **options)


def _optimizer(settings: dict[str, Any]) -> MakeOptimizer:
    if settings["optimizer"] == "adam":
        return partial(torch.optim.Adam, lr=settings["lr"], weight_decay=settings["weight_decay"])
    return partial(torch.optim.SGD, lr=settings["lr"], momentum=0.9, weight_decay=settings["weight_decay"])


def _autocast(settings: dict[str, Any]) -> torch.dtype | None:
    return torch.bfloat16 if settings["autocast"] else None


def _pruned(method: AnyMethod) -> list[Tensor]:
    """Return the indices of the samples that each RRM pruned last."""
    if method.rrm is None:
        return []
    if isinstance(method, WeightedTraining):
        assert isinstance(method.rrm, RRM)
        return [method.rrm.trajectory.last.cpu().nonzero()[:, 0]]
    return [division.pruned for division in method.divisions or ()]


def _add_pruning(row: Row, method: AnyMethod, data: RecipeData) -> None:
    """Add to an epoch how many samples are pruned, and how many of them have a wrong label."""
    pruned = _pruned(method)
    if not pruned:
        return
    row["pruned"] = mean(len(index) for index in pruned)
    if data.checked is not None:
        precisions, recalls = zip(*(data.checked.pruning(index) for index in pruned), strict=True)
        row["precision"] = mean_of_known(precisions)
        row["recall"] = mean_of_known(recalls)


def _result(history: list[Row], data: RecipeData, has_rrm: bool) -> dict[str, Any]:
    accuracies = [row[TEST] for row in history]
    best = max(range(len(history)), key=accuracies.__getitem__)
    wrong = None
    if data.checked is not None:
        wrong = float(data.checked.is_wrong.double().mean())
    names = ("loss", *data.tests)
    if has_rrm:
        names += ("pruned", "precision", "recall")
    result: dict[str, Any] = {
        "accuracy": accuracies[-1],
        "best_accuracy": accuracies[best],
        "best_epoch": best + 1,
        "n": len(data.train),
        "n_classes": data.train.n_classes,
        "wrong": wrong,
        "epochs": {name: [rounded(row.get(name)) for row in history] for name in names if _is_recorded(history, name)},
    }
    if VALIDATION in data.tests:
        result["chosen_accuracy"] = max(history, key=lambda row: row[VALIDATION])[TEST]
    return result


def _class_recall(method: AnyMethod, test: TrainingSet) -> list[float | None]:
    """Return the share of each class's samples that are predicted right; None for a class without any."""
    predicted = predict(method.predictor, read_ahead(test.batches(EVALUATION_BATCH))).argmax(1).cpu()
    is_right = predicted == test.labels.cpu()
    recalls: list[float | None] = []
    for k in range(test.n_classes):
        members = is_right[test.labels.cpu() == k]
        recalls.append(round(float(members.double().mean()), 5) if len(members) else None)
    return recalls


def _is_recorded(history: list[Row], name: str) -> bool:
    return any(name in row for row in history)


def _estimate(method: AnyMethod) -> dict[str, Any]:
    if not isinstance(method.rrm, RRM) or method.rrm.estimate is None:
        return {}
    estimate = method.rrm.estimate
    return {"estimate": {"contamination": estimate.contamination, "interval": estimate.interval}}
