"""Arrays of any framework: the result has the same framework, type and device; memory is read in place."""

from __future__ import annotations

import tracemalloc
from functools import partial
from importlib import import_module

import array_api_strict
import ml_dtypes
import numpy as np
import pytest
import torch

import rrm_core
from support.families import BACKENDS, DTYPES, assert_same_bits, losses, old_weights
from support.frameworks import DEVICE, FRAMEWORKS, holds, make, to_numpy
from support.interrupts import count_instructions

RULE = {"contamination": 0.3, "redistribute": 0.1}
N = 100

in_jax = pytest.mark.skipif("jax" not in FRAMEWORKS, reason="no JAX for this Python")


def expected(dtype, n=N):
    return rrm_core.reweight(losses("few distinct", n, dtype), old_weights(n, dtype), mu=0.3, backend="numpy", **RULE)


@pytest.mark.parametrize(
    ("framework", "dtype"),
    [(framework, dtype) for framework in FRAMEWORKS for dtype in DTYPES if holds(framework, dtype)],
)
@pytest.mark.parametrize("backend", [None, "array_api"])
def test_result_has_the_framework_type_and_device_of_the_losses(framework, dtype, backend):
    c, w = make(framework, losses("few distinct", N, dtype)), make(framework, old_weights(N, dtype))
    answer, plan = expected(dtype)
    weights, actual_plan = rrm_core.reweight(c, w, mu=0.3, backend=backend, **RULE)
    assert actual_plan == plan
    for result in (weights, rrm_core.apply(plan, c, w, mu=0.3, backend=backend)):
        assert type(result) is type(w)
        assert result.dtype == w.dtype
        assert result.device == w.device
        assert_same_bits(to_numpy(result), answer)
    # The previous weights are unchanged.
    assert_same_bits(to_numpy(w), old_weights(N, dtype))
    without, _ = rrm_core.reweight(c, backend=backend, **RULE)
    assert (type(without), without.dtype) == (type(w), w.dtype)


@in_jax
@pytest.mark.parametrize("backend", [None, "array_api"])
def test_float64_in_jax(backend):
    import jax

    with jax.enable_x64(True):
        c, w = make("jax", losses("few distinct", N, "float64")), make("jax", old_weights(N, "float64"))
        weights, _ = rrm_core.reweight(c, w, mu=0.3, backend=backend, **RULE)
        assert isinstance(weights, jax.Array)
        assert weights.device == w.device
        assert_same_bits(to_numpy(weights), expected("float64")[0])


def test_lists_and_tuples_become_float64():
    c, w = losses("few distinct", N, "float64"), old_weights(N, "float64")
    for sequence in (list, tuple):
        weights, plan = rrm_core.reweight(sequence(c.tolist()), sequence(w.tolist()), mu=0.3, **RULE)
        assert plan == expected("float64")[1]
        assert_same_bits(weights, expected("float64")[0])
    assert rrm_core.reweight([3, 1, 2], gamma=1)[0].tolist() == [0, 2, 1]
    assert rrm_core.reweight([np.float32(3), 1, 2.5], gamma=1)[0].tolist() == [0, 3, 0]


def test_list_of_weights_gets_the_type_of_the_losses():
    c = np.array([0.0, 1.0, 2.0], np.float32)
    weights, _ = rrm_core.reweight(c, [1.0, 1, 1], mu=0.5, contamination=0.4)
    assert weights.dtype == np.float32
    assert weights.tolist() == [1.5, 1, 0.5]


@pytest.mark.parametrize("backend", BACKENDS)
def test_memory_mapped_files(tmp_path, backend):
    c, w = losses("few distinct", N, "float32"), old_weights(N, "float32")
    mapped = {}
    for name, values in (("losses", c), ("weights", w)):
        values.tofile(tmp_path / name)
        mapped[name] = np.memmap(tmp_path / name, np.float32, "r")
    out = np.memmap(tmp_path / "out", np.float32, "w+", shape=N)
    result, plan = rrm_core.reweight(mapped["losses"], mapped["weights"], mu=0.3, out=out, backend=backend, **RULE)
    assert result is out
    assert plan == expected("float32")[1]
    out.flush()
    assert_same_bits(np.fromfile(tmp_path / "out", np.float32), expected("float32")[0])
    assert_same_bits(rrm_core.apply(plan, mapped["losses"], mapped["weights"], mu=0.3), expected("float32")[0])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_read_only_arrays(backend, dtype):
    c, w = losses("few distinct", N, dtype), old_weights(N, dtype)
    c.flags.writeable = w.flags.writeable = False
    weights, _ = rrm_core.reweight(c, w, mu=0.3, backend=backend, **RULE)
    assert_same_bits(weights, expected(dtype)[0])
    assert weights.flags.writeable


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_tensors_that_require_grad(backend, dtype):
    if backend == "numpy":
        backend = None
    c, w = make("torch", losses("few distinct", N, dtype)), make("torch", old_weights(N, dtype))
    c.requires_grad_()
    w.requires_grad_()
    weights, _ = rrm_core.reweight(c * 1, w * 1, mu=0.3, backend=backend, **RULE)
    assert not weights.requires_grad
    assert_same_bits(to_numpy(weights), expected(dtype)[0])
    assert c.requires_grad


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_tensors_that_are_not_contiguous(backend, dtype):
    c, w = (
        torch.stack([make("torch", x)] * 3, dim=1)[:, 1]
        for x in (losses("few distinct", N, dtype), old_weights(N, dtype))
    )
    assert not c.is_contiguous()
    weights, _ = rrm_core.reweight(c, w, mu=0.3, backend=backend, **RULE)
    assert_same_bits(to_numpy(weights), expected(dtype)[0])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("step", [1, 2])
def test_torch_out(backend, dtype, step):
    c, w = make("torch", losses("few distinct", N, dtype)), make("torch", old_weights(N, dtype))
    whole = torch.full((step * N,), torch.nan, dtype=w.dtype)
    out = whole[::step]
    result, plan = rrm_core.reweight(c, w, mu=0.3, out=out, backend=backend, **RULE)
    assert result is out
    assert_same_bits(whole.numpy()[::step], expected(dtype)[0])
    assert whole.isnan().sum() == (step - 1) * N
    assert rrm_core.apply(plan, c, w, mu=0.3, out=w, backend=backend) is w
    assert_same_bits(w.numpy(), expected(dtype)[0])


def test_torch_parameter_gives_a_plain_tensor():
    c = torch.nn.Parameter(make("torch", losses("few distinct", N, "float32")))
    weights, _ = rrm_core.reweight(c, contamination=0.3)
    assert type(weights) is torch.Tensor


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_objective_in_every_framework(framework):
    c = losses("few distinct", N, "float32")
    assert rrm_core.objective(make(framework, c), 0.3) == rrm_core.objective(c, 0.3)


def test_objective_of_bfloat16():
    c = losses("exponential", N, "bfloat16")
    assert rrm_core.objective(make("torch", c), 0.3) == rrm_core.objective(c.astype(np.float32), 0.3)


def test_array_api_backend_gets_the_callers_array(monkeypatch):
    asked = []
    module = import_module("rrm_core.backends.array_api")
    monkeypatch.setattr(
        module, "plan", lambda losses, *rest, plan=module.plan: (asked.append(losses), plan(losses, *rest))[1]
    )
    c = make("strict", losses("few distinct", N, "float32"))
    rrm_core.reweight(c, **RULE)
    assert len(asked) == 1
    assert asked[0] is c


# Zero copy: the backend gets the caller's memory.


def address(array):
    if isinstance(array, torch.Tensor):
        return array.data_ptr()
    if isinstance(array, np.ndarray):
        return array.__array_interface__["data"][0]
    return array.unsafe_buffer_pointer()


# Backends and the innermost functions that they call with the losses, their first argument.
INNERMOST = [
    ("cpp", "rrm_core._cpu", "reweight_plain"),
    ("cpp", "rrm_core._cpu", "reweight"),
    ("numba", "rrm_core.backends.numba_kernels", "scan"),
    ("numpy", "rrm_core.backends.numpy", "widen"),
    ("array_api", "rrm_core.backends.array_api", "dtype_name"),
]


@pytest.fixture
def seen(monkeypatch):
    """Record the address of the losses that each backend's innermost function gets."""
    calls = {}
    for backend, module, name in INNERMOST:
        inner = getattr(import_module(module), name)

        def spy(*args, inner=inner, backend=backend):
            calls[backend] = address(args[0])
            return inner(*args)

        monkeypatch.setattr(f"{module}.{name}", spy)
    return calls


IN_PLACE = [
    (backend, framework, dtype)
    for backend in BACKENDS
    for framework in FRAMEWORKS
    for dtype in ("float16", "bfloat16", "float32")
    # Strict arrays have no address; Numba's kernels take float32 and float64, to which other types are widened.
    if framework != "strict" and not (backend == "numba" and dtype != "float32")
]


@pytest.mark.parametrize(("backend", "framework", "dtype"), IN_PLACE)
def test_losses_are_read_in_place(backend, framework, dtype, seen):
    c = make(framework, losses("exponential", N, dtype))
    rrm_core.reweight(c, backend=backend, **RULE)
    assert seen == {backend: address(c)}


@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_weights_and_out_are_used_in_place(framework, monkeypatch):
    from rrm_core import _cpu

    seen = []

    def spy(losses, rule, mu, old, out, threads, inner=_cpu.reweight_plain):
        seen.append((address(losses), address(old), address(out)))
        return inner(losses, rule, mu, old, out, threads)

    monkeypatch.setattr(_cpu, "reweight_plain", spy)
    c, w = make(framework, losses("exponential", N, "float32")), make(framework, old_weights(N, "float32"))
    out = make(framework, np.zeros(N, np.float32))
    rrm_core.reweight(c, w, mu=0.3, out=out, backend="cpp", **RULE)
    rrm_core.reweight(c, w, mu=0.3, out=w, backend="cpp", **RULE)
    assert seen == [(address(c), address(w), address(out)), (address(c), address(w), address(w))]


@pytest.mark.parametrize("framework", ["numpy", "torch"])
@pytest.mark.parametrize("mu", [0.3, 1.0])
def test_backend_and_out_take_the_fast_path(framework, mu):
    c, w = make(framework, losses("exponential", N, "float32")), make(framework, old_weights(N, "float32"))
    out = make(framework, np.zeros(N, np.float32))

    def n_instructions(**arguments):
        call = partial(rrm_core.reweight, c, w, mu=mu, **arguments, **RULE)
        call()
        return count_instructions(call)

    usual = n_instructions()
    for arguments in ({"backend": "cpp"}, {"out": out}, {"out": w}, {"backend": "cpp", "out": out}):
        assert n_instructions(**arguments) < 1.25 * usual, arguments


@in_jax
def test_jax_weights_are_read_in_place(monkeypatch):
    from rrm_core import _cpu

    seen = []

    def spy(losses, code, rule, mu, old, out, threads, inner=_cpu.reweight):
        seen.append((address(losses), address(old)))
        return inner(losses, code, rule, mu, old, out, threads)

    monkeypatch.setattr(_cpu, "reweight", spy)
    c, w = make("jax", losses("exponential", N, "float32")), make("jax", old_weights(N, "float32"))
    rrm_core.reweight(c, w, mu=0.3, **RULE)
    assert seen == [(address(c), address(w))]


@pytest.mark.parametrize(("backend", "share"), [("cpp", 0.01), ("numba", 0.5)])
@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_no_large_allocation_with_out(backend, share, framework):
    n = 2_000_000
    c = make(framework, np.random.default_rng(0).exponential(size=n).astype(np.float32))
    w = make(framework, np.ones(n, np.float32))
    out = make(framework, np.ones(n, np.float32))
    call = {"mu": 0.3, "out": out, "backend": backend, "contamination": 0.2}
    # The first call compiles.
    rrm_core.reweight(c, w, **call)
    tracemalloc.start()
    try:
        rrm_core.reweight(c, w, **call)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < share * out.nbytes


# Mixed arguments and other shapes; see also test_errors.py.

TWO_FRAMEWORKS = [(a, b) for a in FRAMEWORKS for b in FRAMEWORKS if a != b]


@pytest.mark.parametrize(("of_losses", "of_others"), TWO_FRAMEWORKS)
@pytest.mark.parametrize("name", ["weights", "out"])
@pytest.mark.parametrize("backend", [None, "array_api"])
def test_rejects_mixed_frameworks(of_losses, of_others, name, backend):
    c, other = make(of_losses, losses("exponential", 5, "float32")), make(of_others, np.ones(5, np.float32))
    with pytest.raises(
        TypeError, match=rf"^{name} is a {'array_api_strict' if of_others == 'strict' else of_others} array on"
    ):
        rrm_core.reweight(c, contamination=0.2, backend=backend, **{name: other})


def test_rejects_mixed_devices():
    c = make("strict", losses("exponential", 5, "float32"))
    w = array_api_strict.ones(5, dtype=array_api_strict.float32)
    assert w.device != DEVICE
    with pytest.raises(TypeError, match=r"^weights is a .*CPU_DEVICE.* but losses are a .*device1"):
        rrm_core.reweight(c, w, contamination=0.2)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("shape", [(), (3, 2), (1, 1)])
def test_rejects_arrays_that_are_not_one_dimensional(framework, shape):
    matrix, vector = make(framework, np.ones(shape, np.float32)), make(framework, np.ones(6, np.float32))
    for name, args in (("losses", {"losses": matrix}), ("weights", {"losses": vector, "weights": matrix})):
        with pytest.raises(ValueError) as error:
            rrm_core.reweight(contamination=0.2, **args)
        assert str(error.value).startswith(f"{name} must be one-dimensional, got shape {shape}")


@in_jax
@pytest.mark.parametrize("backend", [None, "array_api"])
def test_rejects_jax_array_as_out(backend):
    c = make("jax", losses("exponential", 5, "float32"))
    with pytest.raises(ValueError, match="out can't be a JAX array, which is immutable"):
        rrm_core.reweight(c, contamination=0.2, out=make("jax", np.ones(5, np.float32)), backend=backend)


def test_rejects_uint16_as_bfloat16():
    c = losses("few distinct", N, "bfloat16")
    assert c.dtype == ml_dtypes.bfloat16
    with pytest.raises(TypeError, match="got uint16"):
        rrm_core.reweight(c.view(np.uint16), **RULE)
