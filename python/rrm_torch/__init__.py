"""Training on data with wrong labels, in PyTorch: a thin trainer around `rrm_core`.

`RRM` holds the weights and losses of all samples and goes into any training loop; `fit` is such a loop.
"""

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("rrm_torch needs PyTorch: pip install 'rrm-core[torch]'") from error

from . import noise
from .data import Indexed, batches
from .history import History
from .images import ImageData, load
from .rrm import RRM
from .train import cross_entropy, evaluate, fit, predict, score

__all__ = [
    "RRM",
    "History",
    "ImageData",
    "Indexed",
    "batches",
    "cross_entropy",
    "evaluate",
    "fit",
    "load",
    "noise",
    "predict",
    "score",
]
