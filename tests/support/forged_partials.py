"""Partial results of planners, altered at random, and a judge of the plans that they lead to."""

from __future__ import annotations

import math
import struct

import numpy as np

from rrm_core import Planner
from support.families import losses

RULES = (
    {"contamination": 0.2},
    {"contamination": 0.2, "redistribute": "kept", "ties": "share"},
    {"contamination": 0.5, "redistribute": 0.3, "nan": "prune"},
    {"contamination": 0.3, "redistribute": "drop"},
    {"gamma": 1.0},
    {"gamma": 0.0, "redistribute": "kept"},
    {"gamma": 0.5, "redistribute": 0.4, "nan": "prune"},
    {"gamma": math.inf, "redistribute": "drop"},
)
SPECIAL = (0, 1, 2, 3, 16, 32, 48, 64, 65_535, 65_536, 2**31, 2**32, 2**47, 2**53, 2**62, 2**63 - 1)
DOUBLES = (math.nan, math.inf, -math.inf, -0.0, -1.0, 0.0, 1e-300, 0.5, 1.0, 1e308)


def genuine_partials():
    """Return (losses, partial result) for each type, rule and round; some have counted, some only begin the round."""
    found = []
    for dtype in ("float16", "float32", "float64"):
        for n in (200, 70_000):
            for rule in RULES:
                c = losses("exponential", n, dtype)
                if n > 200:
                    c = (1 + 1e-3 * np.random.default_rng(0).random(n)).astype(dtype)
                    if rule != RULES[0] and rule != RULES[6]:
                        continue
                if "nan" in rule:
                    c[3] = math.nan
                found += [(c, partial) for partial in _partials_of(c, rule)]
    return found


def _partials_of(c, rule):
    planner = Planner(**rule)
    while not planner.done:
        yield planner.partial()
        planner.update(c[: len(c) // 2])
        yield planner.partial()
        planner.update(c[len(c) // 2 :])
        yield planner.partial()
        planner.advance()
    yield planner.partial()


def forge(rng, partials):
    """Return the losses of a genuine partial result, and that result with one or two alterations."""
    c, partial = partials[rng.integers(len(partials))]
    partial = dict(partial)
    for _ in range(rng.integers(1, 3)):
        name = str(rng.choice(["state", "state", "state", "sums", "sums", "minima", "keys"]))
        with np.errstate(over="ignore"):
            partial[name] = _alter(rng, name, partial, partials)
    return c, partial


def _alter(rng, name, partial, partials):
    try:
        array = np.array(partial[name])
    except ValueError:  # altered before
        array = np.empty(0)
    kind = rng.integers(12)
    if kind == 0 and name != "state":
        return partials[rng.integers(len(partials))][1][name]
    if array.dtype != np.int64 or array.ndim != 1 or not array.size:
        return rng.integers(-(2**63), 2**63, 3)
    if kind == 1:
        return _of_another_shape_or_type(rng, array)
    # Those beside the histograms, more often than these.
    place = int(rng.integers(min(len(array), 30) if rng.random() < 0.8 else len(array)))
    if name == "sums" and rng.random() < 0.3:
        place = int(rng.choice(np.flatnonzero(array))) if array.any() else 0
    other = int(rng.integers(len(array)))
    if kind == 2:
        array[[place, other]] = array[[other, place]]
    elif kind == 3:
        array[place] = array[other]
    elif kind == 4:
        array[place] = struct.unpack("<q", struct.pack("<d", rng.choice(DOUBLES)))[0]
    elif kind == 5:
        array[place] = rng.integers(-(2**63), 2**63)
    elif kind == 6:
        array[place] = int(rng.choice(SPECIAL)) * int(rng.choice([-1, 1]))
    elif kind == 7:
        array[place] ^= np.int64(1) << np.int64(rng.integers(63))
    elif kind == 8:
        # The sum stays the same.
        amount = rng.integers(1, 50)
        array[place] += amount
        array[other] -= amount
    elif kind == 9 and name == "sums":
        array *= 2
    else:
        array[place] += rng.integers(-3, 4) * 10 ** rng.integers(4)
    return array


def _of_another_shape_or_type(rng, array):
    return [
        array[:-1],
        array[::-1],
        np.concatenate([array, array]),
        array.astype(np.float64),
        array.astype(object),
        array.view(np.uint64),
        array.astype(np.int32),
        array.reshape(1, -1),
        array.astype(">i8"),
        array.astype(str),
        None,
        [2**70, 1],
    ][rng.integers(12)]


def drive(rng, c, partial):
    """Use a partial result in a random way; return the plan, or None if an error is raised that is documented."""
    try:
        planner = Planner.from_partial(partial, backend=str(rng.choice(["cpp", "numpy"])))
        for _ in range(8):
            if planner.done:
                break
            if rng.random() < 0.3:
                planner.update(c[: len(c) // 3])
            if rng.random() < 0.3:
                planner.merge(Planner.from_partial(planner.partial()))
            if rng.random() < 0.5 and planner.n < len(c):
                planner.update(c[planner.n :])
            planner.advance()
        Planner.from_partial(planner.partial())
    except (TypeError, ValueError):
        return None
    return planner.plan if planner.done else None


def absurdity(plan):
    """Return what no plan can have, or None. Independent of how the planner checks partial results."""
    counts = {
        "n": (1, plan.n, plan.n),
        "n_pruned": (plan.n_nan, plan.n_pruned, plan.n - 1),
        "n_tied": (0, plan.n_tied, plan.n - plan.n_pruned),
        "n_recipients": (0, plan.n_recipients, plan.n - plan.n_pruned),
        "n_nan": (0, plan.n_nan, plan.n - 1),
        "removed": (plan.n_pruned, plan.removed, plan.n - 1),
    }
    for name, (low, count, high) in counts.items():
        if not low <= count <= high:
            return f"{name} = {count}"
    if plan.n_nan and plan.rule.nan == "raise":
        return "NaN that the rule rejects"
    if not (math.isfinite(plan.loss_min) and plan.loss_min <= plan.threshold):
        return f"loss_min = {plan.loss_min}, threshold = {plan.threshold}"
    if plan.recipient_threshold > plan.threshold or (plan.n_recipients > 0) != (
        plan.recipient_threshold >= plan.loss_min
    ):
        return f"recipient_threshold = {plan.recipient_threshold}, n_recipients = {plan.n_recipients}"
    if not all(math.isfinite(level) and level >= 0 for level in plan.levels):
        return f"levels = {plan.levels}"
    if plan.rule.contamination is not None and plan.n_pruned > max(plan.n_nan, plan.rule.contamination * plan.n + 1e-6):
        return f"n_pruned = {plan.n_pruned}"
    mass = sum(count * level for count, level in plan._level_counts())
    expected = plan.n - plan.removed if plan.rule.redistribute == "drop" else plan.n
    if not math.isclose(mass, expected, rel_tol=1e-9) or any(count < 0 for count, _ in plan._level_counts()):
        return f"mass = {mass}, not {expected}"
    if not (0 <= plan.total_variation <= 1 and 0 < plan.effective_sample_size <= plan.n * (1 + 1e-9) and repr(plan)):
        return f"total_variation = {plan.total_variation}"
    return None
