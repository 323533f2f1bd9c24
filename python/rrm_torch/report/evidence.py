"""What a run shows of the wrong labels, as numbers, from which a diagnosis is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

import rrm_core
from rrm_core._learnt_estimate import NOTHING_LEARNT

from .._models import to_numpy
from ..weighting.base import BaseRRM
from ..weighting.reweight import Reweight
from ..weighting.rrm import RRM
from .joint_findings import ClassShare, ErrorKind, JointCounts, PairCount, outlying_classes
from .warmup_timing import WarmupTiming, judge_warmup

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a run shows after its first reweight.

    Attributes
    ----------
    rrm : RRM or BatchRRM
    estimate : ContaminationEstimate or None
    last : Reweight
    warmup : WarmupTiming
    classes : tuple of ClassShare, or None
        The classes with clearly more contradicted labels than all together, or pruned ones without an estimate; None
        with neither an estimate nor labels, and if the model was still learning.
    pairs : tuple of PairCount, or None
        None without an interval, and with two classes.
    errors : ErrorKind
        Unknown without an interval.
    groups : tuple of ClassShare
        Empty without groups.
    """

    rrm: BaseRRM
    estimate: rrm_core.ContaminationEstimate | None
    last: Reweight
    warmup: WarmupTiming
    classes: tuple[ClassShare, ...] | None
    pairs: tuple[PairCount, ...] | None
    errors: ErrorKind
    groups: tuple[ClassShare, ...]

    @property
    def share(self) -> float | None:
        """The estimated share of wrong labels; None if the model had learnt nothing."""
        return self.estimate.contamination if self.estimate is not None and self.has_learnt else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval of the estimate."""
        return None if self.estimate is None else self.estimate.interval

    @property
    def has_learnt(self) -> bool:
        """Whether the model of the estimate predicted labels more often than by chance; True without one."""
        return self.estimate is None or self.estimate.basis != NOTHING_LEARNT

    @property
    def share_pruned(self) -> float:
        """The share that the last reweight pruned."""
        return self.last.n_pruned / self.last.n_planned

    @property
    def may_be_none(self) -> bool:
        """Whether the interval of the estimate holds 0."""
        return self.interval is not None and self.interval[0] == 0

    @property
    def is_estimated_by_group(self) -> bool:
        """Whether each group has an estimate."""
        return self.estimate is not None and self.estimate.by_group is not None


class ClassNames:
    """The names of classes.

    Parameters
    ----------
    names : sequence of str, optional
        By default the numbers.
    largest : int
        The largest class that occurs; -1 if none does.

    Raises
    ------
    ValueError
        There are too few names.
    """

    def __init__(self, names: Sequence[str] | None, largest: int) -> None:
        if names is not None and len(names) <= largest:
            raise ValueError(f"classes must name each of the {largest + 1} classes, got {len(names)}")
        self._names = names

    def __call__(self, number: int) -> str:
        """Return the name of a class."""
        return str(number) if self._names is None else str(self._names[number])


def gather(rrm: BaseRRM, classes: Sequence[str] | None, labels: npt.ArrayLike | Tensor | None) -> Evidence | None:
    """Return what a run shows; None before its first reweight. The arguments are those of `diagnose`.

    Raises
    ------
    TypeError, ValueError
        As `diagnose`.
    """
    estimate = rrm.estimate if isinstance(rrm, RRM) else None
    given = None if labels is None else _read_labels(labels, rrm.n)
    largest = -1 if given is None else int(given.max(initial=-1))
    if estimate is not None:
        largest = max(largest, int(estimate.pairs[:, :2].max(initial=-1)))
    name_of = ClassNames(classes, largest)
    rounds = rrm.trajectory.rounds
    if not rounds:
        return None
    suspicious = None
    pairs = None
    errors = ErrorKind("unknown", 0)
    if estimate is not None and estimate.interval is not None:
        # A model that was still learning contradicts many right labels.
        joint = JointCounts(estimate.pairs, name_of)
        suspicious = joint.outlying_classes()
        pairs = joint.outlying_pairs() if joint.n_classes > 2 else None
        errors = joint.error_kind()
    elif estimate is None and given is not None:
        suspicious = _classes_by_pruning(rrm, given, name_of)
    return Evidence(
        rrm=rrm,
        estimate=estimate,
        last=rounds[-1],
        warmup=judge_warmup(rrm, estimate),
        classes=suspicious,
        pairs=pairs,
        errors=errors,
        groups=_group_shares(rrm, estimate, rounds[-1], name_of if _are_classes(rrm.groups, given) else str),
    )


def _classes_by_pruning(rrm: BaseRRM, given: Labels, name_of: ClassNames) -> tuple[ClassShare, ...]:
    """Return the classes of which clearly more was pruned than of all together. Collective where there are ranks."""
    pruned = given[to_numpy(rrm.flagged())]
    n_classes = int(given.max(initial=-1)) + 1
    n, n_pruned = (np.bincount(chosen[chosen >= 0], minlength=n_classes).astype(float) for chosen in (given, pruned))
    return outlying_classes(n, n_pruned, name_of)


def _are_classes(groups: rrm_core.Groups | None, given: Labels | None) -> bool:
    return groups is not None and given is not None and np.array_equal(groups.numbers, given)


def _group_shares(
    rrm: BaseRRM, estimate: rrm_core.ContaminationEstimate | None, last: Reweight, name_of: Callable[[int], str]
) -> tuple[ClassShare, ...]:
    """Return the suspicious share of each group that has samples, the highest first."""
    if rrm.groups is None:
        return ()
    sizes = np.asarray(last.n_planned_by_group)
    counts = np.asarray(last.n_pruned_by_group)
    if estimate is not None and estimate.by_group is not None:
        sizes = np.asarray(rrm.groups.sizes)
        counts = np.round(np.asarray(estimate.by_group) * sizes)
    shares = [
        ClassShare(name_of(group), int(size), int(count))
        for group, (size, count) in enumerate(zip(sizes, counts, strict=True))
        if size
    ]
    return tuple(sorted(shares, key=lambda entry: -entry.share))


def _read_labels(labels: npt.ArrayLike | Tensor, n: int) -> Labels:
    array: npt.NDArray[Any] = to_numpy(labels) if isinstance(labels, Tensor) else np.asarray(labels)
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"labels must be integers, got {array.dtype}; number the classes from 0, in the order of their names"
        )
    if array.shape != (n,):
        raise ValueError(f"labels must have shape ({n},), one per sample, got {array.shape}")
    return array.astype(np.int64)
