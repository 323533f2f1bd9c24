"""Jobs for tests of plans over ranks."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import torch
import torch.distributed as dist

import rrm_core
from rrm_torch import distributed
from rrm_torch.distributed import ProcessGroup
from rrm_torch.distributed.process_group import WORDS
from support.families import FAMILIES, assert_same_bits, losses, old_weights, reweight_cases

if TYPE_CHECKING:
    from collections.abc import Iterator

TORCH_TYPES = {"bfloat16": torch.bfloat16}


def as_tensor(array: np.ndarray) -> torch.Tensor:
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(array.copy())


def shards(n: int, size: int) -> Iterator[np.ndarray]:
    """Yield, for each of some ways to spread n samples over ranks, the rank of each sample, in ascending order."""
    rng = np.random.default_rng([n, size])
    yield np.arange(n) * size // n  # even
    yield np.full(n, size - 1)  # all on the last, the others empty
    yield np.sort(rng.integers(0, size, n) ** 2 // size)  # uneven


def plans(n: int, dtype: str, every: int) -> int:
    """Plan all families, sharded in several ways and orders; return the number of plans compared."""
    rank, size, compared = dist.get_rank(), dist.get_world_size(), 0
    for number, family in enumerate(FAMILIES):
        c, w = losses(family, n, dtype), old_weights(n, dtype)
        order = np.random.default_rng(number).permutation(n)
        for spread, owner in enumerate(shards(n, size)):
            shuffled = c if spread == 0 else c[order]
            mine, old = as_tensor(shuffled[owner == rank]), torch.from_numpy(w[owner == rank])
            for rule, mu, with_old in islice(
                reweight_cases(family), (4 * number + 11 * spread + 5 * size) % every, None, every
            ):
                label = f"{family} {spread=} {rule=}"
                expected, plan = rrm_core.reweight(shuffled, w if with_old else None, mu=mu, **rule)
                assert distributed.plan(mine, **rule) == plan, label
                weights, same = distributed.reweight(mine, old if with_old else None, mu=mu, **rule)
                assert same == plan, label
                assert_same_bits(weights, expected[owner == rank], label)
                compared += 1
    return compared


def grouped_plans(n: int, dtype: str) -> int:
    """Plan and reweight with groups, sharded in several ways; return the number of plans compared."""
    rank, size, compared = dist.get_rank(), dist.get_world_size(), 0
    rng = np.random.default_rng(n)
    c, w = losses("few distinct", n, dtype), old_weights(n, dtype)
    for n_groups in (1, 3, 9):
        groups = rng.integers(0, n_groups, n)
        shares = np.round(0.9 * rng.random(n_groups), 2)
        rules: tuple[dict[str, Any], ...] = (
            {"contamination": shares, "ties": "share", "mass": "group"},
            {"contamination": 0.3, "cap": 0.4, "redistribute": 0.2},
            {"gamma": 0.5, "mass": "group", "redistribute": "kept"},
        )
        for owner, rule in zip(shards(n, size), rules, strict=True):
            prepared = rrm_core.Groups(groups, n_groups)
            expected, plan = rrm_core.reweight(c, w, mu=0.3, groups=prepared, **rule)
            own = owner == rank
            mine, old, own_groups = as_tensor(c[own]), torch.from_numpy(w[own]), torch.from_numpy(groups[own])
            weights, same = distributed.reweight(mine, old, mu=0.3, groups=own_groups, n_groups=n_groups, **rule)
            assert same == plan, rule
            assert_same_bits(weights, expected[own], str(rule))
            compared += 1
    return compared


def plan_with_own_groups(groups: list[Any], n_groups: list[int | None]) -> Any:
    """Plan some losses with this rank's groups, and their number."""
    rank = dist.get_rank()
    return distributed.plan(torch.ones(2), groups=groups[rank], n_groups=n_groups[rank], contamination=0.2)


def plan_of_parts(parts: list[Any], rule: dict[str, Any]) -> Any:
    """Plan this rank's part."""
    return distributed.plan(parts[dist.get_rank()], **rule)


def plan_under_own_rule(rules: list[dict[str, Any]]) -> Any:
    """Plan some losses under this rank's rule."""
    return distributed.plan(torch.ones(5), **rules[dist.get_rank()])


def weights_under_own_mu(mus: list[float]) -> Any:
    """Reweight losses, all of which are on the first rank, with this rank's step."""
    rank = dist.get_rank()
    return distributed.reweight(torch.arange(0.0 if rank else 5.0), mu=mus[rank], contamination=0.2)


def other_collective_and_undecodable_message() -> list[str]:
    """Call another collective on one rank, and raise an error whose message is not valid UTF-8; return the errors."""
    ranks, said = ProcessGroup(), []
    try:
        ranks.all_gather(torch.zeros(WORDS, dtype=torch.int64)) if ranks.rank else ranks.sync_or_raise(None)
    except RuntimeError as error:
        said.append(str(error))
    try:
        ranks.sync_or_raise(OSError("no file \udce9") if ranks.rank else None)
    except OSError as error:
        said.append(str(error))
    return said


def error_without_other_ranks() -> str:
    """Raise an error when the other rank has ended; return what is raised."""
    try:
        return "" if dist.get_rank() == 0 else str(ProcessGroup().sync_or_raise(OSError("no such file")))
    except OSError as error:
        return str(error)


def weights_of_parts(parts: list[Any], weights: list[Any], mu: float) -> Any:
    """Reweight this rank's part."""
    rank = dist.get_rank()
    return distributed.reweight(parts[rank], weights[rank], mu=mu, contamination=0.2)[0].tolist()


def close_together(n: int, dtype: str) -> np.ndarray:
    """Return losses in two bins, of which more remain after the first round than are sent as keys."""
    return (1 + np.arange(n) % 2 + np.random.default_rng(n).random(n) * (1e-3 if dtype == "float32" else 1e-12)).astype(
        dtype
    )


def traffic(c: np.ndarray, rules: list[dict[str, Any]]) -> list[tuple[dict[str, int], Any]]:
    """Return the traffic of this rank for a plan under each rule, and the plan."""
    rank, size, found = dist.get_rank(), dist.get_world_size(), []
    for rule in rules:
        ranks = ProcessGroup()
        plan = distributed.plan(as_tensor(np.array_split(c, size)[rank]), group=ranks, **rule)
        found.append((dict(ranks.traffic), plan))
    return found
