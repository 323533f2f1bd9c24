"""The numpy backend, the reference of all others, against a linear-programming solver and by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from scipy.optimize import linprog

import rrm_core
from rrm_core.definition.formats import BY_NAME
from rrm_core.definition.plan import levels
from rrm_core.definition.rule import Rule
from support.families import DTYPES, losses


def solve(c, gamma):
    """Return the minimum of sum(p * c) + gamma/2 * ||p - 1/n||_1 over the simplex, found by HiGHS.

    The variables are p and s, with s >= |p - 1/n|.
    """
    n, eye = len(c), np.eye(len(c))
    answer = linprog(
        np.concatenate([c, np.full(n, gamma / 2)]),
        A_ub=np.block([[eye, -eye], [-eye, -eye]]),
        b_ub=np.concatenate([np.full(n, 1 / n), np.full(n, -1 / n)]),
        A_eq=np.concatenate([np.ones(n), np.zeros(n)])[None],
        b_eq=[1.0],
        bounds=(0, None),
        method="highs",
    )
    assert answer.success
    return answer.fun


def value(c, weights, gamma):
    """Return the objective of a distribution, given as weights, by its definition."""
    p = np.asarray(weights) / len(c)
    assert p.min() >= 0
    assert math.isclose(p.sum(), 1, rel_tol=1e-12)
    return float(p @ c + gamma / 2 * np.abs(p - 1 / len(c)).sum())


def close(a, b):
    return math.isclose(a, b, rel_tol=1e-8, abs_tol=1e-8)


def problems():
    """Return losses and gammas: few and many samples, with ties, and with a gamma at 0, on ties and past the range."""
    rng = np.random.default_rng(1)
    made = []
    for n in (1, 2, 3, 4, 5, 8, 13, 30):
        for draw in (
            lambda n: rng.exponential(size=n),
            lambda n: rng.normal(-1, 3, size=n),
            lambda n: rng.integers(0, 4, size=n) / 2,  # ties, exact in binary
            lambda n: np.full(n, 1.25),
        ):
            for _ in range(2):
                c = draw(n)
                spread = c.max() - c.min()
                gammas = (0.0, 0.3, 0.5, 1.0, spread / 2, spread, 2 * spread + 1)
                made += [(c, gamma) for gamma in gammas]
    return made


def test_gamma_attains_the_optimum_of_the_linear_programme():
    cases = problems()
    assert len(cases) > 400
    for c, gamma in cases:
        best = solve(c, gamma)
        assert close(rrm_core.objective(c, gamma), best), (c, gamma)
        weights, plan = rrm_core.reweight(c, gamma=gamma, backend="numpy")
        assert close(value(c, weights, gamma), best), (c, gamma)
        assert plan.gamma == gamma


@pytest.mark.parametrize("redistribute", [0.2, 1.0, "kept"])
def test_other_redistributions_are_not_better_than_the_optimum(redistribute):
    worse = 0
    for c, gamma in problems()[::3]:
        weights, plan = rrm_core.reweight(c, gamma=gamma, redistribute=redistribute, backend="numpy")
        best, reached = rrm_core.objective(c, gamma), value(c, weights, gamma)
        assert reached >= best or close(reached, best)
        if plan.recipient_threshold == plan.loss_min or plan.n_pruned == 0:
            assert close(reached, best), (c, gamma)
        worse += not close(reached, best)
    # Otherwise the test would prove nothing.
    assert worse > 10


@pytest.mark.parametrize("ties", ["keep", "share"])
@pytest.mark.parametrize("contamination", [0.0, 0.1, 0.29, 0.5, 0.9])
def test_contamination_attains_the_optimum_of_its_gamma(ties, contamination):
    for c, _ in problems()[::7]:
        weights, plan = rrm_core.reweight(c, contamination=contamination, ties=ties, backend="numpy")
        assert close(value(c, weights, plan.gamma), solve(c, plan.gamma)), c


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", ["exponential", "negative", "subnormal", "all bit patterns", "infinities"])
def test_gamma_threshold_is_the_sum_in_double_precision(dtype, family):
    c = losses(family, 500, dtype)
    exact = c.astype(np.float64)
    low = exact.min()
    with np.errstate(over="ignore"):
        near = exact[:60] - low
    for gamma in (0.0, 0.1, 0.7, 1e-8, 1e30, *near, *np.nextafter(near, np.inf), *np.nextafter(near, 0.0)):
        weights, plan = rrm_core.reweight(c, gamma=gamma, redistribute="drop", backend="numpy")
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(weights == 0, exact > low + gamma, err_msg=str(gamma))
        assert plan.n_tied == np.count_nonzero(exact == plan.threshold)
        assert plan.gamma == gamma


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", ["exponential", "few distinct", "all bit patterns", "zeros of both signs"])
def test_contamination_threshold_is_an_order_statistic(dtype, family):
    n = 200
    c = losses(family, n, dtype)
    ranked = sorted(c.astype(np.float64))
    for percent in range(100):
        plan = rrm_core.plan(c, contamination=percent / 100, redistribute=(percent + 1) / 100, backend="numpy")
        assert plan.threshold == ranked[n - 2 * percent - 1]
        assert plan.recipient_threshold == min(ranked[2 * percent + 1], plan.threshold)
        assert plan.gamma == plan.threshold - ranked[0]


# By hand.


def test_five_losses_by_contamination():
    weights, plan = rrm_core.reweight([0.1, 0.3, 0.2, 4.0, 0.4], contamination=0.2, backend="numpy")
    assert weights.tolist() == [2, 1, 1, 0, 1]
    assert (plan.n, plan.dtype, plan.loss_min, plan.threshold) == (5, "float64", 0.1, 0.4)
    assert (plan.recipient_threshold, plan.n_pruned, plan.n_tied, plan.n_recipients) == (0.1, 1, 1, 1)
    assert (plan.n_nan, plan.removed, plan.gamma) == (0, 1, 0.4 - 0.1)
    assert plan.levels == (0, 1, 1, 2, 2)


def test_gamma_keeps_a_loss_on_the_threshold():
    assert rrm_core.reweight([0.0, 1.0, 2.0, 3.0], gamma=2.0)[0].tolist() == [2, 1, 1, 0]
    assert rrm_core.reweight([0.0, 1.0, 2.0, 3.0], gamma=np.nextafter(2.0, 0))[0].tolist() == [3, 1, 0, 0]


def test_gamma_0_puts_all_mass_on_the_minimum():
    assert rrm_core.reweight([3.0, 1.0, 1.0, 2.0], gamma=0.0)[0].tolist() == [0, 2, 2, 0]


def test_gamma_above_the_range_of_losses_gives_uniform_weights():
    weights, plan = rrm_core.reweight([3.0, 1.0, -1.0, 2.0], gamma=4.0)
    assert weights.tolist() == [1, 1, 1, 1]
    assert plan.n_pruned == 0


def test_contamination_0_prunes_nothing():
    assert rrm_core.reweight([3.0, 1.0, 2.0, math.inf], contamination=0.0)[0].tolist() == [1, 1, 1, 1]


def test_one_sample_keeps_its_weight():
    for rule in ({"contamination": 0.99}, {"contamination": 0.99, "ties": "share"}, {"gamma": 0.0}):
        for redistribute in ("argmin", 0.5, "kept", "drop"):
            assert rrm_core.reweight([7.0], redistribute=redistribute, **rule)[0].tolist() == [1]


def test_two_samples():
    assert rrm_core.reweight([7.0, 5.0], contamination=0.5)[0].tolist() == [0, 2]
    assert rrm_core.reweight([7.0, 5.0], contamination=0.49)[0].tolist() == [1, 1]
    assert rrm_core.reweight([5.0, 5.0], contamination=0.5)[0].tolist() == [1, 1]


def test_ties_keep_and_share():
    c = [0.0, 1.0, 1.0, 1.0, 1.0]
    assert rrm_core.reweight(c, contamination=0.4)[0].tolist() == [1, 1, 1, 1, 1]
    weights, plan = rrm_core.reweight(c, contamination=0.4, ties="share")
    assert weights.tolist() == [3, 0.5, 0.5, 0.5, 0.5]
    assert (plan.n_pruned, plan.n_tied, plan.removed) == (0, 4, 2)


def test_each_redistribution():
    c = [0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 8.0, 9.0]
    answers = {
        "argmin": [2, 2, 1, 1, 1, 1, 0, 0],
        0.25: [2, 2, 1, 1, 1, 1, 0, 0],
        0.26: [1 + 2 / 3, 1 + 2 / 3, 1 + 2 / 3, 1, 1, 1, 0, 0],
        0.5: [1.5, 1.5, 1.5, 1.5, 1, 1, 0, 0],
        1.0: [8 / 6, 8 / 6, 8 / 6, 8 / 6, 8 / 6, 8 / 6, 0, 0],
        "kept": [8 / 6, 8 / 6, 8 / 6, 8 / 6, 8 / 6, 8 / 6, 0, 0],
        "drop": [1, 1, 1, 1, 1, 1, 0, 0],
    }
    for redistribute, expected in answers.items():
        weights, _ = rrm_core.reweight(c, contamination=0.25, redistribute=redistribute)
        np.testing.assert_allclose(weights, expected, rtol=1e-15, err_msg=str(redistribute))


def test_fraction_adds_and_kept_multiplies():
    c = [0.0, 1.0, 1.0, 2.0]
    added, _ = rrm_core.reweight(c, contamination=0.5, ties="share", redistribute=1.0)
    scaled, _ = rrm_core.reweight(c, contamination=0.5, ties="share", redistribute="kept")
    np.testing.assert_allclose(added, [1 + 2 / 3, 0.5 + 2 / 3, 0.5 + 2 / 3, 0], rtol=1e-15)
    np.testing.assert_allclose(scaled, [2, 1, 1, 0], rtol=1e-15)


def test_smoothing_is_a_partial_step():
    weights, _ = rrm_core.reweight([0.0, 1.0, 2.0, 3.0], [1.0, 3.0, 0.0, 2.0], contamination=0.25, mu=0.25)
    assert weights.tolist() == [1.25, 2.5, 0.25, 1.5]
    weights, _ = rrm_core.reweight([0.0, 1.0, 2.0, 3.0], contamination=0.25, mu=0.25)
    assert weights.tolist() == [1.25, 1, 1, 0.75]


def test_infinity_is_pruned_if_the_threshold_is_finite():
    c = [math.inf, 0.0, 1e300, math.inf]
    assert rrm_core.reweight(c, gamma=1e308)[0].tolist() == [0, 3, 1, 0]
    assert rrm_core.reweight(c, contamination=0.5)[0].tolist() == [0, 3, 1, 0]
    assert rrm_core.reweight(c, contamination=0.25)[0].tolist() == [1, 1, 1, 1]  # two tie at infinity, one is allowed
    assert rrm_core.reweight(c, contamination=0.25, ties="share")[0].tolist() == [0.5, 2, 1, 0.5]
    assert rrm_core.reweight(c, gamma=math.inf)[0].tolist() == [1, 1, 1, 1]


def test_nan_are_pruned_as_the_highest_losses():
    c = [math.nan, 0.0, 1.0, math.inf]
    weights, plan = rrm_core.reweight(c, contamination=0.25, nan="prune")
    assert weights.tolist() == [0, 2, 1, 1]
    assert (plan.n_nan, plan.n_pruned, plan.threshold) == (1, 1, math.inf)
    weights, plan = rrm_core.reweight(c, contamination=0.5, nan="prune")
    assert weights.tolist() == [0, 3, 1, 0]
    assert (plan.n_nan, plan.n_pruned, plan.threshold) == (1, 2, 1.0)


@pytest.mark.parametrize("rule", [{"contamination": 0.25}, {"contamination": 0.0}, {"gamma": math.inf}])
def test_nan_are_pruned_even_beyond_the_quota(rule):
    c = [math.nan, 0.0, -math.nan, 1.0]
    weights, plan = rrm_core.reweight(c, nan="prune", **rule)
    assert weights.tolist() == [0, 3, 0, 1]
    assert (plan.n_nan, plan.n_pruned, plan.removed) == (2, 2, 2)
    for redistribute, expected in ((1.0, [0, 2, 0, 2]), ("kept", [0, 2, 0, 2]), ("drop", [0, 1, 0, 1])):
        assert rrm_core.reweight(c, nan="prune", redistribute=redistribute, **rule)[0].tolist() == expected


def test_ties_share_nothing_if_nan_exceed_the_quota():
    weights, plan = rrm_core.reweight([math.nan, 0.0, math.nan, 1.0], contamination=0.25, ties="share", nan="prune")
    assert weights.tolist() == [0, 3, 0, 1]
    assert plan.removed == 2


@pytest.mark.parametrize(
    ("c", "gamma", "expected"),
    [
        ([0.0, 1.0, 2.0, 7.0], 2.0, (0 + 1 + 2 + 2) / 4),
        ([-1.0, 5.0], 0.0, -1.0),
        ([3.0], 1.0, 3.0),
        ([0.0, math.inf], 2.0, 1.0),
        ([0.0, math.inf], math.inf, math.inf),
    ],
)
def test_objective_is_the_mean_of_capped_losses(c, gamma, expected):
    assert rrm_core.objective(c, gamma) == expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_objective_is_summed_in_double_precision(dtype):
    c = losses("exponential", 10_001, dtype)
    exact = [float(x) for x in c]
    cap = min(exact) + 0.7
    assert math.isclose(rrm_core.objective(c, 0.7), math.fsum(min(x, cap) for x in exact) / len(c), rel_tol=1e-13)


# Integer ranks of fractions without an exact binary representation.


@pytest.mark.parametrize("n", [1, 3, 7, 10, 49, 100, 1000, 50_000, 1_281_167])
def test_quota_of_a_decimal_fraction(n):
    for percent in range(100):
        contamination = percent / 100
        assert Rule(contamination=contamination).quota(n) == percent * n // 100
        assert Rule(gamma=1.0, redistribute=(percent + 1) / 100).recipient_rank(n) == -(-(percent + 1) * n // 100)


def test_quota_of_thirds_and_sevenths():
    for denominator in range(2, 60):
        for numerator in range(denominator):
            for times in (1, 5, 1000):
                rule = Rule(contamination=numerator / denominator)
                assert rule.quota(denominator * times) == numerator * times


def test_quota_of_0_29_of_100():
    # In double precision.
    assert 0.29 * 100 < 29
    assert Rule(contamination=0.29).quota(100) == 29
    assert rrm_core.plan(np.arange(100.0), contamination=0.29).n_pruned == 29
    assert rrm_core.plan(np.arange(100.0), contamination=0.57).n_pruned == 57


def test_quota_rounds_down_below_an_integer():
    assert Rule(contamination=0.2899999).quota(100) == 28
    assert Rule(contamination=1 - 1e-9).quota(1_000_000) == 999_999
    assert Rule(contamination=1e-17).quota(100) == 0


def test_at_least_one_sample_is_kept():
    almost = math.nextafter(1.0, 0.0)
    for n in (1, 2, 3, 1000):
        assert Rule(contamination=almost).quota(n) == n - 1
        assert rrm_core.plan(np.arange(float(n)), contamination=almost).n_pruned == n - 1


def test_recipients_of_a_tiny_fraction_and_of_one():
    assert Rule(gamma=0.0, redistribute=5e-324).recipient_rank(1000) == 1
    assert Rule(gamma=0.0, redistribute=1.0).recipient_rank(1000) == 1000
    assert Rule(gamma=0.0, redistribute=1).recipient_rank(3) == 3


@pytest.mark.parametrize("name", DTYPES)
def test_round_down_returns_the_largest_number_not_above(name):
    dtype = DTYPES[name]
    numbers = np.unique(losses("all bit patterns", 300, name).astype(np.float64))
    rng = np.random.default_rng(0)
    subnormal = losses("subnormal", 50, name).astype(np.float64)
    for x in (*numbers, *subnormal, 0.0, 1.0, -1.0, *rng.normal(size=50)):
        for beside in (x, np.nextafter(x, np.inf), np.nextafter(x, -np.inf)):
            lower = BY_NAME[name].round_down(float(beside))
            with np.errstate(over="ignore"):
                assert float(np.array(lower).astype(dtype)) == lower
                above = np.nextafter(np.array(lower).astype(dtype), np.array(np.inf).astype(dtype))
            assert lower <= beside < float(above)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32"])
def test_round_down_at_the_ends_of_the_range(name):
    numbers = BY_NAME[name]
    assert numbers.largest == float(ml_dtypes.finfo(DTYPES[name]).max)
    assert numbers.round_down(1e300) == numbers.largest
    assert numbers.round_down(math.inf) == math.inf
    assert numbers.round_down(-math.inf) == -math.inf
    assert numbers.round_down(-1e300) == -math.inf
    assert numbers.round_down(-numbers.largest) == -numbers.largest


# The policy.


@pytest.mark.parametrize("redistribute", ["argmin", 0.5, "kept", "drop"])
def test_levels_preserve_mass(redistribute):
    rng = np.random.default_rng(3)
    for _ in range(300):
        n = int(rng.integers(1, 1000))
        n_pruned = int(rng.integers(0, n))
        n_tied = int(rng.integers(1, n - n_pruned + 1))
        removed = n_pruned + int(rng.integers(0, n_tied))
        n_below = n - n_pruned - n_tied
        # Recipients are a part of the samples below the threshold, or all of these and all tied ones.
        n_recipients = int(rng.integers(1, n_below + 1)) if n_below and rng.random() < 0.5 else n_below + n_tied
        among_tied = n_tied if n_recipients > n_below else 0
        among_kept = n_recipients - among_tied
        level = levels(n, n_pruned, n_tied, n_recipients, removed, redistribute)
        mass = (
            n_pruned * Fraction(level.pruned)
            + (n_tied - among_tied) * Fraction(level.tied)
            + (n_below - among_kept) * Fraction(level.kept)
            + among_tied * Fraction(level.tied_recipient)
            + among_kept * Fraction(level.kept_recipient)
        )
        expected = n - removed if redistribute == "drop" else n
        assert math.isclose(mass, expected, rel_tol=1e-13)


def test_objective_of_losses_too_large_to_be_summed():
    assert rrm_core.objective([1e308] * 3, 1.0) == 1e308


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_low_precision_fraction_means_its_decimal(dtype):
    assert Rule(contamination=dtype(0.7)).quota(10) == 7
    assert Rule(contamination=dtype(0.29)).quota(100) == 29
    assert Rule(gamma=1.0, redistribute=dtype(0.07)).recipient_rank(100) == 7
