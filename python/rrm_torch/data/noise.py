"""Synthetic label noise for experiments: with the wrong labels known, precision and recall can be measured.

Every function takes clean labels, leaves them unchanged, and returns `NoisyLabels`. Random numbers come from the seed
or generator `rng`, never from a global generator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .._checks import column_remedy

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """Noisy labels, and which of them are wrong.

    Attributes
    ----------
    labels : np.ndarray of int64, shape (n,)
        The noisy labels.
    wrong : np.ndarray of bool, shape (n,)
        Which labels differ from the clean ones.
    kind : str
        Kind of noise.
    nominal : float
        Nominal noise rate; for `transition`, the expected share of wrong labels.
    """

    labels: npt.NDArray[np.int64]
    wrong: npt.NDArray[np.bool_]
    kind: str
    nominal: float

    @property
    def realised(self) -> float:
        """Realised noise rate: the share of wrong labels, in [0, 1]."""
        return float(self.wrong.mean())

    def __str__(self) -> str:
        return (
            f"{self.kind} noise: {100 * self.nominal:.1f} % nominal, "
            f"{100 * self.realised:.2f} % of {len(self.labels):,} labels changed"
        )


def symmetric(labels: npt.ArrayLike, rate: float, n_classes: int, *, rng: np.random.Generator | int) -> NoisyLabels:
    """Flip an exact number of labels, each to one of the other classes, selected uniformly.

    Parameters
    ----------
    labels : array_like of int, shape (n,)
        Clean labels in [0, n_classes).
    rate : float
        Share of wrong labels, in [0, 1]. Exactly floor(rate * n) labels are flipped.
    n_classes : int
        Number of classes, at least 2.
    rng : np.random.Generator or int
        Generator or seed.

    Returns
    -------
    NoisyLabels

    Raises
    ------
    TypeError
        `labels` aren't integers, or another argument has the wrong type.
    ValueError
        An argument is outside its range, or `labels` isn't 1-D.

    Notes
    -----
    The flipped samples are the first ones of a random permutation: with the same seed, a higher rate flips a superset.
    """
    n_classes = _check_n_classes(n_classes)
    clean = _check_labels(labels, n_classes)
    rate = _check_rate(rate)
    generator = _make_generator(rng)
    selected = _select(len(clean), rate, generator)
    noisy = clean.copy()
    # A cyclic shift by 1 to K - 1 reaches each of the other classes exactly once.
    noisy[selected] = (clean[selected] + generator.integers(1, n_classes, size=len(selected))) % n_classes
    return NoisyLabels(noisy, noisy != clean, "symmetric", rate)


def redraw(labels: npt.ArrayLike, rate: float, n_classes: int, *, rng: np.random.Generator | int) -> NoisyLabels:
    """Redraw an exact number of labels uniformly from all classes, including the clean one.

    About rate * (1 - 1 / n_classes) of the labels become wrong. Much of the literature on semi-supervised learning
    with noisy labels calls this symmetric noise: use this function for a rate quoted there.

    Parameters
    ----------
    labels : array_like of int, shape (n,)
        Clean labels in [0, n_classes).
    rate : float
        Share of redrawn labels, in [0, 1]: exactly floor(rate * n).
    n_classes : int
        Number of classes, at least 2.
    rng : np.random.Generator or int
        Generator or seed.

    Returns
    -------
    NoisyLabels
        `nominal` is the rate of redrawn labels, `realised` the share of wrong labels, which is lower.

    Raises
    ------
    TypeError, ValueError
        See `symmetric`.

    Notes
    -----
    The samples are selected as in `symmetric`: the same ones for the same seed.
    """
    n_classes = _check_n_classes(n_classes)
    clean = _check_labels(labels, n_classes)
    rate = _check_rate(rate)
    generator = _make_generator(rng)
    selected = _select(len(clean), rate, generator)
    noisy = clean.copy()
    noisy[selected] = generator.integers(n_classes, size=len(selected))
    return NoisyLabels(noisy, noisy != clean, "redraw", rate)


def pair(labels: npt.ArrayLike, rate: float, n_classes: int, *, rng: np.random.Generator | int) -> NoisyLabels:
    """Flip an exact number of labels, each from class k to class (k + 1) mod n_classes.

    Parameters
    ----------
    labels : array_like of int, shape (n,)
        Clean labels in [0, n_classes).
    rate : float
        Share of wrong labels, in [0, 1]. Exactly floor(rate * n) labels are flipped. From 0.5 on, the wrong class is at
        least as frequent as the right one, and no method can distinguish them.
    n_classes : int
        Number of classes, at least 2.
    rng : np.random.Generator or int
        Generator or seed.

    Returns
    -------
    NoisyLabels

    Raises
    ------
    TypeError, ValueError
        See `symmetric`.

    Notes
    -----
    The samples are selected as in `symmetric`: the same ones for the same seed.
    """
    n_classes = _check_n_classes(n_classes)
    clean = _check_labels(labels, n_classes)
    rate = _check_rate(rate)
    generator = _make_generator(rng)
    selected = _select(len(clean), rate, generator)
    noisy = clean.copy()
    noisy[selected] = (clean[selected] + 1) % n_classes
    return NoisyLabels(noisy, noisy != clean, "pair", rate)


def transition(labels: npt.ArrayLike, matrix: npt.ArrayLike, *, rng: np.random.Generator | int) -> NoisyLabels:
    """Draw each label from its class's row of a transition matrix.

    Parameters
    ----------
    labels : array_like of int, shape (n,)
        Clean labels in [0, K).
    matrix : array_like of float, shape (K, K)
        ``matrix[i, j]`` is the probability that a sample of class i gets label j. Entries are at least 0, and each row
        sums to 1 within 1e-6.
    rng : np.random.Generator or int
        Generator or seed.

    Returns
    -------
    NoisyLabels
        `nominal` is the expected share of wrong labels: the mean of 1 - matrix[i, i] over the labels i.

    Raises
    ------
    TypeError
        `labels` aren't integers, `matrix` isn't numeric, or `rng` has the wrong type.
    ValueError
        `matrix` isn't square with K >= 2 or isn't row-stochastic, or a label is outside [0, K).
    """
    probabilities = _check_transition_matrix(matrix)
    n_classes = len(probabilities)
    clean = _check_labels(labels, n_classes)
    generator = _make_generator(rng)
    noisy = clean.copy()
    for k in range(n_classes):
        members = np.flatnonzero(clean == k)
        noisy[members] = generator.choice(n_classes, size=len(members), p=probabilities[k])
    nominal = float(np.mean(1 - probabilities.diagonal()[clean]))
    return NoisyLabels(noisy, noisy != clean, "transition", nominal)


def instance_dependent(
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    rate: float,
    n_classes: int,
    *,
    rng: np.random.Generator | int,
) -> NoisyLabels:
    """Flip labels with a probability and to a class that depend on the sample's features.

    Parameters
    ----------
    features : array_like of float, shape (n, ...)
        Finite features, such as images; flattened to (n, d), d >= 1.
    labels : array_like of int, shape (n,)
        Clean labels in [0, n_classes).
    rate : float
        Mean of the flip rates before truncation, in [0, 1]. Rate 0 flips no label.
    n_classes : int
        Number of classes, at least 2.
    rng : np.random.Generator or int
        Generator or seed.

    Returns
    -------
    NoisyLabels
        The number of wrong labels is random. Truncation shifts their expected share towards 1/2: to 0.13 for rate 0.1
        and to 0.92 for rate 1, but not noticeably between 0.3 and 0.7.

    Raises
    ------
    TypeError
        `labels` aren't integers, `features` aren't real numbers, or another argument has the wrong type.
    ValueError
        An argument is outside its range, `labels` isn't 1-D, or `features` aren't finite or not one row per label.

    Notes
    -----
    Sample i of class y keeps its label with probability 1 - q_i, where q_i follows a normal distribution with mean
    `rate` and standard deviation 0.1, truncated to [0, 1]. Otherwise its label is drawn from the softmax of x_i W_y
    over the other classes; W_y is a matrix of shape (d, n_classes) with standard normal entries, drawn once per class.

    First, `features` are standardised by the mean and the standard deviation of all their values, so that the result
    doesn't depend on their unit. With d in the hundreds, the products x_i W_y are so large that the softmax nearly
    always selects one class: similar samples get the same wrong label.

    References
    ----------
    X. Xia et al., "Part-dependent label noise: towards instance-dependent label noise", NeurIPS 2020, who generate
    their noisy training sets in this way.
    """
    n_classes = _check_n_classes(n_classes)
    clean = _check_labels(labels, n_classes)
    rate = _check_rate(rate)
    generator = _make_generator(rng)
    x = _check_features(features, len(clean))
    mean = x.mean(dtype=np.float64)
    std = x.std(dtype=np.float64) or 1.0
    flipped = generator.random(len(clean)) < _flip_rates(len(clean), rate, generator)
    noisy = clean.copy()
    for k in range(n_classes):
        projection = generator.standard_normal((x.shape[1], n_classes))
        members = np.flatnonzero(flipped & (clean == k))
        # The argmax of logits plus Gumbel noise is a sample of their softmax (Gumbel 1954), without overflow.
        logits = (x[members] - mean) / std @ projection + generator.gumbel(size=(len(members), n_classes))
        logits[:, k] = -np.inf
        noisy[members] = logits.argmax(axis=1)
    return NoisyLabels(noisy, noisy != clean, "instance-dependent", rate)


KINDS: dict[str, Callable[..., NoisyLabels]] = {"symmetric": symmetric, "redraw": redraw, "pair": pair}
"""Noise that depends only on the labels, by name: functions of ``(labels, rate, n_classes, *, rng)``."""


def _select(n: int, rate: float, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return floor(rate * n) of the indices 0, ..., n - 1, drawn without replacement."""
    product = rate * n
    nearest = round(product)
    # 0.29 * 100 is 28.999999999999996 in float64: rounding rate and product loses at most two ulps.
    if abs(nearest - product) <= 2 * math.ulp(product):
        count = nearest
    else:
        count = math.floor(product)
    return generator.permutation(n)[:count]


def _flip_rates(n: int, rate: float, generator: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return n draws from a normal distribution around `rate`, truncated to [0, 1]; all 0 for rate 0."""
    # The truncated normal distribution would flip 8 % of the labels, where a sweep over rates expects none.
    if rate == 0:
        return np.zeros(n)
    flip_rates = generator.normal(rate, 0.1, size=n)
    while len(rejected := np.flatnonzero((flip_rates < 0) | (flip_rates > 1))):
        flip_rates[rejected] = generator.normal(rate, 0.1, size=len(rejected))
    return flip_rates


def _check_n_classes(n_classes: int) -> int:
    if isinstance(n_classes, bool) or not isinstance(n_classes, Integral):
        raise TypeError(f"n_classes must be an integer, got {n_classes!r} of type {type(n_classes).__name__}")
    if n_classes < 2:
        raise ValueError(f"n_classes must be at least 2, got {n_classes}")
    return int(n_classes)


def _check_rate(rate: float) -> float:
    if isinstance(rate, bool) or not isinstance(rate, Real):
        raise TypeError(f"rate must be a number, got {rate!r} of type {type(rate).__name__}")
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must lie in [0, 1], got {rate}")
    return float(rate)


def _make_generator(rng: np.random.Generator | int) -> np.random.Generator:
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, bool) or not isinstance(rng, Integral):
        raise TypeError(f"rng must be a numpy.random.Generator or an integer seed, got {rng!r}")
    if rng < 0:
        raise ValueError(f"rng, as a seed, must be at least 0, got {rng}")
    return np.random.default_rng(int(rng))


def _check_labels(labels: npt.ArrayLike, n_classes: int) -> npt.NDArray[np.int64]:
    array = np.asarray(labels)
    if array.ndim != 1:
        remedy = column_remedy("labels", array.shape)
        raise ValueError(f"labels must be 1-D, one class index per sample, got shape {array.shape}{remedy}")
    if not len(array):
        raise ValueError("labels must contain at least one label, got an empty array")
    if array.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got {array.dtype}; convert with labels.astype(int)")
    if array.min() < 0 or array.max() >= n_classes:
        invalid = array.min() if array.min() < 0 else array.max()
        raise ValueError(f"labels must lie in [0, {n_classes}), got {invalid}")
    return array.astype(np.int64)


def _check_transition_matrix(matrix: npt.ArrayLike) -> npt.NDArray[np.float64]:
    array = np.asarray(matrix)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"matrix must contain real numbers, got {array.dtype}")
    if array.ndim != 2 or array.shape[0] != array.shape[1] or len(array) < 2:
        raise ValueError(f"matrix must have shape (K, K) with K >= 2, got {array.shape}")
    if not (array >= 0).all():  # True for NaN, too
        row, column = np.argwhere(~(array >= 0))[0]
        raise ValueError(f"matrix must contain probabilities, got {array[row, column]} at [{row}, {column}]")
    sums = array.sum(axis=1, dtype=np.float64)
    if not (abs(sums - 1) <= 1e-6).all():
        row = np.argmax(abs(sums - 1))
        raise ValueError(f"matrix must have rows that sum to 1, got {sums[row]:.6g} in row {row}; divide it by its sum")
    # Generator.choice checks the sum of probabilities to more digits than float32 has.
    return np.asarray(array / sums[:, np.newaxis])


def _check_features(features: npt.ArrayLike, n: int) -> npt.NDArray[Any]:
    array = np.asarray(features)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"features must be real numbers, got {array.dtype}")
    if array.ndim < 1 or len(array) != n:
        raise ValueError(f"features must have shape (n, ...) with one row for each of {n} labels, got {array.shape}")
    if not array.size:
        raise ValueError(f"features must contain at least one number per sample, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"features must be finite, got {np.count_nonzero(~np.isfinite(array)):,} NaN or infinities")
    return array.reshape(n, -1)
