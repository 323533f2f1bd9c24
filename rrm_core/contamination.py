"""The share of wrong labels, estimated from predictions that a model made while it was trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ._arguments import MAX_CONTAMINATION, as_integer
from .arrays.convert import to_numpy
from .arrays.groups import Groups
from .arrays.kinds import check_same_labels
from .definition.contradictions import RankedPredictions
from .definition.formats import Array

FEW_SAMPLES = 2000
"""With fewer samples, half of those held out are used instead of a quarter, which would be too few."""

PARTS = {2: "half", 4: "quarter"}

ONE_LABEL = 0.99
"""A group in which so large a share has one label is compared with the other groups."""

SMALLEST_BOUND = 0.01
"""A lower bound below this counts as 0: a share that small can't be told from none."""


@dataclass(frozen=True, repr=False, eq=False)
class ContaminationEstimate:
    """An estimate of the share of wrong labels, an immutable value.

    Attributes
    ----------
    contamination : float
        The estimated share, in [0, 1).
    interval : tuple of float, or None
        A range that should hold the true share; None if the model was still learning.
    n, n_held_out : int
        Number of samples with a label and a prediction, and how many of them were not trained on.
    basis : str
        What the estimate rests on, in words.
    by_group : tuple of float, or None
        The estimate of each group; None without groups.
    pairs : int64 array of shape (m, 3)
        The confident joint: for each pair of a given and a predicted class that occurs, both numbers and the number of
        samples that have it among the more confident half of each predicted class, with all that tie at its end.
        Sorted, read-only.
    epoch : int or None
        The epoch that the estimate followed, counted from 1, or the step where these are counted; None if it was not
        made in training.
    """

    contamination: float
    interval: tuple[float, float] | None
    n: int
    n_held_out: int
    basis: str
    by_group: tuple[float, ...] | None
    pairs: Array
    epoch: int | None = None

    def confident_joint(self, n_classes: int | None = None) -> Array:
        """Return the confident joint as a table.

        Parameters
        ----------
        n_classes : int, optional
            By default the largest class that occurs, plus 1.

        Returns
        -------
        int64 array of shape (n_classes, n_classes)
            Rows are given classes, columns predicted ones.

        Raises
        ------
        ValueError
            `n_classes` is not a whole number, or a larger class occurs.
        """
        largest = int(self.pairs[:, :2].max(initial=-1))
        if n_classes is None:
            n_classes = largest + 1
        n_classes = as_integer(
            "n_classes", n_classes, largest + 1, f"a whole number above the largest class, {largest}"
        )
        table = np.zeros((n_classes, n_classes), np.int64)
        table[self.pairs[:, 0], self.pairs[:, 1]] = self.pairs[:, 2]
        return table

    def by_class(self, n_classes: int | None = None) -> npt.NDArray[np.float64]:
        """Return the share of each given class that the confident joint contradicts.

        Parameters
        ----------
        n_classes : int, optional
            As for `confident_joint`.

        Returns
        -------
        float64 array of shape (n_classes,)
            NaN for a class of which no sample is in the confident joint.
        """
        table = self.confident_joint(n_classes)
        totals = table.sum(axis=1)
        shares = np.full(len(table), math.nan)
        has_samples = totals > 0
        shares[has_samples] = 1 - table.diagonal()[has_samples] / totals[has_samples]
        return shares

    def __repr__(self) -> str:
        parts = [f"contamination={self.contamination:.3f}"]
        if self.interval is not None:
            parts.append(f"interval=({self.interval[0]:.3f}, {self.interval[1]:.3f})")
        else:
            parts.append("interval=None")
        if self.by_group is not None:
            lowest, highest = min(self.by_group), max(self.by_group)
            parts.append(f"{len(self.by_group)} groups from {lowest:.3f} to {highest:.3f}")
        if self.epoch is not None:
            parts.append(f"epoch={self.epoch}")
        parts.append(f"n={self.n:_}, n_held_out={self.n_held_out:_}, basis={self.basis!r}")
        return f"ContaminationEstimate({', '.join(parts)})"


def estimate_contamination(
    labels: npt.ArrayLike,
    predicted: npt.ArrayLike,
    confidence: npt.ArrayLike,
    held_out: npt.ArrayLike,
    *,
    groups: Any = None,
    is_rising: bool = False,
) -> ContaminationEstimate:
    """Estimate the share of wrong labels from the predictions of a model that was trained on most of them.

    The most confident predictions are nearly always right, also where a model has not memorised wrong labels yet: the
    share of them that contradicts the given labels is close to the share of wrong labels.

    Parameters
    ----------
    labels : array of integers, shape (n,)
        The given classes. This and the other arrays may be of any framework and on any device, or lists; labelled ones,
        such as Series, must have the same labels.
    predicted : array of integers, shape (n,)
        The predicted classes.
    confidence : array of float, shape (n,)
        The higher, the surer the prediction: such as its probability, or the sum of it over several epochs.
    held_out : array of bool, shape (n,)
        The samples that the model was not trained on, about 15 % of all. Hold them out from the start.
    groups : array of integers, shape (n,), or Groups, optional
        The group of each sample; the estimate is then also made within each.
    is_rising : bool, default False
        Whether the model was still learning: the agreement of its predictions with the labels of samples held out still
        rose. Then only the surest predictions count, and there is no interval.

    Returns
    -------
    ContaminationEstimate

    Raises
    ------
    TypeError
        `labels` or `predicted` aren't integers, or `confidence` isn't floating-point.
    ValueError
        The arrays are empty, differ in length or aren't one-dimensional; a class is negative; a confidence is NaN; no
        sample is held out.

    Notes
    -----
    Let D(f; S) be the share contradicted among the most confident of a set S: of each predicted class k the most
    confident ``ceil(f |S_k|)`` samples, averaged over k with weights ``|S_k| / |S|``; of samples that tie at the end,
    the share that a random order would take. The estimate is the mean of D(1/2) of all samples and D(1/4) of those held
    out, D(1/2) for fewer than 2,000 samples; with `is_rising` the mean of D(1/10) of both. Within a group it is D(1/2)
    of its samples, with `is_rising` D(1/10); in a group of one label, with up to 1 % of others, the share contradicted
    among those of its samples that are in the surest half of all. The interval reaches from the lower bound of D(1/10)
    of all samples to the upper bound of D(1/2) of those held out, each two standard errors away by Wilson's formula
    [1]_. A lower bound below 0.01 counts as 0, and the interval is widened to hold the estimate.

    The result follows from order statistics and integer counts, and does not depend on the order of the samples.
    Systematic errors can't be seen: labels that follow a rule are learnt like correct ones.

    References
    ----------
    .. [1] E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.

    Examples
    --------
    >>> import numpy as np
    >>> import rrm_core
    >>> rng = np.random.default_rng(0)
    >>> true = rng.integers(0, 3, 4000)
    >>> labels = np.where(rng.random(4000) < 0.2, (true + 1) % 3, true)
    >>> confidence = rng.random(4000)
    >>> predicted = np.where(rng.random(4000) > confidence, rng.integers(0, 3, 4000), true)
    >>> held_out = rng.random(4000) < 0.15
    >>> rrm_core.estimate_contamination(labels, predicted, confidence, held_out).contamination > 0.15
    True
    """
    given = _read_classes("labels", labels)
    n = len(given)
    classes = _read_classes("predicted", predicted, n)
    confidences = _read_confidence(confidence, n)
    is_held_out = to_numpy("held_out", held_out)
    if is_held_out.dtype != bool or is_held_out.shape != (n,):
        raise ValueError(
            f"held_out must be a mask, bool of shape ({n},), got {is_held_out.dtype} of {is_held_out.shape}"
        )
    for name, x in (("predicted", predicted), ("confidence", confidence), ("held_out", held_out), ("groups", groups)):
        check_same_labels(name, x, "labels", labels)
    n_held_out = int(is_held_out.sum())
    if not n_held_out:
        raise ValueError("held_out must name at least one sample: hold out about 15 % from the start")
    is_wrong = given != classes
    all_samples = RankedPredictions(is_wrong, classes, confidences)
    unseen = RankedPredictions(is_wrong[is_held_out], classes[is_held_out], confidences[is_held_out])
    interval = None
    if is_rising:
        share = (all_samples.contradicted(10) + unseen.contradicted(10)) / 2
        basis = "the surest tenth of the predictions, of a model that was still learning"
    else:
        divisor = 2 if n < FEW_SAMPLES else 4
        share = (all_samples.contradicted(2) + unseen.contradicted(divisor)) / 2
        basis = f"the surest half of the predictions, and the surest {PARTS[divisor]} of those held out"
        interval = _interval(all_samples.contradicted(10), n, unseen.contradicted(2), n_held_out, share)
    by_group = None
    if groups is not None:
        prepared = groups if isinstance(groups, Groups) else Groups(groups)
        if len(prepared) != n:
            raise ValueError(f"groups must have one number for each of the {n} samples, got {len(prepared)}")
        divisor = 10 if is_rising else 2
        by_group = _estimate_by_group(
            given, classes, confidences, prepared, all_samples.most_confident(divisor), divisor
        )
    return ContaminationEstimate(
        contamination=min(share, MAX_CONTAMINATION),
        interval=interval,
        n=n,
        n_held_out=n_held_out,
        basis=basis,
        by_group=by_group,
        pairs=_count_pairs(given, classes, all_samples.most_confident(2)),
    )


def _estimate_by_group(
    given: Array, predicted: Array, confidence: Array, groups: Groups, surest: Array, divisor: int
) -> tuple[float, ...]:
    """Return the estimate of each group; 0 for a group without samples.

    In a group of one label, all samples of a predicted class are contradicted, or none, whatever their confidence. Such
    a group has the share contradicted among those of its samples that are the surest of all.
    """
    numbers = np.asarray(groups.numbers)
    is_wrong = given != predicted
    within = RankedPredictions(is_wrong, predicted, confidence, numbers)
    shares = np.array(within.contradicted_by_group(divisor, groups.n_groups))
    n_surest = np.bincount(numbers[surest], minlength=groups.n_groups)
    n_wrong = np.bincount(numbers[surest], is_wrong[surest], minlength=groups.n_groups)
    among_surest = n_wrong / np.maximum(n_surest, 1)
    has_one_label = _largest_label_share(numbers, given, groups.n_groups) >= ONE_LABEL
    return tuple(min(share, MAX_CONTAMINATION) for share in np.where(has_one_label, among_surest, shares).tolist())


def _largest_label_share(groups: Array, labels: Array, n_groups: int) -> npt.NDArray[np.float64]:
    """Return the share of the most frequent label in each group; 0 without samples."""
    n_labels = int(labels.max()) + 1
    cells, counts = np.unique(groups.astype(np.int64) * n_labels + labels, return_counts=True)
    largest = np.zeros(n_groups, np.int64)
    np.maximum.at(largest, cells // n_labels, counts)
    shares: npt.NDArray[np.float64] = largest / np.maximum(np.bincount(groups, minlength=n_groups), 1)
    return shares


def _interval(surest_tenth: float, n: int, surest_half: float, n_held_out: int, share: float) -> tuple[float, float]:
    """Return a range for the share of wrong labels, which holds the estimate.

    Its bounds are those of the shares contradicted among the surest tenth of all samples, and the surest half of those
    held out.
    """
    lower = _wilson_bounds(surest_tenth, n / 10)[0]
    upper = _wilson_bounds(surest_half, n_held_out / 2)[1]
    if lower < SMALLEST_BOUND:
        lower = 0.0
    return min(lower, share), max(upper, share)


def _wilson_bounds(share: float, n: float) -> tuple[float, float]:
    """Return Wilson's interval of a share of n samples, two standard errors wide on each side."""
    z = 2.0
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half_width = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(centre - half_width, 0.0), min(centre + half_width, 1.0)


def _count_pairs(given: Array, predicted: Array, samples: Array) -> Array:
    """Return each pair of a given and a predicted class of some samples, and how often it occurs."""
    n_classes = int(predicted.max()) + 1
    cells, counts = np.unique(given[samples] * n_classes + predicted[samples], return_counts=True)
    table = np.stack([cells // n_classes, cells % n_classes, counts], axis=1).astype(np.int64)
    table.flags.writeable = False
    return table


def _read_classes(name: str, classes: npt.ArrayLike, n: int | None = None) -> Array:
    array = to_numpy(name, classes)
    if array.dtype.kind not in "iu":
        remedy = "convert class numbers with astype(int)"
        if array.dtype.kind in "USO":
            remedy = "number the classes of labels and predictions from 0, in one order"
        raise TypeError(f"{name} must be integers, got {array.dtype}; {remedy}")
    if array.ndim != 1 or not len(array) or (n is not None and len(array) != n):
        length = "n" if n is None else n
        raise ValueError(f"{name} must have shape ({length},), one class per sample, got {array.shape}")
    if int(array.min()) < 0:
        raise ValueError(f"{name} must be at least 0, got {array.min()}; leave out samples without a label")
    return array.astype(np.int64)


def _read_confidence(confidence: npt.ArrayLike, n: int) -> Array:
    array = to_numpy("confidence", confidence)
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise TypeError(f"confidence must be floating-point numbers, got {array.dtype}")
    if array.shape != (n,):
        raise ValueError(f"confidence must have shape ({n},), one number per sample, got {array.shape}")
    n_nan = int(np.count_nonzero(np.isnan(array)))
    if n_nan:
        raise ValueError(f"confidence contains NaN: {n_nan:,} of {n:,}; see whether the model diverged")
    return array.astype(np.float64)
