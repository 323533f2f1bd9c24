"""Adversarial attacks: perturbations of the inputs, within a ball, that increase the loss.

An attack is a frozen dataclass, called as ``attack(model, x, y)``. Adversarial training (AT) and A-RRM use attacks to
perturb each batch, and `robustness` to evaluate a model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from numbers import Integral, Real
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from .._models import device_of, evaluation_mode, map_leaves, to_device
from ..data.batch import split_batch
from ..losses.accuracy import Accuracy
from ..losses.per_sample import Loss, cross_entropy
from ..losses.regularized import Regularized, check_losses, label_loss
from ..losses.targets import full_precision
from .inputs import AttackedInputs
from .projected_ascent import (
    Ball,
    Norm,
    Objective,
    ascend,
    enable_gradients,
    input_gradient,
    leave_inference_mode,
    scale_of,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Attack:
    """Base class of attacks; `FGSM` and `PGD` document the parameters."""

    eps: float
    _: KW_ONLY
    clip: tuple[float, float] | None = None
    unit: float | tuple[float, ...] = 1.0
    model_mode: Literal["eval", "train"] = "eval"
    weighted: bool = False

    def __post_init__(self) -> None:
        eps: object = self.eps
        if not isinstance(eps, Real):
            raise TypeError(f"eps must be a number, got {eps!r}")
        if not 0 <= self.eps < math.inf:
            raise ValueError(f"eps must be finite and at least 0, got {self.eps}")
        clip: object = self.clip
        if clip is not None and not (isinstance(clip, (tuple, list)) and len(clip) == 2 and clip[0] < clip[1]):
            raise ValueError(f"clip must be (low, high) with low < high, got {clip!r}; None doesn't clip")
        self._normalise_unit()
        if self.model_mode not in ("eval", "train"):
            raise ValueError(f"model_mode must be one of eval, train, got {self.model_mode!r}")

    def _normalise_unit(self) -> None:
        """Convert `unit` to a float or a tuple of floats; it may be a list, array or tensor of standard deviations."""
        try:
            unit: Any = torch.as_tensor(self.unit, dtype=torch.float64).tolist()
            object.__setattr__(self, "unit", unit if isinstance(unit, float) else tuple(map(float, unit)))
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(f"unit must be a number, or one per channel, got {self.unit!r}") from None
        units = self.unit if isinstance(self.unit, tuple) else (self.unit,)
        if not units or not all(0 < value < math.inf for value in units):
            raise ValueError(f"unit must be positive and finite, or one such number per channel, got {self.unit}")

    def __call__(
        self,
        model: nn.Module,
        x: T,
        y: Any,
        loss: Loss | Regularized = cross_entropy,
        weights: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> T:
        """Return adversarial examples for a batch.

        Parameters
        ----------
        model : nn.Module
            Its parameters, their gradients and its mode are left unchanged.
        x : Tensor, shape (batch, ...)
            Floating-point inputs; or a nesting of dicts, lists and tuples with a single floating-point tensor, which is
            attacked.
        y : Tensor, shape (batch, ...)
            Labels.
        loss : callable or Regularized, default cross-entropy
            ``loss(model(x), y)``, one loss per sample, to ascend; of a loss with a regularizer, the label loss.
        weights : Tensor, shape (batch,), optional
            Ascend ``weights * loss`` instead. Samples of weight 0 aren't perturbed except by a random start; other
            weights matter only if the model couples the samples of a batch, as batch norm in training mode does.
        generator : torch.Generator, optional
            Generator on the device of x. By default torch's global generator.

        Returns
        -------
        Tensor, shape and type of x
            Detached from any graph; a copy of x if `eps` is 0.

        Raises
        ------
        TypeError
            `x` isn't floating-point, or doesn't hold exactly one floating-point tensor; or `loss` doesn't return a
            tensor of real numbers.
        ValueError
            A shape is wrong.
        """
        inputs = AttackedInputs(x)
        if weights is not None and weights.shape != inputs.tensor.shape[:1]:
            raise ValueError(f"weights must have shape {tuple(inputs.tensor.shape[:1])}, got {tuple(weights.shape)}")
        if self.eps == 0:
            return inputs.replaced_by(inputs.tensor.detach().clone())
        loss_function = label_loss(loss)
        with enable_gradients(model, self.model_mode):
            inputs = AttackedInputs(map_leaves(leave_inference_mode, x))
            labels = map_leaves(leave_inference_mode, y)
            if weights is not None:
                weights = leave_inference_mode(weights.detach())

            def objective(points: Tensor) -> Tensor:
                losses = loss_function(full_precision(model(inputs.replaced_by(points))), labels)
                check_losses(losses, points.shape[:1])
                return losses if weights is None else losses * weights

            return inputs.replaced_by(self._perturb(objective, inputs.tensor.detach(), generator))

    def _perturb(self, objective: Objective, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Maximise the objective within the ball around x."""
        raise NotImplementedError

    def _ball(self, x: Tensor, norm: Norm) -> Ball:
        return Ball(self.eps, norm, scale_of(self.unit, x), self.clip)


@dataclass(frozen=True)
class FGSM(Attack):
    """Fast gradient sign method [1]_: ``x + eps * unit * sign(gradient)``, one forward and one backward pass.

    Parameters
    ----------
    eps : float, at least 0
        Largest change of an entry of x, in units of `unit`.
    clip : (low, high), optional
        Range of valid inputs, in x's scale, to which the result is clamped. By default there is none.
    unit : float or one float per channel, default 1
        Size of one unit of `eps` in x's scale: 1 / std if x is standardised and `eps` refers to the inputs before that.
        Channels are x's second dimension.
    model_mode : {"eval", "train"}, default "eval"
        ``"eval"`` attacks the model in evaluation mode, which uses the running statistics of batch norm and leaves them
        unchanged; ``"train"`` in its current mode, which may update them.
    weighted : bool, default False
        Whether the training loop passes its sample weights as `weights`. Only `rrm_torch.fit` reads this.

    Raises
    ------
    TypeError, ValueError
        A parameter has the wrong type or is outside its range.

    References
    ----------
    .. [1] Goodfellow, Shlens, Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015.
    """

    def _perturb(self, objective: Objective, x: Tensor, generator: torch.Generator | None) -> Tensor:  # noqa: ARG002
        ball = self._ball(x, "linf")
        return ball.clamp(ball.step(x, input_gradient(objective, x), self.eps))


@dataclass(frozen=True, kw_only=True)
class PGD(Attack):
    """Projected gradient descent [1]_: steps of steepest ascent, each followed by a projection onto the ball.

    Parameters
    ----------
    eps : float, at least 0
        Radius of the ball around x, in units of `unit`.
    steps : int, default 10
        Number of steps, each a forward and a backward pass.
    step_size : float, optional
        Length of a step, in units of `unit`. By default ``2.5 * eps / steps``.
    norm : {"linf", "l2"}, default "linf"
        Norm of the perturbation of a sample: largest absolute entry, or Euclidean norm.
    random_start : bool, default True
        Start from a random point of the ball: uniform for linf; for l2, uniform in direction and in distance.
    clip, unit, model_mode, weighted
        See `FGSM`. With one unit per channel, the l2 ball is a ball of x / unit.

    Raises
    ------
    TypeError, ValueError
        A parameter has the wrong type or is outside its range.

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
        steps: object = self.steps
        if not isinstance(steps, Integral):
            raise TypeError(f"steps must be an integer, got {steps!r}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.step_size is not None and not 0 < self.step_size < math.inf:
            raise ValueError(f"step_size must be positive and finite, got {self.step_size}; None is 2.5 * eps / steps")
        if self.norm not in ("linf", "l2"):
            raise ValueError(f"norm must be one of linf, l2, got {self.norm!r}")

    @property
    def effective_step_size(self) -> float:
        """`step_size`, or its default."""
        if self.step_size is None:
            return 2.5 * self.eps / self.steps
        return self.step_size

    def _perturb(self, objective: Objective, x: Tensor, generator: torch.Generator | None) -> Tensor:
        ball = self._ball(x, self.norm)
        start = ball.sample(x, generator) if self.random_start else x
        return ascend(objective, x, start, ball, steps=self.steps, size=self.effective_step_size)


BY_NAME: dict[str, type[FGSM] | type[PGD]] = {"fgsm": FGSM, "pgd": PGD}
"""Attacks by their names on the command line."""


def robustness(
    model: nn.Module,
    loader: Iterable[Any],
    attack: Attack,
    eps: Sequence[float],
    *,
    loss: Loss | Regularized = cross_entropy,
    seed: int = 0,
) -> dict[float, float]:
    """Return the accuracy of a classifier under attacks of several sizes.

    Parameters
    ----------
    model : nn.Module
        A classifier that returns logits, shape (batch, n_classes), of at least two classes; put in evaluation mode for
        the pass.
    loader : iterable of (index, x, y), of (x, y) or of dict
        Usually the test set; iterated once. See `rrm_torch.fit` for dicts. Labels are integers, shape (batch,).
    attack : Attack
        Its `eps` is replaced by each of the sizes; a `step_size` other than None is kept.
    eps : sequence of float
        Sizes, each applied to the clean inputs; 0 gives the clean accuracy.
    loss : callable or Regularized, default cross-entropy
        The loss that the attack ascends.
    seed : int, default 0
        Seeds the random starts of each size separately, so that its accuracy doesn't depend on the other sizes.

    Returns
    -------
    dict of float to float
        Accuracy in [0, 1] by eps, in the order of `eps`. Samples of class -100 have no label, and aren't counted.

    Raises
    ------
    TypeError
        Inputs can't be attacked, outputs aren't real floating-point numbers, or labels aren't integers.
    ValueError
        A shape is wrong, the loader yields no sample with a label, or an eps is negative or not finite.
    IndexError
        A class on the host is out of range.
    """
    device = device_of(model)
    attacks = {float(size): replace(attack, eps=float(size)) for size in eps}
    generators = {size: torch.Generator(device).manual_seed(seed) for size in attacks}
    accuracies = {size: Accuracy(device) for size in attacks}
    with evaluation_mode(model), torch.no_grad():
        for batch in loader:
            _, x, y = split_batch(batch)
            x = to_device(x, device)
            labels = to_device(y, device)
            for size, sized_attack in attacks.items():
                x_adversarial = sized_attack(model, x, labels, loss, generator=generators[size])
                accuracies[size].add(model(x_adversarial), y)
    return {size: accuracy.share() for size, accuracy in accuracies.items()}
