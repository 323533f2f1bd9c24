"""Old weights: NaN, infinite and negative ones are refused on every way in, and those of the other type converted."""

from __future__ import annotations

import array
import re
from functools import partial
from itertools import product

import dask.array as da
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
import torch

import rrm_core
from support.families import BACKENDS, DTYPES, assert_same_bits, losses, old_weights
from support.frameworks import FRAMEWORKS, make, to_numpy
from support.tuned import AVAILABLE, tuned

RULE = {"contamination": 0.2}
SIZES = (1, 7, 63, 64, 65, 200, 5000)


def weight_type(dtype):
    return np.dtype(np.float64 if dtype == "float64" else np.float32)


def invalid_values(dtype):
    info = np.finfo(dtype)
    return [np.nan, -np.nan, np.inf, -np.inf, -1.0, -info.smallest_subnormal, -info.max]


def valid_weights(n, dtype):
    """Return weights with extreme values that are valid: both zeros, a subnormal, the largest number."""
    dtype = weight_type(dtype)
    weights = old_weights(n, dtype.name)
    info = np.finfo(dtype)
    extreme = np.array([0.0, -0.0, info.smallest_subnormal, info.max], dtype)
    places = np.random.default_rng(n).integers(n, size=4)
    weights[places] = extreme
    return weights


def spoil(weights, seed):
    """Put one to three invalid values among the weights; return the start of the message about them."""
    rng = np.random.default_rng(seed)
    n = len(weights)
    places = np.unique(rng.integers(n, size=rng.integers(1, 4)))
    values = invalid_values(weights.dtype)
    for place in places:
        weights[place] = values[rng.integers(len(values))]
    first = places[0]
    return (
        f"weights must be finite and at least 0, but {len(places):_} of {n:_} are not, "
        f"the first {weights[first]:.6g} at index {first}; "
    )


def outs(weights):
    """Return the kinds of `out`: none, the weights themselves, other memory, memory that is not contiguous."""
    n = len(weights)
    return None, weights, np.ones(n, weights.dtype), np.ones(2 * n, weights.dtype)[::2]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_refuses_invalid_weights(dtype, backend):
    for n, kind in product(SIZES, range(4)):
        c = losses("exponential", n, dtype)
        plan = rrm_core.plan(c, **RULE)
        calls = (partial(rrm_core.reweight, **RULE), partial(rrm_core.apply, plan))
        for number, call in enumerate(calls):
            weights = valid_weights(n, dtype)
            message = spoil(weights, n + 10 * kind + number)
            out = outs(weights)[kind]
            with pytest.raises(ValueError, match=re.escape(message)) as caught:
                call(c, weights, mu=0.3, out=out, backend=backend)
            assert str(caught.value).endswith("; out has been written") == (out is not None)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_accepts_zeros_of_both_signs_subnormal_and_huge_weights(dtype, backend):
    for n in SIZES:
        c = losses("exponential", n, dtype)
        weights = valid_weights(n, dtype)
        expected, _ = rrm_core.reweight(c, weights, mu=0.3, backend="numpy", **RULE)
        actual, _ = rrm_core.reweight(c, weights, mu=0.3, backend=backend, **RULE)
        assert_same_bits(actual, expected)
        assert np.isfinite(expected).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_that_are_not_read_are_not_checked(backend):
    c = losses("exponential", 100, "float32")
    expected, plan = rrm_core.reweight(c, **RULE)
    weights = np.full(100, np.nan, np.float32)
    assert_same_bits(rrm_core.reweight(c, weights, out=weights, backend=backend, **RULE)[0], expected)
    other_type = np.full(100, 0.1)
    assert_same_bits(rrm_core.apply(plan, c, other_type, backend=backend), expected)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", AVAILABLE)
def test_every_instruction_set_finds_every_invalid_value(name, dtype, threads):
    n = 9001
    # With marks, and without; all losses different, and many ties.
    for mark_from, family in product((2048, n + 1), ("exponential", "few distinct")):
        with tuned(name, mark_from=mark_from):
            c = losses(family, n, dtype)
            for value, place in product(invalid_values(weight_type(dtype)), (0, 1, 2047, 2048, 4095, 8999, 9000)):
                weights = valid_weights(n, dtype)
                weights[[place, 9000]] = value
                count = len({place, 9000})
                message = f"but {count} of 9_001 are not, the first {weights[place]:.6g} at index {place};"
                with pytest.raises(ValueError, match=re.escape(message)):
                    rrm_core.reweight(
                        c, weights, mu=0.3, out=weights, backend="cpp", threads=threads, ties="share", **RULE
                    )


def test_finds_invalid_weights_in_many_threads():
    n = 600_000
    c = losses("exponential", n, "float32")
    weights = np.ones(n, np.float32)
    weights[[123_456, 400_000, 599_999]] = -1, np.nan, np.inf
    for backend in ("cpp", "numba"):
        in_place = weights.copy()
        with tuned(), pytest.raises(ValueError, match="but 3 of 600_000 are not, the first -1 at index 123456;"):
            rrm_core.reweight(c, in_place, mu=0.3, out=in_place, backend=backend, threads=7, **RULE)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_refuses_invalid_weights_of_every_framework(framework):
    c = make(framework, losses("exponential", 50, "float32"))
    weights = valid_weights(50, "float32")
    message = spoil(weights, 0)
    for backend in (None, "array_api"):
        with pytest.raises(ValueError, match=re.escape(message)):
            rrm_core.reweight(c, make(framework, weights), mu=0.3, backend=backend, **RULE)


def test_a_torch_tensor_that_was_written_has_another_version():
    c, weights = make("torch", losses("exponential", 50, "float32")), make("torch", -np.ones(50, np.float32))
    version = weights._version
    with pytest.raises(ValueError, match="out has been written"):
        rrm_core.reweight(c, weights, mu=0.3, out=weights, **RULE)
    assert weights._version > version


# The other type


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("framework", "backend"),
    [*product(("numpy", "torch"), (None, *BACKENDS)), ("strict", None), ("strict", "array_api")],
)
def test_converts_weights_of_the_other_type(framework, backend, dtype):
    other = "float32" if dtype == "float64" else "float64"
    if framework == "strict" and dtype.endswith("16"):
        # The standard has no such losses.
        dtype = "float32"
    c = losses("exponential", 300, dtype)
    weights = valid_weights(300, "float32").astype(other)
    expected, plan = rrm_core.reweight(c, weights.astype(weight_type(dtype)), mu=0.3, backend="numpy", **RULE)
    given, old = make(framework, c), make(framework, weights)
    assert_same_bits(to_numpy(rrm_core.reweight(given, old, mu=0.3, backend=backend, **RULE)[0]), expected)
    assert_same_bits(to_numpy(rrm_core.apply(plan, given, old, mu=0.3, backend=backend)), expected)


@pytest.mark.skipif("jax" not in FRAMEWORKS, reason="no JAX for this Python")
@pytest.mark.parametrize("backend", [None, "array_api"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_converts_weights_of_the_other_type_in_jax(dtype, backend):
    import jax

    with jax.enable_x64(True):
        c = losses("exponential", 300, dtype)
        # JAX's own operations flush subnormal numbers to zero.
        weights = old_weights(300, "float32").astype("float32" if dtype == "float64" else "float64")
        expected, plan = rrm_core.reweight(c, weights.astype(weight_type(dtype)), mu=0.3, **RULE)
        given, old = make("jax", c), make("jax", weights)
        assert_same_bits(to_numpy(rrm_core.reweight(given, old, mu=0.3, backend=backend, **RULE)[0]), expected)
        assert_same_bits(to_numpy(rrm_core.apply(plan, given, old, mu=0.3, backend=backend)), expected)


@pytest.mark.parametrize(
    "make_kind",
    [pd.Series, pd.array, pa.array, memoryview, lambda x: array.array(x.dtype.char, x)],
    ids=["pandas Series", "pandas array", "pyarrow", "memoryview", "array.array"],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_converts_weights_of_the_other_type_of_every_kind(dtype, make_kind):
    c = losses("exponential", 300, dtype)
    weights = valid_weights(300, "float32")
    expected, _ = rrm_core.reweight(c, weights.astype(weight_type(dtype)), mu=0.3, **RULE)
    other = weights.astype("float32" if dtype == "float64" else "float64")
    for given in (c, make_kind(c)):
        for backend in (None, "array_api"):
            result, _ = rrm_core.reweight(given, make_kind(other), mu=0.3, backend=backend, **RULE)
            assert_same_bits(np.asarray(result), expected)
    if dtype == "float32":
        other[7] = 0.1
        with pytest.raises(ValueError, match="weights must be numbers of float32, the type of the new weights, but"):
            rrm_core.reweight(make_kind(c), make_kind(other), mu=0.3, **RULE)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_refuses_negative_subnormal_weights_of_the_other_type(dtype):
    weights = np.ones(100, "float32" if dtype == "float64" else "float64")
    weights[3] = -(2.0**-149)
    with pytest.raises(ValueError, match=r"but 1 of 100 are not, the first -1\.4013e-45 at index 3;"):
        rrm_core.reweight(losses("exponential", 100, dtype), weights, mu=0.3, **RULE)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_converts_subnormal_weights_where_the_processor_flushes_them_to_zero(dtype):
    c = losses("exponential", 300, dtype)
    tiny = np.arange(1, 301, dtype=np.uint32).view(np.float32) * np.float32(1)
    tiny[::3] = old_weights(100, "float32")
    tiny[1::30] = -0.0
    expected, _ = rrm_core.reweight(c, tiny.astype(weight_type(dtype)), mu=0.3, **RULE)
    other = tiny.astype("float32" if dtype == "float64" else "float64")
    rounded = np.array([0.0, 1e-46, 5e-324, 2.0**-149 * 1.5, 2.0**-126 * (1 + 2**-30)])
    torch.set_flush_denormal(True)
    try:
        actual, _ = rrm_core.reweight(c, other, mu=0.3, **RULE)
        if dtype == "float32":
            with pytest.raises(ValueError, match=r"but 4 of 5 are not, the first .* at index 1; convert them to"):
                rrm_core.reweight(c[:5], rounded, mu=0.3, **RULE)
    finally:
        torch.set_flush_denormal(False)
    assert_same_bits(actual, expected)
    if dtype == "float32":
        with pytest.raises(ValueError, match="but 4 of 5 are not, the first 1e-46 at index 1; convert them to float32"):
            rrm_core.reweight(c[:5], rounded, mu=0.3, **RULE)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("value", [0.1, 1e300, 1e-300, 1 + 2**-40])
def test_refuses_weights_that_would_be_rounded(value, dtype):
    c = losses("exponential", 100, dtype)
    weights = np.ones(100)
    weights[[7, 50]] = value, -value
    message = (
        "weights must be numbers of float32, the type of the new weights, but 2 of 100 are not, "
        f"the first {value} at index 7; convert them to float32, which rounds them"
    )
    for backend in (None, "array_api"):
        out = np.full(100, 5.0, np.float32)
        with np.errstate(all="raise"), pytest.raises(ValueError, match=re.escape(message)):
            rrm_core.reweight(c, weights, mu=0.3, out=out, backend=backend, **RULE)
        assert (out == 5).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_invalid_weights_of_the_other_type_are_refused_by_their_value(dtype):
    c = losses("exponential", 100, dtype)
    for value in (np.nan, np.inf, -np.inf, -1.0):
        weights = np.ones(100, "float32" if dtype == "float64" else "float64")
        weights[3] = value
        with pytest.raises(ValueError, match=f"but 1 of 100 are not, the first {value:.6g} at index 3;"):
            rrm_core.reweight(c, weights, mu=0.3, **RULE)


def test_refuses_half_precision_weights_and_out_of_the_other_type():
    c = losses("exponential", 10, "float32")
    with pytest.raises(TypeError, match="weights must be float32 for float32 losses, got float16"):
        rrm_core.reweight(c, np.ones(10, np.float16), mu=0.3, **RULE)
    with pytest.raises(TypeError, match="out must be float32 for float32 losses, got float64"):
        rrm_core.reweight(c, mu=0.3, out=np.ones(10), **RULE)
    weights = np.ones(10)
    with pytest.raises(TypeError, match="out must be float32 for float32 losses, got float64"):
        rrm_core.reweight(c, weights, mu=0.3, out=weights, **RULE)


# Streams

N = 40_000


def sources(tmp_path, array):
    """Return the array as each kind of source."""
    path = tmp_path / "weights.npy"
    np.save(path, array)
    table = tmp_path / "weights.parquet"
    pa.parquet.write_table(pa.table({"sample_weight": array}), table, row_group_size=7000)
    feather = tmp_path / "weights.arrow"
    pyarrow.feather.write_feather(
        pa.table({"sample_weight": array}), feather, chunksize=9000, compression="uncompressed"
    )
    return array, [array[:5], array[5:30_000], array[30_000:]], path, table, feather


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_stream_refuses_invalid_weights(dtype, threads, tmp_path):
    c = losses("exponential", N, dtype)
    weights = np.ones(N, weight_type(dtype))
    weights[[20_000, 20_001, 39_999]] = -2, np.nan, np.inf
    out = tmp_path / "out.npy"
    out.write_bytes(b"previous")
    for source in sources(tmp_path, weights):
        for losses_source in (c, np.array_split(c, 9)):
            received = []
            for sink in (out, received.append):
                with pytest.raises(
                    ValueError, match=r"but 3 of 40_000 are not, the first -2 at index 20000; pass [^;]*$"
                ):
                    rrm_core.stream.reweight(
                        losses_source, sink, weights=source, mu=0.3, threads=threads, memory=16 << 20, **RULE
                    )
            assert out.read_bytes() == b"previous"
            # Nothing from the first invalid weight on.
            assert sum(map(len, received)) <= 20_000
            assert all(np.isfinite(part).all() for part in received)
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_stream_converts_weights_of_the_other_type(dtype, tmp_path, monkeypatch):
    monkeypatch.setattr("rrm_core.stream.weight_writer.CONVERTED_SAMPLES", 3000)
    c = losses("exponential", N, dtype)
    weights = old_weights(N, "float32")
    expected, _ = rrm_core.reweight(c, weights.astype(weight_type(dtype)), mu=0.3, **RULE)
    other = weights.astype(np.float32 if dtype == "float64" else np.float64)
    for source in sources(tmp_path, other):
        received = []
        rrm_core.stream.reweight(c, received.append, weights=source, mu=0.3, **RULE)
        assert_same_bits(np.concatenate(received), expected)
    if dtype == "float64":
        return
    other[33_333] = 0.1
    for source in sources(tmp_path, other):
        with pytest.raises(
            ValueError, match=r"1 of [\d_]+ in the block from index \d+ on are not, the first 0.1 at index 33333;"
        ):
            rrm_core.stream.reweight(c, lambda _: None, weights=source, mu=0.3, **RULE)


# Dask arrays


def test_dask_refuses_invalid_weights_by_their_index_in_the_array():
    c, weights = losses("exponential", 1000, "float32"), np.ones(1000, np.float32)
    weights[[512, 555]] = -3, np.nan
    new, plan = rrm_core.reweight(da.from_array(c, chunks=100), da.from_array(weights, chunks=300), mu=0.3, **RULE)
    assert plan == rrm_core.plan(c, **RULE)
    message = "but 2 of 100 in the block from index 500 on are not, the first -3 at index 512;"
    with pytest.raises(ValueError, match=message):
        new.compute(scheduler="synchronous")
    assert np.isfinite(new[:500].compute(scheduler="synchronous")).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dask_converts_weights_of_the_other_type(dtype):
    c, weights = losses("exponential", 1000, dtype), old_weights(1000, "float32")
    expected, _ = rrm_core.reweight(c, weights.astype(weight_type(dtype)), mu=0.3, **RULE)
    other = weights.astype(np.float32 if dtype == "float64" else np.float64)
    new, _ = rrm_core.reweight(da.from_array(c, chunks=300), da.from_array(other, chunks=300), mu=0.3, **RULE)
    assert new.dtype == weight_type(dtype)
    assert_same_bits(new.compute(scheduler="synchronous"), expected)
    if dtype == "float32":
        other[700] = 0.1
        new, _ = rrm_core.reweight(da.from_array(c, chunks=300), da.from_array(other, chunks=300), mu=0.3, **RULE)
        message = "but 1 of 300 in the block from index 600 on are not, the first 0.1 at index 700;"
        with pytest.raises(ValueError, match=message):
            new.compute(scheduler="synchronous")
