"""Adversarial training: attacks on the inputs, accuracy under attack, and TRADES."""

from rrm_core._public import publish as _publish

from .attacks import BY_NAME, FGSM, PGD, Attack, robustness
from .trades import TRADES

__all__ = ["BY_NAME", "FGSM", "PGD", "TRADES", "Attack", "robustness"]

_publish(__name__, FGSM, PGD, TRADES, Attack)
