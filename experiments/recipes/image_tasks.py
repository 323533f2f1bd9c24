"""Training and test sets of images, from files and from memory, with their augmentation."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from rrm_torch.data.augmentation import Augmentation, Compose, FlipCrop, Standardise
from rrm_torch.data.image_files import ImageFiles
from rrm_torch.methods import TrainingSet

from ..data.image_lists import LabelledFiles
from ..wrapped_systems import STRONG
from .crops import CentreCrop, RandomCrop

IMAGENET = Standardise(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""The mean and the standard deviation of ImageNet's training images, with which its networks are trained."""


def file_set(files: LabelledFiles, n_classes: int, *, resize: int, crop: int) -> TrainingSet:
    """Return a training or a test set of image files, which are decoded when they are used.

    Each image is scaled so that its shorter side has `resize` pixels, and cropped to its centre. Of this square,
    training takes a random crop, which is flipped with probability 1/2, and evaluation the centre.

    Parameters
    ----------
    files : LabelledFiles
    n_classes : int
    resize, crop : int
        In pixels; `crop` is the network's input.
    """
    images = ImageFiles(files.paths, resize, resize=resize, threads=os.cpu_count() or 1)
    return TrainingSet(
        images,
        files.labels,
        n_classes,
        weak=Compose(RandomCrop(crop), IMAGENET),
        prepare=Compose(CentreCrop(crop), IMAGENET),
    )


def pixel_sets(
    train: tuple[Tensor, Tensor], tests: dict[str, tuple[Tensor, Tensor]], n_classes: int, *, padding: int
) -> tuple[TrainingSet, dict[str, TrainingSet]]:
    """Return a training set and test sets of images in memory, standardised by the training images.

    Parameters
    ----------
    train : tuple of Tensor of uint8, shape (n, 3, H, W), and Tensor of int64, shape (n,)
        Images and their given labels.
    tests : dict of str to the same
    n_classes : int
    padding : int
        Images are shifted by up to so many pixels in training, and flipped with probability 1/2. The strong
        augmentation applies ProMix's RandAugment before.
    """
    images, labels = train
    standardise = _standardise(images)
    weak = Compose(FlipCrop(padding), standardise)
    return (
        _pixel_set(images, labels, n_classes, standardise, weak),
        {name: _pixel_set(x, y, n_classes, standardise) for name, (x, y) in tests.items()},
    )


def _pixel_set(
    images: Tensor, labels: Tensor, n_classes: int, standardise: Standardise, weak: Augmentation | None = None
) -> TrainingSet:
    strong = None
    if weak is not None:
        strong = Compose(STRONG, weak)
    return TrainingSet(images, labels, n_classes, weak=weak, strong=strong, prepare=standardise)


def _standardise(images: Tensor) -> Standardise:
    # Of the sums of bytes, which need no copy of all images as floats.
    n_pixels = images[:, 0].numel()
    mean = images.sum((0, 2, 3), dtype=torch.float64) / n_pixels
    squares = sum((part.double().square().sum((0, 2, 3)) for part in torch.split(images, 1000)), torch.zeros(3))
    std = (squares / n_pixels - mean.square()).sqrt()
    return Standardise((mean / 255).tolist(), (std / 255).tolist())
