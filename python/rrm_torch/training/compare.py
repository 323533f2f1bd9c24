"""Plain training and training with RRM on the same noisy labels: the experiment of the command line."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from ..adversarial import attacks
from ..adversarial.attacks import Attack, robustness
from ..data import noise
from ..data.images import ImageData
from ..losses import per_sample
from ..models import perceptron
from ..weighting.rrm import DEFAULT_WARMUP, RRM
from ..weighting.sample_scores import DEFAULT_CAP
from ..weighting.settings import AUTO, Auto, Settings
from .fit import Seconds
from .history import History
from .pipeline import Recipe, Task, TrainingRun
from .score import predict

RRM_OPTIONS = ("contamination", "gamma", "mu", "warmup", "every", "redistribute", "ties", "cap", "mass")
MANY_SAMPLES = 1_000_000
"""Stands for the number of samples where settings are validated before the data is loaded."""


@dataclass(frozen=True)
class ComparisonSettings:
    """All settings of a comparison except the data and the seed.

    Attributes
    ----------
    noise : float
        Share of training labels to make wrong; 0 leaves the labels as they are.
    noise_kind : str
        A key of `rrm_torch.data.noise.KINDS`.
    contamination, gamma, mu, warmup, every, redistribute, ties, cap, mass
        See `rrm_torch.RRM`. Without contamination and gamma, the contamination is ``"auto"``.
    groups : str or None
        ``"labels"``, the training labels, or a .npy file with the group number of each training sample. With
        ``contamination="auto"`` these are the labels by default, which then have a `cap` of 0.5 by default.
    scoring : {"recorded", "pass"}
        Reweight by the losses recorded during training, or by those of a scoring pass.
    loss : str
        A key of `rrm_torch.losses.BY_NAME`.
    attack : {"none", "fgsm", "pgd"}
        Adversarial training, with and without RRM (A-RRM).
    eps : float, at least 0
        Size of the attack; black is 0 and white is 1.
    epochs, batch_size : int
        Passes over the training set, and samples per step.
    lr : float
        Learning rate of Adam.
    hidden : tuple of int
        Widths of the hidden layers of the multilayer perceptron.

    Raises
    ------
    TypeError, ValueError
        A setting has the wrong type or is outside its range.
    """

    noise: float = 0.0
    noise_kind: str = "symmetric"
    contamination: float | Auto | None = None
    gamma: float | None = None
    mu: float = 1.0
    warmup: int | Auto | None = None
    every: int = 1
    redistribute: Literal["kept", "argmin", "drop"] | float = "kept"
    ties: Literal["keep", "share"] = "keep"
    groups: str | None = None
    cap: float | None = None
    mass: Literal["all", "group"] = "all"
    scoring: Literal["recorded", "pass"] = "recorded"
    loss: str = "cce"
    attack: str = "none"
    eps: float = 0.1
    epochs: int = 60
    batch_size: int = 32
    lr: float = 1e-3
    hidden: tuple[int, ...] = (256, 256)

    def __post_init__(self) -> None:
        if self.contamination is None and self.gamma is None:
            object.__setattr__(self, "contamination", AUTO)
        if self.contamination == AUTO and self.groups is None:
            # Of a class that is not learnt yet, all labels seem wrong.
            object.__setattr__(self, "groups", "labels")
        if self.contamination == AUTO and self.groups == "labels" and self.cap is None:
            object.__setattr__(self, "cap", DEFAULT_CAP)
        if self.warmup is None:
            object.__setattr__(self, "warmup", AUTO if self.contamination == AUTO else DEFAULT_WARMUP)
        if not 0 <= self.noise <= 1:
            raise ValueError(f"noise must lie in [0, 1], got {self.noise}")
        if self.noise_kind not in noise.KINDS:
            raise ValueError(f"noise_kind must be one of {', '.join(noise.KINDS)}, got {self.noise_kind!r}")
        if self.loss not in per_sample.BY_NAME:
            raise ValueError(f"loss must be one of {', '.join(per_sample.BY_NAME)}, got {self.loss!r}")
        if self.attack not in ("none", *attacks.BY_NAME):
            raise ValueError(f"attack must be one of none, {', '.join(attacks.BY_NAME)}, got {self.attack!r}")
        if not 0 <= self.eps < math.inf:
            raise ValueError(f"eps must be finite and at least 0, got {self.eps}")
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {self.epochs}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if any(width < 1 for width in self.hidden):
            raise ValueError(f"hidden must be at least 1, got {self.hidden}")
        if self.scoring not in ("recorded", "pass"):
            raise ValueError(f"scoring must be 'recorded' or 'pass', got {self.scoring!r}")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be finite and above 0, got {self.lr}")
        # One that ends by itself lasts an epoch at least.
        if self.epochs <= (self.warmup if isinstance(self.warmup, int) else 1):
            raise ValueError(
                "epochs must exceed warmup, otherwise no epoch is trained with new weights, got "
                f"epochs={self.epochs} and warmup={self.warmup}"
            )
        self.check_n(MANY_SAMPLES)

    def check_n(self, n: int) -> None:
        """Raise a ValueError if n samples are too few for the contamination to prune one."""
        groups = None if self.groups is None else np.zeros(n, np.int32)
        Settings(n=n, groups=groups, **self.rrm_options())

    def check_groups(self, labels: npt.NDArray[np.int64]) -> None:
        """Raise a TypeError, ValueError or OSError unless each training sample has a group, if there are any."""
        Settings(n=len(labels), groups=self.make_groups(labels), **self.rrm_options())

    def make_groups(self, labels: npt.NDArray[np.int64]) -> npt.NDArray[Any] | None:
        """Return the group of each training sample, from its label or from the file."""
        if self.groups is None or self.groups == "labels":
            return None if self.groups is None else labels
        try:
            groups: npt.NDArray[Any] = np.load(self.groups, allow_pickle=False)
        except (ValueError, EOFError) as error:
            message = f"groups must be 'labels' or a .npy file of integers, as numpy.save writes, got {self.groups!r}"
            raise ValueError(message) from error
        return groups

    def rrm_options(self) -> dict[str, Any]:
        """Return the arguments of `rrm_torch.RRM` except the number of samples and their groups."""
        return {name: getattr(self, name) for name in RRM_OPTIONS}

    def make_attack(self, data: ImageData) -> Attack | None:
        """Return the attack in the pixel range of `data`, or None without an attack."""
        if self.attack == "none":
            return None
        return attacks.BY_NAME[self.attack](self.eps, unit=data.white - data.black, clip=(data.black, data.white))


@dataclass(frozen=True)
class Outcome:
    """Measurements of a trained model.

    Attributes
    ----------
    accuracy : float
        On the test set, in [0, 1].
    robust_accuracy : float or None
        On the test set under the attack of the training; None without an attack.
    memorised : float or None
        Share of the wrong training labels that the model predicts; None if the wrong labels are unknown.
    seconds : Seconds
        Time spent.
    history : History
        One entry per epoch.
    """

    accuracy: float
    robust_accuracy: float | None
    memorised: float | None
    seconds: Seconds
    history: History


@dataclass(frozen=True)
class Trial:
    """One seed: the same labels, initial parameters and batches, with and without RRM.

    Attributes
    ----------
    seed : int
    labels : int64 array of shape (n,)
        The training labels of both runs.
    wrong : bool array of shape (n,) or None
        Which of them are wrong, if known.
    plain, weighted : Outcome
        Without and with RRM.
    rrm : RRM
        Its final state.
    probabilities : float array of shape (n, n_classes)
        Predictions for the training set of the model trained with RRM.
    precision, recall : float or None
        Share of the flagged labels that are wrong, and share of the wrong labels that are flagged.
    """

    seed: int
    labels: npt.NDArray[np.int64]
    wrong: npt.NDArray[np.bool_] | None
    plain: Outcome
    weighted: Outcome
    rrm: RRM
    probabilities: npt.NDArray[np.float32]
    precision: float | None
    recall: float | None


def compare(
    data: ImageData, settings: ComparisonSettings, seed: int, on_epoch: Callable[[str], None] = lambda _: None
) -> Trial:
    """Train with and without RRM.

    Parameters
    ----------
    data : ImageData
        Its training labels are the clean ones if `settings` adds noise.
    settings : ComparisonSettings
    seed : int
        Determines the noise, the initial parameters, the order of the samples, and which of them a warm-up holds out.
    on_epoch : callable, optional
        Called with ``"plain"`` or ``"RRM"`` after each epoch.

    Returns
    -------
    Trial
    """
    labels = data.y_train.numpy()
    wrong = None
    if settings.noise:
        noisy = noise.KINDS[settings.noise_kind](labels, settings.noise, data.n_classes, rng=seed)
        labels = noisy.labels
        wrong = noisy.wrong
    task = Task(
        x_train=data.x_train,
        labels=torch.from_numpy(labels),
        wrong=wrong,
        x_test=data.x_test,
        y_test=data.y_test,
        model=partial(perceptron, data.x_train[0].numel(), settings.hidden, data.n_classes),
        eval_batch_size=1024,
    )
    recipe = Recipe(settings.epochs, settings.batch_size, lr=settings.lr)
    loss = per_sample.by_name(settings.loss)
    attack = settings.make_attack(data)
    rrm = RRM(len(labels), groups=settings.make_groups(labels), seed=seed, **settings.rrm_options())

    plain_run = TrainingRun(task, recipe, seed)
    seconds = plain_run.fit(loss=loss, attack=attack, on_epoch=lambda _: on_epoch("plain"))
    plain, _ = _measure(plain_run, seconds, attack)

    rrm_run = TrainingRun(task, recipe, seed, rrm)
    seconds = rrm_run.fit(loss=loss, attack=attack, scoring=settings.scoring, on_epoch=lambda _: on_epoch("RRM"))
    weighted, probabilities = _measure(rrm_run, seconds, attack)

    precision, recall = _precision_and_recall(rrm, wrong)
    return Trial(seed, labels, wrong, plain, weighted, rrm, probabilities, precision, recall)


def _measure(run: TrainingRun, seconds: Seconds, attack: Attack | None) -> tuple[Outcome, npt.NDArray[np.float32]]:
    """Return the measurements of a trained model, and its predicted probabilities for the training set."""
    task = run.task
    robust_accuracy = None
    if attack is not None:
        robust_accuracy = robustness(run.model, task.test_loader(), attack, [attack.eps])[attack.eps]
    probabilities = predict(run.model, task.score_loader()).cpu().numpy()
    memorised = None
    if task.wrong is not None and task.wrong.any():
        correct = probabilities.argmax(1) == task.labels.numpy()
        memorised = float(correct[task.wrong].mean())
    return Outcome(run.test_accuracy(), robust_accuracy, memorised, seconds, run.history), probabilities


def _precision_and_recall(rrm: RRM, wrong: npt.NDArray[np.bool_] | None) -> tuple[float | None, float | None]:
    """Return precision and recall of the flagged labels; None where undefined or unknown."""
    if wrong is None:
        return None, None
    flagged = rrm.flagged().numpy()
    n_flagged_wrong = int(wrong[flagged].sum())
    precision = n_flagged_wrong / len(flagged) if len(flagged) else None
    recall = n_flagged_wrong / int(wrong.sum()) if wrong.any() else None
    return precision, recall
