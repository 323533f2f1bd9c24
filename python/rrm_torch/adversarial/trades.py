"""TRADES, adversarial training whose adversarial part is free of the label."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..losses.per_sample import Parts, cross_entropy, full_precision
from .attacks import PGD
from .projected_ascent import Ball, ascend, differentiating, normal, unit_of

START = 0.001  # standard deviation of the noise to start from, where the divergence is 0 and so is its gradient


class TRADES:
    """Cross-entropy of the clean inputs, and how far the model's answer moves with the inputs [1]_.

    The label part is the cross-entropy of x. The free part is ``beta * KL(p(x) || p(x'))``, p being the softmax of the
    model's outputs; x' is sought within the ball around x by ascending the same divergence with the model in evaluation
    mode, from ``x + 0.001 * unit * N(0, 1)``, drawn from torch's global random numbers. Both forward passes of the
    loss, x first, are in the mode the model is in, and the gradient goes through both.

    Parameters
    ----------
    attack : PGD
        Its `eps`, `steps`, `step_size`, `norm`, `clip` and `unit` are used.
    beta : float, at least 0, default 6.0
        Weight of the free part.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type or value.

    References
    ----------
    .. [1] Zhang, Yu, Jiao, Xing, El Ghaoui, Jordan, "Theoretically Principled Trade-off between Robustness and
       Accuracy", ICML 2019.
    """

    def __init__(self, attack: PGD, *, beta: float = 6.0) -> None:
        if not isinstance(attack, PGD):
            raise TypeError(f"attack must be a PGD, got {attack!r}; one step is PGD(eps, steps=1)")
        if not 0 <= beta < float("inf"):
            raise ValueError(f"beta must be finite and at least 0, got {beta}")
        self.attack, self.beta = attack, float(beta)

    def label(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the cross-entropy of each sample; parameters and errors are those of `losses.cross_entropy`."""
        return cross_entropy(outputs, y)

    def parts(self, model: nn.Module, x: Tensor, y: Tensor, index: Tensor) -> Parts:  # noqa: ARG002
        """Return both parts for a batch.

        Parameters
        ----------
        model : nn.Module
            Gives logits, shape (batch, n_classes).
        x, y : Tensor, shapes (batch, ...)
            Inputs, clean, and labels.
        index : Tensor of int64, shape (batch,)
            Not used.

        Returns
        -------
        Parts
            Of shape (batch,), at least float32.

        Raises
        ------
        TypeError, ValueError
            A shape or type doesn't fit.
        """
        points = self.perturbed(model, x)
        outputs = model(x)
        free = self.beta * _divergence(_log_softmax(outputs), _log_softmax(model(points)))
        return Parts(self.label(outputs, y), free)

    def perturbed(self, model: nn.Module, x: Tensor) -> Tensor:
        """Return x', of the shape and type of x, (batch, ...), floating; the model and its mode are as before."""
        attack = self.attack
        if not x.is_floating_point():
            raise TypeError(f"x must be floating, got {x.dtype}; convert with x.float()")
        if attack.eps == 0:
            return x.detach().clone()
        with differentiating(model):
            centre = normal(x.detach())
            unit = unit_of(attack.unit, centre)
            clean = _log_softmax(model(centre)).detach()
            return ascend(
                lambda points: _divergence(clean, _log_softmax(model(points))),
                centre,
                centre + START * torch.randn_like(centre) * unit,
                Ball(attack.eps, attack.norm, unit, attack.clip),
                steps=attack.steps,
                size=attack.size,
            )

    def __repr__(self) -> str:
        return f"TRADES({self.attack!r}, beta={self.beta!r})"


def _log_softmax(outputs: Tensor) -> Tensor:
    return full_precision(outputs).log_softmax(1)


def _divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Return KL(p || q) of each sample, shape (batch,)."""
    return (log_p.exp() * (log_p - log_q)).sum(1)
