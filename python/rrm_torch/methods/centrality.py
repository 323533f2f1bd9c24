"""Selection by centrality and by consistency, for Centrality and Consistency."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from .selection import MixtureSettings, low_probability, normalise, otsu_threshold


def centrality(features: Tensor, labels: Tensor, predictions: Tensor, n_classes: int) -> Tensor:
    """Return the cosine of each sample's features to the centre of its given class.

    Parameters
    ----------
    features : Tensor, shape (n, d)
    labels, predictions : Tensor of int64, shape (n,)
        The given and the predicted classes.
    n_classes : int

    Returns
    -------
    Tensor of float32, shape (n,)
        The centre of a class is the normalised mean of the normalised features of the samples predicted as that class;
        of a class that no sample is predicted as, of those labelled as that class. Without these, 0.
    """
    directions = F.normalize(features.float())
    centres = _class_means(directions, predictions, n_classes)
    is_missing = torch.bincount(predictions, minlength=n_classes) == 0
    if bool(is_missing.any()):
        centres = torch.where(is_missing[:, None], _class_means(directions, labels, n_classes), centres)
    return (directions * F.normalize(centres)[labels]).sum(1)


def _class_means(values: Tensor, classes: Tensor, n_classes: int) -> Tensor:
    sums = values.new_zeros(n_classes, values.shape[1]).index_add_(0, classes, values)
    sizes = torch.bincount(classes, minlength=n_classes).clamp(min=1)
    return sums / sizes[:, None]


def central_probability(cosines: Tensor, labels: Tensor, settings: MixtureSettings) -> Tensor:
    """Return the probability that each cosine belongs to the higher component of a mixture of two Gaussians.

    Parameters
    ----------
    cosines : Tensor, shape (n,)
    labels : Tensor of int64, shape (n,)
    settings : MixtureSettings

    Returns
    -------
    Tensor, shape (n,), on the host
    """
    return low_probability(1 - normalise(cosines, name="cosines"), labels, settings)


def above_otsu(cosines: Tensor, labels: Tensor, n_classes: int) -> Tensor:
    """Return which samples lie above Otsu's threshold of the cosines of their given class: bool, shape (n,)."""
    values = cosines.double().cpu().numpy()
    classes = labels.cpu().numpy()
    selected = np.zeros(len(values), bool)
    for k in range(n_classes):
        members = classes == k
        if members.any():
            threshold = otsu_threshold(values[members])
            selected[members] = (values[members] > threshold) | (values[members].min() == values[members].max())
    return torch.from_numpy(selected)


def discrepancy(first: Tensor, second: Tensor) -> Tensor:
    """Return the sum over classes of the absolute difference of two softmaxes, shape (batch,), in [0, 2]."""
    return (first.softmax(1) - second.softmax(1)).abs().sum(1)
