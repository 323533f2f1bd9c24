"""A linear classifier of frozen features, which learns few wrong labels even without weights: the linear probe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from .._checks import check_count, column_remedy
from ..data.loaders import batches
from ..training.checkpoint import Checkpoint
from ..training.fit import fit
from ..training.pipeline import Recipe
from ..weighting.base import BaseRRM

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
ROWS_PER_PASS = 8192


class LinearProbe(nn.Module):
    """A linear classifier that standardises its features.

    Parameters
    ----------
    mean, std : Tensor, shape (d,)
        Each feature is shifted by its mean and divided by its std.
    n_classes : int
        Number of classes, at least 2.

    Attributes
    ----------
    linear : nn.Linear
        Its parameters are 0 at first, for which no random numbers are drawn.
    mean, std : Tensor of float32, shape (d,)
        Buffers.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor, n_classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean.float())
        self.register_buffer("std", std.float())
        self.linear: nn.Linear = skip_init(nn.Linear, len(mean), n_classes, device=mean.device)  # type: ignore[no-untyped-call]
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits, shape (n, n_classes), of features of shape (n, d) and any floating-point type."""
        if features.shape[-1] != len(self.mean):
            raise ValueError(
                f"features must have shape (n, {len(self.mean)}), as in training, got {tuple(features.shape)}"
            )
        # A new tensor of float32, except for float64.
        centred = (features - self.mean).float()
        logits: Tensor = self.linear(centred.div_(self.std))
        return logits


OnEpoch: TypeAlias = Callable[[LinearProbe, int, float], None]


def fit_linear_probe(
    features: Tensor | npt.NDArray[Any],
    labels: Tensor | npt.NDArray[Any],
    *,
    rrm: BaseRRM | None = None,
    n_classes: int | None = None,
    epochs: int = 20,
    batch_size: int = 256,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    standardise: bool = True,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> LinearProbe:
    """Train a linear classifier on features of a frozen model, with sample weights from `rrm` if one is passed.

    Logistic regression by `rrm_torch.fit`: Adam, whose learning rate is annealed to 0 along half a cosine.

    Parameters
    ----------
    features : Tensor or array, floating-point, shape (n, d)
        Such as `extract_features` or `load_features` returns. A batch at a time is converted to float32. The probe is
        trained on their device.
    labels : Tensor or array of integers, shape (n,)
        Classes from 0, possibly wrong.
    rrm : RRM or BatchRRM, optional
        Sample weights, of the n samples. None is plain logistic regression.
    n_classes : int, optional
        Number of classes; by default that of the largest label and those below it.
    epochs : int, default 20
        Total number of epochs, including those done before a checkpoint.
    batch_size : int, default 256
    lr : float, default 0.001
    weight_decay : float, default 0
        Factor of the parameters in their gradient.
    standardise : bool, default True
        Whether the probe shifts and scales each feature to mean 0 and standard deviation 1 on the training set. A
        constant feature is only shifted.
    seed : int, default 0
        Seed of the order of the samples.
    checkpoint : str or Path, optional
        File to which everything is saved after each epoch, `rrm` included. If it exists, training resumes from it.
    on_epoch : callable, optional
        Called as ``on_epoch(probe, epoch, mean_loss)`` after each epoch, before the checkpoint is saved; see
        `rrm_torch.fit`.

    Returns
    -------
    LinearProbe
        Maps features to logits, in evaluation mode.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, shape or value, or features aren't finite; or see `rrm_torch.fit`.

    References
    ----------
    Y. Zhu, J. Zhang, A. Gangrade, C. Scott, "Label noise: ignorance is bliss", NeurIPS 2024: logistic regression on
    frozen features, without any treatment of wrong labels.

    Examples
    --------
    >>> import torch
    >>> from rrm_torch import RRM
    >>> from rrm_torch.methods import fit_linear_probe
    >>> features = torch.tensor([[0.0], [0.1], [0.2], [1.0], [1.1], [1.2]]).repeat(50, 1)
    >>> labels = torch.tensor([0, 0, 0, 1, 1, 1]).repeat(50)
    >>> labels[:30] = 1 - labels[:30]  # 10 % wrong
    >>> rrm = RRM(300, contamination=0.1, warmup=5)
    >>> probe = fit_linear_probe(features, labels, rrm=rrm, lr=0.1)
    >>> probe(torch.tensor([[0.1], [1.1]])).argmax(1)
    tensor([0, 1])
    >>> sorted(rrm.flagged().tolist()) == list(range(30))
    True
    """
    x = _check_features(features)
    y = _check_labels(labels, len(x)).to(x.device)
    if n_classes is None:
        n_classes = int(y.max()) + 1
    if check_count("n_classes", n_classes) < 2 or int(y.max()) >= n_classes:
        raise ValueError(f"n_classes must be at least 2 and exceed the largest label, {int(y.max())}, got {n_classes}")
    if rrm is not None and rrm.n != len(x):
        raise ValueError(f"rrm must have been made for the {len(x)} samples of features, got one for {rrm.n}")
    check_count("epochs", epochs)
    mean, std = feature_moments(x, standardise)
    probe = LinearProbe(mean, std, n_classes)
    recipe = Recipe(epochs, batch_size, lr=lr, weight_decay=weight_decay, cosine=True)
    optimizer = recipe.make_optimizer(probe)
    scheduler = recipe.make_scheduler(optimizer)
    order = torch.Generator().manual_seed(seed)
    saved: dict[str, Any] = {"model": probe, "optimizer": optimizer, "scheduler": scheduler, "order": order}
    if rrm is not None:
        saved["rrm"] = rrm

    def after_epoch(epoch: int, mean_loss: float) -> None:
        if on_epoch is not None:
            on_epoch(probe, epoch, mean_loss)

    fit(
        probe,
        batches(x, y, batch_size, shuffle=True, generator=order),
        optimizer,
        epochs,
        rrm=rrm,
        scheduler=scheduler,
        checkpoint=None if checkpoint is None else Checkpoint(checkpoint, **saved),
        on_epoch=after_epoch,
    )
    return probe.eval()


def feature_moments(features: Tensor, standardise: bool = True) -> tuple[Tensor, Tensor]:
    """Return what a `LinearProbe` of these features shifts and divides by.

    Parameters
    ----------
    features : Tensor, floating-point, shape (n, d)
    standardise : bool, default True
        False returns zeros and ones.

    Returns
    -------
    mean, std : Tensor of float32, shape (d,)
        Of each feature, summed in float64; the standard deviation of a constant feature is replaced by 1.

    Raises
    ------
    ValueError
        A feature isn't finite.
    """
    n, d = features.shape
    low = torch.full((d,), torch.inf, device=features.device)
    high = -low
    total = torch.zeros(d, dtype=torch.float64, device=features.device)
    for start in range(0, n, ROWS_PER_PASS):
        rows = features[start : start + ROWS_PER_PASS].float()
        low = low.minimum(rows.amin(0))
        high = high.maximum(rows.amax(0))
        if not bool((low.isfinite() & high.isfinite()).all()):
            row = start + int((~rows.isfinite().all(1)).nonzero()[0])
            raise ValueError(f"features must be finite in float32, got NaN or infinity in row {row}")
        total += rows.sum(0, dtype=torch.float64)
    if not standardise:
        return torch.zeros_like(low), torch.ones_like(low)
    mean = (total / n).float()
    squares = torch.zeros_like(total)
    for start in range(0, n, ROWS_PER_PASS):
        rows = features[start : start + ROWS_PER_PASS].float()
        squares += (rows - mean).square_().sum(0, dtype=torch.float64)
    std = (squares / n).sqrt().float()
    # The rounded mean of a constant feature may differ from it.
    return mean, torch.where((low == high) | (std == 0), 1.0, std)


def _check_features(features: object) -> Tensor:
    """Return features as a tensor."""
    if isinstance(features, np.ndarray):
        features = torch.from_numpy(features if features.flags.writeable else features.copy())
    if not isinstance(features, Tensor) or features.dtype not in FLOATS:
        kind = features.dtype if isinstance(features, Tensor) else type(features).__name__
        remedy = (
            "load_features(path) reads a .npy file"
            if isinstance(features, (str, Path))
            else "convert with features.float()"
        )
        raise TypeError(f"features must be a floating-point tensor or array, got {kind}; {remedy}")
    if features.ndim != 2 or not features.numel():
        raise ValueError(
            f"features must have shape (n, d), one row per sample, got {tuple(features.shape)}; features.flatten(1) "
            "makes rows of feature maps"
        )
    return features.detach()


def _check_labels(labels: object, n: int) -> Tensor:
    """Return labels as an int64 tensor."""
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "iu":
        labels = torch.from_numpy(labels.astype(np.int64))
    if not isinstance(labels, Tensor) or labels.dtype not in INTEGERS:
        kind = labels.dtype if isinstance(labels, (Tensor, np.ndarray)) else type(labels).__name__
        raise TypeError(f"labels must be a tensor or an array of integers, got {kind}; number the classes from 0")
    if labels.shape != (n,):
        remedy = column_remedy("labels", tuple(labels.shape))
        raise ValueError(f"labels must have shape ({n},), one per row of features, got {tuple(labels.shape)}{remedy}")
    if int(labels.min()) < 0:
        raise ValueError(
            f"labels must be classes from 0, got {int(labels.min())}; leave out samples without a label, and their "
            "features"
        )
    return labels.long()
