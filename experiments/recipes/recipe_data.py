"""What a recipe loads: a training set, test sets, and what is known of wrong labels."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rrm_torch.methods import TrainingSet

TEST = "test"
VALIDATION = "val"


@dataclass(frozen=True, eq=False)
class CheckedLabels:
    """Training labels that are known to be right or wrong: all of them, or those that annotators checked.

    Attributes
    ----------
    index : Tensor of int64, shape (m,)
        Which samples.
    is_wrong : Tensor of bool, shape (m,)
    """

    index: Tensor
    is_wrong: Tensor

    @classmethod
    def of_all(cls, is_wrong: npt.NDArray[np.bool_] | Tensor) -> CheckedLabels:
        """Return the labels of a training set of which all is known."""
        wrong = torch.as_tensor(is_wrong)
        return cls(torch.arange(len(wrong)), wrong)

    def pruning(self, pruned: Tensor) -> tuple[float | None, float | None]:
        """Return the precision and the recall of pruned samples, as far as their labels were checked.

        Parameters
        ----------
        pruned : Tensor of int64, shape (k,)
            Indices of the pruned samples.

        Returns
        -------
        precision : float or None
            Share of wrong labels among those pruned; None if none of these was checked.
        recall : float or None
            Share of the wrong labels that are pruned; None if there is none.
        """
        is_pruned = torch.isin(self.index, pruned)
        n_found = int((is_pruned & self.is_wrong).sum())
        return _ratio(n_found, int(is_pruned.sum())), _ratio(n_found, int(self.is_wrong.sum()))


@dataclass(frozen=True, eq=False)
class RecipeData:
    """The data of a recipe.

    Attributes
    ----------
    train : TrainingSet
    tests : dict of str to TrainingSet
        Sets to evaluate on, with checked labels: ``"test"``, and others such as ``"val"``.
    checked : CheckedLabels, optional
    groups : int64 array of shape (n,), optional
        The source of each training label.
    group_shares : float64 array of shape (n_groups,), optional
        The share of wrong labels of each source, as far as it is known without the true training labels.
    """

    train: TrainingSet
    tests: dict[str, TrainingSet] = field(default_factory=dict)
    checked: CheckedLabels | None = None
    groups: npt.NDArray[np.int64] | None = None
    group_shares: npt.NDArray[np.float64] | None = None

    @property
    def n_inputs(self) -> int:
        """Values per sample."""
        return self.train.inputs[torch.tensor([0])][0].numel()


def _ratio(count: int, total: int) -> float | None:
    return count / total if total else None
