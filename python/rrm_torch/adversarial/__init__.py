"""Adversarial training: attacks on the inputs, accuracy under attack, and TRADES."""

from .attacks import BY_NAME, FGSM, PGD, Attack, robustness
from .trades import TRADES

__all__ = ["BY_NAME", "FGSM", "PGD", "TRADES", "Attack", "robustness"]

# Public classes are known, and pickled, by their public names.
for _class in (FGSM, PGD, TRADES, Attack):
    _class.__module__ = __name__
