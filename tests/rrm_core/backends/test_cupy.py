"""CuPy's own array class on the stand-in for a device: its types, streams and contexts.

Without a driver, CuPy makes arrays of memory that it is given, and refuses what asks the driver: the current device and
stream, copies, and operations. Here the memory is the stand-in's, and `OnStandIn` replaces what asks the driver.
"""

from __future__ import annotations

import warnings

import ml_dtypes
import numpy as np
import pytest

import rrm_core
from cuda_model.cudart.fake_gpu import Device
from cuda_model.cudart.stand_in import needs_nvcc
from rrm_core.arrays.placement import placement_of
from rrm_core.backends import cuda_interop
from support.families import DTYPES, assert_same_bits, losses, old_weights
from support.stand_in_gpu import gpu_framework

with warnings.catch_warnings():
    # CuPy warns where it finds no driver.
    warnings.simplefilter("ignore")
    import cupy

pytestmark = needs_nvcc

RULE = {"contamination": 0.3, "redistribute": 0.1}
N = 300


class Context(Device):
    """A device of CuPy; counts how often it was made the current one."""

    n_entered = 0

    def __enter__(self):
        Context.n_entered += 1
        return super().__enter__()


class OnStandIn(cupy.ndarray):
    """CuPy's array, with what asks the driver replaced."""

    gpu = None

    @property
    def device(self):
        return Context(self.data.device_id)

    @property
    def __cuda_array_interface__(self):
        strides = None if self.flags.c_contiguous else self.strides
        pointer = {"shape": self.shape, "typestr": self.dtype.str, "data": (self.data.ptr, False), "strides": strides}
        return pointer | {"stream": self.gpu.current[self.data.device_id], "version": 3}


class Stream:
    def __init__(self, handle):
        self.ptr = handle


@pytest.fixture
def on_stand_in(stand_in, monkeypatch):
    """Return a function that makes CuPy arrays on the stand-in, with the stand-in as its attribute `gpu`."""
    with gpu_framework(stand_in, monkeypatch) as gpu:

        def wrap(address, owner, n, dtype):
            size = n * np.dtype(dtype).itemsize
            memory = cupy.cuda.UnownedMemory(address, size, owner, device_id=0)
            return OnStandIn((n,), dtype, memptr=cupy.cuda.MemoryPointer(memory, 0))

        def make(values):
            fake = gpu.asarray(values)
            return wrap(fake.address, fake, len(values), values.dtype)

        def empty(n, *, dtype, device):
            allocation = gpu.allocate(n * np.dtype(dtype).itemsize, 0)
            return wrap(allocation.address, allocation, n, dtype)

        monkeypatch.setattr(OnStandIn, "gpu", gpu)
        monkeypatch.setattr(cupy.cuda, "get_current_stream", lambda: Stream(gpu.current[0]))
        # The original makes the device the current one, by the driver.
        monkeypatch.setattr("array_api_compat.cupy.empty", empty)
        make.gpu = gpu
        yield make


def to_numpy(array):
    gpu = array.gpu
    at = array.data.ptr
    return gpu.array_type(gpu, None, at, array.dtype, array.shape, array.strides, 0).get()


def test_arrays_are_recognised(on_stand_in):
    c = on_stand_in(losses("exponential", N, "float32"))
    assert isinstance(c, cupy.ndarray)
    placement = placement_of(c, native=False)
    # A subclass outside CuPy; the class itself is in the package cupy.
    assert placement.on_cuda
    assert not placement.on_host
    plain = cupy.ndarray((N,), np.float32, memptr=c.data)
    assert type(plain).__module__.partition(".")[0] == "cupy"


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_and_class_of_the_result(on_stand_in, dtype):
    c = losses("few distinct", N, dtype)
    w = old_weights(N, dtype)
    expected, expected_plan = rrm_core.reweight(c, w, mu=0.3, **RULE)
    given = on_stand_in(c)
    assert given.dtype == c.dtype
    weights, plan = rrm_core.reweight(given, on_stand_in(w), mu=0.3, **RULE)
    assert plan == expected_plan
    assert isinstance(weights, cupy.ndarray)
    assert weights.dtype == w.dtype
    assert_same_bits(to_numpy(weights), expected)
    assert_same_bits(to_numpy(rrm_core.apply(expected_plan, given, on_stand_in(w), mu=0.3)), expected)
    assert_same_bits(to_numpy(given), c)


def test_bfloat16_is_the_type_of_ml_dtypes(on_stand_in):
    c = on_stand_in(losses("exponential", N, "bfloat16"))
    assert c.dtype == ml_dtypes.bfloat16
    assert not hasattr(cupy, "bfloat16")
    assert rrm_core.plan(c, **RULE).dtype == "bfloat16"
    assert cuda_interop.empty(c, 7, c.dtype).dtype == ml_dtypes.bfloat16


def test_out_in_place(on_stand_in):
    c = losses("exponential", N, "float32")
    w = old_weights(N, "float32")
    expected, _ = rrm_core.reweight(c, w, mu=0.3, **RULE)
    old = on_stand_in(w)
    result, _ = rrm_core.reweight(on_stand_in(c), old, mu=0.3, out=old, **RULE)
    assert result is old
    assert_same_bits(to_numpy(old), expected)
    given = on_stand_in(c)
    with pytest.raises(ValueError, match="out overlaps losses in memory"):
        rrm_core.reweight(given, out=given[:], **RULE)


def test_launches_are_on_the_current_stream(on_stand_in):
    gpu = on_stand_in.gpu
    c = losses("exponential", N, "float32")
    expected, plan = rrm_core.reweight(c, **RULE)
    for handle in (gpu.stream(), gpu.stream(blocking=True), 2):
        with gpu.on(handle):
            given = on_stand_in(c)
            assert cuda_interop.stream_of(given).handle == handle
            gpu.stand_in.log()
            weights, actual = rrm_core.reweight(given, **RULE)
            launches = [entry for entry in gpu.stand_in.log() if entry.what == "launch"]
            assert launches
            assert {entry.stream for entry in launches} == {handle}
            assert actual == plan
            assert_same_bits(to_numpy(weights), expected)


def test_device_is_made_the_current_one(on_stand_in):
    given = on_stand_in(losses("exponential", N, "float32"))
    before = Context.n_entered
    _, plan = rrm_core.reweight(given, **RULE)
    entered = Context.n_entered
    assert entered > before
    assert plan.n == N
    _ = plan.threshold
    assert Context.n_entered > entered


def test_strides_are_noticed(on_stand_in):
    given = on_stand_in(losses("exponential", N, "float32"))
    assert cuda_interop.is_contiguous(given)
    for part in (given[::2], given[::-1]):
        assert isinstance(part, OnStandIn)
        assert not cuda_interop.is_contiguous(part)
    assert cuda_interop.is_contiguous(given[7:50])
    c = losses("exponential", N, "float32")[7:50]
    assert rrm_core.plan(given[7:50], **RULE) == rrm_core.plan(c, **RULE)


def test_invalid_losses_raise_when_the_plan_is_read(on_stand_in):
    c = losses("exponential", N, "float32")
    c[3] = np.nan
    weights, plan = rrm_core.reweight(on_stand_in(c), **RULE)
    with pytest.raises(ValueError, match="losses contain 1 NaN among 300, the first at index 3"):
        _ = plan.threshold
    assert np.isnan(to_numpy(weights)).all()


def test_other_frameworks_are_not_mixed(on_stand_in):
    c = losses("exponential", N, "float32")
    with pytest.raises(TypeError, match=r"^weights is a numpy array on cpu, but losses are a .* array on cuda:0; use"):
        rrm_core.reweight(on_stand_in(c), np.ones(N, np.float32), mu=0.3, **RULE)


def test_groups(on_stand_in):
    c = losses("exponential", N, "float32")
    groups = np.arange(N, dtype=np.int32) % 3
    rule = {"contamination": [0.1, 0.2, 0.3], "mass": "group"}
    expected, expected_plan = rrm_core.reweight(c, groups=groups, **rule)
    weights, plan = rrm_core.reweight(on_stand_in(c), groups=groups, **rule)
    assert plan == expected_plan
    assert_same_bits(to_numpy(weights), expected)
