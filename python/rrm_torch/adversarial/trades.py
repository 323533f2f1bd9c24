"""TRADES: adversarial training whose adversarial term doesn't depend on the label."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .._models import map_leaves
from ..losses.per_sample import cross_entropy
from ..losses.regularized import LossParts
from ..losses.targets import check_logits, full_precision
from .attacks import PGD
from .inputs import AttackedInputs
from .projected_ascent import Ball, ascend, enable_gradients, leave_inference_mode, scale_of

T = TypeVar("T")

START_STD = 0.001
"""Standard deviation of the noise that the ascent starts with: at x itself the gradient of the divergence is 0."""


class TRADES:
    """Cross-entropy of the clean inputs, regularized by the divergence of adversarial predictions from clean ones [1]_.

    The label loss is the cross-entropy of x, the regularizer ``beta * KL(p(x) || p(x'))``, where p is the softmax of
    the model's outputs. x' maximises the same divergence within the ball around x; it is found by projected gradient
    ascent with the model in evaluation mode, starting from ``x + 0.001 * unit * N(0, 1)``, drawn from torch's global
    generator. Both forward passes of the loss, x first, use the model's current mode, and both carry the gradient.

    Parameters
    ----------
    attack : PGD
        Its `eps`, `steps`, `step_size`, `norm`, `clip` and `unit` are used.
    beta : float, at least 0, default 6.0
        Weight of the regularizer.

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
        self.attack = attack
        self.beta = float(beta)

    def label_loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the cross-entropy of each sample, shape (batch,); see `rrm_torch.cross_entropy`."""
        return cross_entropy(outputs, y)

    def parts(self, model: nn.Module, x: Any, y: Tensor, index: Tensor) -> LossParts:  # noqa: ARG002
        """Return both parts of the losses of a batch.

        Parameters
        ----------
        model : nn.Module
            Returns logits, shape (batch, n_classes).
        x, y : Tensor, shapes (batch, ...)
            Clean inputs, and labels.
        index : Tensor of int64, shape (batch,)
            Unused.

        Returns
        -------
        LossParts
            Of shape (batch,), at least float32.

        Raises
        ------
        TypeError, ValueError, IndexError
            A shape, a type or a class is wrong.
        """
        x_adversarial = self.perturb(model, x)
        outputs = model(x)
        divergence = _kl_divergence(_log_softmax(outputs), _log_softmax(model(x_adversarial)))
        return LossParts(self.label_loss(outputs, y), self.beta * divergence, outputs)

    def perturb(self, model: nn.Module, x: T) -> T:
        """Return x', for inputs x as an attack takes them, in their shape and type; the model is left unchanged."""
        attack = self.attack
        inputs = AttackedInputs(x)
        if attack.eps == 0:
            return inputs.replaced_by(inputs.tensor.detach().clone())
        with enable_gradients(model):
            inputs = AttackedInputs(map_leaves(leave_inference_mode, x))
            centre = inputs.tensor.detach()
            scale = scale_of(attack.unit, centre)
            clean = _log_softmax(model(inputs.replaced_by(centre))).detach()
            points = ascend(
                lambda points: _kl_divergence(clean, _log_softmax(model(inputs.replaced_by(points)))),
                centre,
                centre + START_STD * torch.randn_like(centre) * scale,
                Ball(attack.eps, attack.norm, scale, attack.clip),
                steps=attack.steps,
                size=attack.effective_step_size,
            )
            return inputs.replaced_by(points)

    def __repr__(self) -> str:
        return f"TRADES({self.attack!r}, beta={self.beta!r})"


def _log_softmax(outputs: Tensor) -> Tensor:
    return full_precision(check_logits(outputs)).log_softmax(1)


def _kl_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Return KL(p || q) of each sample, shape (batch,)."""
    return (log_p.exp() * (log_p - log_q)).sum(1)
