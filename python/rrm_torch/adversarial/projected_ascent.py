"""Projected gradient ascent: how `attacks` and `trades` change inputs, whatever it is that they ascend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from .._models import evaluation_mode, to_device

Norm: TypeAlias = Literal["linf", "l2"]
Objective: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Ball:
    """Where an attack may move: within `eps` of x, counted in units of x, and within `clip`.

    The parameters are those of `PGD`; the two methods that move take and return points, in x's own scale.
    """

    eps: float
    norm: Norm
    unit: float | Tensor
    clip: tuple[float, float] | None

    def clipped(self, points: Tensor) -> Tensor:
        """Return the points, clipped."""
        return points if self.clip is None else points.clamp(*self.clip)

    def step(self, points: Tensor, gradient: Tensor, size: float) -> Tensor:
        """Return the points, moved by `size` in the direction of steepest ascent; not where the gradient is 0."""
        if self.norm == "linf":
            return points + size * gradient.sign() * self.unit
        gradient = gradient * self.unit  # that of points / unit
        # By the largest entry first: the squares of a saturated model's gradient, 1e-25 say, would all vanish.
        largest = per_sample(gradient.flatten(1).abs().amax(1), gradient)
        gradient = gradient / torch.where(largest > 0, largest, 1)
        length = lengths(gradient)
        return points + size * (gradient / torch.where(length > 0, length, 1)) * self.unit

    def project(self, points: Tensor, x: Tensor) -> Tensor:
        """Return the points, brought back into the ball around x and clipped."""
        delta = (points - x) / self.unit
        if self.norm == "linf":
            delta = delta.clamp(-self.eps, self.eps)
        else:
            length = lengths(delta)
            delta = delta * torch.where(length > self.eps, self.eps / length, 1)
        return self.clipped(x + delta * self.unit)

    def random(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return random points: uniform in the cube of linf; in l2, uniform in direction and in distance."""
        delta = torch.empty_like(x)
        if self.norm == "linf":
            delta.uniform_(-self.eps, self.eps, generator=generator)
        else:
            delta.normal_(generator=generator)
            length = lengths(delta)
            delta *= torch.empty_like(length).uniform_(0, 1, generator=generator) / length * self.eps
        return self.clipped(x + delta * self.unit)


def ascend(objective: Objective, x: Tensor, start: Tensor, ball: Ball, *, steps: int, size: float) -> Tensor:
    """Return points of the ball around x where an objective is high, by projected gradient ascent.

    Parameters
    ----------
    objective : callable
        Maps points, of x's shape, to one value per sample, shape (batch,).
    x : Tensor, shape (batch, ...)
        Centre of the ball.
    start : Tensor, shape of x
        Where to begin.
    ball : Ball
        The limits.
    steps : int
        Number of steps; each costs a forward and a backward pass.
    size : float
        Length of a step, in units of x.

    Returns
    -------
    Tensor, shape and type of x
        Detached from any graph.

    Raises
    ------
    ValueError
        The objective isn't one value per sample.
    """
    points = start
    for _ in range(steps):
        points = ball.project(ball.step(points, slope(objective, points), size), x)
    return points


def slope(objective: Objective, points: Tensor) -> Tensor:
    """Return the gradient of the sum of an objective of each sample; touches the gradient of no parameter."""
    points = points.detach().requires_grad_()
    values = objective(points)
    if values.shape != points.shape[:1]:
        raise ValueError(
            f"loss must return one value per sample, of shape {tuple(points.shape[:1])}, got {tuple(values.shape)}; "
            "use reduction='none'"
        )
    (gradient,) = torch.autograd.grad(values.sum(), points)
    return gradient


@contextmanager
def differentiating(model: nn.Module, mode: Literal["eval", "train"] = "eval") -> Iterator[None]:
    """Allow gradients, even under ``torch.no_grad()`` or ``torch.inference_mode()``, with the model in eval mode."""
    with torch.inference_mode(False), torch.enable_grad(), evaluation_mode(model) if mode == "eval" else nullcontext():
        yield


def normal(values: Tensor) -> Tensor:
    """Return a tensor that autograd may save: a copy of one that was made in inference mode."""
    return values.clone() if values.is_inference() else values


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Return (batch,) values in a shape that broadcasts over (batch, ...)."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def lengths(values: Tensor) -> Tensor:
    """Return the Euclidean length of each sample, in a shape that broadcasts over them."""
    return per_sample(torch.linalg.vector_norm(values.flatten(1), dim=1), values)


def unit_of(unit: float | tuple[float, ...], x: Tensor) -> float | Tensor:
    """Return a unit in a form that broadcasts over x, one per channel being along its second dimension."""
    if not isinstance(unit, tuple):
        return unit
    if x.ndim < 2 or x.shape[1] != len(unit):
        raise ValueError(
            f"unit has {len(unit)} entries, one per channel, so x must have shape (batch, {len(unit)}, ...), "
            f"got {tuple(x.shape)}"
        )
    return to_device(torch.tensor(unit, dtype=x.dtype), x.device).reshape(-1, *[1] * (x.ndim - 2))
