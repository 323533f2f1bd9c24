"""SampleGroups: the group of each sample, prepared once for all reweights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy.typing as npt
import torch
from torch import Tensor

import rrm_core

from .._models import to_numpy

GroupsLike: TypeAlias = npt.ArrayLike | Tensor | rrm_core.Groups


def prepare_groups(groups: GroupsLike, n: int, n_groups: int | None) -> rrm_core.Groups:
    """Return the groups of n samples on the host; `n_groups` is their number if another argument has it.

    Raises
    ------
    TypeError, ValueError
        As `rrm_core.Groups`, or there are not n of them.
    """
    if isinstance(groups, Tensor):
        groups = to_numpy(groups)
    if not isinstance(groups, rrm_core.Groups):
        groups = rrm_core.Groups(groups, n_groups)
    elif not groups.on_host:
        groups = rrm_core.Groups(to_numpy(torch.as_tensor(groups.numbers)), groups.n_groups)
    if len(groups) != n:
        raise ValueError(f"groups must have one number for each of the n={n} samples, got {len(groups)}")
    return groups


@dataclass(frozen=True)
class MemberGroups:
    """The groups of the samples that take part in a reweight, of those in this process.

    Attributes
    ----------
    numbers : Tensor of int32, shape (m,)
    n_groups : int
        Number of groups, those without a sample here included.
    argument : Groups or Tensor
        What rrm_core gets: the numbers prepared, or as they are if there are none.
    """

    numbers: Tensor
    n_groups: int
    argument: rrm_core.Groups | Tensor


class SampleGroups:
    """The group of each local sample, on the device of the losses.

    Parameters
    ----------
    groups : Groups
        Of all samples, on the host.
    start, end : int
        The local samples, see `Layout`.
    """

    def __init__(self, groups: rrm_core.Groups, start: int, end: int) -> None:
        # A copy, since they are read-only.
        numbers = torch.tensor(groups.numbers)
        if end - start < len(groups):
            self._local = _make_member_groups(numbers[start:end], groups.n_groups)
        else:
            self._local = MemberGroups(numbers, groups.n_groups, groups)

    def on(self, device: torch.device) -> MemberGroups:
        """Return those of all local samples on `device`; they stay there until another device is asked for."""
        if device != self._local.numbers.device:
            self._local = _make_member_groups(self._local.numbers.to(device), self._local.n_groups)
        return self._local

    def of(self, members: Tensor | None, device: torch.device) -> MemberGroups:
        """Return those of the local samples that a mask selects (all for None), on `device`."""
        local = self.on(device)
        return local if members is None else _make_member_groups(local.numbers[members], local.n_groups)

    def thresholds(self, plan: rrm_core.GroupedPlan, numbers: Tensor) -> Tensor:
        """Return the threshold of each local sample's group, in the dtype and on the device of the losses `numbers`."""
        # A copy: arrays of a plan are read-only. The conversion is exact, because each threshold was compared with
        # losses of this dtype.
        threshold = torch.tensor(plan.threshold, dtype=numbers.dtype, device=numbers.device)
        return threshold.index_select(0, self.on(numbers.device).numbers)


def _make_member_groups(numbers: Tensor, n_groups: int) -> MemberGroups:
    return MemberGroups(numbers, n_groups, rrm_core.Groups(numbers, n_groups) if len(numbers) else numbers)
