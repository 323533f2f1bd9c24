"""The population of a reweight: the samples that it plans over, where `RRM.step` gets `among`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..distributed.exact_sum import FixedPoint
from .layout import Layout
from .sample_groups import MemberGroups


@dataclass(frozen=True)
class Population:
    """The samples that a reweight plans over.

    Attributes
    ----------
    mask : Tensor of bool, shape (n_local,)
    n : int
        Their number, on all ranks together.
    """

    mask: Tensor
    n: int


def check_among(among: object) -> None:
    """Raise a TypeError or ValueError unless a population is a tensor of indices or a mask, shape (m,)."""
    kind = among.dtype if isinstance(among, Tensor) else type(among).__name__
    if not isinstance(among, Tensor) or among.dtype not in (torch.bool, torch.int64, torch.int32):
        raise TypeError(
            f"among must be a tensor of indices, int64 or int32, or a mask of bool, got {kind}; torch.as_tensor makes "
            "one of an array or a list"
        )
    if among.ndim != 1:
        raise ValueError(f"among must be one-dimensional, got shape {tuple(among.shape)}")


def locate_members(among: Tensor, start: int, end: int) -> Tensor:
    """Return the positions of a population, which `check_among` has accepted, among the indices in [start, end).

    Parameters
    ----------
    among : Tensor of int64 or int32, shape (m,), or of bool, shape (end - start,)
        Indices, or a mask.

    Returns
    -------
    Tensor of int64, shape (m,)
        In the order of the indices; ascending for a mask.

    Raises
    ------
    ValueError, IndexError
        A mask has another length, an index is out of range, or a sample is named twice.
    """
    if among.dtype == torch.bool:
        if len(among) != end - start:
            raise ValueError(
                f"among, as a mask, must have shape ({end - start},), one element per sample, got {tuple(among.shape)}"
            )
        return among.nonzero()[:, 0]
    positions = among.long() - start
    outside = among[(positions < 0) | (positions >= end - start)]
    if len(outside):
        raise IndexError(
            f"among must hold indices in [{start}, {end}), the local samples; got {len(outside)} outside, the first "
            f"{int(outside[0])}"
        )
    check_distinct(among)
    return positions


def check_distinct(among: Tensor) -> None:
    """Raise a ValueError if the indices of a population name a sample twice."""
    ordered = among.sort().values
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(repeated):
        raise ValueError(f"among must name each sample once, got index {int(repeated[0])} more than once")


def losses_by_sample(losses: Tensor, positions: Tensor, n_local: int) -> Tensor:
    """Return the losses passed for a population, or for all samples, by sample.

    Parameters
    ----------
    losses : Tensor, shape (n_local,) or (m,)
        Of all local samples, or of the population alone, in the order of `positions`.
    positions : Tensor of int64, shape (m,)
        Of the population.
    n_local : int

    Returns
    -------
    Tensor, shape (n_local,)
        0 for samples whose loss was not passed.

    Raises
    ------
    ValueError
        `losses` has another shape, or could be in either order.
    """
    n_members = len(positions)
    if losses.shape not in ((n_local,), (n_members,)):
        raise ValueError(
            f"losses must have shape ({n_local},), one per sample, or ({n_members},), one for each of among, got "
            f"{tuple(losses.shape)}"
        )
    if len(losses) < n_local:
        by_sample = torch.zeros(n_local, dtype=losses.dtype, device=losses.device)
        by_sample[positions] = losses.detach()
        return by_sample
    if n_members == n_local and bool((positions[1:] < positions[:-1]).any()):
        raise ValueError(
            "among names all samples in another order than that of the training set, so that losses could be in "
            "either: sort among, and pass the losses in the order of the training set"
        )
    return losses


def initial_weights(
    weights: Tensor, members: Tensor, layout: Layout, *, rescales: bool, groups: MemberGroups | None = None
) -> Tensor:
    """Return the weights from which a reweight of a population starts.

    Parameters
    ----------
    weights : Tensor, shape (n_local,)
        The old weights, 1 for a newcomer.
    members : Tensor of bool, shape (n_local,)
        The samples that take part.
    layout : Layout
        Collective if it has ranks and `rescales` is true.
    rescales : bool
        Whether the members' weights are multiplied by float32(m / S), so that their mean becomes 1: m is the number of
        members, and S the exact sum of their weights. If that is not a number, because all of these weights are 0 or
        nearly so, members start from 1 as well.
    groups : MemberGroups, optional
        The groups of the members, if each keeps its mass: m and S are then those of a member's group.

    Returns
    -------
    Tensor, shape (n_local,)
        1 for samples outside the population.
    """
    if not rescales:
        return torch.where(members, weights, 1)
    initial = torch.ones_like(weights)
    if groups is None:
        numbers = torch.zeros(int(members.count_nonzero()), dtype=torch.int32, device=weights.device)
        n_groups = 1
    else:
        numbers = groups.numbers
        n_groups = groups.n_groups
    old = weights[members]
    factor = _factors(old, numbers, n_groups, layout).to(weights).index_select(0, numbers)
    initial[members] = torch.where(factor.isfinite(), old * factor, 1)
    return initial


def _factors(weights: Tensor, groups: Tensor, n_groups: int, layout: Layout) -> Tensor:
    """Return the factor that gives the weights of each group mean 1: float32, shape (n_groups,), on the host.

    It is inf or NaN if there is none.
    """
    largest = layout.all_reduce_max(weights.amax(0, keepdim=True) if len(weights) else weights.new_zeros(1))
    fixed_point = FixedPoint(float(largest), layout.n)
    sums = torch.zeros(n_groups, dtype=torch.int64, device=weights.device)
    sums.index_add_(0, groups, fixed_point.multiples(weights))
    sizes = torch.bincount(groups, minlength=n_groups)
    totals, n_members = layout.all_reduce_sum(torch.stack([sums, sizes])).tolist()
    masses = [fixed_point.value(total) for total in totals]
    factors = [n / mass if mass else torch.inf for n, mass in zip(n_members, masses, strict=True)]
    return torch.tensor(factors, dtype=torch.float32, device="cpu")
