"""Jobs for tests of populations and rankings over ranks."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist

from rrm_torch import RRM
from rrm_torch.distributed import slice_of
from support.layout_jobs import differences, losses_of_epoch, outcome

EPOCHS = 5


def population_of_epoch(epoch: int, n: int) -> torch.Tensor:
    """Return the population of an epoch, in a shuffled order: two thirds of the samples, or a few of one slice."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(epoch))
    return order[order < 5] if epoch == 3 else order[: 2 * n // 3]


def local_range(layout: str | None, n: int) -> tuple[int, int]:
    return slice_of(n, dist.get_rank(), dist.get_world_size()) if layout == "sharded" else (0, n)


def among_here(among: torch.Tensor, layout: str | None, n: int) -> torch.Tensor:
    begin, end = local_range(layout, n)
    return among[(among >= begin) & (among < end)]


def train(
    layouts: tuple[str | None, ...], n: int, settings: dict[str, Any], form: str, *, ranked: bool = False
) -> dict[str, Any]:
    """Train with another population each epoch; resume in the next layout in the middle of every other epoch.

    `form` says which losses a step gets: those of all samples, of the population alone, or the recorded ones.
    """
    layout = layouts[0]
    rrm = RRM(n, layout=layout, **settings)
    for epoch in range(EPOCHS):
        c = losses_of_epoch(epoch, n)
        numbers = losses_of_epoch(100 + epoch, n)
        c[7] = c[7] if epoch else torch.nan  # in no plan unless the ranking is
        among = population_of_epoch(epoch, n)
        among = among[among != 7] if not epoch else among
        for half in range(2):
            index = among_here(among[among % 2 == half], layout, n)
            if layout == "replicated":
                index = index[dist.get_rank() :: dist.get_world_size()]
            # Only some samples have a number in place of the loss; in some epochs none of those of the last ranks.
            has_number = index % 3 == 0 if epoch % 2 else index < 20
            if ranked and len(index[has_number]):
                rrm.weighted_mean(c[index[has_number]], index[has_number], ranking=numbers[index[has_number]])
                index = index[~has_number]
            rrm.weighted_mean(c[index], index)
            if epoch % 2 == 0:
                continue
            state = rrm.state_dict()
            layout = layouts[(epoch + half) % len(layouts)]
            rrm = RRM(n, layout=layout, **settings)
            rrm.load_state_dict(state)
        members = among_here(among, layout, n)
        begin, end = local_range(layout, n)
        losses = {"all": c[begin:end], "alone": c[members], "recorded": None}[form]
        if epoch % 2:
            mask = torch.zeros(n, dtype=torch.bool)
            mask[members] = True
            members = mask[begin:end]
            losses = c[begin:end][members] if form == "alone" else losses
        rrm.step(losses, among=members, contamination=0.1 * epoch)
    return outcome(rrm)


def differences_by_layout(n: int, cases: list[tuple[dict[str, Any], str, bool, dict[str, Any]]]) -> list[list[str]]:
    """Return how the outcomes of both orders of layouts differ from the expected ones."""
    return [
        differences(train(layouts, n, settings, form, ranked=ranked), wanted)
        for settings, form, ranked, wanted in cases
        for layouts in (("replicated", "sharded"), ("sharded", "replicated"))
    ]


def error_on_ranks(layout: str, n: int, fault: str) -> list[str]:
    """Pass a wrong argument on rank 1; return the error, and what the next step does."""
    rrm = RRM(n, warmup=1, layout=layout)
    is_faulty = dist.get_rank() == 1
    begin, end = local_range(layout, n)
    c = losses_of_epoch(0, n)[begin:end]
    among: torch.Tensor | None = torch.arange(begin, end)[::2]
    contamination = 0.2
    if fault == "outside" and is_faulty:
        among = torch.tensor([n])
    if fault == "missing" and is_faulty:
        among = None
    if fault == "other" and is_faulty:
        among = among[1:]
    if fault == "contamination" and is_faulty:
        contamination = 0.3
    if fault == "none":
        among = among[:0]
    if fault == "losses":
        c[1:3] = torch.nan  # of which only the second is a member's
    raised = []
    try:
        rrm.step(c, among=among, contamination=contamination)
    except (ValueError, IndexError) as error:
        raised.append(f"{type(error).__name__}: {error}")
    plan = rrm.step(losses_of_epoch(1, n)[begin:end], contamination=0.2)
    return [*raised, f"pruned {plan.n_pruned} after epoch {rrm.epoch}"]
