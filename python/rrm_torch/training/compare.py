"""Plain training and RRM on the same wrong labels: the experiment behind the command line."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..adversarial.attacks import BY_NAME as ATTACKS
from ..adversarial.attacks import Attack, robustness
from ..data import noise
from ..data.images import ImageData
from ..data.loaders import batches
from ..losses import per_sample as losses
from ..weighting.rrm import RRM
from .fit import Seconds, evaluate, fit, predict
from .history import History


@dataclass(frozen=True)
class Settings:
    """Everything but the data and the seed.

    Attributes
    ----------
    noise : float
        Share of training labels to make wrong; 0 leaves them as they are.
    noise_kind : str
        A key of `rrm_torch.noise.KINDS`.
    contamination, gamma, mu, warmup, every, redistribute, ties
        See `rrm_torch.RRM`.
    scoring : {"recorded", "pass"}
        Reweight by the losses recorded while training, or by those of a pass of its own.
    loss : str
        A name of `rrm_torch.losses.BY_NAME`.
    attack : {"none", "fgsm", "pgd"}
        Adversarial training, of plain training and of RRM, which then is A-RRM.
    eps : float, at least 0
        Size of the attack, in units in which the brightest pixel is 1.
    epochs, batch_size : int
        Passes over the training set, and samples per step.
    lr : float
        Adam's learning rate.
    hidden : tuple of int
        Widths of the hidden layers of the multilayer perceptron.
    """

    noise: float = 0.0
    noise_kind: str = "symmetric"
    contamination: float | None = None
    gamma: float | None = None
    mu: float = 1.0
    warmup: int = 10
    every: int = 1
    redistribute: Literal["kept", "argmin", "drop"] | float = "kept"
    ties: Literal["keep", "share"] = "keep"
    scoring: Literal["recorded", "pass"] = "recorded"
    loss: str = "cce"
    attack: str = "none"
    eps: float = 0.1
    epochs: int = 60
    batch_size: int = 32
    lr: float = 1e-3
    hidden: tuple[int, ...] = (256, 256)

    def __post_init__(self) -> None:
        if not 0 <= self.noise <= 1:
            raise ValueError(f"noise must lie in [0, 1], got {self.noise}")
        if self.noise_kind not in noise.KINDS:
            raise ValueError(f"noise_kind must be one of {', '.join(noise.KINDS)}, got {self.noise_kind!r}")
        losses.named(self.loss)
        if self.attack not in ("none", *ATTACKS):
            raise ValueError(f"attack must be one of none, {', '.join(ATTACKS)}, got {self.attack!r}")
        ATTACKS["fgsm"](self.eps)
        for name in ("epochs", "batch_size", *(["hidden"] if self.hidden else [])):
            value = getattr(self, name)
            if (min(value) if isinstance(value, tuple) else value) < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.scoring not in ("recorded", "pass"):
            raise ValueError(f"scoring must be 'recorded' or 'pass', got {self.scoring!r}")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be finite and above 0, got {self.lr}")
        if self.epochs <= self.warmup:
            raise ValueError(
                f"epochs must exceed warmup, or no epoch is trained on new weights, got epochs={self.epochs} and "
                f"warmup={self.warmup}"
            )
        self.rrm(1_000_000)  # whether there are samples enough, `compare` sees

    def rrm(self, n: int) -> RRM:
        """Return the RRM of these settings for n samples."""
        names = ("contamination", "gamma", "mu", "warmup", "every", "redistribute", "ties")
        return RRM(n, **{name: getattr(self, name) for name in names})

    def adversary(self, data: ImageData) -> Attack | None:
        """Return the attack of these settings on images like those of `data`; None for none."""
        if self.attack == "none":
            return None
        return ATTACKS[self.attack](self.eps, unit=data.white - data.black, clip=(data.black, data.white))


@dataclass(frozen=True)
class Outcome:
    """How a trained model does.

    Attributes
    ----------
    accuracy : float
        On the test set, in [0, 1].
    robust_accuracy : float or None
        On the test set under the attack trained with; None without one.
    memorised : float or None
        Share of the wrong training labels that the model predicts; None where the truth isn't known.
    seconds : Seconds
        Time spent.
    history : History
        Epoch by epoch.
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
        The training labels, as given to both.
    wrong : bool array of shape (n,) or None
        Which of them are wrong, where the truth is known.
    plain, weighted : Outcome
        Without and with RRM.
    rrm : RRM
        Its final state.
    probabilities : float array of shape (n, n_classes)
        What the model trained with RRM predicts for the training set.
    precision, recall : float or None
        Share of the flagged labels that are wrong, and of the wrong labels that are flagged.
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


def perceptron(n_inputs: int, hidden: tuple[int, ...], n_classes: int) -> nn.Sequential:
    """Return a multilayer perceptron with ReLU: (batch, ...) with `n_inputs` numbers each -> (batch, n_classes)."""
    layers: list[nn.Module] = [nn.Flatten()]
    for width in hidden:
        layers += [nn.Linear(n_inputs, width), nn.ReLU()]
        n_inputs = width
    return nn.Sequential(*layers, nn.Linear(n_inputs, n_classes))


def compare(data: ImageData, settings: Settings, seed: int, on_epoch: Callable[[str], None] = lambda _: None) -> Trial:
    """Train with and without RRM.

    Parameters
    ----------
    data : ImageData
        Its training labels are the clean ones if `settings` asks for noise.
    settings : Settings
    seed : int
        Decides the noise, the initial parameters and the order of the samples.
    on_epoch : callable, optional
        Called with ``"plain"`` or ``"RRM"`` after each epoch.

    Returns
    -------
    Trial
    """
    labels, wrong = data.y_train.numpy(), None
    if settings.noise:
        noisy = noise.KINDS[settings.noise_kind](labels, settings.noise, data.n_classes, rng=seed)
        labels, wrong = noisy.labels, noisy.wrong
    y = torch.from_numpy(labels)
    rrm = settings.rrm(len(y))
    plain, _ = _train(data, settings, seed, y, wrong, None, lambda: on_epoch("plain"))
    weighted, probabilities = _train(data, settings, seed, y, wrong, rrm, lambda: on_epoch("RRM"))
    precision = recall = None
    if wrong is not None:
        found = int(wrong[rrm.flagged().numpy()].sum())
        precision = found / len(rrm.flagged()) if len(rrm.flagged()) else None
        recall = found / int(wrong.sum()) if wrong.any() else None
    return Trial(seed, labels, wrong, plain, weighted, rrm, probabilities, precision, recall)


def _train(
    data: ImageData,
    settings: Settings,
    seed: int,
    y: Tensor,
    wrong: npt.NDArray[np.bool_] | None,
    rrm: RRM | None,
    on_epoch: Callable[[], None],
) -> tuple[Outcome, npt.NDArray[np.float32]]:
    torch.manual_seed(seed)
    model = perceptron(data.x_train[0].numel(), settings.hidden, data.n_classes)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.lr)
    order = torch.Generator().manual_seed(seed)
    training = batches(data.x_train, y, settings.batch_size, shuffle=True, generator=order)
    testing = batches(data.x_test, data.y_test, 1024, shuffle=False)
    history = History(wrong)

    def after(epoch: int, loss: float) -> None:
        history.record(epoch, loss, evaluate(model, testing), rrm)
        on_epoch()

    in_order = batches(data.x_train, y, 1024, shuffle=False)
    score_loader = in_order if settings.scoring == "pass" else None
    attack = settings.adversary(data)
    seconds = fit(
        model,
        training,
        optimizer,
        settings.epochs,
        rrm=rrm,
        loss=losses.named(settings.loss),
        attack=attack,
        score_loader=score_loader,
        on_epoch=after,
    )
    robust = None if attack is None else robustness(model, testing, attack, [attack.eps])[attack.eps]
    probabilities = predict(model, in_order).cpu().numpy()
    memorised = None
    if wrong is not None and wrong.any():
        memorised = float((probabilities.argmax(1) == y.numpy())[wrong].mean())
    return Outcome(evaluate(model, testing), robust, memorised, seconds, history), probabilities
