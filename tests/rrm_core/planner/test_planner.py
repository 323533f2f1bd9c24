"""The plan of a planner equals that of all losses, however they are split, counted and merged."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import rrm_core
from rrm_core import Planner
from rrm_core.backends import cpp
from support.families import DTYPES, FAMILIES, LARGE, losses, reference, reweight_cases
from support.planners import count_in_parts, plan_of, through_a_file
from support.tuned import AVAILABLE, tuned

SIZES = (1, 2, 33, 1025, 4097)
# Backend, instruction set, threads.
COUNTERS = (("numpy", None, 1), *(("cpp", name, threads) for name, threads in product(AVAILABLE, (1, 2, 3))))
MAX_ROUNDS = {"float16": 1, "bfloat16": 1, "float32": 2, "float64": 4}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_rule_matches_the_plan_of_all_losses(family, dtype):
    rng = np.random.default_rng(len(family))
    for place, n in enumerate(SIZES):
        c, answers = losses(family, n, dtype), reference(family, n, dtype)
        for i, ((rule, _, _), (_, expected)) in enumerate(zip(reweight_cases(family), answers, strict=True)):
            backend, name, threads = COUNTERS[(i + i // len(COUNTERS) + place) % len(COUNTERS)]
            with tuned(name):
                planner = count_in_parts(c, rng, backend=backend, threads=threads, **rule)
            assert planner.plan == expected, f"{n=} {rule=} {backend=} {name=} {threads=}"
            assert planner.round <= MAX_ROUNDS[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_many_losses_with_every_backend_and_thread_count(family, dtype):
    c, rng = losses(family, LARGE, dtype), np.random.default_rng(1)
    rules = [rule for i, (rule, _, _) in enumerate(reweight_cases(family)) if i % 16 == len(family) % 16]
    for i, rule in enumerate(rules):
        expected = rrm_core.plan(c, backend="numpy", **rule)
        for backend, name, threads in COUNTERS[i % 3 :: 3]:
            with tuned(name):
                planner = count_in_parts(c, rng, backend=backend, threads=threads, **rule)
            assert planner.plan == expected, f"{rule=} {backend=} {name=} {threads=}"


BITS = {"float16": 16, "float32": 32, "float64": 64}


@st.composite
def vectors(draw):
    """Draw a few losses of any bit pattern except -inf, at least one of them finite; many tie."""
    dtype = draw(st.sampled_from(sorted(BITS)))
    width = BITS[dtype]
    fixed = [0.0, -0.0, 1.0, 1.5, np.nan, np.inf, float(np.finfo(dtype).tiny), -float(np.finfo(dtype).max)]
    numbers = np.array(fixed, dtype)
    chosen = st.sampled_from([*numbers.view(f"u{width // 8}").tolist(), 1, 2, (1 << width - 1) + 1])
    bits = draw(st.lists(chosen | st.integers(0, (1 << width) - 1), min_size=1, max_size=40))
    c = np.array(bits, f"u{width // 8}").view(dtype)
    c[c == -np.inf] = 1.5
    c[draw(st.integers(0, len(c) - 1))] = draw(st.sampled_from([0.5, 1.0, -1.0]))
    return c


CONTAMINATIONS = st.integers(0, 99).map(lambda percent: percent / 100)
RULES = st.one_of(
    st.builds(lambda x, ties: {"contamination": x, "ties": ties}, CONTAMINATIONS, st.sampled_from(["keep", "share"])),
    st.builds(lambda x: {"gamma": x}, st.sampled_from([0.0, 0.5, 1e30, math.inf]) | st.floats(0, 1e6)),
)
RECIPIENTS = st.sampled_from(["argmin", "kept", "drop", 0.1, 0.5, 1.0])


@pytest.mark.parametrize("backend", ["cpp", "numpy"])
@given(c=vectors(), rule=RULES, redistribute=RECIPIENTS, seed=st.integers(0, 2**32 - 1))
def test_order_of_updates_and_merges_does_not_matter(backend, c, rule, redistribute, seed):
    rule = rule | {"redistribute": redistribute, "nan": "prune"}
    with np.errstate(all="ignore"):
        expected = rrm_core.plan(c, backend="numpy", **rule)
    assert count_in_parts(c, np.random.default_rng(seed), backend=backend, **rule).plan == expected


@pytest.mark.parametrize("backend", ["cpp", "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormals_while_torch_flushes_them_to_zero(dtype, backend):
    c = losses("subnormal", 1000, dtype)
    for rule in (
        {"contamination": 0.3},
        {"contamination": 0.3, "redistribute": 0.29},
        {"gamma": 0.0},
        {"gamma": 0.7, "redistribute": 0.3},
    ):
        expected = rrm_core.plan(c, backend="numpy", **rule)
        assert torch.set_flush_denormal(True)
        try:
            plan, _ = plan_of([c[:300], c[300:]], backend=backend, **rule)
        finally:
            torch.set_flush_denormal(False)
        assert plan == expected, rule


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "rule",
    [
        {"contamination": 0.3, "redistribute": 0.69},  # both thresholds in one bin
        {"contamination": 0.3, "redistribute": 0.7},  # at the same loss
        {"contamination": 0.3, "redistribute": 0.71},  # the fraction above
        {"contamination": 0.3, "redistribute": 0.01},
        {"contamination": 0.0, "redistribute": 1.0},
        {"gamma": 0.1, "redistribute": 0.9},  # the fraction lies above
        {"gamma": 1.0, "redistribute": 0.001},  # and below
        {"gamma": 0.0, "redistribute": 1.0},
    ],
    ids=lambda rule: ", ".join(f"{name} {value}" for name, value in rule.items()),
)
def test_recipients_by_fraction(rule, dtype):
    rng = np.random.default_rng(4)
    for c in (rng.exponential(size=5000), 1 + 1e-3 * rng.random(200_000)):  # in many bins, in one
        values = c.astype(dtype)
        assert plan_of(np.array_split(values, 3), **rule)[0] == rrm_core.plan(values, **rule)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_counts_beyond_32_bits(dtype):
    copies = 2**34
    c = np.array([0.5, 1.0, 1.0, 2.0, 3.0], dtype)
    rule = {"contamination": 0.3, "redistribute": 0.5}
    planner = Planner(**rule)
    while not planner.done:
        planner.update(c)
        partial = planner.partial()
        partial["sums"] *= copies  # as if many planners had counted the same
        if len(partial["keys"]):
            raise AssertionError("no memory holds these keys")
        planner = Planner.from_partial(partial)
        planner.advance()
    plan, single = planner.plan, rrm_core.plan(np.tile(c, 2), **rule)
    assert (plan.n, plan.n_pruned, plan.n_tied) == (5 * copies, copies, copies)
    assert plan.n_recipients == 3 * copies
    assert (plan.threshold, plan.levels) == (2.0, single.levels)


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"contamination": 0.2, "gamma": 1.0},
        {"contamination": 1.0},
        {"gamma": -1.0},
        {"gamma": 1.0, "ties": "share"},
    ],
)
def test_invalid_rules_raise_the_errors_of_reweight(rule):
    with pytest.raises(ValueError, match=r"contamination|gamma") as expected:
        rrm_core.plan([1.0], **rule)
    with pytest.raises(ValueError, match=r"contamination|gamma") as raised:
        Planner(**rule)
    assert str(raised.value) == str(expected.value)


def test_from_rule_rejects_what_is_no_rule():
    with pytest.raises(TypeError, match="rule must be a Rule, got str"):
        Planner.from_rule("contamination")


def test_backend_and_threads_are_validated():
    partial = Planner(contamination=0.2).partial()
    for make_one in (
        lambda **who: Planner(contamination=0.2, **who),
        lambda **who: Planner.from_partial(partial, **who),
    ):
        with pytest.raises(ValueError, match=r"^backend must be one of 'cpp', 'numpy' or None, got 'numba'$"):
            make_one(backend="numba")
        with pytest.raises(ValueError, match=r"^threads must be a whole number, at least 1, or None, got 0$"):
            make_one(threads=0)


def test_attributes_and_repr_during_the_rounds():
    c = losses("exponential", 1000, "float32")
    planner = Planner(contamination=0.2, redistribute=0.5)
    assert (planner.n, planner.round, planner.done, planner.checksum) == (0, 1, False, 0)
    assert planner.rule == rrm_core.plan(c, contamination=0.2, redistribute=0.5).rule
    planner.update(c[:400])
    assert planner.n == 400
    assert repr(planner) == f"Planner({planner.rule}; round=1, n=400)"
    with pytest.raises(
        ValueError, match=r"^the plan is not complete: round 1 is in progress; end it with advance\(\)$"
    ):
        planner.plan  # noqa: B018
    planner.update(c[400:])
    planner.advance()
    assert planner.checksum == cpp.checksum(c)
    assert (planner.n, planner.round, planner.done) == (0, 2, False)
    with pytest.raises(ValueError, match=r"^the plan is not complete: round 2"):
        planner.plan  # noqa: B018
    planner.update(c)
    planner.advance()
    assert (planner.round, planner.done, planner.checksum) == (2, True, cpp.checksum(c))
    assert repr(planner) == f"Planner({planner.rule}; plan={planner.plan})"


def test_done_planner_rejects_further_calls():
    c = losses("exponential", 100, "float16")
    planner = Planner(contamination=0.2)
    planner.update(c)
    planner.advance()
    for act in (lambda: planner.update(c), planner.advance, lambda: planner.merge(Planner(contamination=0.2))):
        with pytest.raises(ValueError, match=r"^the planner is done; make a new one for other losses$"):
            act()
    copy = Planner.from_partial(through_a_file(planner.partial()))
    assert copy.done
    assert copy.plan == planner.plan == rrm_core.plan(c, contamination=0.2)
    with pytest.raises(ValueError, match=r"^other is done; start each round from this planner's partial\(\)$"):
        Planner(contamination=0.2).merge(planner)
