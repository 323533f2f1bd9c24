"""Selection of samples whose labels are probably right, from one number per sample."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..losses.targets import full_precision

Quota = Literal["balanced", "class"]

MAX_SEED = 2**32
"""Seeds of scikit-learn lie below."""


@dataclass(frozen=True)
class MixtureSettings:
    """How the two-component Gaussian mixture is fitted, and to what.

    Attributes
    ----------
    max_iter, tol, reg_covar
        Of `sklearn.mixture.GaussianMixture`. The defaults are DivideMix's.
    seed : int, default 0
        Of its initialisation.
    by_class : bool, default False
        Whether each class has a mixture of its own. A single one leaves out most of a class that is hard to learn.
    clip : float in (0, 1], optional
        The quantile of the finite values at which larger ones are cut off. Without, a single outlier squeezes all other
        values together, so that nearly all seem right; and infinite values are an error.

    Raises
    ------
    ValueError
        `clip` is out of range.
    ImportError
        scikit-learn is not installed.
    """

    max_iter: int = 10
    tol: float = 1e-2
    reg_covar: float = 5e-4
    seed: int = 0
    by_class: bool = False
    clip: float | None = None

    def __post_init__(self) -> None:
        if self.clip is not None and not 0 < self.clip <= 1:
            raise ValueError(f"clip must lie in (0, 1], got {self.clip}; it is a quantile, such as 0.99")
        # Before epochs of training that a missing package would waste.
        _mixture_class()


def normalise(values: Tensor, clip: float | None = None, *, name: str = "losses") -> Tensor:
    """Return values scaled to [0, 1], shape (n,), on the host; 0 if all are equal.

    Parameters
    ----------
    values : Tensor, shape (n,)
    clip : float in (0, 1], optional
        See `MixtureSettings`.
    name : str, default "losses"
        What the values are, for messages.

    Raises
    ------
    ValueError
        A value is NaN; or, without `clip`, infinite.
    """
    values = full_precision(values.detach()).cpu()
    if clip is not None:
        finite = values[values.isfinite()]
        if len(finite):
            values = values.clamp(max=float(np.quantile(finite.numpy(), clip)))
    refused = (~values.isfinite()).nonzero()[:, 0]
    if len(refused):
        first = int(refused[0])
        remedy = "inputs without NaN and a lower learning rate keep them finite"
        if name == "losses":
            remedy += ", and clip=0.99 cuts off infinite ones"
        raise ValueError(
            f"the {name} must be finite to fit a mixture, got {float(values[first])} for sample {first}, and "
            f"{len(refused)} of {len(values)} that are not; {remedy}"
        )
    if not len(values):
        return values
    spread = values.max() - values.min()
    return (values - values.min()) / spread if spread > 0 else torch.zeros_like(values)


def low_probability(values: Tensor, labels: Tensor, settings: MixtureSettings) -> Tensor:
    """Return the probability that each value belongs to the lower component of a mixture of two Gaussians.

    Parameters
    ----------
    values : Tensor, shape (n,)
        Normalised ones, from `normalise`.
    labels : Tensor of int64, shape (n,)
        The given classes. With ``by_class`` the values of each are normalised again, and have a mixture of their own.
    settings : MixtureSettings

    Returns
    -------
    Tensor of the type of `values`, shape (n,)
    """
    if not settings.by_class:
        return _fit_low_probability(values, settings)
    labels = labels.cpu()
    probability = torch.ones_like(values)
    for k in np.unique(labels.numpy()):
        members = labels == k
        probability[members] = _fit_low_probability(normalise(values[members]), settings)
    return probability


def _fit_low_probability(values: Tensor, settings: MixtureSettings) -> Tensor:
    """Fit a mixture; 1 for all values if they are fewer than two or all equal, since nothing tells them apart."""
    if len(values) < 2 or bool((values == values[0]).all()):
        return torch.ones_like(values)
    column = values.numpy()[:, None]
    mixture = _gaussian_mixture(settings)
    with warnings.catch_warnings():
        # The published number of iterations is often too small to converge.
        warnings.filterwarnings("ignore", message=".*did not converge", category=Warning)
        mixture.fit(column)
    probabilities = mixture.predict_proba(column)[:, mixture.means_.argmin()]
    # Not all versions of scikit-learn keep float32.
    return torch.from_numpy(np.ascontiguousarray(probabilities)).to(values.dtype)


def _mixture_class() -> Any:
    try:
        from sklearn.mixture import GaussianMixture
    except ImportError as error:
        raise ImportError(
            "the Gaussian mixture needs scikit-learn, which is not installed: pip install scikit-learn"
        ) from error
    return GaussianMixture


def _gaussian_mixture(settings: MixtureSettings) -> Any:
    return _mixture_class()(
        n_components=2,
        max_iter=settings.max_iter,
        tol=settings.tol,
        reg_covar=settings.reg_covar,
        random_state=settings.seed % MAX_SEED,
    )


def class_wise_small_loss(
    losses: Tensor, labels: Tensor, share: float, n_classes: int, quota: Quota = "balanced"
) -> Tensor:
    """Return which samples have the smallest losses of their class: bool, shape (n,).

    Parameters
    ----------
    losses : Tensor, shape (n,)
    labels : Tensor of int64, shape (n,)
        The given classes.
    share : float in (0, 1]
        rho, the share to select.
    n_classes : int
    quota : {"balanced", "class"}, default "balanced"
        How many of a class are selected: ``ceil(share * n / n_classes)``, as published, or all if they are fewer; or
        ``ceil(share * size)`` of a class of that size, where classes differ in size.

    Raises
    ------
    ValueError
        A loss is NaN.
    """
    losses = losses.detach().cpu()
    refused = losses.isnan().nonzero()[:, 0]
    if len(refused):
        raise ValueError(
            f"the losses must not be NaN, got NaN for sample {int(refused[0])}, and {len(refused)} of {len(losses)}; a "
            "lower learning rate keeps them finite"
        )
    labels = labels.cpu()
    chosen = torch.zeros(len(losses), dtype=torch.bool)
    for k in range(n_classes):
        members = (labels == k).nonzero()[:, 0]
        size = len(members) if quota == "class" else len(losses) / n_classes
        order = losses[members].argsort(stable=True)
        chosen[members[order[: math.ceil(share * size)]]] = True
    return chosen


def otsu_threshold(values: npt.NDArray[np.float64]) -> float:
    """Return Otsu's threshold: the one between two values that maximises the variance between the two parts.

    Parameters
    ----------
    values : array of shape (n,)
        Finite.

    Returns
    -------
    float
        Halfway between the largest value of the lower part and the smallest of the upper one; the value itself if all
        are equal.

    References
    ----------
    N. Otsu, "A threshold selection method from gray-level histograms", IEEE Transactions on Systems, Man, and
    Cybernetics, 1979.
    """
    ordered = np.sort(np.asarray(values, np.float64))
    n = len(ordered)
    if n < 2 or ordered[0] == ordered[-1]:
        return float(ordered[0])
    n_low = np.arange(1, n)
    low_sums = np.cumsum(ordered)[:-1]
    total = ordered.sum()
    difference = low_sums / n_low - (total - low_sums) / (n - n_low)
    between = n_low * (n - n_low) * difference**2
    between[ordered[1:] == ordered[:-1]] = -1  # equal values aren't separated
    split = int(between.argmax())
    return float((ordered[split] + ordered[split + 1]) / 2)
