"""Every backend against the reference, bit for bit: equal plans and weights, without a tolerance."""

from __future__ import annotations

import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

import rrm_core
from rrm_core.definition.plan import levels
from rrm_core.definition.rule import Rule
from support.families import (
    BACKENDS,
    BLOCKS,
    COMPILED,
    DTYPES,
    FAMILIES,
    LARGE,
    SMALL,
    assert_same_bits,
    losses,
    old_weights,
    reference,
    reweight_cases,
)
from support.frameworks import DEVICE, FRAMEWORKS, holds, make, to_numpy

OTHERS = tuple(name for name in BACKENDS if name != "numpy")


def assert_equals_reference(family, n, dtype, backend, *, every=1, first=0, framework="numpy"):
    c, w = make(framework, losses(family, n, dtype)), make(framework, old_weights(n, dtype))
    asked = zip(reweight_cases(family), reference(family, n, dtype), strict=True)
    for i, ((rule, mu, with_old), (expected, expected_plan)) in enumerate(asked):
        if (i + n + first) % every:
            continue
        label = f"{n=} {rule=} {mu=} {with_old=}"
        weights, plan = rrm_core.reweight(c, w if with_old else None, mu=mu, backend=backend, **rule)
        assert plan == expected_plan, label
        assert_same_bits(to_numpy(weights), expected, label)


def test_every_declared_backend_is_available():
    assert rrm_core.available_backends() == BACKENDS


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_small_sizes_with_every_rule(family, dtype, backend):
    for n in SMALL:
        assert_equals_reference(family, n, dtype, backend)


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_at_block_boundaries(family, dtype, backend):
    for n in BLOCKS:
        assert_equals_reference(family, n, dtype, backend, every=7)


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_large_size(family, dtype, backend):
    c, w = losses(family, LARGE, dtype), old_weights(LARGE, dtype)
    for rule, mu, with_old in list(reweight_cases(family))[3::8]:
        expected, expected_plan = rrm_core.reweight(c, w if with_old else None, mu=mu, backend="numpy", **rule)
        weights, plan = rrm_core.reweight(c, w if with_old else None, mu=mu, backend=backend, **rule)
        assert plan == expected_plan, rule
        assert_same_bits(weights, expected, str(rule))


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_rank_of_few_losses(backend, dtype):
    n = 37
    for family in ("exponential", "few distinct", "all bit patterns", "negative"):
        c = losses(family, n, dtype)
        for k in range(n):
            rule = {"contamination": k / n, "redistribute": (k + 1) / n}
            expected, expected_plan = rrm_core.reweight(c, backend="numpy", **rule)
            weights, plan = rrm_core.reweight(c, backend=backend, **rule)
            assert plan == expected_plan, rule
            assert_same_bits(weights, expected, str(rule))


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", ["exponential", "negative", "all bit patterns", "subnormal"])
def test_gamma_on_and_next_to_a_loss(backend, dtype, family):
    c = losses(family, 257, dtype)
    low = float(c.min())
    for value in c[:40]:
        exact = float(value) - low
        for gamma in (exact, np.nextafter(exact, -1.0), np.nextafter(exact, np.inf)):
            if not 0 <= gamma < np.inf:
                continue
            expected, expected_plan = rrm_core.reweight(c, gamma=gamma, backend="numpy")
            weights, plan = rrm_core.reweight(c, gamma=gamma, backend=backend)
            assert plan == expected_plan, gamma
            assert_same_bits(weights, expected, str(gamma))


@pytest.mark.parametrize("backend", ["cpp", "numba", "numpy"])
def test_signalling_nan_of_any_payload(backend):
    patterns = [0x7F800001, 0xFF800001, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FC00000, 0x3F800000, 0x80000000, 0x7F800000]
    c = np.array(patterns, np.uint32).view(np.float32)
    weights, plan = rrm_core.reweight(c, contamination=0.25, nan="prune", backend=backend)
    assert_same_bits(weights, np.array([0, 0, 0, 0, 0, 1, 6, 1], np.float32))
    assert plan.n_nan == 5


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", ["few distinct", "NaN", "infinities"])
def test_plan_and_apply_equal_reweight_also_in_parts(backend, dtype, family):
    n = 1000
    c, w = losses(family, n, dtype), old_weights(n, dtype)
    for rule, mu, with_old in list(reweight_cases(family))[::3]:
        old = w if with_old else None
        expected, expected_plan = rrm_core.reweight(c, old, mu=mu, backend="numpy", **rule)
        plan = rrm_core.plan(c, backend=backend, **rule)
        assert plan == expected_plan, rule
        assert_same_bits(rrm_core.apply(plan, c, old, mu=mu, backend=backend), expected, str(rule))
        parts = [
            rrm_core.apply(plan, c[part], None if old is None else old[part], mu=mu, backend=backend)
            for part in (slice(0, 1), slice(1, 334), slice(334, n))
        ]
        assert_same_bits(np.concatenate(parts), expected, str(rule))


def fresh(n, dtype):
    return np.full(n, np.nan, dtype)


def strided(n, dtype):
    return np.full(3 * n, np.nan, dtype)[::3]


def backwards(n, dtype):
    return np.full(n, np.nan, dtype)[::-1]


def unaligned(n, dtype):
    return np.zeros(n * np.dtype(dtype).itemsize + 1, np.uint8)[1:].view(dtype)


LAYOUTS = (fresh, strided, backwards, unaligned)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_out_of_any_layout(backend, dtype, layout):
    n = 100
    c, w = losses("few distinct", n, dtype), old_weights(n, dtype)
    expected, expected_plan = rrm_core.reweight(c, w, mu=0.3, contamination=0.3, backend="numpy")
    for call in ("reweight", "apply"):
        out = layout(n, w.dtype)
        if call == "reweight":
            result, _ = rrm_core.reweight(c, w, mu=0.3, contamination=0.3, out=out, backend=backend)
        else:
            result = rrm_core.apply(expected_plan, c, w, mu=0.3, out=out, backend=backend)
        assert result is out
        assert_same_bits(out, expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_in_place(backend, dtype, layout):
    n = 100
    c = losses("few distinct", n, dtype)
    for call in ("reweight", "apply"):
        w = layout(n, old_weights(n, dtype).dtype)
        w[...] = old_weights(n, dtype)
        expected, plan = rrm_core.reweight(c, w, mu=0.3, contamination=0.3, backend="numpy")
        if call == "reweight":
            result, _ = rrm_core.reweight(c, w, mu=0.3, contamination=0.3, out=w, backend=backend)
        else:
            result = rrm_core.apply(plan, c, w, mu=0.3, out=w, backend=backend)
        assert result is w
        assert_same_bits(w, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_out_interleaved_with_the_weights(backend):
    both = np.stack([old_weights(50, "float32"), fresh(50, np.float32)], axis=1)
    c = losses("few distinct", 50, "float32")
    expected, _ = rrm_core.reweight(c, both[:, 0].copy(), mu=0.3, contamination=0.3, backend="numpy")
    rrm_core.reweight(c, both[:, 0], mu=0.3, contamination=0.3, out=both[:, 1], backend=backend)
    assert_same_bits(both[:, 1], expected)
    assert_same_bits(both[:, 0], old_weights(50, "float32"))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", [strided, backwards, unaligned])
def test_losses_and_weights_of_any_layout(backend, dtype, layout):
    n = 100
    c, w = losses("few distinct", n, dtype), old_weights(n, dtype)
    expected, expected_plan = rrm_core.reweight(c, w, mu=0.3, contamination=0.3, backend="numpy")
    laid_c, laid_w = layout(n, c.dtype), layout(n, w.dtype)
    laid_c[...], laid_w[...] = c, w
    weights, plan = rrm_core.reweight(laid_c, laid_w, mu=0.3, contamination=0.3, backend=backend)
    assert plan == expected_plan
    assert_same_bits(weights, expected)
    assert_same_bits(rrm_core.apply(plan, laid_c, laid_w, mu=0.3, backend=backend), expected)
    assert_same_bits(laid_w, w)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_losses_and_weights_in_foreign_byte_order(backend, dtype):
    c, w = losses("negative", 100, dtype), old_weights(100, dtype)
    expected, expected_plan = rrm_core.reweight(c, w, mu=0.3, contamination=0.3, backend="numpy")
    swapped = [x.astype(x.dtype.newbyteorder()) for x in (c, w)]
    weights, plan = rrm_core.reweight(*swapped, mu=0.3, contamination=0.3, backend=backend)
    assert plan == expected_plan
    assert_same_bits(weights, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_are_not_read_at_mu_1(backend):
    c = losses("exponential", 33, "float32")
    expected, _ = rrm_core.reweight(c, contamination=0.3)
    weights, _ = rrm_core.reweight(c, np.full(33, np.nan, np.float32), contamination=0.3, backend=backend)
    assert_same_bits(weights, expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mu", [0.3, 0.7, 1e-3, 0.1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_smoothing_rounds_each_operation(backend, mu, dtype):
    T = np.dtype(dtype).type  # noqa: N806
    c, w = losses("exponential", 999, dtype), old_weights(999, dtype)
    target, _ = rrm_core.reweight(c, contamination=0.3, redistribute=0.1, backend="numpy")
    expected = np.array([T(T(1 - mu) * old) + T(T(mu) * new) for old, new in zip(w, target, strict=True)])
    weights, _ = rrm_core.reweight(c, w, mu=mu, contamination=0.3, redistribute=0.1, backend=backend)
    assert_same_bits(weights, expected)


IN_FRAMEWORKS = [
    (framework, dtype, family)
    for framework, dtype, family in product(FRAMEWORKS, DTYPES, FAMILIES)
    # XLA treats subnormal numbers as zeros, also in comparisons.
    if holds(framework, dtype) and not (framework == "jax" and family in ("subnormal", "all bit patterns"))
]


@pytest.mark.parametrize(("framework", "dtype", "family"), IN_FRAMEWORKS)
def test_array_api_in_every_framework(framework, dtype, family):
    # A sixth or a tenth of the rules per family, other ones for the next family, so that all rules are met. All rules
    # with all families: test_small_sizes_under_every_rule, for NumPy arrays.
    first = list(FAMILIES).index(family)
    assert_equals_reference(family, 257, dtype, "array_api", every=6, first=first, framework=framework)
    # JAX compiles for every size.
    if framework != "jax":
        for n in (1, 2, 33):
            assert_equals_reference(family, n, dtype, "array_api", every=10, first=first, framework=framework)


@pytest.mark.skipif("jax" not in FRAMEWORKS, reason="no JAX for this Python")
def test_array_api_in_float64_jax():
    import jax

    with jax.enable_x64(True):
        assert_equals_reference("negative", 257, "float64", "array_api", every=6, framework="jax")


def test_array_api_leaves_arrays_on_their_device():
    c, w = (make("strict", x) for x in (losses("NaN", 100, "float32"), old_weights(100, "float32")))
    with pytest.raises(RuntimeError):
        # A copy to the host would raise the same error.
        np.asarray(c)
    for rule, mu, with_old in reweight_cases("NaN"):
        weights, plan = rrm_core.reweight(c, w if with_old else None, mu=mu, **rule)
        assert weights.device == DEVICE
        assert rrm_core.apply(plan, c, w, mu=mu).device == DEVICE
        assert rrm_core.plan(c, **rule) == plan
    out = make("strict", old_weights(100, "float32"))
    result, _ = rrm_core.reweight(c, w, mu=0.3, contamination=0.2, nan="prune", out=out)
    assert result is out


@pytest.mark.parametrize("backend", BACKENDS)
def test_concurrent_calls(backend):
    def work(seed):
        c, w = losses(families[seed % 4], 5000 + seed, "float32"), old_weights(5000 + seed, "float32")
        return [rrm_core.reweight(c, w, mu=0.3, backend=backend, **rule) for rule in rules]

    families = ("exponential", "few distinct", "negative", "descending")
    rules = [{"contamination": 0.2}, {"gamma": 0.5}, {"contamination": 0.4, "redistribute": 0.1}]
    alone = [work(seed) for seed in range(24)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(work, range(24)))
    for answers, expected in zip(together, alone, strict=True):
        for (weights, plan), (expected_weights, expected_plan) in zip(answers, expected, strict=True):
            assert plan == expected_plan
            assert_same_bits(weights, expected_weights)


def test_levels_in_cpp_equal_those_in_python():
    from rrm_core import _cpu

    draw = random.Random(0)
    for i, largest in product(range(1500), (3, 1000, 2**52)):
        n = draw.randint(1, largest)
        n_pruned = draw.randint(0, n - 1)
        n_tied = draw.randint(0, n - n_pruned)
        n_recipients = draw.randint(1, n - n_pruned)
        removed = n_pruned + (draw.randint(0, n_tied - 1) if n_tied else 0)
        policy = ("argmin", "kept", "drop", draw.uniform(0.01, 1.0))[i % 4]
        twin = policy if policy in ("kept", "drop") else "recipients"
        expected = levels(n, n_pruned, n_tied, n_recipients, removed, policy)
        actual = _cpu.levels(n, n_pruned, n_tied, n_recipients, removed, twin)
        assert np.array(actual).tobytes() == np.array(expected).tobytes()


def interpreted_kernels(monkeypatch):
    """Replace Numba's compiled functions by their Python bodies, for coverage and debuggers."""
    from importlib import import_module

    loops = import_module("rrm_core.backends.numba_kernels")
    for name, value in list(vars(loops).items()):
        if hasattr(value, "py_func"):
            monkeypatch.setattr(loops, name, value.py_func)
    return loops


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sampled", [False, True])
def test_numba_kernels_without_compilation(family, dtype, sampled, monkeypatch):
    interpreted_kernels(monkeypatch)
    # As for large arrays, but with a bracket so narrow that it often misses the threshold.
    if sampled:
        monkeypatch.setattr("rrm_core.backends.numba.MIN_SAMPLED", 1)
        monkeypatch.setattr("rrm_core.backends.numba.MARGIN", 0.0)
    # The pseudo-random generator relies on integer overflow.
    with np.errstate(over="ignore"):
        for n in (1, 2, 33):
            assert_equals_reference(family, n, dtype, "numba", every=4)


@pytest.mark.parametrize("chunks", [1, 2, 3, 8, 64])
def test_numba_result_does_not_depend_on_chunks(chunks, monkeypatch):
    loops = interpreted_kernels(monkeypatch)
    monkeypatch.setattr(loops, "get_num_threads", lambda: chunks)
    monkeypatch.setattr(loops, "BLOCK", 8)
    c = losses("NaN", 37, "float32")
    c[[5, 30]] = np.nan
    rule = Rule(contamination=0.5, redistribute=0.2, nan="prune")
    plan = rrm_core.plan(c, contamination=0.5, redistribute=0.2, nan="prune", backend="numba")
    assert plan == rrm_core.plan(c, contamination=0.5, redistribute=0.2, nan="prune", backend="numpy")
    assert plan.rule == rule
    with pytest.raises(ValueError, match=f"the first at index {np.flatnonzero(np.isnan(c))[0]};"):
        rrm_core.plan(c, contamination=0.5, backend="numba")
    c[[36, 3]] = -np.inf
    with pytest.raises(ValueError, match="2 values of -inf among 37, the first at index 3"):
        rrm_core.plan(c, contamination=0.5, nan="prune", backend="numba")


SAMPLES = {
    "the smallest": lambda c, size: np.sort(c)[:size],
    "the largest, or NaN": lambda c, size: np.sort(c)[-size:],
    "one alone": lambda c, size: np.full(size, c[5]),
    "the ends": lambda c, size: np.resize([np.nanmin(c), np.nanmax(c)], size),  # more between them than expected
}


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("family", ["exponential", "NaN", "capped", "all bit patterns"])
def test_numba_result_does_not_depend_on_the_sample(sample, dtype, family, monkeypatch):
    monkeypatch.setattr("rrm_core.backends.numba_kernels.draw_sample", SAMPLES[sample])
    c = losses(family, LARGE, dtype)
    for rule in ({"contamination": 0.03}, {"contamination": 0.5, "redistribute": 0.1}, {"gamma": 1.0}):
        expected, expected_plan = rrm_core.reweight(c, nan="prune", backend="numpy", **rule)
        weights, plan = rrm_core.reweight(c, nan="prune", backend="numba", **rule)
        assert plan == expected_plan, rule
        assert_same_bits(weights, expected, str(rule))


def test_numba_in_place_across_blocks():
    c, w = losses("exponential", LARGE, "float32"), old_weights(LARGE, "float32")
    expected, _ = rrm_core.reweight(c, w, mu=0.3, contamination=0.3, backend="numpy")
    rrm_core.reweight(c, w, mu=0.3, contamination=0.3, out=w, backend="numba")
    assert_same_bits(w, expected)


def test_numba_compiles_once_for_all_memory_layouts():
    from rrm_core.backends import numba_kernels as loops

    def compiled():
        return [len(getattr(loops, name).signatures) for name in ("scan", "draw_sample", "replace", "smooth")]

    def call(kind):
        c, w = kind(LARGE, np.float32), kind(LARGE, np.float32)
        c[...], w[...] = losses("exponential", LARGE, "float32"), 1
        for writable in (True, False):
            c.flags.writeable = w.flags.writeable = writable
            for mu in (0.3, 1):
                rrm_core.reweight(c, w, mu=mu, contamination=0.3, out=kind(LARGE, np.float32), backend="numba")

    call(fresh)
    before = compiled()
    for kind in (strided, backwards, unaligned):
        call(kind)
    assert compiled() == before


def test_compiled_backends_come_first():
    assert rrm_core.available_backends()[: len(COMPILED)] == COMPILED


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_subnormals_with_flush_denormal(dtype):
    bits = np.arange(1, 9, dtype=f"u{np.dtype(dtype).itemsize}")
    losses = bits.view(dtype)
    expected, plan = rrm_core.reweight(losses, contamination=0.25, backend="numpy")
    assert torch.set_flush_denormal(True)
    try:
        weights, flushed = rrm_core.reweight(losses, contamination=0.25, backend="cpp")
        applied = rrm_core.apply(flushed, losses, backend="cpp")
        still = np.float32(1e-45) + np.float32(0) == 0
    finally:
        torch.set_flush_denormal(False)
    # The caller's mode is restored.
    assert still
    assert_array_equal(weights, expected)
    assert_array_equal(applied, expected)
    assert flushed == plan


@pytest.mark.parametrize("value", [0.5, 1.0])
@pytest.mark.parametrize("contamination", [0.0, 0.2, 0.5, 0.9])
def test_heavy_ties_around_the_sampled_bracket(value, contamination):
    losses = np.minimum(np.random.default_rng(0).exponential(size=80_011), value).astype(np.float32)
    # One loss above all ties.
    losses[0] = 3.0
    expected, plan = rrm_core.reweight(losses, contamination=contamination, backend="numpy")
    weights, own = rrm_core.reweight(losses, contamination=contamination, backend="cpp")
    assert_array_equal(weights, expected)
    assert own == plan


CHANGING_LOSSES = """
import contextlib, sys, threading
import numpy as np
import rrm_core

losses = np.random.default_rng(0).exponential(size=2_000_000)
original = losses.copy()
stop = threading.Event()

def change():
    while not stop.is_set():
        losses[:] = np.nan
        losses[:] = original

thread = threading.Thread(target=change)
thread.start()
for _ in range(20):
    with contextlib.suppress(RuntimeError, ValueError):
        rrm_core.plan(losses, contamination=0.2, nan="prune", backend=sys.argv[1])
stop.set()
thread.join()
"""


@pytest.mark.parametrize("backend", COMPILED)
def test_losses_that_change_during_the_call_do_not_hang(backend):
    """A pass that finds other losses than the one before it must end, with an error or a result."""
    subprocess.run([sys.executable, "-c", CHANGING_LOSSES, backend], check=True, timeout=300)
