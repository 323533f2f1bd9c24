"""Training a classifier on noisy labels, and the results that the tables show."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from rrm_torch.adversarial.attacks import BY_NAME as ATTACKS
from rrm_torch.adversarial.attacks import Attack, robustness
from rrm_torch.losses import per_sample as losses
from rrm_torch.methods import trimmed
from rrm_torch.training.checkpoint import Checkpoint
from rrm_torch.training.fit import Seconds
from rrm_torch.training.history import History
from rrm_torch.training.pipeline import Recipe, Task, TrainingRun
from rrm_torch.training.score import predict
from rrm_torch.weighting.base import BaseRRM
from rrm_torch.weighting.batch_rrm import BatchRRM
from rrm_torch.weighting.rrm import RRM

METHODS = {"trimmed": trimmed}
"""Methods derived from RRM, by the name under ``preset`` in the recorded settings."""


class Reporting(Checkpoint):
    """A checkpoint that reports each epoch after saving it.

    Parameters
    ----------
    path : Path
    report : callable
        Called with the epoch.
    **objects
        See `Checkpoint`.
    """

    def __init__(self, path: Path, report: Callable[[int], None], **objects: Any) -> None:
        super().__init__(path, **objects)
        self._report = report

    def save(self, epoch: int) -> None:
        """Save the checkpoint and report the epoch."""
        super().save(epoch)
        self._report(epoch)


def subset(n: int, samples: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the indices of a random subset of n training samples.

    Raises
    ------
    ValueError
        `samples` is greater than n.
    """
    if samples > n:
        raise ValueError(f"the experiment takes {samples:,} training samples, and the data hold {n:,}: other data?")
    return np.random.default_rng(seed).permutation(n)[:samples]


def make_rrm(settings: dict[str, Any] | None, labels: Tensor) -> RRM | None:
    """Return the RRM, or the method derived from it, that JSON settings describe; None for plain training."""
    if settings is None:
        return None
    options = dict(settings)
    method = options.pop("preset", None)
    if method is None:
        return RRM(len(labels), ids=labels, **options)
    return METHODS[method](len(labels), options.pop("contamination"), ids=labels, **options)


def make_attack(settings: dict[str, Any] | None) -> Attack | None:
    """Return the attack that JSON settings describe: ``name``, ``eps`` (0 if the test sets it), and other options."""
    if settings is None:
        return None
    options = dict(settings)
    return ATTACKS[options.pop("name")](options.pop("eps", 0.0), **options)


MakeRRM: TypeAlias = Callable[[dict[str, Any] | None, Tensor], RRM | None]


def train(
    task: Task,
    settings: dict[str, Any],
    seed: int,
    checkpoint: Path,
    on_epoch: Callable[[int, int], None],
    make: MakeRRM = make_rrm,
) -> dict[str, Any]:
    """Train a model, from its checkpoint if there is one.

    Parameters
    ----------
    task : Task
    settings : dict
        ``recipe`` (of `Recipe`), ``loss`` (a name of `rrm_torch.losses`), ``rrm`` (of `RRM`, or a method's name
        under ``preset`` and its options, or None), ``scoring`` ("recorded", or "pass"); for adversarial training
        ``attack`` (see `make_attack`), ``score_inputs`` (see `rrm_torch.fit`), ``test_attacks`` (a list of attacks) and
        ``test_eps``.
    seed : int
        Seed of the initial parameters, the order of the samples and the augmentation.
    checkpoint : Path
    on_epoch : callable
        Called as ``on_epoch(done, total)`` after each epoch.
    make : callable, default `make_rrm`
        Called with ``settings["rrm"]`` and the labels; returns the RRM.

    Returns
    -------
    dict
        JSON, see `evaluate_run`.
    """
    recipe = Recipe(**settings["recipe"])
    run = TrainingRun(task, recipe, seed, make(settings["rrm"], task.labels))
    reporting = Reporting(checkpoint, lambda epoch: on_epoch(epoch, recipe.epochs), **run.stateful())
    try:
        seconds = run.fit(
            loss=losses.by_name(settings["loss"]),
            attack=make_attack(settings.get("attack")),
            scoring=settings["scoring"],
            score_inputs=settings.get("score_inputs", "perturbed"),
            checkpoint=reporting,
        )
    except ValueError:
        if all(bool(parameter.isfinite().all()) for parameter in run.model.parameters()):
            raise
        # RRM raises on NaN losses. Divergence is a result too: record the remaining epochs with the model unchanged.
        seconds = Seconds()
        for epoch in range(len(run.history.epochs) + 1, recipe.epochs + 1):
            run.record_epoch(epoch, math.nan)
            reporting.save(epoch)
    with recipe.autocast_context(run.model):
        result = evaluate_run(task, run.model, run.history, run.rrm, seconds)
    for attack_settings in settings.get("test_attacks", ()):
        attack = make_attack(attack_settings)
        assert attack is not None
        by_eps = robustness(run.model, task.test_loader(), attack, settings["test_eps"])
        result.setdefault("robust", {})[attack_settings["name"]] = {str(eps): share for eps, share in by_eps.items()}
    return result


def evaluate_run(
    task: Task, model: nn.Module, history: History, rrm: BaseRRM | None, seconds: Seconds
) -> dict[str, Any]:
    """Return the results of a trained model that the tables show.

    Returns
    -------
    dict
        ``accuracy`` on the test set after the last epoch, and ``class_recall``, that of each class; ``best_accuracy``
        of any epoch (selecting it requires clean labels); ``memorised``, the share of the wrong training labels that
        the model predicts, None without any; ``fitted``, the same for the correct labels; ``diverged``, whether a loss
        became NaN or infinite; ``epochs``, curves; ``seconds`` since the last resumption. With RRM also ``recall`` and
        ``precision`` of the labels pruned last; ``rounds``, the reweights; ``histogram`` and ``mean_weight`` of the
        weights in the last epoch, for clean and for wrong labels (the mean is the more informative where ties are
        shared); and ``estimate``, if the contamination or the end of the warm-up was estimated.
    """
    assert task.wrong is not None
    predicted = predict(model, task.score_loader()).argmax(1).numpy() == task.labels.numpy()
    accuracies = [epoch.accuracy for epoch in history.epochs]
    result: dict[str, Any] = {
        "accuracy": accuracies[-1],
        "class_recall": class_recall(task, model),
        "best_accuracy": max(accuracies),
        "memorised": _share(predicted[task.wrong]),
        "fitted": float(predicted[~task.wrong].mean()),
        "seconds": asdict(seconds),
        "diverged": not all(math.isfinite(epoch.loss) for epoch in history.epochs),
        "epochs": {
            "accuracy": [round(value, 4) for value in accuracies],
            "loss": [float(f"{epoch.loss:.4g}") if math.isfinite(epoch.loss) else None for epoch in history.epochs],
        },
    }
    if rrm is not None:
        _add_rrm_results(result, task.wrong, history, rrm)
    return result


def class_recall(task: Task, model: nn.Module) -> list[float | None]:
    """Return the share of each class's test samples that are predicted right; None for a class without any."""
    correct = predict(model, task.test_loader()).argmax(1).cpu().numpy() == task.y_test.numpy()
    n_classes = int(task.y_test.max()) + 1
    recalls = [_share(correct[task.y_test.numpy() == k]) for k in range(n_classes)]
    return [None if recall is None else round(recall, 5) for recall in recalls]


def _add_rrm_results(result: dict[str, Any], wrong: npt.NDArray[np.bool_], history: History, rrm: BaseRRM) -> None:
    pruned = rrm.trajectory.last.numpy()
    groups = [epoch.groups for epoch in history.epochs]
    kinds = tuple(groups[-1])
    for name in kinds:
        result["epochs"][f"{name}_pruned"] = [round(group[name].pruned, 4) for group in groups]
    used = groups[-1]
    if not isinstance(rrm, BatchRRM) and len(groups) > 1:
        # The last reweight comes after the last epoch, which used the weights recorded one epoch earlier.
        used = groups[-2]
    result["recall"] = _share(pruned[wrong])
    result["precision"] = _share(wrong[pruned])
    result["histogram"] = {name: list(used[name].histogram) for name in kinds}
    result["mean_weight"] = {name: round(used[name].mean_weight, 5) for name in kinds}
    estimate = rrm.estimate if isinstance(rrm, RRM) else None
    if estimate is not None:
        names = ("contamination", "interval", "epoch", "n_held_out", "basis")
        result["estimate"] = {name: getattr(estimate, name) for name in names}
    result["rounds"] = _columns([asdict(entry) for entry in rrm.trajectory.rounds])


def _share(mask: npt.NDArray[np.bool_]) -> float | None:
    """Return the share of true elements; None if there are none at all."""
    return float(mask.mean()) if len(mask) else None


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Convert rows to columns of numbers with five significant digits; None for numbers that are not finite."""

    def rounded(value: Any) -> Any:
        if not isinstance(value, float):
            return value
        return float(f"{value:.5g}") if math.isfinite(value) else None

    return {name: [rounded(row[name]) for row in rows] for name in (rows[0] if rows else ())}
