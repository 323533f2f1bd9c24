"""Neither `np.seterr` nor warnings as errors, which callers set for their own arithmetic, fail a call."""

from __future__ import annotations

import warnings

import dask.array as da
import numpy as np
import pytest

import rrm_core
from support.families import BACKENDS, DTYPES, assert_same_bits
from support.frameworks import make

N = 70_000


@pytest.fixture
def strict():
    """Make every floating-point error and every warning an error."""
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def extreme_losses(dtype):
    """Return losses that are subnormal, zero of both signs, huge, infinite or NaN."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = np.random.default_rng(0).exponential(size=N) * 1e-320
        values[::3] = np.random.default_rng(1).exponential(size=len(values[::3]))
        values[1::7] = [1e308, -1e308, np.inf, np.nan, 0.0, -0.0, 3e38, -3e38, 65504, -65504] * 1000
        return values.astype(DTYPES[dtype])


def extreme_weights(dtype):
    """Return weights that are subnormal, zero or huge."""
    dtype = np.dtype(np.float64 if dtype == "float64" else np.float32)
    info = np.finfo(dtype)
    weights = np.ones(N, dtype)
    weights[::3] = info.smallest_subnormal
    weights[1::3] = info.max
    return weights


RULES = (
    {"contamination": 0.2, "nan": "prune"},
    {"contamination": 0.5, "nan": "prune", "ties": "share", "redistribute": 0.3},
    {"gamma": 1e308, "nan": "prune"},
    {"gamma": 1e-320, "nan": "prune", "redistribute": "kept"},
)


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("n", [100, N])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_reweight_plan_and_apply(dtype, backend, n):
    losses, weights = extreme_losses(dtype)[:n], extreme_weights(dtype)[:n]
    if np.isneginf(losses.astype(np.float64)).any():
        # Huge negative numbers overflow in this type.
        losses = np.where(np.isneginf(losses.astype(np.float64)), np.array(1, losses.dtype), losses)
    for rule in RULES:
        for mu in (1.0, 0.3, 1e-60, 1 - 2**-53):
            expected, plan = rrm_core.reweight(losses, weights, mu=mu, backend="cpp", **rule)
            actual, same = rrm_core.reweight(losses, weights, mu=mu, backend=backend, **rule)
            assert same == plan == rrm_core.plan(losses, backend=backend, **rule)
            assert_same_bits(actual, expected)
            assert_same_bits(rrm_core.apply(plan, losses, weights, mu=mu, backend=backend), expected)
            repr(plan)
            for framework in ("torch",) if dtype != "bfloat16" else ():
                rrm_core.reweight(make(framework, losses), make(framework, weights), mu=mu, backend=backend, **rule)


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("backend", BACKENDS)
def test_errors_are_those_of_the_contract(backend):
    huge = np.array([1.0, 1e300, -1e300, 1e-300])
    with pytest.raises(ValueError, match="losses contain 1 NaN"):
        rrm_core.reweight(np.array([1.0, np.nan], np.float32), gamma=1.0, backend=backend)
    with pytest.raises(ValueError, match="weights must be finite and at least 0, but 2 of 4"):
        rrm_core.reweight(huge, np.array([1, np.nan, -np.inf, 0]), mu=0.5, gamma=1.0, backend=backend)
    with pytest.raises(ValueError, match=r"weights must be numbers of float32.* but 3 of 4"):
        rrm_core.reweight(np.ones(4, np.float16), np.abs(huge), mu=0.5, gamma=1.0, backend=backend)


@pytest.mark.usefixtures("strict")
def test_lists_and_objective():
    assert rrm_core.reweight([1e308, -1e308, 1e-320, 0.0], gamma=1.5e308)[0].tolist() == [0, 2, 1, 1]
    weights, _ = rrm_core.reweight(np.ones(3, np.float32), [1.0, 1e-300, 0.1], mu=0.5, gamma=1.0)
    assert weights.dtype == np.float32
    assert rrm_core.objective([1e308, -1e308, np.inf], 1e308) > -1e308
    assert rrm_core.objective(np.array([65504, -65504, 6e-8], np.float16), 1.0) < 0


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("backend", ["cpp", "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_planner(dtype, backend):
    losses = np.abs(extreme_losses(dtype))
    for rule in RULES:
        planner = rrm_core.Planner(**rule, backend=backend)
        while not planner.done:
            planner.update(losses[:1000])
            other = rrm_core.Planner.from_partial({"state": planner.partial()["state"]}, backend=backend)
            other.update(losses[1000:])
            planner.merge(rrm_core.Planner.from_partial(other.partial()))
            planner.advance()
        assert planner.plan == rrm_core.plan(losses, **rule)


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_stream(dtype, tmp_path):
    losses, weights = np.abs(extreme_losses(dtype)), extreme_weights(dtype)
    np.save(tmp_path / "losses.npy", losses)
    for other in (weights, weights.astype(np.float64), weights.astype(np.float32) if dtype != "float64" else weights):
        for rule in RULES:
            expected, plan = rrm_core.reweight(losses, weights, mu=0.3, **rule)
            received = []
            options = {"weights": [other[:5000], other[5000:]], "mu": 0.3, **rule}
            assert rrm_core.stream.reweight(tmp_path / "losses.npy", received.append, **options) == plan
            assert_same_bits(np.concatenate(received), expected)


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dask_array(dtype):
    losses, weights = np.abs(extreme_losses(dtype)), extreme_weights(dtype)
    chunked = da.from_array(losses, chunks=30_000), da.from_array(weights, chunks=20_000)
    for rule in RULES[:2]:
        expected, plan = rrm_core.reweight(losses, weights, mu=0.3, **rule)
        new, same = rrm_core.reweight(*chunked, mu=0.3, **rule)
        assert same == plan
        assert_same_bits(new.compute(scheduler="synchronous"), expected)
