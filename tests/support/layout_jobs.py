"""Jobs for tests of RRM over ranks: training on losses that depend only on epoch and sample."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import DistributedSampler

from rrm_torch import RRM
from rrm_torch.distributed import ShardSampler, process_group, slice_of
from rrm_torch.weighting import layout as layout_module
from support.weighting import set_epoch


def losses_of_epoch(epoch: int, n: int) -> torch.Tensor:
    rng = np.random.default_rng(epoch)
    c = rng.exponential(size=n)
    c[rng.random(n) < 0.1] = 0.25
    return torch.from_numpy(c.astype(np.float32))


def visited_samples(layout: str | None, epoch: int, n: int) -> torch.Tensor:
    """Return the samples that this rank visits in an epoch, in order."""
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
    """Train for some epochs, from a state if any; `given` passes losses to `step` instead of recording them."""
    rrm = RRM(n, layout=layout, **settings)
    if state is not None:
        rrm.load_state_dict(state)
    begin, end = slice_of(n, dist.get_rank(), dist.get_world_size()) if layout == "sharded" else (0, n)
    for epoch in epochs:
        c = losses_of_epoch(epoch, n)
        if settings.get("nan") == "prune":
            c[epoch::13], c[epoch + 1 :: 29] = torch.nan, -torch.tensor(torch.nan)
        for batch in torch.split(visited_samples(layout, epoch, n), 16):
            if not given:
                rrm.weighted_mean(c[batch], batch)
        rrm.step(c[begin:end] if given else None)
    return rrm


def flatten(state: Any, name: str = "") -> list[tuple[Any, ...]]:
    """Return the entries of a state, sorted by name, in types that compare bit for bit."""
    if isinstance(state, dict):
        return [entry for key in sorted(state) for entry in flatten(state[key], f"{name}.{key}")]
    if isinstance(state, (list, tuple)):
        return [entry for i, item in enumerate(state) for entry in flatten(item, f"{name}.{i}")]
    if isinstance(state, torch.Tensor):
        return [(name, str(state.dtype), tuple(state.shape), state.numpy().tobytes())]
    return [(name, repr(state))]


def differences(one: Any, other: Any) -> list[str]:
    """Return the names of the entries that differ between two states."""
    return sorted({entry[0] for entry in set(flatten(one)) ^ set(flatten(other))})


def issues_as_text(rrm: RRM) -> dict[str, str]:
    """Return the columns of the table of label issues as text, in which NaN has no sign. Collective."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "there was no reweight yet")
        issues = rrm.issues()
    return {name: f"{column.dtype} {column.tolist()}" for name, column in issues.items()}


def outcome(rrm: RRM) -> dict[str, Any]:
    """Return everything to compare. Collective."""
    # Warns once where there was no reweight yet.
    issues = issues_as_text(rrm)
    return {
        "state": rrm.state_dict(),
        "flagged": rrm.flagged(),
        "ranking": rrm.ranking(),
        "issues": issues,
        "course": rrm.trajectory.pruned(),
        "plan": repr(rrm.plan),
    }


def differences_by_layout(
    n: int, settings: list[dict[str, Any]], expected: list[dict[str, Any]], given: bool
) -> list[list[str]]:
    """Return how each layout's outcome differs from the expected one, uninterrupted and resumed."""
    found = []
    for chosen, wanted in zip(settings, expected, strict=True):
        for layout in ("replicated", "sharded"):
            whole = train(layout, n, chosen, range(5), given=given)
            found.append(differences(outcome(whole), wanted))
            half = train(layout, n, chosen, range(3), given=given).state_dict()
            other = "sharded" if layout == "replicated" else "replicated"
            resumed = train(other, n, chosen, range(3, 5), half, given=given)
            found.append(differences(outcome(resumed), wanted))
            begin, end = slice_of(n, dist.get_rank(), dist.get_world_size()) if layout == "sharded" else (0, n)
            index = torch.arange(begin, end)
            found.append(differences(whole.weights_for(index), wanted["state"]["weights"][begin:end]))
    return found


def differences_in_pieces(*arguments: Any) -> list[list[str]]:
    """Return the same, with messages that are sent in pieces."""
    layout_module.PIECE = 64
    process_group.PIECE = 20_000
    return differences_by_layout(*arguments)


def outcome_of(layout: str | None, n: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the outcome of five epochs. Collective."""
    return outcome(train(layout, n, settings, range(5)))


def error_of_other_groups(n: int) -> str:
    """Return the error of a step where each rank has other groups."""
    groups = torch.arange(n) % 3
    rrm = RRM(n, contamination=0.2, groups=groups.roll(dist.get_rank()), warmup=1, layout="replicated")
    try:
        rrm.step(losses_of_epoch(0, n))
    except ValueError as error:
        return str(error)
    return "no error"


def collectives_in_pieces() -> tuple[list[int], list[list[int]]]:
    """Return a sum and the gathered tensors of all ranks, with messages that are sent in pieces."""
    process_group.PIECE = 4
    own = process_group.ProcessGroup()
    given = torch.arange(9, dtype=torch.int32)[: 9 - own.rank] + 10 * own.rank
    everything = own.all_gather_ragged(given, [9 - rank for rank in range(own.size)])
    return own.all_reduce_sum(torch.arange(11)).tolist(), [part.tolist() for part in everything]


def states_after(n: int, settings: dict[str, Any], epochs: int) -> dict[str, Any]:
    """Return the states of both layouts."""
    return {layout: train(layout, n, settings, range(epochs)).state_dict() for layout in ("replicated", "sharded")}


def resumed_from(n: int, settings: dict[str, Any], state: dict[str, Any], epochs: range) -> dict[str, Any]:
    """Return the states of both layouts, resumed from one state."""
    return {layout: train(layout, n, settings, epochs, state).state_dict() for layout in ("replicated", "sharded")}


def error_and_recovery(layout: str, n: int, fault: str) -> list[str]:
    """Cause an error on rank 1; return what the ranks raise, and whether they continue together afterwards."""
    rank, size = dist.get_rank(), dist.get_world_size()
    share = 0.3 if fault == "settings" and rank == 1 else 0.2
    other = "sharded" if layout == "replicated" else "replicated"
    losses_from = "pass" if fault == "losses_from" and rank == 1 else "training"
    rrm = RRM(
        n,
        contamination=share,
        mu=0.5 if fault == "weight" else 1.0,
        warmup=1,
        losses_from=losses_from,
        layout=other if fault == "layout" and rank == 1 else layout,
    )
    index, given = visited_samples(layout, 0, n), None
    c = losses_of_epoch(0, n)
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
        if fault == "weight":
            rrm.weights[1] = torch.nan
        if fault == "shape":
            given = torch.ones(3)
        if fault == "text":
            given = "losses"
        if fault == "alone":
            given = torch.ones(len(rrm.weights))
        if fault == "epoch":
            set_epoch(rrm, 1)
    raised = []
    for batch in torch.split(index, 16):
        rrm.weighted_mean(c[batch], batch)
    if fault == "shape" and given is None:
        given = torch.ones(len(rrm.weights))
    try:
        rrm.step(given)
    except Exception as error:
        raised.append(f"{type(error).__name__}: {error}")
    if fault == "weight" and rank == 1:
        rrm.weights[1] = 1
    before = rrm.weights.clone()
    rrm.reset_losses()
    if fault in ("settings", "losses_from", "layout"):
        rrm = RRM(n, contamination=0.2, warmup=1, layout=layout)
    if fault == "epoch":
        set_epoch(rrm, 0)
    index = visited_samples(layout, 1, n)
    rrm.weighted_mean(losses_of_epoch(1, n)[index], index)
    rrm.step()
    raised.append(f"unchanged {bool((before == 1).all())}, epoch {rrm.epoch}, pruned {rrm.plan.n_pruned}")
    assert size > 1
    return raised


def invalid_loss_error(layout: str, n: int, nan: str) -> str:
    """Record NaN and -inf on different ranks; return the error that names the invalid one."""
    rrm = RRM(n, contamination=0.2, warmup=1, layout=layout, nan=nan)
    index, c = visited_samples(layout, 0, n), losses_of_epoch(0, n)
    if dist.get_rank() == 0:
        c[int(index.min())] = -torch.inf if nan == "raise" else torch.nan
    if dist.get_rank() == 1:
        c[int(index.max())] = torch.nan if nan == "raise" else -torch.inf
    rrm.weighted_mean(c[index], index)
    try:
        rrm.step()
    except ValueError as error:
        return f"{error} wanted {int(index.max())}" if dist.get_rank() == 1 else str(error)
    return ""


def first_nan_error(n: int, given: bool) -> str:
    """Record a NaN on rank 0 when no reweight is due, and two on rank 1 when one is; return the error."""
    layout_module.PIECE = 64
    rank, rrm = dist.get_rank(), RRM(n, contamination=0.2, warmup=2, layout="replicated")
    for epoch, of, places in ((0, 0, [5]), (1, 1, [150, 200])):
        c = losses_of_epoch(epoch, n)
        if rank == of:
            c[places] = torch.nan
        index = torch.arange(n)
        rrm.weighted_mean(c[index], index)
        try:
            rrm.step(c if given else None)
        except ValueError as error:
            return str(error)
    return ""


def record_out_of_range(layout: str, n: int) -> tuple[bool, str, int, bool]:
    """Record losses with indices out of range where steps are counted.

    Return whether the state contains the loss, the error of the next step that is due, the number of samples that the
    step after it prunes, and whether a run resumed from the state has the same weights.
    """
    settings = {"contamination": 0.2, "warmup": 2, "unit": "step", "layout": layout}
    rank, rrm, c = dist.get_rank(), RRM(n, **settings), losses_of_epoch(0, n)
    begin, end = slice_of(n, rank, dist.get_world_size()) if layout == "sharded" else (0, n)
    rrm.weighted_mean(c[begin:end], torch.arange(begin, end))
    if rank == 1:
        rrm.weighted_mean(torch.full((2,), 1e9), torch.tensor([-1, n]))
    rrm.step()
    state, said = rrm.state_dict(), ""
    try:
        rrm.step()
    except IndexError as error:
        said = str(error)
    rrm.step()
    resumed = RRM(n, **settings)
    resumed.load_state_dict(state)
    resumed.step()
    return bool((state["recorded"] == 1e9).any()), said, rrm.plan.n_pruned, torch.equal(resumed.weights, rrm.weights)


def superseded_nan_error(n: int) -> str:
    """Record NaN on rank 0, later a number for that sample and NaN for another on rank 1; return the error."""
    rrm = RRM(n, contamination=0.2, warmup=2, unit="step", layout="replicated")
    index, c = torch.arange(n), losses_of_epoch(0, n)
    if dist.get_rank() == 0:
        c[2] = torch.nan
        rrm.weighted_mean(c, index)
    rrm.step()
    if dist.get_rank() == 1:
        rrm.weighted_mean(torch.tensor([0.5, torch.nan]), torch.tensor([2, 9]))
    try:
        rrm.step()
    except ValueError as error:
        return str(error)
    return ""


def merged_losses(n: int) -> tuple[list[float], list[float]]:
    """Return the merged losses where ranks recorded a sample several times, and where they passed different losses."""
    rank, rrm = dist.get_rank(), RRM(n, contamination=0.2, warmup=1, nan="prune", layout="replicated")
    index, c = torch.arange(n), losses_of_epoch(0, n)
    for loss in [7.0, 5.0] if rank == 0 else [6.0]:  # the latest of a rank, and of ranks the highest
        c[3] = loss
        rrm.weighted_mean(c, index)
    rrm.step()
    recorded = rrm.losses.tolist()
    c[rank] = -8.0
    c[2 + rank] = 8.0
    c[4 + rank] = math.copysign(math.nan, 1 - 2 * rank)
    rrm.step(c)
    return recorded, rrm.losses.tolist()


def train_in_group(n: int, settings: dict[str, Any], expected: dict[str, Any]) -> list[Any]:
    """Train on the last ranks only; return how the layouts' states differ from the expected one, and an error."""
    group = dist.new_group([1, 2])
    if dist.get_rank() == 0:
        try:
            RRM(n, **settings, layout="sharded", group=group)
        except RuntimeError as error:
            return [str(error)]
    rank, found = dist.get_rank(group), []
    for layout in ("replicated", "sharded"):
        rrm = RRM(n, **settings, layout=layout, group=group)
        index = torch.arange(*slice_of(n, rank, 2)) if layout == "sharded" else torch.arange(n)[rank::2]
        for epoch in range(3):
            rrm.weighted_mean(losses_of_epoch(epoch, n)[index], index)
            rrm.step()
        found.append(differences(rrm.state_dict(), expected))
    return found


def gradients(layout: str, n: int) -> list[float]:
    """Return the gradient with ``scale="paper"``, averaged over ranks as DDP and FSDP do."""
    rrm = RRM(n, contamination=0.2, scale="paper", layout=layout)
    factor = torch.ones(1, requires_grad=True)
    rank, size = dist.get_rank(), dist.get_world_size()
    index = torch.arange(*slice_of(n, rank, size)) if layout == "sharded" else torch.arange(n)[rank::size]
    rrm.weighted_mean(factor * losses_of_epoch(0, n)[index], index).backward()
    dist.all_reduce(factor.grad)
    return (factor.grad / size).tolist()


def train_by_steps(layout: str | None, n: int, saves: bool) -> dict[str, Any]:
    """Train with ``unit="step"``, with reweights in the middle of an epoch; return the state."""
    rrm = RRM(n, contamination=0.2, warmup=-(-n // 16), every=3, unit="step", layout=layout)
    rank, size = (dist.get_rank(), dist.get_world_size()) if layout else (0, 1)
    for step in range(3 * (n // 16) + 2):
        c = losses_of_epoch(step, n)
        # All samples of a step, distributed over the ranks.
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


def step_differences(n: int, expected: dict[str, Any]) -> list[list[str]]:
    """Return how the state of each layout differs from the expected one."""
    return [
        differences(train_by_steps(layout, n, saves), expected)
        for layout in ("replicated", "sharded")
        for saves in (False, True)
    ]


def train_in_halves(layouts: tuple[str | None, str | None], n: int, unseen: str, double: bool) -> dict[str, Any]:
    """Train for four epochs, each begun in one layout and ended in the other from a state in its middle.

    With ``unseen="latest"`` a third of the samples is left out of each epoch, and some of all. With `double` some
    losses of one rank are float64, in the second epoch.
    """
    settings = {"contamination": 0.2, "warmup": 1, "mu": 0.3, "unseen": unseen}
    rrm = RRM(n, layout=layouts[0], **settings)
    issues = []
    for epoch in range(4):
        c = losses_of_epoch(epoch, n)
        if double and epoch == 1 and (layouts[0] is None or dist.get_rank() == 1):
            c = c.double()
        for half, layout in enumerate(layouts):
            index = visited_samples(layout, epoch, n)
            index = index[(index < n // 2) == (half == 0)]
            if unseen == "latest":
                index = index[((index + epoch) % 3 != 0) & (index % 50 != 7)]
            for batch in torch.split(index, 16):
                rrm.weighted_mean(c[batch], batch)
            issues.append(issues_as_text(rrm))
            state = rrm.state_dict()
            rrm = RRM(n, layout=layouts[1 - half], **settings)
            rrm.load_state_dict(state)
            if half:
                rrm.step()
    return outcome(rrm) | {"issues in mid-epoch": issues}


def differences_in_halves(n: int, expected: list[tuple[str, bool, dict[str, Any]]]) -> list[list[str]]:
    """Return how the outcomes of both orders of layouts differ from the expected ones."""
    return [
        differences(train_in_halves(layouts, n, unseen, double), wanted)
        for unseen, double, wanted in expected
        for layouts in (("replicated", "sharded"), ("sharded", "replicated"))
    ]


def invalid_layout_errors() -> list[str]:
    """Return the errors of invalid layouts."""
    settings = {"layout": "split"}, {"group": dist.group.WORLD}
    return [error_message(chosen) for chosen in settings]


def weights_of_other_rank_error(n: int) -> str:
    """Ask for the weight of a sample of another rank; return the error."""
    rrm = RRM(n, contamination=0.2, layout="sharded")
    begin, end = slice_of(n, dist.get_rank(), dist.get_world_size())
    try:
        rrm.weights_for(torch.tensor([begin, begin - 1 if begin else end]))
    except IndexError as error:
        return str(error)
    return ""


def issues_after_error(n: int) -> tuple[str, int]:
    """Pass too few labels on rank 1; return the error, and the number of rows of the next table."""
    rrm = RRM(n, contamination=0.2, layout="sharded")
    message = ""
    try:
        rrm.issues(labels=range(n - dist.get_rank()))
    except ValueError as error:
        message = str(error)
    return message, len(rrm.issues(labels=range(n))["index"])


def error_message(settings: dict[str, Any]) -> str:
    try:
        RRM(10, contamination=0.2, **settings)
    except ValueError as error:
        return str(error)
    return ""
