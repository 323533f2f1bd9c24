"""The diagnosis of a run in words: how many labels are wrong, which, of what kind, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy.typing as npt
from torch import Tensor

from ..weighting.base import BaseRRM
from . import advice, diagnosis_text
from .evidence import gather
from .joint_findings import ClassShare, Kind, PairCount
from .warmup_timing import Timing


@dataclass(frozen=True)
class Diagnosis:
    """What a run shows of the wrong labels; `str` gives it in words.

    Attributes
    ----------
    n : int
        Number of samples.
    n_reweights : int
    share : float or None
        The estimated share of wrong labels; None without an estimate.
    interval : tuple of float, or None
        That of the estimate.
    share_pruned : float or None
        The share that the last reweight pruned; None before the first.
    classes : tuple of ClassShare
        The given classes that are contradicted clearly more often than all together, or, without an estimate, of which
        clearly more was pruned; the highest share first. Each has a `name`, `n`, `n_suspicious` and `share`.
    pairs : tuple of PairCount
        The pairs of a given and a predicted class that are clearly more frequent than if labels were replaced at
        random, the most frequent first. Each has `given`, `predicted`, `n`, and `n_contradicted` of the given class.
    groups : tuple of ClassShare
        Each group with samples, by its number, and how many of them are wrong by the estimate or, without one, were
        pruned; the highest share first.
    warmup : {"in time", "early", "late", "unknown"}
        When the warm-up ended, as far as this is seen; ``"late"`` is a possibility.
    overlap : float or None
        Mean overlap of the first ten pruned sets, each with the one before; None if this says nothing of the warm-up.
    kind : {"random", "partly systematic", "systematic", "unknown"}
        Kind of the wrong labels.
    concentration, expected_concentration : float or None
        How often two contradicted labels of one class have the same predicted class, and how often they would if wrong
        labels were replaced at random; None without an estimate, or with too few contradicted labels.
    findings, advice : tuple of str
        The text, a string per line.
    """

    n: int
    n_reweights: int
    share: float | None = None
    interval: tuple[float, float] | None = None
    share_pruned: float | None = None
    classes: tuple[ClassShare, ...] = ()
    pairs: tuple[PairCount, ...] = ()
    groups: tuple[ClassShare, ...] = ()
    warmup: Timing = "unknown"
    overlap: float | None = None
    kind: Kind = "unknown"
    concentration: float | None = None
    expected_concentration: float | None = None
    findings: tuple[str, ...] = field(default=(), repr=False)
    advice: tuple[str, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return "\n".join([*self.findings, "What to do next:", *(f"- {step}" for step in self.advice)])


def diagnose(
    rrm: BaseRRM, classes: Sequence[str] | None = None, labels: npt.ArrayLike | Tensor | None = None
) -> Diagnosis:
    """Say what a run shows of the wrong labels, and what to do next.

    With ``contamination="auto"`` or ``warmup="auto"`` this rests on the estimate and on the reweights, otherwise on the
    reweights alone.

    Parameters
    ----------
    rrm : RRM or BatchRRM
        After training, or in the middle of it.
    classes : sequence of str, optional
        The names of the classes; by default their numbers.
    labels : array or Tensor of integers, shape (n,), optional
        The given classes of all n samples, also where ranks store slices; a negative one stands for a sample without a
        label. Without an estimate, what was pruned is then compared by class.

    Returns
    -------
    Diagnosis
        Its `str` is the text.

    Raises
    ------
    TypeError
        `rrm` is neither, or `labels` aren't integers.
    ValueError
        `labels` has another shape, or there are fewer names than classes.

    Notes
    -----
    Classes and pairs are those of the confident joint, of the more confident half of the predictions of each class. One
    is named if it has at least 5 suspicious labels, and more than expected by 3 standard errors. With a layout, all
    ranks must call this together.

    Examples
    --------
    >>> import torch
    >>> from rrm_torch import RRM, diagnose
    >>> rrm = RRM(4, contamination=0.25, warmup=2)
    >>> rrm.step(torch.tensor([0.1, 9.0, 0.2, 0.3]))
    >>> print(diagnose(rrm))
    No reweight yet: 1 epoch has ended, and the first reweight follows epoch 2 (warmup=2).
    What to do next:
    - Train more than 2 epochs, or set warmup to a third of the planned ones at most.
    """
    if not isinstance(rrm, BaseRRM):
        raise TypeError(f"rrm must be an RRM or a BatchRRM, got {type(rrm).__name__}")
    evidence = gather(rrm, classes, labels)
    if evidence is None:
        findings = (diagnosis_text.before_first_reweight(rrm),)
        return Diagnosis(n=rrm.n, n_reweights=0, findings=findings, advice=advice.first_steps(rrm))
    return Diagnosis(
        n=rrm.n,
        n_reweights=len(rrm.trajectory.rounds),
        share=evidence.share,
        interval=evidence.interval,
        share_pruned=evidence.share_pruned,
        classes=evidence.classes or (),
        pairs=evidence.pairs or (),
        groups=evidence.groups,
        warmup=evidence.warmup.timing,
        overlap=evidence.warmup.overlap,
        kind=evidence.errors.kind,
        concentration=evidence.errors.concentration,
        expected_concentration=evidence.errors.expected,
        findings=diagnosis_text.findings(evidence),
        advice=advice.next_steps(evidence),
    )
