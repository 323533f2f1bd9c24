"""Sharpness-aware minimization (SAM): steps along the gradient at a nearby point of higher loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .method import update

SMALLEST_NORM = 1e-12


def sharpness_aware_update(optimizer: torch.optim.Optimizer, loss: Callable[[bool], Tensor], rho: float) -> Tensor:
    """Take one step of an optimizer along the gradient at the weights plus ``rho * g / |g|`` [1]_.

    Here g is the gradient at the weights, of all parameters together.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
    loss : callable
        Computes the loss of a batch. Called as ``loss(True)`` at the weights, then as ``loss(False)`` at the perturbed
        ones; the argument says whether losses should be recorded.
    rho : float, at least 0
        With 0 this is a plain step, and `loss` is called once.

    Returns
    -------
    Tensor, shape ()
        The loss at the weights, detached.

    References
    ----------
    .. [1] Foret, Kleiner, Mobahi, Neyshabur, "Sharpness-Aware Minimization for Efficiently Improving Generalization",
       ICLR 2021.
    """
    first = loss(True)
    if rho == 0:
        update(optimizer, first)
        return first.detach()
    optimizer.zero_grad()
    first.backward()  # type: ignore[no-untyped-call]
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    saved = [parameter.detach().clone() for parameter in parameters]
    try:
        _perturb(parameters, rho)
        optimizer.zero_grad()
        loss(False).backward()  # type: ignore[no-untyped-call]
    finally:
        with torch.no_grad():
            for parameter, values in zip(parameters, saved, strict=True):
                parameter.copy_(values)
    optimizer.step()
    return first.detach()


@torch.no_grad()
def _perturb(parameters: list[Tensor], rho: float) -> None:
    """Add to all parameters their gradient, scaled to the norm rho."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.add_(gradient * (rho / (norm + SMALLEST_NORM)))
