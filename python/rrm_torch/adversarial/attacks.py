"""Adversarial examples: inputs changed, within a ball, to what a model finds hardest.

An attack is a frozen dataclass, called as ``attack(model, x, y)``. It ascends the loss of the given label, which is how
adversarial training (AT) and A-RRM make each batch, and how `robustness` measures a model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from numbers import Integral, Real
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .._models import device_of, evaluation_mode
from ..losses.per_sample import Loss, Regularised, cross_entropy, full_precision, label_loss
from .projected_ascent import Ball, Norm, Objective, ascend, differentiating, normal, slope, unit_of


@dataclass(frozen=True)
class Attack:
    """What all attacks share; `FGSM` and `PGD` tell what the parameters are."""

    eps: float
    _: KW_ONLY
    clip: tuple[float, float] | None = None
    unit: float | tuple[float, ...] = 1.0
    model_mode: Literal["eval", "train"] = "eval"
    weighted: bool = False

    def __post_init__(self) -> None:
        _require("eps", self.eps, Real, "a number")
        if not 0 <= self.eps < math.inf:
            raise ValueError(f"eps must be finite and at least 0, got {self.eps}")
        limits: object = self.clip
        if limits is not None and not (
            isinstance(limits, (tuple, list)) and len(limits) == 2 and limits[0] < limits[1]
        ):
            raise ValueError(f"clip must be (low, high) with low < high, got {limits!r}; None is no clipping")
        try:  # a list, array or tensor of the standard deviations, perhaps
            unit: Any = torch.as_tensor(self.unit, dtype=torch.float64).tolist()
            object.__setattr__(self, "unit", unit if isinstance(unit, float) else tuple(map(float, unit)))
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(f"unit must be a number, or one per channel, got {self.unit!r}") from None
        units = self.unit if isinstance(self.unit, tuple) else (self.unit,)
        if not units or not all(0 < value < math.inf for value in units):
            raise ValueError(f"unit must be positive and finite, or one such number per channel, got {self.unit}")
        if self.model_mode not in ("eval", "train"):
            raise ValueError(f"model_mode must be one of eval, train, got {self.model_mode!r}")

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        loss: Loss | Regularised = cross_entropy,
        weights: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the adversarial examples of a batch.

        Parameters
        ----------
        model : nn.Module
            Its parameters, their gradients and its mode are as before the call.
        x : Tensor, shape (batch, ...)
            Inputs, floating.
        y : Tensor, shape (batch, ...)
            Labels.
        loss : callable or Regularised, default cross-entropy
            ``loss(model(x), y)``, one loss per sample, whose gradient to follow; of a loss with parts, the label's.
        weights : Tensor, shape (batch,), optional
            Follow the gradient of ``weights * loss`` instead. What has weight 0 isn't perturbed, but for a random
            start; any other weight matters only where the samples of a batch do to each other.
        generator : torch.Generator, optional
            Source of randomness, on the device of x. By default, torch's global one.

        Returns
        -------
        Tensor, shape and type of x
            Detached from any graph; x itself, in a copy, if `eps` is 0.

        Raises
        ------
        TypeError
            `x` isn't floating.
        ValueError
            A shape doesn't fit.
        """
        if not x.is_floating_point():
            raise TypeError(f"x must be floating, got {x.dtype}; convert with x.float()")
        if weights is not None and weights.shape != x.shape[:1]:
            raise ValueError(f"weights must have shape {tuple(x.shape[:1])}, got {tuple(weights.shape)}")
        if self.eps == 0:
            return x.detach().clone()
        score = label_loss(loss)
        with differentiating(model, self.model_mode):
            centre, label = normal(x.detach()), normal(y)
            weight = None if weights is None else normal(weights.detach())

            def objective(points: Tensor) -> Tensor:
                losses = score(full_precision(model(points)), label)
                return losses if weight is None or losses.ndim != 1 else losses * weight  # slope refuses others

            return self._perturbed(objective, centre, generator)

    def _perturbed(self, objective: Objective, x: Tensor, generator: torch.Generator | None) -> Tensor:
        raise NotImplementedError

    def _ball(self, x: Tensor, norm: Norm) -> Ball:
        return Ball(self.eps, norm, unit_of(self.unit, x), self.clip)


@dataclass(frozen=True)
class FGSM(Attack):
    """Fast gradient sign method [1]_: ``x + eps * unit * sign(gradient)``, one forward and one backward pass.

    Parameters
    ----------
    eps : float, at least 0
        How far an entry of x may move, in units of x.
    clip : (low, high), optional
        Limits of valid inputs, in x's own scale, to which the result is clipped. By default there are none.
    unit : float or one float per channel, default 1
        What one unit of `eps` is in x's scale: 1 / std for inputs standardised with std, if `eps` is meant for those
        before. Channels are x's second dimension.
    model_mode : {"eval", "train"}, default "eval"
        ``"eval"`` attacks the model in evaluation mode, so that batch-norm statistics are used and stay as they are;
        ``"train"`` takes it in the mode it is in, and lets it update them.
    weighted : bool, default False
        Whether a training loop shall pass its sample weights. Read by `rrm_torch.fit`, not here.

    Raises
    ------
    ValueError
        A parameter lies outside its range.

    References
    ----------
    .. [1] Goodfellow, Shlens, Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015.
    """

    def _perturbed(self, objective: Objective, x: Tensor, generator: torch.Generator | None) -> Tensor:  # noqa: ARG002
        ball = self._ball(x, "linf")
        return ball.clipped(ball.step(x, slope(objective, x), self.eps))


@dataclass(frozen=True, kw_only=True)
class PGD(Attack):
    """Projected gradient descent [1]_: steps of steepest ascent, each brought back into the ball.

    Parameters
    ----------
    eps : float, at least 0
        Radius of the ball around x, in units of x.
    steps : int, default 10
        Number of steps, each a forward and a backward pass.
    step_size : float, optional
        Length of a step, in units of x. By default ``2.5 * eps / steps``.
    norm : {"linf", "l2"}, default "linf"
        The ball: no entry moves by more than `eps`, or each sample's entries together, by Euclidean length.
    random_start : bool, default True
        Begin at a random point of the ball: uniform for linf; for l2, uniform in direction and in distance.
    clip, unit, model_mode, weighted
        As for `FGSM`. With a unit per channel, the l2 ball is one in x / unit.

    Raises
    ------
    ValueError
        A parameter lies outside its range.

    References
    ----------
    .. [1] Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards Deep Learning Models Resistant to Adversarial Attacks",
       ICLR 2018.
    """

    steps: int = 10
    step_size: float | None = None
    norm: Norm = "linf"
    random_start: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _require("steps", self.steps, Integral, "an integer")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.step_size is not None and not 0 < self.step_size < math.inf:
            raise ValueError(f"step_size must be positive and finite, got {self.step_size}; None is 2.5 * eps / steps")
        if self.norm not in ("linf", "l2"):
            raise ValueError(f"norm must be one of linf, l2, got {self.norm!r}")

    @property
    def size(self) -> float:
        """Length of a step, in units of x."""
        return 2.5 * self.eps / self.steps if self.step_size is None else self.step_size

    def _perturbed(self, objective: Objective, x: Tensor, generator: torch.Generator | None) -> Tensor:
        ball = self._ball(x, self.norm)
        start = ball.random(x, generator) if self.random_start else x
        return ascend(objective, x, start, ball, steps=self.steps, size=self.size)


def _require(name: str, given: object, kind: type, what: str) -> None:
    if not isinstance(given, kind):
        raise TypeError(f"{name} must be {what}, got {given!r}")


BY_NAME: dict[str, type[FGSM] | type[PGD]] = {"fgsm": FGSM, "pgd": PGD}


def robustness(
    model: nn.Module,
    loader: Iterable[Sequence[Tensor]],
    attack: Attack,
    eps: Sequence[float],
    *,
    loss: Loss | Regularised = cross_entropy,
    seed: int = 0,
) -> dict[float, float]:
    """Return the share of samples that the model still classifies as their label says, under attacks of several sizes.

    Parameters
    ----------
    model : nn.Module
        A classifier that returns logits; put in evaluation mode for the pass.
    loader : iterable of (index, x, y) or of (x, y)
        Usually the test set; passed over once.
    attack : Attack
        Its `eps` is replaced by each of those asked for. A `step_size` that was given stays.
    eps : sequence of float
        Sizes, in units of x; 0 is clean accuracy. Each is applied to the clean inputs.
    loss : callable or Regularised, default cross-entropy
        What the attack ascends.
    seed : int, default 0
        Of the random starts, which each size draws for itself: its accuracy doesn't depend on what else is asked for.

    Returns
    -------
    dict of float to float
        Accuracy in [0, 1] by eps, in the order given.

    Raises
    ------
    ValueError
        The loader yields no batch, or an eps is negative or not finite.
    """
    device = device_of(model)
    sized = {float(size): replace(attack, eps=float(size)) for size in eps}
    generators = {size: torch.Generator(device).manual_seed(seed) for size in sized}
    right = {size: torch.zeros((), dtype=torch.int64, device=device) for size in sized}
    n = 0
    with evaluation_mode(model), torch.no_grad():
        for *_, x, y in loader:
            x, y = x.to(device), y.to(device)
            for size, attack_of_size in sized.items():
                points = attack_of_size(model, x, y, loss, generator=generators[size])
                right[size] += (model(points).argmax(1) == y).sum()
            n += len(y)
    if not n:
        raise ValueError("loader yields no batch")
    return {size: int(count) / n for size, count in right.items()}
