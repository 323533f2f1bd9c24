"""Forge states of RRM and BatchRRM: loading one raises a ValueError and changes nothing, or leaves a plausible state.

``python -m fuzz.forged_states 10000`` (with tests/ on the path) forges that many, and prints what came of them.
"""

from __future__ import annotations

import collections
import copy
import random
import sys
import warnings
from typing import Any

import numpy as np
import torch

from fuzz.forged_values import PLAIN, TENSORS
from rrm_torch import RRM, BatchRRM
from support.layout_jobs import flatten

N = 41
VALUES: list[Any] = [
    *(*PLAIN, *TENSORS, object, torch.float32, RRM),
    *(torch.zeros(N), torch.ones(N), torch.ones(N) * 1e30, torch.full((N,), torch.nan), torch.ones(N).tolist()),
    *(torch.ones(N, dtype=torch.float64) * 1e300, torch.ones(N).half(), torch.ones(N).to(torch.complex64)),
    *(torch.zeros(N, dtype=torch.uint8), torch.zeros(N, dtype=torch.int32), torch.zeros(N, dtype=torch.bool)),
    *(torch.ones(N).to_sparse(), torch.ones(N, device="meta"), torch.ones(1).expand(N), torch.ones(N, 1)),
    *(torch.zeros(N).requires_grad_(), torch.zeros(4, 6, dtype=torch.uint8), torch.full((4, 6), 255).byte()),
    *(torch.zeros(4, 6, dtype=torch.uint8, device="meta"), torch.zeros(4, 6, dtype=torch.uint8).to_sparse()),
]
SETTINGS: list[tuple[Any, dict[str, Any]]] = [
    (RRM, {}),
    (RRM, {"unit": "step", "every": 2}),
    (RRM, {"unseen": "latest", "mu": 0.5}),
    (RRM, {"contamination": None, "gamma": 0.4, "redistribute": "drop"}),
    (RRM, {"nan": "prune", "ties": "share"}),
    (RRM, {"contamination": None, "mu": 0.5}),
    (RRM, {"contamination": [0.1, 0.2, 0.3], "groups": torch.arange(N) % 3, "mu": 0.5}),
    (BatchRRM, {}),
]


def make(kind: Any, settings: dict[str, Any]) -> Any:
    """Return a new object."""
    return kind(N, **({"contamination": 0.2, "warmup": 1} | settings))


def genuine(kind: Any, settings: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Return a state after a few epochs, mostly in the middle of one."""
    rrm = make(kind, settings)
    generator = torch.Generator().manual_seed(rng.randrange(2**31))
    for _ in range(rng.randrange(5)):
        losses, ranking = torch.rand(2, N, generator=generator)
        rrm.weighted_mean(losses, torch.arange(N), ranking=ranking if rng.random() < 0.3 else None)
        step(rrm, settings, torch.randperm(N, generator=generator)[: rng.randrange(1, N)])
    if rng.random() < 0.7:
        losses, ranking = torch.rand(2, 9, generator=generator)
        rrm.weighted_mean(losses, torch.arange(9), ranking=ranking if rng.random() < 0.3 else None)
    return rrm.state_dict()


def step(rrm: Any, settings: dict[str, Any], members: torch.Tensor) -> None:
    """End an epoch; without a contamination in the settings, reweight `members` with one."""
    if settings.get("contamination", 0.2) is None and "gamma" not in settings:
        rrm.step(among=members, contamination=0.3)
    else:
        rrm.step()


def forge(state: Any, rng: random.Random) -> Any:
    """Return a state with an entry replaced, removed, added or changed a little, at a random depth."""
    state = copy.deepcopy(state)
    container = state
    while True:
        keys: list[Any] = list(container) if isinstance(container, dict) else list(range(len(container)))
        if not keys:
            return state
        key = rng.choice(keys)
        if isinstance(container[key], (dict, list)) and container[key] and rng.random() < 0.85:
            container = container[key]
            continue
        container[key] = changed(container[key], rng)
        if rng.random() < 0.05:
            del container[key]
        if isinstance(container, dict) and rng.random() < 0.02:
            container["another"] = 1
        return state


def changed(value: Any, rng: random.Random) -> Any:
    """Return another value: any, or one close to this."""
    if rng.random() < 0.5:
        return rng.choice(VALUES)
    if isinstance(value, torch.Tensor):
        if value.is_sparse or value.is_meta or not value.numel():
            return rng.choice(VALUES)
        value = value.clone()
        position = rng.randrange(value.numel())
        if value.is_floating_point():
            value = value.flatten() if value.ndim == 0 else value
            words = value.view(torch.uint8).flatten()
            words[rng.randrange(len(words))] ^= 1 << rng.randrange(8)
        elif value.dtype == torch.uint8:
            value.view(-1)[position] ^= 1 << rng.randrange(8)
        elif value.dtype == torch.bool:
            value.view(-1)[position].logical_not_()
        else:
            value.view(-1)[position] += rng.choice([-1, 1, 1000])
        return value
    if isinstance(value, bool) or value is None:
        return rng.choice([0, 1, "None"])
    if isinstance(value, int):
        return value + rng.choice([-1, 1, 2**40])
    if isinstance(value, float):
        return rng.choice([-value, value * 2, value + 1e-3, int(value) if value == value and abs(value) < 1e9 else 0])
    if isinstance(value, (list, tuple)):
        return [*value, *value[-1:]] if rng.random() < 0.5 else value[:-1]
    return rng.choice(VALUES)


def check(kind: Any, settings: dict[str, Any], rng: random.Random) -> str:
    """Load a forged state; return what came of it. Raise an AssertionError if that isn't allowed."""
    forged = forge(genuine(kind, settings, rng), rng)
    if rng.random() < 0.2:
        forged = forge(forged, rng) if isinstance(forged, dict) else forged
    rrm = make(kind, settings)
    rrm.weighted_mean(torch.linspace(0, 1, N), torch.arange(N))
    before = flatten(rrm.state_dict())
    try:
        rrm.load_state_dict(forged)
    except ValueError:
        assert flatten(rrm.state_dict()) == before, "a refused state has changed the object"
        return "refused"
    check_plausible(kind, settings, rrm)
    return "loaded"


def check_plausible(kind: Any, settings: dict[str, Any], rrm: Any) -> None:
    """Raise an AssertionError unless an object works, and its numbers can be right."""
    weights = rrm.weights
    assert weights.shape == (N,)
    assert bool((weights.isfinite() & (weights >= 0) & (weights <= 1.01 * N)).all())
    if kind is RRM:
        assert weights.double().mean() <= 1.01
        assert rrm.plan is None or 0 <= np.sum(rrm.plan.n_pruned) <= N
        assert len(rrm.flagged()) <= N
    assert 0 <= rrm.epoch < 2**31
    assert sorted(rrm.ranking().tolist()) == list(range(N))
    assert repr(rrm)
    again = make(kind, settings)
    again.load_state_dict(rrm.state_dict())
    assert flatten(again.state_dict()) == flatten(rrm.state_dict())
    rrm.reset_losses()
    rrm.weighted_mean(torch.linspace(0, 1, N), torch.arange(N))
    step(rrm, settings, torch.arange(N))
    assert bool(rrm.weights.isfinite().all())


def run(count: int, seed: int = 0) -> dict[str, int]:
    """Forge `count` states; return how many were refused and loaded."""
    rng = random.Random(seed)
    outcomes: collections.Counter[str] = collections.Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(count):
            kind, settings = SETTINGS[i % len(SETTINGS)]
            outcomes[check(kind, settings, rng)] += 1
    return dict(outcomes)


if __name__ == "__main__":
    print(run(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
