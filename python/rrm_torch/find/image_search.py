"""Search for wrong labels of images, with a small residual network that is trained by RRM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..data.augmentation import FlipCrop
from ..data.loaders import batches
from ..models import small_resnet
from ..training.fit import fit
from ..training.score import predict
from ..weighting.rrm import RRM
from ..weighting.sample_scores import DEFAULT_CAP
from .input_checks import MIN_IMAGES
from .progress import Progress
from .result import Result, with_confidence
from .settings import AUTO, SearchSettings

IMAGE_SIZE = 32
"""Width and height of the images that the network sees."""

WIDTH = 16
BATCH_SIZE = 64
LR = 0.1
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
CROP = 2  # pixels: images aren't flipped, since digits and letters have a direction


def search_images(
    pixels: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    classes: tuple[str, ...],
    ids: npt.NDArray[Any],
    settings: SearchSettings,
    progress: Progress,
    model: nn.Module | None = None,
) -> Result:
    """Train a network on images with RRM, and return the table of label issues.

    Parameters
    ----------
    pixels : array of uint8, shape (n, H, W, C)
        C is 1 or 3.
    labels : array of int64, shape (n,)
        In [0, n_classes).
    classes : tuple of str
    ids : array of shape (n,)
    settings : SearchSettings
    progress : callable
        Called as ``progress(done, total, what)`` after each epoch, in samples.
    model : torch.nn.Module, optional
        A network of one's own, which is trained in place; its name is in `settings`.

    Raises
    ------
    KeyboardInterrupt
        The search was interrupted before the first reweight. Later, what is known is returned.
    ValueError
        There are fewer than 100 images and no contamination is given, or it prunes less than one.
    """
    n = len(labels)
    torch.manual_seed(settings.seed)
    network: nn.Module
    if model is None:
        network = small_resnet(len(classes), WIDTH)
        description = f"a residual network of 8 layers on {pixels.shape[1]} x {pixels.shape[2]} pixels"
    else:
        network = model
        description = str(settings.model)
    x = standardise(pixels)
    targets = torch.from_numpy(labels)
    rrm = RRM(
        n,
        contamination=settings.contamination,
        groups=labels,
        cap=DEFAULT_CAP,
        warmup=AUTO if n >= MIN_IMAGES else settings.epochs // 3,
        epochs=settings.epochs,
        seed=settings.seed,
    )
    is_complete = True
    try:
        _train(
            network,
            x,
            targets,
            rrm,
            settings.epochs,
            lambda epoch: progress(epoch * n, settings.epochs * n, "training"),
        )
    except KeyboardInterrupt:
        if not rrm.trajectory.rounds:
            raise
        is_complete = False
    probabilities = predict(network, batches(x, targets, 512, shuffle=False)).numpy()
    names = np.array(classes, dtype=object)
    issues = rrm.issues(labels=names[labels], predictions=names[probabilities.argmax(axis=1)], ids=ids)
    last = rrm.trajectory.rounds[-1]
    return Result(
        issues=with_confidence(issues, probabilities.max(axis=1)),
        estimate=rrm.estimate if settings.contamination == AUTO else None,
        contamination=last.n_pruned / n,
        pruned=rrm.trajectory.pruned().numpy(),
        model=description,
        is_complete=is_complete,
    )


def standardise(pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Return images as float32 of shape (n, 3, H, W), with mean 0 and variance 1 over all pixels."""
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    std, mean = torch.std_mean(x, correction=0)
    x.sub_(mean).div_(std.clamp_min(1e-6))
    return x.expand(-1, 3, -1, -1)


def _train(
    network: nn.Module, x: torch.Tensor, targets: torch.Tensor, rrm: RRM, epochs: int, on_epoch: Callable[[int], None]
) -> None:
    optimizer = torch.optim.SGD(network.parameters(), LR, MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    loader = batches(x, targets, BATCH_SIZE, shuffle=True, transform=FlipCrop(CROP, flip=False))
    fit(network, loader, optimizer, epochs, rrm=rrm, scheduler=scheduler, on_epoch=lambda epoch, _: on_epoch(epoch))
