"""Training on data with wrong labels, in PyTorch, with sample weights from `rrm_core`.

`RRM` holds the weights and losses of all samples and can be used in any training loop; `fit` is a complete one.
"""

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("rrm_torch needs PyTorch, which is not installed: pip install torch") from error

from rrm_core._public import publish as _publish

from . import adversarial, data, distributed, integrations, losses, methods
from .data import ImageData, Indexed, batches, load
from .losses.elr import ELR
from .losses.per_sample import cross_entropy
from .report.diagnosis import Diagnosis, diagnose
from .training.checkpoint import Checkpoint
from .training.evaluate import evaluate
from .training.fit import fit
from .training.history import History
from .training.score import predict, score
from .weighting.batch_rrm import BatchRRM
from .weighting.pruning_history import PruningHistory
from .weighting.reweight import Reweight
from .weighting.rrm import RRM
from .weighting.schedule import Ramp

__all__ = [
    "ELR",
    "RRM",
    "BatchRRM",
    "Checkpoint",
    "Diagnosis",
    "History",
    "ImageData",
    "Indexed",
    "PruningHistory",
    "Ramp",
    "Reweight",
    "adversarial",
    "batches",
    "cross_entropy",
    "data",
    "diagnose",
    "distributed",
    "evaluate",
    "fit",
    "integrations",
    "load",
    "losses",
    "methods",
    "predict",
    "score",
]

_publish(__name__, ELR, RRM, BatchRRM, Checkpoint, Diagnosis, History, ImageData, Indexed)
_publish(__name__, PruningHistory, Ramp, Reweight)
