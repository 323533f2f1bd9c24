"""Label noise for experiments: wrong labels made on purpose, so that what a method finds can be counted.

Every function takes clean labels, leaves them as they are, and returns `NoisyLabels`. The randomness comes from a seed
or a generator that the caller names, never from a global state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """Labels after noise, and which of them are wrong.

    Attributes
    ----------
    labels : np.ndarray of int64, shape (n,)
        The noisy labels.
    wrong : np.ndarray of bool, shape (n,)
        Whether a label differs from the one that was given.
    kind : str
        Name of the function that made the noise.
    nominal : float
        The rate that was asked for; for `transition`, the share of wrong labels that the matrix leads one to expect.
    """

    labels: npt.NDArray[np.int64]
    wrong: npt.NDArray[np.bool_]
    kind: str
    nominal: float

    @property
    def realised(self) -> float:
        """Share of labels that differ from the given ones, in [0, 1]."""
        return float(self.wrong.mean())

    def __str__(self) -> str:
        return (
            f"{self.kind} noise: {100 * self.nominal:.1f} % asked, "
            f"{100 * self.realised:.2f} % of {len(self.labels):,} labels changed"
        )


def symmetric(labels: npt.ArrayLike, rate: float, n_classes: int, *, rng: np.random.Generator | int) -> NoisyLabels:
    """Flip an exact number of labels, each to a class drawn uniformly among the others.

    Parameters
    ----------
    labels : array_like of int, shape (n,)
        Clean labels in [0, n_classes). Never changed.
    rate : float
        Share of wrong labels, in [0, 1]. Exactly floor(rate * n) labels become wrong.
    n_classes : int
        Number of classes, at least 2.
    rng : np.random.Generator or int
        Generator to draw from, or a seed.

    Returns
    -------
    NoisyLabels

    Raises
    ------
    TypeError
        If `labels` aren't integers, or an argument is of another type than documented.
    ValueError
        If an argument lies out of its range or `labels` isn't 1-D.

    Notes
    -----
    The flipped samples are the first of one random permutation: with the same seed, a higher rate flips the same
    samples and more.
    """
    n_classes = _classes(n_classes)
    given, rate, generator = _labels(labels, n_classes), _rate(rate), _generator(rng)
    chosen = _chosen(len(given), rate, generator)
    noisy = given.copy()
    # A shift of 1 to K-1 around the circle of classes reaches each other class once, and never the own one.
    noisy[chosen] = (given[chosen] + generator.integers(1, n_classes, size=len(chosen))) % n_classes
    return NoisyLabels(noisy, noisy != given, "symmetric", rate)


def redraw(labels: npt.ArrayLike, rate: float, n_classes: int, *, rng: np.random.Generator | int) -> NoisyLabels:
    """Relabel an exact number of samples uniformly over all classes, the right one included.

    About rate * (1 - 1 / n_classes) of the labels are wrong afterwards. Much of the literature on semi-supervised
    learning with noisy labels calls this symmetric noise; a rate quoted from there is met by this function.

    Parameters
    ----------
    labels : array_like of int, shape (n,)
        Clean labels in [0, n_classes). Never changed.
    rate : float
        Share of labels drawn anew, in [0, 1]: exactly floor(rate * n) of them.
    n_classes : int
        Number of classes, at least 2.
    rng : np.random.Generator or int
        Generator to draw from, or a seed.

    Returns
    -------
    NoisyLabels
        `nominal` is the rate of redrawn labels, `realised` the lower share of wrong ones.

    Raises
    ------
    TypeError, ValueError
        As in `symmetric`.

    Notes
    -----
    The samples are chosen as in `symmetric`: the same ones for the same seed.
    """
    n_classes = _classes(n_classes)
    given, rate, generator = _labels(labels, n_classes), _rate(rate), _generator(rng)
    chosen = _chosen(len(given), rate, generator)
    noisy = given.copy()
    noisy[chosen] = generator.integers(n_classes, size=len(chosen))
    return NoisyLabels(noisy, noisy != given, "redraw", rate)


def pair(labels: npt.ArrayLike, rate: float, n_classes: int, *, rng: np.random.Generator | int) -> NoisyLabels:
    """Flip an exact number of labels, each from class k to class (k + 1) mod n_classes.

    Parameters
    ----------
    labels : array_like of int, shape (n,)
        Clean labels in [0, n_classes). Never changed.
    rate : float
        Share of wrong labels, in [0, 1]. Exactly floor(rate * n) labels become wrong. From 0.5 on, the wrong class
        is no rarer than the right one, and no method can tell them apart.
    n_classes : int
        Number of classes, at least 2.
    rng : np.random.Generator or int
        Generator to draw from, or a seed.

    Returns
    -------
    NoisyLabels

    Raises
    ------
    TypeError, ValueError
        As in `symmetric`.

    Notes
    -----
    The samples are chosen as in `symmetric`: the same ones for the same seed.
    """
    n_classes = _classes(n_classes)
    given, rate, generator = _labels(labels, n_classes), _rate(rate), _generator(rng)
    chosen = _chosen(len(given), rate, generator)
    noisy = given.copy()
    noisy[chosen] = (given[chosen] + 1) % n_classes
    return NoisyLabels(noisy, noisy != given, "pair", rate)


def transition(labels: npt.ArrayLike, matrix: npt.ArrayLike, *, rng: np.random.Generator | int) -> NoisyLabels:
    """Draw each label anew from the row of a transition matrix that belongs to its class.

    Parameters
    ----------
    labels : array_like of int, shape (n,)
        Clean labels in [0, K). Never changed.
    matrix : array_like of float, shape (K, K)
        ``matrix[i, j]`` is the probability that a sample of class i is labelled j. No entry is negative, and each row
        sums to 1 within 1e-6.
    rng : np.random.Generator or int
        Generator to draw from, or a seed.

    Returns
    -------
    NoisyLabels
        `nominal` is the expected share of wrong labels: the mean of 1 - matrix[i, i] over the labels i.

    Raises
    ------
    TypeError
        If `labels` aren't integers, `matrix` isn't made of numbers, or `rng` is of another type than documented.
    ValueError
        If `matrix` isn't square with K >= 2 or isn't row-stochastic, or `labels` don't fit it.
    """
    probabilities = _stochastic(matrix)
    n_classes = len(probabilities)
    given, generator = _labels(labels, n_classes), _generator(rng)
    noisy = given.copy()
    for k in range(n_classes):
        members = np.flatnonzero(given == k)
        noisy[members] = generator.choice(n_classes, size=len(members), p=probabilities[k])
    nominal = float(np.mean(1 - probabilities.diagonal()[given]))
    return NoisyLabels(noisy, noisy != given, "transition", nominal)


def instance_dependent(
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    rate: float,
    n_classes: int,
    *,
    rng: np.random.Generator | int,
) -> NoisyLabels:
    """Flip labels with a probability and to a class that depend on the sample's own features.

    Parameters
    ----------
    features : array_like of float, shape (n, ...)
        What the noise depends on, such as images; flattened to (n, d), d >= 1. All finite. Never changed.
    labels : array_like of int, shape (n,)
        Clean labels in [0, n_classes). Never changed.
    rate : float
        Mean of the flip rates before truncation, in [0, 1]. Rate 0 changes nothing.
    n_classes : int
        Number of classes, at least 2.
    rng : np.random.Generator or int
        Generator to draw from, or a seed.

    Returns
    -------
    NoisyLabels
        The number of wrong labels is random. Truncation moves their expected share inwards at both ends: to 0.13 for
        rate 0.1 and to 0.92 for rate 1, but not noticeably between 0.3 and 0.7.

    Raises
    ------
    TypeError
        If `labels` aren't integers, `features` aren't real numbers, or an argument is of another type than documented.
    ValueError
        If an argument lies out of its range, `labels` isn't 1-D, or `features` aren't finite or not one per label.

    Notes
    -----
    Sample i of class y keeps its label with probability 1 - q_i, where q_i follows a normal distribution with mean
    `rate` and standard deviation 0.1, truncated to [0, 1]. Otherwise its label is drawn from the softmax of x_i W_y
    over the other classes; W_y is a matrix of shape (d, n_classes) with standard normal entries, drawn once per class.

    Before that, one mean and one standard deviation, of all the numbers in `features`, bring them to mean 0 and
    variance 1, so the result doesn't depend on their unit. With d in the hundreds, the products x_i W_y are then so
    large that the softmax nearly always names one class: similar samples are mislabelled alike.

    References
    ----------
    X. Xia et al., "Part-dependent label noise: towards instance-dependent label noise", NeurIPS 2020, where this
    generator makes the noisy training sets.
    """
    n_classes = _classes(n_classes)
    given, rate, generator = _labels(labels, n_classes), _rate(rate), _generator(rng)
    x = _features(features, len(given))
    mean, std = x.mean(dtype=np.float64), x.std(dtype=np.float64) or 1.0
    flipped = generator.random(len(given)) < _flip_rates(len(given), rate, generator)
    noisy = given.copy()
    for k in range(n_classes):
        projection = generator.standard_normal((x.shape[1], n_classes))
        members = np.flatnonzero(flipped & (given == k))
        # The argmax of logits plus Gumbel noise is a draw from their softmax (Gumbel 1954): no exponential to overflow.
        logits = (x[members] - mean) / std @ projection + generator.gumbel(size=(len(members), n_classes))
        logits[:, k] = -np.inf
        noisy[members] = logits.argmax(axis=1)
    return NoisyLabels(noisy, noisy != given, "instance-dependent", rate)


KINDS: dict[str, Callable[..., NoisyLabels]] = {"symmetric": symmetric, "redraw": redraw, "pair": pair}
"""The kinds that need nothing but labels: name -> function of ``(labels, rate, n_classes, *, rng)``."""


def _chosen(n: int, rate: float, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return floor(rate * n) of the indices 0, ..., n - 1, drawn without replacement."""
    product = rate * n
    nearest = round(product)
    # 0.29 * 100 is 28.999999999999996 in double. Rounding the rate and the product takes away two ulps at most.
    count = nearest if abs(nearest - product) <= 2 * math.ulp(product) else math.floor(product)
    return generator.permutation(n)[:count]


def _flip_rates(n: int, rate: float, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return n draws from a normal distribution around `rate`, truncated to [0, 1]; all 0 for rate 0."""
    if rate == 0:  # half of a normal distribution would flip 8 % where a sweep over rates has its clean baseline
        return np.zeros(n)
    flip_rates = generator.normal(rate, 0.1, size=n)
    while len(outside := np.flatnonzero((flip_rates < 0) | (flip_rates > 1))):
        flip_rates[outside] = generator.normal(rate, 0.1, size=len(outside))
    return flip_rates


def _classes(n_classes: int) -> int:
    if isinstance(n_classes, bool) or not isinstance(n_classes, Integral):
        raise TypeError(f"n_classes must be an integer, got {n_classes!r} of type {type(n_classes).__name__}")
    if n_classes < 2:
        raise ValueError(f"n_classes must be at least 2, got {n_classes}")
    return int(n_classes)


def _rate(rate: float) -> float:
    if isinstance(rate, bool) or not isinstance(rate, Real):
        raise TypeError(f"rate must be a number, got {rate!r} of type {type(rate).__name__}")
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must lie in [0, 1], got {rate}")
    return float(rate)


def _generator(rng: np.random.Generator | int) -> np.random.Generator:
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, bool) or not isinstance(rng, Integral):
        raise TypeError(f"rng must be a numpy.random.Generator or an integer seed, got {rng!r}")
    if rng < 0:
        raise ValueError(f"rng, as a seed, must be at least 0, got {rng}")
    return np.random.default_rng(int(rng))


def _labels(labels: npt.ArrayLike, n_classes: int) -> npt.NDArray[np.int64]:
    array = np.asarray(labels)
    if array.ndim != 1:
        raise ValueError(f"labels must be 1-D, one class index per sample, got shape {array.shape}")
    if not len(array):
        raise ValueError("labels must hold at least one label, got none")
    if array.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got {array.dtype}; convert with labels.astype(int)")
    if array.min() < 0 or array.max() >= n_classes:
        out = array.min() if array.min() < 0 else array.max()
        raise ValueError(f"labels must lie in [0, {n_classes}), got {out}")
    return array.astype(np.int64)


def _stochastic(matrix: npt.ArrayLike) -> npt.NDArray[np.float64]:
    array = np.asarray(matrix)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"matrix must be made of real numbers, got {array.dtype}")
    if array.ndim != 2 or array.shape[0] != array.shape[1] or len(array) < 2:
        raise ValueError(f"matrix must have shape (K, K) with K >= 2, got {array.shape}")
    if not (array >= 0).all():  # catches NaN too
        row, column = np.argwhere(~(array >= 0))[0]
        raise ValueError(f"matrix must hold probabilities, got {array[row, column]} at [{row}, {column}]")
    sums = array.sum(axis=1, dtype=np.float64)
    if not (abs(sums - 1) <= 1e-6).all():
        row = np.argmax(abs(sums - 1))
        raise ValueError(f"matrix must have rows that sum to 1, got {sums[row]:.6g} in row {row}; divide it by its sum")
    # Single precision rounds by more than the generator's own check of probabilities lets pass.
    return np.asarray(array / sums[:, np.newaxis])


def _features(features: npt.ArrayLike, n: int) -> npt.NDArray[Any]:
    array = np.asarray(features)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"features must be real numbers, got {array.dtype}")
    if array.ndim < 1 or len(array) != n:
        raise ValueError(f"features must have shape (n, ...) with one row for each of {n} labels, got {array.shape}")
    if not array.size:
        raise ValueError(f"features must hold at least one number per sample, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"features must be finite, got {np.count_nonzero(~np.isfinite(array)):,} NaN or infinities")
    return array.reshape(n, -1)
