"""Projected gradient ascent on an objective within a ball, shared by `attacks` and `trades`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar, cast

import torch
from torch import Tensor, nn

from .._models import evaluation_mode, to_device
from ..losses.regularized import check_losses

T = TypeVar("T")
Norm: TypeAlias = Literal["linf", "l2"]
Objective: TypeAlias = Callable[[Tensor], Tensor]
"""Maps points of shape (batch, ...) to one value per sample, shape (batch,)."""


@dataclass(frozen=True)
class Ball:
    """A ball of radius `eps` around x, intersected with the valid range `clip`.

    Parameters
    ----------
    eps, norm, clip
        See `PGD`.
    scale : float or Tensor that broadcasts over x
        Size of one unit of `eps` in x's scale, see `scale_of`.
    """

    eps: float
    norm: Norm
    scale: float | Tensor
    clip: tuple[float, float] | None

    def clamp(self, points: Tensor) -> Tensor:
        """Clamp points to the valid range."""
        if self.clip is None:
            return points
        return points.clamp(*self.clip)

    def step(self, points: Tensor, gradient: Tensor, size: float) -> Tensor:
        """Move points by `size` in the direction of steepest ascent; samples with zero gradient stay."""
        if self.norm == "linf":
            return points + size * gradient.sign() * self.scale
        # The gradient with respect to points / scale.
        gradient = gradient * self.scale
        # Divided by the largest entry first: the squares of a saturated model's gradient, say 1e-25, would underflow.
        largest = expand_per_sample(gradient.flatten(1).abs().amax(1), gradient)
        gradient = gradient / torch.where(largest > 0, largest, 1)
        norms = l2_norms(gradient)
        return points + size * (gradient / torch.where(norms > 0, norms, 1)) * self.scale

    def project(self, points: Tensor, x: Tensor) -> Tensor:
        """Project points onto the ball around x, and clamp them to the valid range."""
        delta = (points - x) / self.scale
        if self.norm == "linf":
            delta = delta.clamp(-self.eps, self.eps)
        else:
            norms = l2_norms(delta)
            delta = delta * torch.where(norms > self.eps, self.eps / norms, 1)
        return self.clamp(x + delta * self.scale)

    def sample(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw random points of the ball around x: uniform for linf; for l2, uniform in direction and in distance."""
        delta = torch.empty_like(x)
        if self.norm == "linf":
            delta.uniform_(-self.eps, self.eps, generator=generator)
        else:
            delta.normal_(generator=generator)
            norms = l2_norms(delta)
            delta *= torch.empty_like(norms).uniform_(0, 1, generator=generator) / norms * self.eps
        return self.clamp(x + delta * self.scale)


def ascend(objective: Objective, x: Tensor, start: Tensor, ball: Ball, *, steps: int, size: float) -> Tensor:
    """Maximise an objective over a ball around x, by projected gradient ascent.

    Parameters
    ----------
    objective : callable
        Maps points, of x's shape, to one value per sample, shape (batch,).
    x : Tensor, shape (batch, ...)
        Centre of the ball.
    start : Tensor, shape of x
        Starting point.
    ball : Ball
    steps : int
        Number of steps; each costs a forward and a backward pass.
    size : float
        Length of a step, in units of eps.

    Returns
    -------
    Tensor, shape and type of x
        Detached from any graph.

    Raises
    ------
    TypeError, ValueError
        The objective doesn't return one real number per sample.
    """
    points = start
    for _ in range(steps):
        points = ball.project(ball.step(points, input_gradient(objective, points), size), x)
    return points


def input_gradient(objective: Objective, points: Tensor) -> Tensor:
    """Return the gradient of the summed objective with respect to its input; parameters get no gradient.

    Raises
    ------
    TypeError, ValueError
        The objective doesn't return one real number per sample.
    """
    points = points.detach().requires_grad_()
    values = objective(points)
    check_losses(values, points.shape[:1])
    (gradient,) = torch.autograd.grad(values.sum(), points)
    return gradient


@contextmanager
def enable_gradients(model: nn.Module, mode: Literal["eval", "train"] = "eval") -> Iterator[None]:
    """Enable gradients, even inside ``torch.no_grad()`` or ``torch.inference_mode()``.

    With mode "eval" the model is in evaluation mode, with "train" in its current mode.
    """
    mode_context = evaluation_mode(model) if mode == "eval" else nullcontext()
    with torch.inference_mode(False), torch.enable_grad(), mode_context:
        yield


def leave_inference_mode(values: T) -> T:
    """Return a copy of an inference tensor that autograd can save; any other value unchanged."""
    if isinstance(values, Tensor) and values.is_inference():
        return cast("T", values.clone())
    return values


def expand_per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Reshape values of shape (batch,) so that they broadcast over `like`, of shape (batch, ...)."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def l2_norms(values: Tensor) -> Tensor:
    """Return the Euclidean norm of each sample, in a shape that broadcasts over `values`."""
    return expand_per_sample(torch.linalg.vector_norm(values.flatten(1), dim=1), values)


def scale_of(unit: float | tuple[float, ...], x: Tensor) -> float | Tensor:
    """Return an attack's `unit` in a form that broadcasts over x, whose second dimension is the channels."""
    if not isinstance(unit, tuple):
        return unit
    if x.ndim < 2 or x.shape[1] != len(unit):
        raise ValueError(
            f"unit has {len(unit)} entries, one per channel, so x must have shape (batch, {len(unit)}, ...), "
            f"got {tuple(x.shape)}"
        )
    return to_device(torch.tensor(unit, dtype=x.dtype, device="cpu"), x.device).reshape(-1, *[1] * (x.ndim - 2))
