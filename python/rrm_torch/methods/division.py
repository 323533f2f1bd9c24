"""The division of the samples into a labelled and an unlabelled set, and RRM's weights in the labelled one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rrm_core._arguments import MAX_CONTAMINATION

from ..weighting.rrm import RRM

OnPruned = Literal["drop", "unlabelled"]


def check_on_pruned(on_pruned: str) -> None:
    """Raise a ValueError unless `on_pruned` is one of the choices."""
    if on_pruned not in ("drop", "unlabelled"):
        raise ValueError(f"on_pruned must be 'drop' or 'unlabelled', got {on_pruned!r}")


@dataclass(frozen=True, eq=False, repr=False)
class Division:
    """The samples as one network trains on them for an epoch.

    Attributes
    ----------
    labelled, unlabelled : Tensor of int64
        The indices of both sets, ascending; one may be empty.
    weights : Tensor of float32, shape (n,), optional
        The weights of the labels; None without RRM, and where pruned samples are unlabelled.
    pruned : Tensor of int64
        The indices of the samples that RRM pruned from the selected set, ascending.
    """

    labelled: Tensor
    unlabelled: Tensor
    weights: Tensor | None
    pruned: Tensor

    def __repr__(self) -> str:
        """Return the sizes of the sets."""
        sizes = f"{len(self.labelled)} labelled, {len(self.unlabelled)} unlabelled, {len(self.pruned)} pruned"
        return f"<Division: {sizes}>"


def divide(
    index: Tensor,
    selected: Tensor,
    losses: Tensor,
    rrm: RRM | None,
    contamination: float | npt.NDArray[np.float64] | None,
    on_pruned: OnPruned,
) -> Division:
    """Return the division of samples by a selection, and let RRM plan over the selected ones.

    Parameters
    ----------
    index : Tensor of int64, shape (m,)
        The samples, ascending, on the host.
    selected : Tensor of bool, shape (m,)
        Which of them are in the labelled set, on the host.
    losses : Tensor, shape (m,)
        By which RRM prunes.
    rrm : RRM, optional
        Its next round is over the selected samples alone. Without any there is none.
    contamination : float, or array of shape (n_groups,), optional
        Of the selected set; None if RRM has one, or gamma.
    on_pruned : {"drop", "unlabelled"}
        Whether pruned samples stay in the labelled set with weight 0, or leave it; then all weights are 1. They stay if
        fewer than two would be left, since a network can't be trained on a single sample.
    """
    if rrm is None or not bool(selected.any()):
        return Division(index[selected], index[~selected], weights=None, pruned=index[:0])
    device = losses.device
    rrm.step(losses[selected.to(device)], among=index[selected].to(device), contamination=contamination)
    is_pruned = rrm.trajectory.last.cpu()[index] & selected
    remaining = selected & ~is_pruned
    if on_pruned == "unlabelled" and int(remaining.count_nonzero()) > 1:
        return Division(index[remaining], index[~remaining], weights=None, pruned=index[is_pruned])
    weights = rrm.weights.float().cpu()
    return Division(index[selected], index[~selected], weights=weights, pruned=index[is_pruned])


def estimated_shares(
    rrm: RRM, index: Tensor, clean_probability: Tensor, selected: Tensor
) -> float | npt.NDArray[np.float64]:
    """Return the share of wrong labels in a selected set: the mean probability that a label is wrong.

    Parameters
    ----------
    rrm : RRM
        If it has groups and no cap, the shares are those of its groups.
    index : Tensor of int64, shape (m,)
        Samples.
    clean_probability : Tensor, shape (m,)
    selected : Tensor of bool, shape (m,)

    Returns
    -------
    float, or array of shape (n_groups,)
        Below 1, also where the probabilities are rounded to 0, as may be in a set that Otsu's threshold selects.
    """
    wrong = 1 - clean_probability[selected].double()
    if rrm.groups is None or rrm.settings.cap is not None:
        return min(float(wrong.mean()), MAX_CONTAMINATION)
    numbers = torch.tensor(rrm.groups.numbers, dtype=torch.int64)[index[selected]]
    sums = torch.zeros(rrm.groups.n_groups, dtype=torch.float64).index_add_(0, numbers, wrong)
    sizes = torch.bincount(numbers, minlength=rrm.groups.n_groups)
    return (sums / sizes.clamp(min=1)).clamp(max=MAX_CONTAMINATION).numpy()
