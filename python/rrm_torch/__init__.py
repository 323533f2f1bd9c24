"""Training on data with wrong labels, in PyTorch: a thin trainer around `rrm_core`.

`RRM` holds the weights and losses of all samples and goes into any training loop; `fit` is such a loop.
"""

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("rrm_torch needs PyTorch: pip install 'rrm-core[torch]'") from error

from . import distributed, losses, methods
from .adversarial import attacks
from .data import noise
from .data.images import ImageData, load
from .data.loaders import Indexed, batches
from .losses.elr import ELR
from .losses.per_sample import cross_entropy
from .training.checkpoint import Checkpoint
from .training.evaluate import evaluate
from .training.fit import fit
from .training.history import History
from .training.score import predict, score
from .weighting import schedule
from .weighting.pruning_history import PruningHistory, Reweight
from .weighting.rrm import RRM

__all__ = [
    "ELR",
    "RRM",
    "Checkpoint",
    "History",
    "ImageData",
    "Indexed",
    "PruningHistory",
    "Reweight",
    "attacks",
    "batches",
    "cross_entropy",
    "distributed",
    "evaluate",
    "fit",
    "load",
    "losses",
    "methods",
    "noise",
    "predict",
    "schedule",
    "score",
]
