"""What every rank does in tests of RRM over ranks: train on losses that depend on epoch and sample alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import DistributedSampler

from rrm_torch import RRM
from rrm_torch.distributed import ShardSampler, slice_of


def losses_after(epoch: int, n: int) -> torch.Tensor:
    rng = np.random.default_rng(epoch)
    c = rng.exponential(size=n)
    c[rng.random(n) < 0.1] = 0.25
    return torch.from_numpy(c.astype(np.float32))


def visited(layout: str | None, epoch: int, n: int) -> torch.Tensor:
    """Return the samples that this rank visits in an epoch, in its order."""
    if layout is None:
        return torch.from_numpy(np.random.default_rng(epoch).permutation(n))
    if layout == "replicated":
        sampler = DistributedSampler(range(n), seed=5)  # pads, so that some samples are seen twice
    elif n >= 8 * dist.get_world_size():
        sampler = ShardSampler(n, seed=5)
    else:
        return torch.arange(*slice_of(n, dist.get_rank(), dist.get_world_size()))
    sampler.set_epoch(epoch)
    return torch.tensor(list(sampler))


def train(
    layout: str | None,
    n: int,
    settings: dict[str, Any],
    epochs: range,
    state: dict[str, Any] | None = None,
    given: bool = False,
) -> RRM:
    """Train for some epochs, from a state on; `given` hands the losses to `step` rather than have them recorded."""
    rrm = RRM(n, layout=layout, **settings)
    if state is not None:
        rrm.load_state_dict(state)
    begin, end = slice_of(n, dist.get_rank(), dist.get_world_size()) if layout == "sharded" else (0, n)
    for epoch in epochs:
        c = losses_after(epoch, n)
        for batch in torch.split(visited(layout, epoch, n), 16):
            if not given:
                rrm.weighted_mean(c[batch], batch)
        rrm.step(c[begin:end] if given else None)
    return rrm


def flat(state: Any, name: str = "") -> list[tuple[Any, ...]]:
    """Return what a state holds, in an order of its own, as what can be compared to the bit."""
    if isinstance(state, dict):
        return [entry for key in sorted(state) for entry in flat(state[key], f"{name}.{key}")]
    if isinstance(state, (list, tuple)):
        return [entry for i, item in enumerate(state) for entry in flat(item, f"{name}.{i}")]
    if isinstance(state, torch.Tensor):
        return [(name, str(state.dtype), tuple(state.shape), state.numpy().tobytes())]
    return [(name, repr(state))]


def differing(one: Any, other: Any) -> list[str]:
    """Return the names of the entries in which two states differ."""
    return sorted({entry[0] for entry in set(flat(one)) ^ set(flat(other))})


def outcome(rrm: RRM) -> dict[str, Any]:
    """Return all that there is to compare; the ranks call it together."""
    return {
        "state": rrm.state_dict(),
        "flagged": rrm.flagged(),
        "ranking": rrm.ranking(),
        "course": rrm.trajectory.pruned(),
        "plan": repr(rrm.plan),
    }


def courses(n: int, settings: list[dict[str, Any]], expected: list[dict[str, Any]], given: bool) -> list[list[str]]:
    """Return in what each layout's outcome differs from the expected one, when left alone and when resumed."""
    found = []
    for chosen, wanted in zip(settings, expected, strict=True):
        for layout in ("replicated", "sharded"):
            whole = train(layout, n, chosen, range(5), given=given)
            found.append(differing(outcome(whole), wanted))
            half = train(layout, n, chosen, range(3), given=given).state_dict()
            other = "sharded" if layout == "replicated" else "replicated"
            resumed = train(other, n, chosen, range(3, 5), half, given=given)
            found.append(differing(outcome(resumed), wanted))
            begin, end = slice_of(n, dist.get_rank(), dist.get_world_size()) if layout == "sharded" else (0, n)
            index = torch.arange(begin, end)
            found.append(differing(whole.weights_of(index), wanted["state"]["weights"][begin:end]))
    return found


def states_after(n: int, settings: dict[str, Any], epochs: int) -> dict[str, Any]:
    """Return the states of both layouts."""
    return {layout: train(layout, n, settings, range(epochs)).state_dict() for layout in ("replicated", "sharded")}


def resumed_from(n: int, settings: dict[str, Any], state: dict[str, Any], epochs: range) -> dict[str, Any]:
    """Return the states of both layouts, resumed from one."""
    return {layout: train(layout, n, settings, epochs, state).state_dict() for layout in ("replicated", "sharded")}


def trip(layout: str, n: int, fault: str) -> list[str]:
    """Make a mistake on rank 1; return what the ranks raise, and whether they go on together afterwards."""
    rank, size = dist.get_rank(), dist.get_world_size()
    rrm = RRM(n, contamination=0.2, warmup=1, layout=layout)
    index, given = visited(layout, 0, n), None
    c = losses_after(0, n)
    if rank == 1:
        own = index[3].item()
        if fault == "nan":
            c[own] = torch.nan
        if fault == "low":
            c[own] = -torch.inf
        if fault == "missing":
            index = index[index != own]
        if fault == "outside":
            index = torch.cat([index, torch.tensor([n + 5])])
            c = torch.cat([c, torch.ones(6)])
        if fault == "foreign":
            index = torch.arange(n)
        if fault == "shape":
            given = torch.ones(3)
    raised = []
    for batch in torch.split(index, 16):
        rrm.weighted_mean(c[batch], batch)
    if fault == "shape" and given is None:
        given = torch.ones(len(rrm.weights))
    try:
        rrm.step(given)
    except Exception as error:
        raised.append(f"{type(error).__name__}: {error}")
    before = rrm.weights.clone()
    index = visited(layout, 1, n)
    rrm.weighted_mean(losses_after(1, n)[index], index)
    rrm.step()
    raised.append(f"unchanged {bool((before == 1).all())}, epoch {rrm.epoch}, pruned {rrm.plan.n_pruned}")
    assert size > 1
    return raised


def steps(layout: str | None, n: int, saves: bool) -> dict[str, Any]:
    """Count steps rather than epochs, with reweights in the middle of an epoch; return the state."""
    rrm = RRM(n, contamination=0.2, warmup=-(-n // 16), every=3, unit="step", layout=layout)
    rank, size = (dist.get_rank(), dist.get_world_size()) if layout else (0, 1)
    for step in range(3 * (n // 16) + 2):
        c = losses_after(step, n)
        # All samples of a step, dealt to the ranks.
        batch = (torch.arange(16) + 16 * step) % n
        if layout == "sharded":
            begin, end = slice_of(n, rank, size)
            batch = batch[(batch >= begin) & (batch < end)]
        else:
            batch = batch[rank::size]
        if len(batch):
            rrm.weighted_mean(c[batch], batch)
        rrm.step()
        if saves and step % 5 == 4:
            state = rrm.state_dict()
            rrm = RRM(n, contamination=0.2, warmup=-(-n // 16), every=3, unit="step", layout=layout)
            rrm.load_state_dict(state)
    return rrm.state_dict()


def stepwise(n: int, expected: dict[str, Any]) -> list[list[str]]:
    """Return in what the state of each layout differs from the expected one."""
    return [
        differing(steps(layout, n, saves), expected) for layout in ("replicated", "sharded") for saves in (False, True)
    ]


def refusals() -> list[str]:
    """Return what is said of layouts that can't be."""
    settings = {"layout": "split"}, {"layout": "sharded", "scope": "batch"}, {"group": dist.group.WORLD}
    return [said_of(chosen) for chosen in settings]


def said_of(settings: dict[str, Any]) -> str:
    try:
        RRM(10, contamination=0.2, **settings)
    except ValueError as error:
        return str(error)
    return ""
