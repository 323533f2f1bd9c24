"""The cuda backend, as built by nvcc, on the stand-in for the CUDA runtime: bit for bit equal to the reference."""

from __future__ import annotations

import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch

import rrm_core
from cuda_model.cudart.fake_gpu import Device, PlainArray
from cuda_model.cudart.stand_in import needs_nvcc
from rrm_core.arrays import convert
from rrm_core.arrays.placement import Placement
from support.families import (
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
from support.frameworks import FRAMEWORKS

pytestmark = needs_nvcc

# Tunings that take a small call through the code paths of a large one. They must not affect the result.
TUNINGS = {
    "a small sample": {"threads": 32, "sample_size": 64, "blocks_per_processor": 2, "chunk": 3},
    "a bracket around all losses": {"threads": 64, "sample_size": 2, "blocks_per_processor": 1, "chunk": 1},
    "a full candidate buffer": {
        "threads": 32,
        "sample_size": 16,
        "blocks_per_processor": 3,
        "chunk": 64,
        "extra_slots": 0,
    },
}


def assert_equals_reference(gpu, family, n, dtype, *, every):
    c, w = gpu.asarray(losses(family, n, dtype)), gpu.asarray(old_weights(n, dtype))
    asked = zip(reweight_cases(family), reference(family, n, dtype), strict=True)
    for i, ((rule, mu, with_old), (expected, expected_plan)) in enumerate(asked):
        if (i + n) % every:
            continue
        label = f"{n=} {rule=} {mu=} {with_old=}"
        weights, plan = rrm_core.reweight(c, w if with_old else None, mu=mu, backend="cuda", **rule)
        assert plan == expected_plan, label
        assert_same_bits(weights.get(), expected, label)


def test_backend_is_available_and_chosen(gpu):
    assert rrm_core.available_backends() == ("cpp", "numba", "numpy", "cuda", "array_api")
    rrm_core.plan(gpu.asarray([1.0, 2.0]), contamination=0.5)
    assert [entry.what for entry in gpu.stand_in.log()] == ["launch"] * 3


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_default_tuning_matches_the_reference(gpu, family, dtype):
    for n in (1, 33, 256, 1025):
        assert_equals_reference(gpu, family, n, dtype, every=21)


@pytest.mark.parametrize("gpu", [{"order": "random", "seed": 7}], indirect=True)
@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_small_tunings_match_the_reference(gpu, family, dtype, tuning):
    gpu.stand_in.tune(**TUNINGS[tuning])
    for n in (*SMALL, 2049):
        assert_equals_reference(gpu, family, n, dtype, every=13)


# Paths of the selection, told apart by the bytes that the radix passes read: candidates, or all losses once per digit.

DIGITS = {"float32": 3, "float64": 5}


def sample_indices(sample_size, n):
    """Return the indices of the sampled losses: sample_index() in csrc/cuda/sample.h."""
    i = np.arange(sample_size, dtype=np.uint64)
    begin, end = (i * n) // sample_size, ((i + 1) * n) // sample_size
    h = i.astype(np.uint32) * np.uint32(0x9E3779B9)
    h = (h ^ h >> 15) * np.uint32(0x2C1B3C6D)
    h = (h ^ h >> 12) * np.uint32(0x297A2D39)
    return begin + ((end - begin) * (h ^ h >> 15).astype(np.uint64) >> 32)


def assert_selected_from(gpu, c, source, **rule):
    """Assert that the plan is right and that its threshold was selected from "candidates" or "losses"."""
    bytes_before = gpu.stand_in.call_bytes_read(b"10radix_pass")
    plan = rrm_core.plan(gpu.asarray(c), **rule)
    assert plan == rrm_core.plan(c, backend="numpy", **rule), rule
    passes = (gpu.stand_in.call_bytes_read(b"10radix_pass") - bytes_before) / c.nbytes
    if source == "losses":
        assert passes >= (1 if "gamma" in rule else DIGITS[c.dtype.name])
    else:
        assert 0 < passes < (0.5 if "gamma" in rule else DIGITS[c.dtype.name] - 1)  # the histograms are read too


@pytest.mark.parametrize("dtype", DIGITS)
@pytest.mark.parametrize("rule", [{"contamination": 0.5}, {"gamma": 0.7}], ids=str)
def test_candidate_buffer_that_fits_and_that_overflows(gpu, rule, dtype):
    c = losses("exponential", 20_000, dtype)
    gpu.stand_in.tune(threads=32, sample_size=1024)
    assert_selected_from(gpu, c, "candidates", **rule)
    gpu.stand_in.tune(threads=32, sample_size=16, extra_slots=0)
    assert_selected_from(gpu, c, "losses", **rule)


@pytest.mark.parametrize("dtype", DIGITS)
@pytest.mark.parametrize("sampled", ["the smallest", "the largest"])
def test_brackets_that_miss_the_threshold(gpu, sampled, dtype):
    n, sample_size = 20_000, 512
    c = np.sort(losses("negative", n, dtype))[:: 1 if sampled == "the smallest" else -1]
    at = sample_indices(sample_size, n)
    others = np.setdiff1d(np.arange(n), at)
    mixed = np.empty_like(c)
    mixed[at], mixed[others] = c[:sample_size], np.random.default_rng(0).permutation(c[sample_size:])
    gpu.stand_in.tune(threads=32, sample_size=sample_size)
    assert_selected_from(gpu, mixed, "losses", contamination=0.5)
    for rule in ({"contamination": 0.5, "redistribute": 0.5}, {"contamination": 0.0}, {"gamma": 1.0}):
        assert rrm_core.plan(gpu.asarray(mixed), **rule) == rrm_core.plan(mixed, backend="numpy", **rule)


def test_range_of_the_last_digit_does_not_overflow_in_bfloat16(gpu):
    """The range of the last digit ends above all numbers, at the largest 16-bit key."""
    for seed in range(4):
        c = (-np.random.default_rng(seed).exponential(size=5000) - 0.01 * seed).astype(DTYPES["bfloat16"])
        c.view(np.uint16)[77] = 0x7F7F
        assert rrm_core.plan(gpu.asarray(c), contamination=0.0) == rrm_core.plan(c, contamination=0.0), seed


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", ["exponential", "few distinct", "all bit patterns", "negative"])
def test_every_rank_of_a_small_sample(gpu, family, dtype):
    gpu.stand_in.tune(threads=32, sample_size=8, chunk=2)
    c = losses(family, 37, dtype)
    on_gpu = gpu.asarray(c)
    for k in range(37):
        rule = {"contamination": k / 37, "redistribute": (k + 1) / 37}
        expected, expected_plan = rrm_core.reweight(c, backend="numpy", **rule)
        weights, plan = rrm_core.reweight(on_gpu, **rule)
        assert plan == expected_plan, rule
        assert_same_bits(weights.get(), expected, str(rule))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", ["exponential", "negative", "all bit patterns", "subnormal"])
def test_gamma_threshold_on_a_loss_or_next_to_it(gpu, family, dtype):
    gpu.stand_in.tune(threads=32, sample_size=64)
    c = losses(family, 257, dtype)
    on_gpu, low = gpu.asarray(c), float(c.min())
    for value in c[:20]:
        exact = float(value) - low
        for gamma in (exact, np.nextafter(exact, -1.0), np.nextafter(exact, np.inf)):
            if 0 <= gamma < np.inf:
                assert rrm_core.plan(on_gpu, gamma=gamma) == rrm_core.plan(c, gamma=gamma, backend="numpy"), gamma


def test_nan_with_any_payload(gpu):
    patterns = [0x7F800001, 0xFF800001, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FC00000, 0x3F800000, 0x80000000, 0x7F800000]
    c = gpu.asarray(np.array(patterns, np.uint32).view(np.float32))
    weights, plan = rrm_core.reweight(c, contamination=0.25, nan="prune")
    assert_same_bits(weights.get(), np.array([0, 0, 0, 0, 0, 1, 6, 1], np.float32))
    assert plan.n_nan == 5


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_size_matches_the_reference(gpu, dtype):
    c, w = losses("NaN", LARGE, dtype), old_weights(LARGE, dtype)
    for rule in ({"contamination": 0.3, "redistribute": 0.1}, {"gamma": 0.7}):
        more = {"mu": 0.3, "nan": "prune"} | rule
        expected, expected_plan = rrm_core.reweight(c, w, backend="numpy", **more)
        weights, plan = rrm_core.reweight(gpu.asarray(c), gpu.asarray(w), **more)
        assert plan == expected_plan
        assert_same_bits(weights.get(), expected)


# The other functions.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", ["few distinct", "NaN", "infinities"])
def test_plan_then_apply_equals_reweight(gpu, family, dtype):
    gpu.stand_in.tune(threads=32, sample_size=64)
    n = 1000
    c, w = losses(family, n, dtype), old_weights(n, dtype)
    c_gpu, w_gpu = gpu.asarray(c), gpu.asarray(w)
    for rule, mu, with_old in list(reweight_cases(family))[::7]:
        expected, expected_plan = rrm_core.reweight(c, w if with_old else None, mu=mu, backend="numpy", **rule)
        plan = rrm_core.plan(c_gpu, **rule)
        old = w_gpu if with_old else None
        assert_same_bits(rrm_core.apply(plan, c_gpu, old, mu=mu).get(), expected, str(rule))
        assert plan == expected_plan, rule
        parts = [
            rrm_core.apply(expected_plan, c_gpu[part], None if old is None else old[part], mu=mu).get()
            for part in (slice(0, 1), slice(1, 334), slice(334, n))
        ]
        assert_same_bits(np.concatenate(parts), expected, str(rule))


def test_apply_rejects_losses_of_another_plan(gpu):
    plan = rrm_core.plan(np.array([0.25, 1.0, 2.0], np.float32), contamination=0.2)
    out = gpu.asarray(np.ones(3, np.float32))
    c = gpu.asarray(np.array([0.2, math.nan, -math.inf], np.float32))
    with pytest.raises(ValueError, match=r"losses contain 3 values .* below their minimum 0\.25, or NaN; make a plan"):
        rrm_core.apply(plan, c, out=out)
    assert out.get().tolist() == [1, 1, 1]
    with_nan = rrm_core.plan(gpu.asarray(np.array([0.25, math.nan], np.float32)), contamination=0.2, nan="prune")
    with pytest.raises(ValueError, match=r"losses contain 2 values .* below their minimum 0\.25; make a plan"):
        rrm_core.apply(with_nan, c[::2])


def test_objective(gpu):
    c = losses("exponential", 500, "float32")
    assert rrm_core.objective(gpu.asarray(c), 0.7) == pytest.approx(rrm_core.objective(c, 0.7), rel=1e-12)


# Memory layouts, as arguments of asarray.

LAYOUTS = {
    "offset by an element": lambda size: {"offset": size},
    "strided": lambda _: {"step": 3},
    "backwards": lambda size: {"step": -1, "offset": size},
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("of_losses", LAYOUTS)
@pytest.mark.parametrize("of_weights", LAYOUTS)
def test_arrays_of_any_layout(gpu, dtype, of_losses, of_weights):
    gpu.stand_in.tune(threads=32, sample_size=64)
    n = 301
    c, w = losses("few distinct", n, dtype), old_weights(n, dtype)
    expected, expected_plan = rrm_core.reweight(c, w, mu=0.3, contamination=0.3, backend="numpy")

    def laid_out(x, layout):
        return gpu.asarray(x, **LAYOUTS[layout](x.itemsize))

    for call in ("reweight", "apply"):
        for target in ("new", "in place", "out"):
            laid_c, laid_w = laid_out(c, of_losses), laid_out(w, of_weights)
            out = {"new": None, "in place": laid_w, "out": laid_out(np.full(n, np.nan, w.dtype), of_weights)}[target]
            if call == "reweight":
                weights, plan = rrm_core.reweight(laid_c, laid_w, mu=0.3, contamination=0.3, out=out)
                assert plan == expected_plan
            else:
                weights = rrm_core.apply(expected_plan, laid_c, laid_w, mu=0.3, out=out)
            assert weights is out or out is None
            assert_same_bits(weights.get(), expected)
            assert_same_bits(laid_c.get(), c)
            if target != "in place":
                assert_same_bits(laid_w.get(), w)


def test_weights_are_not_read_at_mu_1(gpu):
    c = losses("exponential", 33, "float32")
    expected, _ = rrm_core.reweight(c, contamination=0.3)
    weights, _ = rrm_core.reweight(gpu.asarray(c), gpu.asarray(np.full(33, np.nan, np.float32)), contamination=0.3)
    assert_same_bits(weights.get(), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_of_the_other_type(gpu, dtype):
    c = losses("exponential", 300, dtype)
    w = old_weights(300, "float32")
    other = w.astype("float32" if dtype == "float64" else "float64")
    expected, plan = rrm_core.reweight(c, w.astype("float64" if dtype == "float64" else "float32"), mu=0.3, gamma=0.7)
    weights, _ = rrm_core.reweight(gpu.asarray(c), gpu.asarray(other), mu=0.3, gamma=0.7)
    assert_same_bits(weights.get(), expected)
    assert_same_bits(rrm_core.apply(plan, gpu.asarray(c), gpu.asarray(other), mu=0.3).get(), expected)
    if dtype != "float64":
        other[[7, 50]] = 0.1
        with pytest.raises(ValueError, match=r"but 2 of 300 are not, the first 0\.1 at index 7; convert them"):
            rrm_core.reweight(gpu.asarray(c), gpu.asarray(other), mu=0.3, gamma=0.7)


def test_read_only_losses_and_weights(gpu):
    c, w = losses("exponential", 500, "float32"), old_weights(500, "float32")
    expected, _ = rrm_core.reweight(c, w, mu=0.3, contamination=0.3)
    c_gpu, w_gpu = gpu.asarray(c), gpu.asarray(w)
    for array in (c_gpu, w_gpu):
        array.read_only = True
        gpu.stand_in.call_protect(array.memory.address)  # against writes by kernels
    weights, _ = rrm_core.reweight(c_gpu, w_gpu, mu=0.3, contamination=0.3)
    assert_same_bits(weights.get(), expected)


# Invalid losses: the call returns, and reading the plan raises.

BAD = {
    "NaN": ([1.0, math.nan, 2.0, math.nan], "raise"),
    "-inf": ([1.0, 2.0, -math.inf, -math.inf], "raise"),
    "all inf": ([math.inf, math.inf, math.inf], "raise"),
    "one": ([math.nan], "raise"),
    "inf and NaN": ([math.nan, math.inf], "prune"),
    "all NaN": ([math.nan, math.nan, math.nan], "prune"),
    "-inf and NaN": ([math.nan, -math.inf, 1.0], "prune"),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("padding", [0, 700])  # more losses than the sample holds
@pytest.mark.parametrize("bad", BAD)
def test_invalid_losses_raise_when_the_plan_is_read(gpu, bad, padding, dtype):
    gpu.stand_in.tune(threads=32, sample_size=64)
    values, nan = BAD[bad]
    filling = np.full(padding, math.inf if bad == "all inf" else math.nan if bad in ("inf and NaN", "all NaN") else 5.0)
    c = np.concatenate([filling, values]).astype(DTYPES[dtype])
    w = np.arange(1.0, c.size + 1).astype(np.float64 if dtype == "float64" else np.float32)
    for rule in ({"contamination": 0.2, "redistribute": 0.5}, {"gamma": 1.0}):
        with pytest.raises(ValueError) as expected:
            rrm_core.reweight(c, nan=nan, backend="numpy", **rule)
        c_gpu, w_gpu, out, far = gpu.asarray(c), gpu.asarray(w), gpu.asarray(w * 7), gpu.asarray(w * 7, step=2)
        for target in (None, w_gpu, out, far):
            weights, plan = rrm_core.reweight(c_gpu, w_gpu, mu=0.3, nan=nan, out=target, **rule)
            assert (plan.n, plan.dtype) == (c.size, dtype)  # known without synchronising
            for _ in range(2):  # on every read
                with pytest.raises(ValueError) as caught:
                    _ = plan.threshold
                assert caught.type is ValueError
                assert str(caught.value) == str(expected.value)
            if target is None:
                assert np.isnan(weights.get()).all()
        assert_same_bits(w_gpu.get(), w)
        assert_same_bits(out.get(), w * 7)
        assert_same_bits(far.get(), w * 7)
        plan = rrm_core.plan(c_gpu, nan=nan, **rule)
        with pytest.raises(ValueError) as caught:
            repr(plan)
        assert str(caught.value) == str(expected.value)
        with pytest.raises(ValueError):
            rrm_core.apply(plan, c_gpu, out=out)
        assert_same_bits(out.get(), w * 7)


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_error_names_the_first_invalid_loss(gpu, bad):
    gpu.stand_in.tune(threads=64, sample_size=64)
    n = 5000
    for index in (0, 1, n // 2, n - 2, n - 1):
        c = np.arange(n, dtype=np.float32)
        c[index] = c[-1] = bad
        with pytest.raises(ValueError, match=f"the first at index {index};"):
            _ = rrm_core.plan(gpu.asarray(c), gamma=5.0).threshold


# Arguments.


def test_invalid_out(gpu):
    c = gpu.asarray(np.arange(5, dtype=np.float32))
    read_only = gpu.asarray(np.ones(5, np.float32))
    read_only.read_only = True
    one = gpu.asarray(np.ones(5, np.float32))
    standing = type(one)(gpu, one.memory, one.address, one.dtype, (5,), (0,), 0)
    memory = gpu.asarray(np.arange(12, dtype=np.float32))
    for weights, out, error, message in (
        (None, read_only, ValueError, "out is read-only"),
        (None, standing, ValueError, "out overlaps itself in memory: its stride is 0 bytes"),
        (None, c, ValueError, "out overlaps losses in memory"),
        (memory[:5], memory[1:6], ValueError, "out overlaps weights in part"),
        (memory[:10:2], memory[1:11:2], ValueError, "out overlaps weights in part"),  # by ranges of addresses
        (None, np.ones(5, np.float32), TypeError, "out is a numpy array on cpu, but losses are a cuda_model array on"),
        (gpu.asarray(np.ones(5, np.float32), device=1), None, TypeError, "weights is a cuda_model array on cuda:1"),
        (None, gpu.asarray(np.ones(5)), TypeError, "out must be float32 for float32 losses, got float64"),
        (None, gpu.asarray(np.ones(6, np.float32)), ValueError, "out must have one entry per loss, got 6 for 5"),
    ):
        for mu in (0.3, 1.0):
            with pytest.raises(error) as caught:
                rrm_core.reweight(c, weights, mu=mu, out=out, contamination=0.2)
            assert message in str(caught.value)
    with pytest.raises(ValueError, match="losses is empty"):
        rrm_core.plan(c[:0], contamination=0.2)
    assert not [entry for entry in gpu.stand_in.log() if entry.what == "launch"]
    assert one.get().tolist() == [1] * 5


def test_rejects_misaligned_addresses(gpu):
    c, w = gpu.asarray(np.arange(5, dtype=np.float32)), gpu.asarray(np.ones(5, np.float32))
    odd = gpu.asarray(np.ones(5, np.float32), offset=2)
    for args, more, name in (((odd,), {}, "losses"), ((c, odd), {"mu": 0.3}, "weights"), ((c, w), {"out": odd}, "out")):
        with pytest.raises(ValueError, match=rf"^{name} lies at address 0x\w+, which no float32 can have; pass a copy"):
            rrm_core.reweight(*args, contamination=0.2, **more)
    assert odd.get().tolist() == [1] * 5


# Other frameworks.


class JaxDevice(Device):
    platform = "gpu"

    class client:  # noqa: N801
        platform_version = "PJRT C API\ncuda 13000"


class JaxArray(PlainArray):
    """An array like JAX's: immutable, exported through DLPack only."""

    @property
    def device(self):
        return JaxDevice(self.index)

    def is_deleted(self):
        return False


@pytest.fixture
def jax_like(gpu, monkeypatch):
    gpu.array_type = JaxArray
    for module in (
        "definition.host_copy",
        "arrays.checks",
        "arrays.placement",
        "backends.cuda_call",
        "backends.cuda_interop",
    ):
        monkeypatch.setattr(f"rrm_core.{module}.is_jax_array", lambda x: isinstance(x, JaxArray))
    monkeypatch.setattr("jax.core.Tracer", type("Tracer", (), {}), raising=False)
    return gpu


@pytest.mark.skipif("jax" not in FRAMEWORKS, reason="no JAX for this Python")
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_dlpack_arrays(jax_like, dtype):
    gpu = jax_like
    gpu.current[0] = gpu.stream()  # not ordered with other streams, like JAX's
    for layout in ({}, {"step": -1}, {"step": 2, "offset": 4}):
        c, w = losses("exponential", 300, dtype), old_weights(300, dtype)
        expected, expected_plan = rrm_core.reweight(c, w, mu=0.3, contamination=0.3)
        c_gpu, w_gpu = gpu.asarray(c, **layout), gpu.asarray(w, **layout)
        gpu.stand_in.log()
        weights, plan = rrm_core.reweight(c_gpu, w_gpu, mu=0.3, contamination=0.3)
        assert gpu.stand_in.log()[-1].what == "synchronize"  # JAX cannot be ordered after the stream
        assert (c_gpu.dlpack_streams[0], weights.dlpack_streams[0]) == (1, 1)
        assert_same_bits(weights.get(), expected)
        assert plan == expected_plan
    with pytest.raises(ValueError, match="out can't be a JAX array"):
        rrm_core.reweight(c_gpu, out=w_gpu, contamination=0.3)


@pytest.fixture
def torch_on_cuda(gpu, monkeypatch):
    """Present CPU tensors as CUDA tensors, which cannot be created without a GPU."""

    class Stream:
        cuda_stream = 0

    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: Stream)
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    home, home_of = Placement("torch", torch.device("cpu"), on_host=False, on_cuda=True), convert.placement_of
    monkeypatch.setattr(
        convert, "placement_of", lambda x, native: home if isinstance(x, torch.Tensor) else home_of(x, native)
    )
    gpu.stand_in.call_assume_device(0)
    return gpu


@pytest.mark.parametrize("gpu", [{"order": "eager"}], indirect=True)  # like torch's own operations on the CPU
@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_tensors(torch_on_cuda, dtype):
    n = 300
    c, w = losses("few distinct", n, dtype), old_weights(n, dtype)
    expected, expected_plan = rrm_core.reweight(c, w, mu=0.3, contamination=0.3)
    bits = torch.from_numpy(c.view(np.int16)).view(torch.bfloat16) if dtype == "bfloat16" else torch.from_numpy(c)
    for step in (1, 2):
        losses_ = torch.stack([bits] * step, dim=1).ravel()[::step]
        for target in ("new", "in place", "out"):
            old = torch.stack([torch.from_numpy(w)] * step, dim=1).ravel()[::step]
            out = {"new": None, "in place": old, "out": torch.full_like(old, math.nan)}[target]
            version = 0 if out is None else out._version
            weights, plan = rrm_core.reweight(losses_, old, mu=0.3, contamination=0.3, out=out, backend="cuda")
            assert_same_bits(weights.numpy(), expected)
            assert plan == expected_plan
            assert out is None or (weights is out and out._version > version)
            applied = rrm_core.apply(plan, losses_, torch.from_numpy(w), mu=0.3, out=out, backend="cuda")
            assert_same_bits(applied.numpy(), expected)
