"""Scores that rank samples in place of their losses: losses less a price for each sample, see `RRM`.

With prices b_i for the samples, the closed form is that of the losses less b_i. So each score here is a loss that knows
more: which classes are confused, or how frequent they are.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

import rrm_core

from .outputs import is_one_logit

RankBy: TypeAlias = Literal["loss", "noise-aware", "prior-adjusted"]

DEFAULT_CAP = 0.5
"""Largest share pruned of a class by default: scores single out classes, and a class not learnt yet has high losses."""

MAX_CLASSES = 4096
"""A transition matrix has a number for each pair of classes."""


def transition_matrix(estimate: rrm_core.ContaminationEstimate, n_classes: int) -> Tensor:
    """Return the probability of each given class by true class: float32, shape (n_classes, n_classes).

    Row k are the given classes of the more confident predictions of k, with 1 sample more, spread over all classes.
    """
    joint = torch.tensor(estimate.confident_joint(n_classes), dtype=torch.float32, device="cpu").T
    joint = joint + 1 / n_classes
    return joint / joint.sum(1, keepdim=True)


def noise_aware_loss(logits: Tensor, labels: Tensor, log_transition: Tensor) -> Tensor:
    """Return the noise-aware loss: how improbable it is that the given class is the true one.

    Parameters
    ----------
    logits : Tensor, shape (batch, n_classes)
    labels : Tensor of int64, shape (batch,)
    log_transition : Tensor, shape (n_classes, n_classes)
        In row j and column k the logarithm of T[k, j], the probability of the given class j where k is true.

    Returns
    -------
    Tensor, shape (batch,)
        ``-log(p_y T[y, y] / sum_k p_k T[k, y])``, with p the softmax of the logits: the posterior of the given class y,
        by Bayes' rule.
    """
    joint = logits.log_softmax(1) + log_transition[labels]
    return joint.logsumexp(1) - joint.gather(1, labels[:, None])[:, 0]


def prior_adjusted_loss(logits: Tensor, labels: Tensor, prior: Tensor) -> Tensor:
    """Return the cross-entropy as if all classes were equally frequent.

    Parameters
    ----------
    logits : Tensor, shape (batch, n_classes)
    labels : Tensor of int64, shape (batch,)
    prior : Tensor, shape (n_classes,)
        The share of each class among the kept labels, above 0.

    Returns
    -------
    Tensor, shape (batch,)
        The cross-entropy of ``logits - log(prior)``.
    """
    return F.cross_entropy(logits - prior.log(), labels, reduction="none")


def class_shares(groups: rrm_core.Groups, plan: object, n_classes: int) -> Tensor:
    """Return the share of each class among the labels that the last reweight kept: float32, shape (n_classes,).

    A class without a kept label counts as one.
    """
    kept = torch.tensor(groups.sizes, dtype=torch.float32, device="cpu")
    if isinstance(plan, rrm_core.GroupedPlan):
        kept = kept - torch.tensor(plan.n_pruned, dtype=torch.float32, device="cpu")
    counts = F.pad(kept, (0, n_classes - len(kept))).clamp(min=1)
    return counts / counts.sum()


def as_columns(logits: Tensor) -> Tensor:
    """Return logits with a column for each class, at least float32; one number per sample is that of class 1."""
    logits = logits.detach()
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if is_one_logit(logits):
        one = logits.reshape(-1)
        return torch.stack([torch.zeros_like(one), one], 1)
    return logits


class SampleScorer:
    """The scores of batches, by what is known at one time; made anew after each reweight.

    Parameters
    ----------
    rank_by : {"noise-aware", "prior-adjusted"}
    groups : Groups
        The given classes of all samples.
    estimate : ContaminationEstimate, optional
    plan : GroupedPlan, optional
        Of the last reweight.
    """

    def __init__(
        self,
        rank_by: RankBy,
        groups: rrm_core.Groups,
        estimate: rrm_core.ContaminationEstimate | None,
        plan: object,
    ) -> None:
        self.rank_by = rank_by
        self.groups = groups
        self.estimate = estimate
        self.plan = plan
        self._table: Tensor | None = None

    def is_current(self, estimate: rrm_core.ContaminationEstimate | None, plan: object) -> bool:
        """Return whether the scores would be the same with this estimate and plan."""
        return self.estimate is estimate and (self.rank_by == "noise-aware" or self.plan is plan)

    def score(self, losses: Tensor, index: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the scores of a batch, shape (batch,): the losses as long as no score is known.

        Raises
        ------
        ValueError
            The groups aren't the given classes, or there are too many of these.
        """
        losses = losses.detach()
        columns = as_columns(logits)
        self._check_groups(index, labels, columns.shape[1])
        if self.rank_by == "noise-aware" and self.estimate is None:
            return losses
        table = self._table_for(columns)
        given = labels.to(columns.device)
        safe = given.clamp(min=0)
        function = noise_aware_loss if self.rank_by == "noise-aware" else prior_adjusted_loss
        scores = function(columns, safe, table)
        return torch.where(given < 0, losses.to(scores.dtype), scores)

    def _check_groups(self, index: Tensor, labels: Tensor, n_classes: int) -> None:
        """Raise a ValueError unless the groups can be the given classes; on the host, unless they are."""
        if self.groups.n_groups > n_classes or n_classes > MAX_CLASSES:
            raise ValueError(
                f"rank_by={self.rank_by!r} needs groups that are the given classes, and at most {MAX_CLASSES:,} of "
                f"these, got {self.groups.n_groups:,} groups and logits of {n_classes:,} classes"
            )
        if index.device.type != "cpu" or labels.device.type != "cpu":
            return
        is_inside = (index >= 0) & (index < len(self.groups)) & (labels >= 0)
        samples = index[is_inside].numpy()
        differs = self.groups.numbers[samples] != labels[is_inside].numpy()
        if differs.any():
            sample = int(samples[differs][0])
            raise ValueError(
                f"rank_by={self.rank_by!r} needs groups that are the given classes, got group "
                f"{self.groups.numbers[sample]} and label {int(labels[is_inside][differs.argmax()])} of sample {sample}"
            )

    def _table_for(self, columns: Tensor) -> Tensor:
        """Return the logarithms of the transition matrix, or the prior, on the device of the logits."""
        if self._table is None:
            n_classes = columns.shape[1]
            if self.rank_by == "noise-aware":
                assert self.estimate is not None
                self._table = transition_matrix(self.estimate, n_classes).T.log().contiguous()
            else:
                self._table = class_shares(self.groups, self.plan, n_classes)
        self._table = self._table.to(columns.device)
        return self._table.to(columns.dtype)
