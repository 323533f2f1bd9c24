"""One run: a classifier trained on noisy labels, and everything that the tables say about it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rrm_torch.adversarial.attacks import BY_NAME as ATTACKS
from rrm_torch.adversarial.attacks import Attack, robustness
from rrm_torch.data.loaders import batches
from rrm_torch.losses import per_sample as losses
from rrm_torch.methods import small_loss as presets
from rrm_torch.training.checkpoint import Checkpoint
from rrm_torch.training.fit import Seconds, evaluate, fit, predict
from rrm_torch.training.history import History
from rrm_torch.weighting.rrm import RRM

PRESETS = {"trimmed": presets.trimmed}
Transform = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be learnt, the same for all methods of a seed.

    Attributes
    ----------
    x_train, x_test : Tensor, shape (n, ...)
    labels : Tensor of int64, shape (n,)
        Of the training set, as given: some of them wrong.
    wrong : bool array, shape (n,)
        Which.
    y_test : Tensor of int64
    model : callable
        Returns a fresh model, from torch's global random numbers.
    augment, prepare : callable, optional
        What training batches go through, and what all others do.
    """

    x_train: Tensor
    labels: Tensor
    wrong: npt.NDArray[np.bool_]
    x_test: Tensor
    y_test: Tensor
    model: Callable[[], nn.Module]
    augment: Transform | None = None
    prepare: Transform | None = None

    def training(self, batch_size: int, order: torch.Generator) -> Any:
        """Return a loader of the training set, shuffled and augmented."""
        return batches(
            self.x_train, self.labels, batch_size, shuffle=True, generator=order, transform=self.augment or self.prepare
        )

    def in_order(self) -> Any:
        """Return a loader of the training set that does neither."""
        return batches(self.x_train, self.labels, 1000, shuffle=False, transform=self.prepare)

    def testing(self) -> Any:
        """Return a loader of the test set."""
        return batches(self.x_test, self.y_test, 1000, shuffle=False, transform=self.prepare)


@dataclass(frozen=True)
class Recipe:
    """How the parameters are trained.

    Attributes
    ----------
    epochs, batch_size : int
    optimizer : {"sgd", "adam"}
    lr, momentum, weight_decay : float
        Momentum is Nesterov's; Adam ignores it.
    cosine : bool
        Let the learning rate fall to 0 along half a cosine, epoch by epoch.
    autocast : bool
        Run the model in bfloat16.
    """

    epochs: int
    batch_size: int
    optimizer: str = "adam"
    lr: float = 1e-3
    momentum: float = 0.0
    weight_decay: float = 0.0
    cosine: bool = False
    autocast: bool = False

    @property
    def precision(self) -> torch.dtype | None:
        """What to run the model in."""
        return torch.bfloat16 if self.autocast else None

    def mixed(self) -> torch.autocast:
        """Return a context for passes in that precision."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.autocast)

    def optimizer_of(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return the optimiser."""
        if self.optimizer == "adam":
            return torch.optim.Adam(model.parameters(), self.lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(
            model.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay, nesterov=self.momentum > 0
        )

    def scheduler_of(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """Return the schedule of its learning rate."""
        if self.cosine:
            return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs)
        return torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)


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
    torch.manual_seed(seed)
    model, order = task.model(), torch.Generator().manual_seed(seed)
    optimizer = recipe.optimizer_of(model)
    scheduler, rrm, history = recipe.scheduler_of(optimizer), rrm_of(settings["rrm"], task.labels), History(task.wrong)
    parts: dict[str, Any] = {} if rrm is None else {"rrm": rrm}
    parts |= {"model": model, "optimizer": optimizer, "scheduler": scheduler, "history": history, "order": order}
    held = Reporting(checkpoint, lambda epoch: on_epoch(epoch, recipe.epochs), **parts)

    def after(epoch: int, loss: float) -> None:
        with recipe.mixed():
            accuracy = evaluate(model, task.testing())
        history.record(epoch, loss, accuracy, rrm)

    try:
        seconds = fit(
            model,
            task.training(recipe.batch_size, order),
            optimizer,
            recipe.epochs,
            rrm=rrm,
            loss=losses.named(settings["loss"]),
            attack=attack_of(settings.get("attack")),
            score_loader=task.in_order() if settings["scoring"] == "pass" else None,
            score_inputs=settings.get("score_inputs", "perturbed"),
            autocast=recipe.precision,
            scheduler=scheduler,
            checkpoint=held,
            on_epoch=after,
        )
    except ValueError:
        if all(bool(parameter.isfinite().all()) for parameter in model.parameters()):
            raise
        # RRM refuses losses that are NaN. That a run diverges is a result, too: the model stays what it has become.
        seconds = Seconds()
        for epoch in range(len(history.epochs) + 1, recipe.epochs + 1):
            after(epoch, math.nan)
            held.save(epoch)
    with recipe.mixed():
        found = outcome(task, model, history, rrm, seconds)
    for given in settings.get("test_attacks", ()):
        attack = attack_of(given)
        assert attack is not None
        by_eps = robustness(model, task.testing(), attack, settings["test_eps"])
        found.setdefault("robust", {})[given["name"]] = {str(eps): share for eps, share in by_eps.items()}
    return found


def outcome(task: Task, model: nn.Module, history: History, rrm: RRM | None, seconds: Seconds) -> dict[str, Any]:
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
    predicted = predict(model, task.in_order()).argmax(1).numpy() == task.labels.numpy()
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
    used = groups[-1 if rrm.scope == "batch" else max(-2, -len(groups))]  # a last reweight comes after the last epoch
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
