"""One run: a classifier trained on noisy labels, and everything that the tables say about it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

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

PRESETS = {"trimmed": trimmed}


class Reporting(Checkpoint):
    """A checkpoint that tells of each epoch, once it is saved.

    Parameters
    ----------
    path : Path
    report : callable
        Called with the epoch.
    **parts
        See `Checkpoint`.
    """

    def __init__(self, path: Path, report: Callable[[int], None], **parts: Any) -> None:
        super().__init__(path, **parts)
        self._report = report

    def save(self, epoch: int) -> None:
        """Save, then tell."""
        super().save(epoch)
        self._report(epoch)


def subset(n: int, samples: int, seed: int) -> npt.NDArray[np.int64]:
    """Return which of n training samples to take, at random.

    Raises
    ------
    ValueError
        There are fewer.
    """
    if samples > n:
        raise ValueError(f"the experiment takes {samples:,} training samples, and the data hold {n:,}: other data?")
    return np.random.default_rng(seed).permutation(n)[:samples]


def rrm_of(settings: dict[str, Any] | None, labels: Tensor) -> RRM | None:
    """Return the RRM, or preset of it, that JSON settings describe."""
    if settings is None:
        return None
    options = dict(settings)
    preset = options.pop("preset", None)
    if preset is None:
        return RRM(len(labels), ids=labels, **options)
    return PRESETS[preset](len(labels), options.pop("contamination"), ids=labels, **options)


def attack_of(settings: dict[str, Any] | None) -> Attack | None:
    """Return the attack that JSON settings describe: its ``name``, ``eps`` (0 if testing tells), and other options."""
    if settings is None:
        return None
    options = dict(settings)
    return ATTACKS[options.pop("name")](options.pop("eps", 0.0), **options)


def train(
    task: Task, settings: dict[str, Any], seed: int, checkpoint: Path, on_epoch: Callable[[int, int], None]
) -> dict[str, Any]:
    """Train a model, from its checkpoint on if there is one.

    Parameters
    ----------
    task : Task
    settings : dict
        ``recipe`` (of `Recipe`), ``loss`` (a name of `rrm_torch.losses`), ``rrm`` (of `RRM`, or ``preset`` and its
        options, or None), ``scoring`` ("recorded", or "pass"); for adversarial training ``attack`` (see `attack_of`),
        ``score_inputs`` (see `rrm_torch.fit`), ``test_attacks`` (a list of attacks) and ``test_eps``.
    seed : int
        Of the initial parameters, the order of the samples and the augmentation.
    checkpoint : Path
    on_epoch : callable
        Called with the epochs done and their total.

    Returns
    -------
    dict
        Fit for JSON, see `outcome`.
    """
    recipe = Recipe(**settings["recipe"])
    run = TrainingRun(task, recipe, seed, rrm_of(settings["rrm"], task.labels))
    reporting = Reporting(checkpoint, lambda epoch: on_epoch(epoch, recipe.epochs), **run.stateful())
    try:
        seconds = run.fit(
            loss=losses.by_name(settings["loss"]),
            attack=attack_of(settings.get("attack")),
            scoring=settings["scoring"],
            score_inputs=settings.get("score_inputs", "perturbed"),
            checkpoint=reporting,
        )
    except ValueError:
        if all(bool(parameter.isfinite().all()) for parameter in run.model.parameters()):
            raise
        # RRM raises on NaN losses. A run that diverges is a result, too: the remaining epochs leave the model as it is.
        seconds = Seconds()
        for epoch in range(len(run.history.epochs) + 1, recipe.epochs + 1):
            run.record_epoch(epoch, math.nan)
            reporting.save(epoch)
    with recipe.autocast_context():
        found = outcome(task, run.model, run.history, run.rrm, seconds)
    for given in settings.get("test_attacks", ()):
        attack = attack_of(given)
        assert attack is not None
        by_eps = robustness(run.model, task.test_loader(), attack, settings["test_eps"])
        found.setdefault("robust", {})[given["name"]] = {str(eps): share for eps, share in by_eps.items()}
    return found


def outcome(task: Task, model: nn.Module, history: History, rrm: BaseRRM | None, seconds: Seconds) -> dict[str, Any]:
    """Return what the tables say about a trained model.

    Returns
    -------
    dict
        ``accuracy`` on the test set at the end, ``best_accuracy`` of any epoch (which nobody can choose without clean
        labels), ``memorised`` (the share of the wrong training labels that the model predicts), ``fitted`` (the same of
        the right ones), ``diverged`` (whether a loss became NaN or infinite), ``epochs`` (curves), ``seconds`` of the
        last, uninterrupted part. With RRM, ``recall`` and ``precision`` of the labels pruned last, ``rounds``, and of
        the weights that the last epoch trained with, by clean and wrong labels, ``histogram`` and ``mean_weight``
        (which tells more where ties are shared).
    """
    assert task.wrong is not None
    predicted = predict(model, task.score_loader()).argmax(1).numpy() == task.labels.numpy()
    accuracies = [epoch.accuracy for epoch in history.epochs]
    found: dict[str, Any] = {
        "accuracy": accuracies[-1],
        "best_accuracy": max(accuracies),
        "memorised": float(predicted[task.wrong].mean()),
        "fitted": float(predicted[~task.wrong].mean()),
        "seconds": asdict(seconds),
        "diverged": not all(math.isfinite(epoch.loss) for epoch in history.epochs),
        "epochs": {
            "accuracy": [round(value, 4) for value in accuracies],
            "loss": [float(f"{epoch.loss:.4g}") if math.isfinite(epoch.loss) else None for epoch in history.epochs],
        },
    }
    if rrm is None:
        return found
    pruned = rrm.trajectory.last.numpy()
    groups = [epoch.groups for epoch in history.epochs]
    found["epochs"] |= {
        f"{name}_pruned": [round(group[name].pruned, 4) for group in groups] for name in ("clean", "wrong")
    }
    used = groups[
        -1 if isinstance(rrm, BatchRRM) else max(-2, -len(groups))
    ]  # a last reweight comes after the last epoch
    return found | {
        "recall": float(pruned[task.wrong].mean()),
        "precision": float(task.wrong[pruned].mean()) if pruned.any() else None,
        "histogram": {name: list(used[name].histogram) for name in ("clean", "wrong")},
        "mean_weight": {name: round(used[name].mean_weight, 5) for name in ("clean", "wrong")},
        "rounds": _columns([asdict(entry) for entry in rrm.trajectory.rounds]),
    }


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Turn records into columns of numbers short enough for a file that is kept; None for those that aren't finite."""

    def short(value: Any) -> Any:
        if not isinstance(value, float):
            return value
        return float(f"{value:.5g}") if math.isfinite(value) else None

    return {name: [short(row[name]) for row in rows] for name in (rows[0] if rows else ())}
