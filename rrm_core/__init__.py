"""Exact Rockafellian reweighting of per-sample losses, for any array framework.

One call turns a vector of losses into sample weights: losses above a threshold get weight 0, their mass goes to trusted
samples. See `reweight`.
"""

from importlib.metadata import version as _version

from .api import apply, objective, plan, reweight
from .dispatch import available_backends
from .plan import Levels, Plan

__all__ = ["Levels", "Plan", "__version__", "apply", "available_backends", "objective", "plan", "reweight"]

__version__ = _version("rrm-core")
