"""Partial results with groups whose numbers contradict each other: rejected, with the documented errors only."""

from __future__ import annotations

import math

import numpy as np
import pytest

import rrm_core
from rrm_core import Planner

N_GROUPS = 3
RULES = (
    {"contamination": [0.2, 0.3, 0.4], "mass": "group", "redistribute": 0.5},
    {"contamination": [0.2, 0.3, 0.4], "redistribute": 0.5, "ties": "share"},
    {"contamination": 0.2, "redistribute": "kept", "nan": "prune"},
    {"contamination": 0.2, "cap": 0.3},
    {"gamma": 0.5, "mass": "group"},
    {"gamma": math.inf, "redistribute": "drop"},
)
REJECTED = r"^partial is not a result of Planner.partial\(\) in this version: "


def make_losses(rule):
    rng = np.random.default_rng(3)
    losses = np.round(rng.exponential(size=40), 1).astype(np.float32)
    if "nan" in rule:
        losses[3] = math.nan
    return losses, rng.integers(0, N_GROUPS, len(losses))


def partials_of(rule):
    """Yield the partial results of all rounds, and that of the planner that is done."""
    losses, groups = make_losses(rule)
    planner = Planner(n_groups=N_GROUPS, group_memory=1 << 12, **rule)
    while not planner.done:
        planner.update(losses, groups=groups)
        yield planner.partial()
        planner.advance()
    yield planner.partial()


def absurdity(plan):
    """Return what no plan with groups can have, or None. Independent of how the planner checks partial results."""
    rule = plan.rule
    counts = plan._level_counts()
    sizes = plan.sizes[plan.sizes > 0]
    if (counts < 0).any() or not np.array_equal(counts.sum(axis=1), plan.sizes) or sizes.sum() != plan.n:
        return f"counts {counts.tolist()} of groups of {plan.sizes.tolist()} samples"
    if (plan.n_nan > plan.n_pruned).any() or (plan.n_nan.any() and rule.nan == "raise"):
        return f"n_nan = {plan.n_nan.tolist()}"
    if ((plan.threshold < plan.loss_min) & (plan.n_pruned < plan.sizes)).any():
        return f"{plan.threshold.tolist()} prune too few of losses from {plan.loss_min.tolist()}"
    if ((plan.threshold == math.inf) & (plan.n_pruned > plan.n_nan)).any():
        return f"an infinite threshold prunes {plan.n_pruned.tolist()}"
    if ((plan.n_recipients > 0) != (plan.recipient_threshold >= plan.loss_min)).any():
        return f"{plan.n_recipients.tolist()} recipients up to {plan.recipient_threshold.tolist()}"
    if isinstance(rule.contamination, float) and plan.n_pruned.sum() > max(rule.quota(plan.n), plan.n_nan.sum()):
        return f"a share of {rule.contamination} prunes {plan.n_pruned.tolist()}"
    if rule.group_shares is not None and rule.cap is None:
        quotas = plan.sizes - rule.group_ranks(plan.sizes)
        if (plan.n_pruned > np.maximum(quotas, plan.n_nan)).any():
            return f"shares of {rule.contamination} prune {plan.n_pruned.tolist()}"
    if not (np.isfinite(plan.levels).all() and (plan.levels >= 0).all()):
        return f"levels = {plan.levels.tolist()}"
    mass = (counts * plan.levels).sum(axis=1)
    expected = plan.sizes - plan.removed if rule.redistribute == "drop" else plan.sizes
    if rule.mass == "all":
        mass, expected = mass.sum(), expected.sum()
    return None if np.allclose(mass, expected) else f"a mass of {mass.tolist()}, not {expected.tolist()}"


def test_genuine_partials_are_accepted():
    for rule in RULES:
        losses, groups = make_losses(rule)
        expected = rrm_core.plan(losses, groups=rrm_core.Groups(groups, N_GROUPS), **rule)
        for partial in partials_of(rule):
            planner = Planner.from_partial(partial)
            assert all(np.array_equal(partial[name], array) for name, array in planner.partial().items())
        assert planner.plan == expected
        assert absurdity(planner.plan) is None


def alter(rng, array):
    """Return an array with a number changed, or with two changed such that their sum is the same."""
    if rng.random() < 0.1:
        return array[: rng.integers(len(array))]
    array = array.copy()
    places = rng.integers(len(array) if rng.random() < 0.5 else min(60, len(array)), size=2)
    if rng.random() < 0.5:
        nonzero = np.flatnonzero(array)
        places = rng.choice(nonzero, 2) if len(nonzero) else places
    kind = rng.integers(4)
    if kind == 0:
        array[places[0]] = rng.choice([0, 1, -1, 40, 1 << 62, -(1 << 63)])
    elif kind == 1:
        array[places[0]] ^= np.int64(1) << np.int64(rng.integers(63))
    elif kind == 2:
        array[places] = array[places[::-1]]
    else:
        amount = rng.integers(1, 4)
        with np.errstate(over="ignore"):
            array[places[0]] += amount
            array[places[1]] -= amount
    return array


@pytest.mark.parametrize("rule", RULES, ids=["group", "share", "nan", "cap", "gamma", "infinite"])
def test_altered_partials_lead_to_no_absurd_plan_and_to_documented_errors_only(rule):
    rng = np.random.default_rng(RULES.index(rule))
    n_accepted = 0
    losses, groups = make_losses(rule)
    for partial in partials_of(rule):
        for _ in range(60):
            name = ["state", "state", "sums", "minima"][rng.integers(4)]
            try:
                planner = Planner.from_partial(partial | {name: alter(rng, partial[name])})
                while not planner.done:
                    planner.advance()
                    if not planner.done:
                        planner.update(losses, groups=groups)
            except (ValueError, TypeError):
                continue
            n_accepted += 1
            assert absurdity(planner.plan) is None
    assert n_accepted


def planner_after_rounds(n_rounds, rule):
    """Return a planner that begins a round, and the losses and groups."""
    losses, groups = make_losses(rule)
    planner = Planner(n_groups=N_GROUPS, group_memory=1 << 12, **rule)
    for _ in range(n_rounds):
        planner.update(losses, groups=groups)
        planner.advance()
    return planner, losses, groups


def test_from_partial_rejects_a_rank_outside_of_its_range():
    planner, _, _ = planner_after_rounds(1, {"contamination": [0.75, 0.75, 0.75]})
    state = planner.partial()["state"]
    # Before them: seven numbers and the rule, three shares, three arrays, and the first keys.
    n_below = state[7 + 8 + 3 + 4 * N_GROUPS :][:N_GROUPS]
    n_inside = state[7 + 8 + 3 + 5 * N_GROUPS :][:N_GROUPS]
    # Fewer losses than the rank of the threshold lie below the range.
    n_below[0] += n_inside[0]
    with pytest.raises(ValueError, match=rf"{REJECTED}an inconsistent state"):
        Planner.from_partial({"state": state})


def test_from_partial_rejects_histograms_of_groups_that_do_not_add_up_to_that_of_all():
    planner, losses, groups = planner_after_rounds(0, {"contamination": 0.2, "cap": 0.3})
    planner.update(losses, groups=groups)
    partial = planner.partial()
    of_all = partial["sums"][-(1 << 7) :]
    assert of_all.sum() == len(losses)
    # One loss in another bin than that of its group.
    lowest, *_, highest = np.flatnonzero(of_all)
    of_all[highest] -= 1
    of_all[lowest] += 1
    with pytest.raises(ValueError, match=rf"{REJECTED}the counts contradict each other"):
        Planner.from_partial(partial)


@pytest.mark.parametrize("is_equal", [0, 1])
def test_counts_of_groups_at_the_threshold_of_all_that_do_not_add_up_end_no_round(is_equal):
    # The last round, which counts the groups at the threshold of all.
    planner, losses, groups = planner_after_rounds(4, {"contamination": 0.2, "redistribute": "kept"})
    planner.update(losses, groups=groups)
    partial = planner.partial()
    n_below, n_equal = partial["sums"][3 + 2 * N_GROUPS :].reshape(2, N_GROUPS)
    (n_equal if is_equal else n_below)[0] -= 1
    with pytest.raises(ValueError, match="the counts contradict each other"):
        Planner.from_partial(partial).advance()
