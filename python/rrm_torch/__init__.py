"""Training on data with wrong labels, in PyTorch: a thin trainer around `rrm_core`.

`RRM` holds the weights and losses of all samples and goes into any training loop; `fit` is such a loop.
"""

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("rrm_torch needs PyTorch: pip install 'rrm-core[torch]'") from error

from . import attacks, distributed, losses, noise, presets, schedule
from .checkpoint import Checkpoint
from .data import Indexed, batches
from .elr import ELR
from .history import History
from .images import ImageData, load
from .losses import cross_entropy
from .rrm import RRM
from .train import evaluate, fit, predict, score
from .trajectory import Round, Trajectory

__all__ = [
    "ELR",
    "RRM",
    "Checkpoint",
    "History",
    "ImageData",
    "Indexed",
    "Round",
    "Trajectory",
    "attacks",
    "batches",
    "cross_entropy",
    "distributed",
    "evaluate",
    "fit",
    "load",
    "losses",
    "noise",
    "predict",
    "presets",
    "schedule",
    "score",
]
