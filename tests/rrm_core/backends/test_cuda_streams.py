"""Streams, memory, devices and errors of the cuda backend.

The stand-in defers every operation until it is waited for, so an operation that is not ordered after its producer, or
before its consumer, reads wrong values.
"""

from __future__ import annotations

import copy
import dataclasses
import gc
import pickle
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

import rrm_core
from cuda_model.cudart.fake_gpu import LEGACY, PER_THREAD, Array
from cuda_model.cudart.stand_in import needs_nvcc
from rrm_core.definition.pending_plan import PendingPlan
from rrm_core.definition.plan import Plan
from support.families import DTYPES, assert_same_bits, losses, old_weights

pytestmark = needs_nvcc

RULE = {"contamination": 0.3, "redistribute": 0.1}
C, W = losses("exponential", 5000, "float32"), old_weights(5000, "float32")
SMALL = slice(0, 100)


@pytest.fixture
def quick(gpu):
    """Return the framework with a tuning that runs fast on the model."""
    gpu.stand_in.tune(threads=32, sample_size=64)
    return gpu


def expected(c=C, w=W, mu=0.3, **rule):
    return rrm_core.reweight(c, w, mu=mu, backend="numpy", **(rule or RULE))


def calls(gpu, what):
    return [entry for entry in gpu.stand_in.log() if entry.what == what]


# Calls of the CUDA runtime.


@pytest.mark.parametrize("dtype", DTYPES)
def test_launches(gpu, dtype):
    launches = {"float16": 5, "bfloat16": 5, "float32": 6, "float64": 8}[dtype]
    c = losses("exponential", 4097, dtype)
    for n, most in ((4096, 3), (4097, launches)):
        c_gpu, w_gpu = gpu.asarray(c[:n]), gpu.asarray(old_weights(n, dtype))
        gpu.stand_in.log()
        for rule in ({"contamination": 0.3}, RULE, {"gamma": 0.7}):
            log = ["launch"] * (min(most, 4) if "gamma" in rule else most)  # the gamma rule needs one pass
            _, plan = rrm_core.reweight(c_gpu, w_gpu, mu=0.3, out=w_gpu, **rule)
            assert [entry.what for entry in gpu.stand_in.log()] == log
            rrm_core.plan(c_gpu, **rule)
            assert [entry.what for entry in gpu.stand_in.log()] == log
        assert isinstance(plan.threshold, float)
        assert [entry.what for entry in gpu.stand_in.log()] == ["copy", "synchronize"]
        repr(plan)
        assert gpu.stand_in.log() == []


def test_apply_synchronises_once(quick):
    c, plan = quick.asarray(C), rrm_core.plan(C, **RULE)
    quick.stand_in.log()
    rrm_core.apply(plan, c)
    assert [entry.what for entry in quick.stand_in.log()] == ["set", "launch", "copy", "synchronize", "launch"]


def test_apply_waits_for_the_check_of_old_weights(quick):
    c, w, plan = quick.asarray(C), quick.asarray(W), rrm_core.plan(C, **RULE)
    quick.stand_in.log()
    rrm_core.apply(plan, c, w, mu=0.3)
    checked = ["set", "launch", "copy", "synchronize"]
    assert [entry.what for entry in quick.stand_in.log()] == [*checked, "set", *checked]
    # With mu = 1 none is read.
    rrm_core.apply(plan, c, w)
    assert [entry.what for entry in quick.stand_in.log()] == [*checked, "launch"]


@pytest.mark.parametrize("out", ["new", "in place", "other", "strided"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_invalid_old_weights_raise_when_the_plan_is_read(quick, dtype, out):
    c, w = losses("exponential", 5000, dtype), old_weights(5000, dtype)
    w[[7, 8, 4999]] = -0.0, -2.5, np.nan
    message = "weights must be finite and at least 0, but 2 of 5_000 are not, the first -2.5 at index 8; pass"
    planned = rrm_core.plan(c, **RULE)
    for call in ("reweight", "apply"):
        c_gpu, w_gpu = quick.asarray(c), quick.asarray(w)
        memory = {
            "new": None,
            "in place": w_gpu,
            "other": quick.asarray(np.ones_like(w)),
            "strided": quick.asarray(np.ones_like(w), step=2),
        }[out]
        quick.stand_in.log()
        if call == "reweight":
            weights, plan = rrm_core.reweight(c_gpu, w_gpu, mu=0.3, out=memory, **RULE)
            assert calls(quick, "synchronize") == []
            for _ in range(2):
                with pytest.raises(ValueError, match=message) as caught:
                    repr(plan)
            # A new array cannot be used for training by mistake.
            assert np.isnan(weights.get()).all() == (out == "new")
        else:
            with pytest.raises(ValueError, match=message) as caught:
                rrm_core.apply(planned, c_gpu, w_gpu, mu=0.3, out=memory)
        assert str(caught.value).endswith("; out has been written") == (out != "new")


def test_old_weights_that_are_not_read_are_not_checked_on_the_device(quick):
    c, w = quick.asarray(C), quick.asarray(np.full_like(W, np.nan))
    weights, plan = rrm_core.reweight(c, w, out=w, **RULE)
    assert plan == expected(mu=1.0)[1]
    assert_same_bits(weights.get(), expected(mu=1.0)[0])


def test_memory_comes_from_the_framework(quick):
    c, w = quick.asarray(C), quick.asarray(W)
    del quick.allocated[:]
    weights, plan = rrm_core.reweight(c, w, mu=0.3, **RULE)
    out, outcome, workspace = quick.allocated
    assert (out, outcome) == (W.nbytes, quick.stand_in.module.OUTCOME_BYTES)
    assert workspace < 3 * C.nbytes  # candidates and histograms
    rrm_core.reweight(c, w, mu=0.3, out=weights, **RULE)
    rrm_core.plan(c, **RULE)
    assert quick.allocated[3:] == [outcome, workspace] * 2
    assert calls(quick, "allocate") == []
    assert plan == expected()[1]


# Order.


def producers(gpu, streams, **exports):
    """Return losses and weights that are produced on streams of their own, not yet run."""
    arrays = []
    for name, values in (("losses", C), ("weights", W)):
        with gpu.on(streams[name]):
            array = gpu.asarray(values)
        array.exports = exports.get(name, streams[name])
        arrays.append(array)
    return arrays


ORDERS = [{"order": order, "seed": seed} for order in ("late", "random") for seed in range(4)]


@pytest.mark.parametrize("gpu", ORDERS, indirect=True, ids=lambda order: "{order}-{seed}".format(**order))
@pytest.mark.parametrize("target", ["new", "in place", "out"])
@pytest.mark.parametrize("call", ["reweight", "apply"])
def test_independent_streams_are_ordered(quick, call, target):
    streams = {name: quick.stream() for name in ("losses", "weights", "framework", "out")}
    answer, plan = expected()
    c, w = producers(quick, streams)
    with quick.on(streams["out"]):
        out = {"new": None, "in place": w, "out": quick.asarray(np.zeros_like(W))}[target]
    if target == "out":
        out.exports = streams["out"]
    with quick.on(streams["framework"]):
        quick.stand_in.log()
        if call == "reweight":
            weights, new_plan = rrm_core.reweight(c, w, mu=0.3, out=out, **RULE)
        else:
            weights = rrm_core.apply(plan, c, w, mu=0.3, out=out)
        log = quick.stand_in.log()
    assert {entry.stream for entry in log if entry.what == "launch"} == {streams["losses"]}
    # Consumers: each on its own stream, as early as the order allows.
    reads = streams[{"new": "framework", "in place": "weights", "out": "out"}[target]]
    with quick.on(reads):
        assert_same_bits(weights.get(), answer)
    if call == "reweight":
        assert new_plan == plan


def test_producers_may_overwrite_inputs_afterwards(quick):
    streams = {name: quick.stream() for name in ("losses", "weights", "framework")}
    c, w = producers(quick, streams)
    with quick.on(streams["framework"]):
        weights, plan = rrm_core.reweight(c, w, mu=0.3, **RULE)
    for name, array in (("losses", c), ("weights", w)):
        with quick.on(streams[name]):
            array.write(np.zeros_like(C))
            array.get()  # runs this stream first
    with quick.on(streams["framework"]):
        assert_same_bits(weights.get(), expected()[0])
    assert plan == expected()[1]


@pytest.mark.parametrize("gpu", ORDERS, indirect=True, ids=lambda order: "{order}-{seed}".format(**order))
def test_workspace_is_not_reused_before_the_stream_is_done(quick):
    streams = {name: quick.stream() for name in ("losses", "weights", "framework")}
    c, _ = producers(quick, streams)
    with quick.on(streams["framework"]):
        plan = rrm_core.plan(c, **RULE)
        quick.asarray(W).get()  # by then the framework has reused the workspace
    assert plan == rrm_core.plan(C, **RULE)


@pytest.mark.parametrize("layout", [{"step": 2}, {"step": -1}])
def test_copies_of_strided_arrays_are_ordered(quick, layout):
    streams = {name: quick.stream() for name in ("losses", "framework")}
    with quick.on(streams["framework"]):
        c, w, out = (quick.asarray(x, **layout) for x in (C, W, W))
        weights, plan = rrm_core.reweight(c, w, mu=0.3, out=out, **RULE)
        assert weights is out
        assert_same_bits(out.get(), expected()[0])
    assert plan == expected()[1]


@pytest.mark.parametrize("stream", [LEGACY, PER_THREAD])
def test_legacy_and_per_thread_default_streams(quick, stream):
    with quick.on(stream):
        c = quick.asarray(C)
        quick.stand_in.log()
        weights, plan = rrm_core.reweight(c, **RULE)
        log = quick.stand_in.log()
        assert {entry.stream for entry in log if entry.what == "launch"} == {stream}
        assert not [entry for entry in log if entry.what == "wait"]
        assert_same_bits(weights.get(), expected(mu=1.0)[0])
    assert plan == expected(mu=1.0)[1]


def test_no_wait_for_arrays_without_a_stream(quick):
    c = quick.asarray(C)
    c.get()
    c.exports = None
    quick.stand_in.log()
    weights, _ = rrm_core.reweight(c, **RULE)
    log = quick.stand_in.log()
    assert {entry.stream for entry in log if entry.what == "launch"} == {LEGACY}
    assert not [entry for entry in log if entry.what == "wait"]
    assert_same_bits(weights.get(), expected(mu=1.0)[0])


def test_launches_run_on_the_stream_of_the_losses_between_waits(quick):
    first, second = quick.stream(), quick.stream()
    c, w = producers(quick, {"losses": first, "weights": second})
    quick.current[0] = first
    quick.stand_in.log()
    rrm_core.reweight(c, w, mu=0.3, **RULE)
    log = quick.stand_in.log()
    waits = [(entry.stream, entry.producer) for entry in log if entry.what == "wait"]
    assert waits == [(first, second), (second, first)]
    assert [entry.what for entry in log if entry.what != "device"] == ["wait", *["launch"] * 6, "wait"]


def test_stream_of_returns_the_cupy_stream_object(quick, monkeypatch):
    class Cupy:
        ndarray = Array

        class cuda:  # noqa: N801
            @staticmethod
            def get_current_stream():
                return "the current stream"

    from rrm_core.backends import cuda_interop as cuda_arrays

    monkeypatch.setitem(sys.modules, "cupy", Cupy)
    assert cuda_arrays.stream_of(quick.asarray(C)) == (LEGACY, "the current stream")


# Devices.


@pytest.mark.parametrize("current", [0, 1])
@pytest.mark.parametrize("device", [0, 1])
def test_devices(quick, device, current):
    quick.stand_in.call_set_current_device(current)
    stream = quick.stream(device)
    with quick.on(stream, device):
        c, w = quick.asarray(C, device=device), quick.asarray(W, device=device)
        quick.stand_in.log()
        weights, plan = rrm_core.reweight(c, w, mu=0.3, **RULE)
        assert quick.stand_in.call_current_device() == current
        assert {entry.device for entry in quick.stand_in.log() if entry.what == "launch"} == {device}
        assert weights.device == c.device
        assert_same_bits(weights.get(), expected()[0])
        assert plan == expected()[1]
        assert_same_bits(rrm_core.apply(plan, c, w, mu=0.3).get(), expected()[0])
    assert quick.stand_in.call_current_device() == current


def test_current_device_is_restored_after_a_failure(quick):
    c = quick.asarray(C, device=1)
    for call in ("cudaLaunchKernel", "cudaStreamSynchronize"):
        quick.stand_in.fail(call)
        with pytest.raises(RuntimeError, match="unspecified launch failure"):
            _ = rrm_core.plan(c, **RULE).threshold
        assert quick.stand_in.call_current_device() == 0


def with_device(array, device):
    array.index = device
    return array


def test_rejects_memory_of_another_device_or_the_host(quick):
    c, w = quick.asarray(C), quick.asarray(W)
    quick.stand_in.log()
    elsewhere = with_device(quick.asarray(W, device=1), 0)
    for more in ({"weights": elsewhere, "mu": 0.3}, {"weights": w, "out": elsewhere, "mu": 0.3}):
        with pytest.raises(ValueError, match=r"lies on CUDA device 1, but losses lie on 0; move it to that device"):
            rrm_core.reweight(c, **more, **RULE)
    host = np.ones(5000, np.float32)
    nowhere = Array(quick, host, host.ctypes.data, host.dtype, host.shape, host.strides, 0)
    for args, name in (((nowhere,), "losses"), ((c, nowhere), "weights")):
        message = rf"^{name} claims to be on a CUDA device, but address {host.ctypes.data:#x} is not on one"
        with pytest.raises(ValueError, match=message):
            rrm_core.reweight(*args, mu=0.3, **RULE)
    assert calls(quick, "launch") == []


def test_managed_memory(quick):
    c = quick.empty(5000, dtype=quick.float32, managed=True)
    c.write(C)
    weights, plan = rrm_core.reweight(c, quick.asarray(W), mu=0.3, **RULE)
    assert_same_bits(weights.get(), expected()[0])
    assert plan == expected()[1]


# Failures.


@pytest.mark.parametrize("n_allocations", [0, 1, 2])
def test_out_of_memory(quick, n_allocations):
    c, w = quick.asarray(C), quick.asarray(W)
    quick.stand_in.log()
    quick.n_allocations_left = n_allocations
    with pytest.raises(MemoryError, match="out of memory allocating"):
        rrm_core.reweight(c, w, mu=0.3, **RULE)
    quick.n_allocations_left = min(n_allocations, 1)
    with pytest.raises(MemoryError):
        rrm_core.reweight(c, w, mu=0.3, out=w, **RULE)
    assert calls(quick, "launch") == []
    quick.n_allocations_left = None
    assert_same_bits(w.get(), W)


@pytest.mark.parametrize("nth", range(1, 7))
def test_launch_failure(quick, nth):
    c, w = quick.asarray(C), quick.asarray(W)
    quick.stand_in.fail("cudaLaunchKernel", nth)
    with pytest.raises(RuntimeError, match=r"^CUDA failed with cudaErrorLaunchFailure: unspecified launch failure$"):
        rrm_core.reweight(c, w, mu=0.3, out=w, **RULE)
    assert len(calls(quick, "launch")) == nth - 1
    assert_same_bits(w.get(), W)
    quick.stand_in.fail("cudaLaunchKernel", 10**6)
    weights, plan = rrm_core.reweight(c, w, mu=0.3, **RULE)  # the old failure is not reported again
    assert_same_bits(weights.get(), expected()[0])
    assert plan == expected()[1]


@pytest.mark.parametrize("call", ["cudaGetDevice", "cudaDeviceGetAttribute", "cudaPointerGetAttributes"])
def test_failure_before_the_launch(quick, call):
    c = quick.asarray(C)
    quick.stand_in.fail(call)
    with pytest.raises(RuntimeError, match=r"^CUDA failed with cudaErrorLaunchFailure"):
        rrm_core.plan(c, **RULE)
    assert calls(quick, "launch") == []


@pytest.mark.parametrize("call", ["cudaEventCreateWithFlags", "cudaEventRecord", "cudaStreamWaitEvent"])
def test_event_failure(quick, call):
    c, w = producers(quick, {"losses": quick.stream(), "weights": quick.stream()})
    quick.stand_in.fail(call)
    with pytest.raises(RuntimeError, match=r"^CUDA failed with cudaErrorLaunchFailure"):
        rrm_core.reweight(c, w, mu=0.3, **RULE)


@pytest.mark.parametrize("call", ["cudaMemcpyAsync", "cudaStreamSynchronize"])
def test_plan_can_be_read_again_after_a_failed_copy(quick, call):
    plan = rrm_core.plan(quick.asarray(C), **RULE)
    quick.stand_in.fail(call)
    with pytest.raises(RuntimeError, match=r"^CUDA failed with cudaErrorLaunchFailure"):
        _ = plan.threshold
    assert plan == rrm_core.plan(C, **RULE)


def test_out_of_bounds_write_loses_the_device(stand_in):
    """As on a GPU. In a process of its own, because the device stays lost."""
    program = f"""
from pathlib import Path
from cuda_model.cudart.stand_in import StandIn
stand_in = StandIn(Path({str(Path(stand_in.module.__file__).parent)!r}))
stand_in.reset()
losses, outcome, workspace = (stand_in.call_allocate(0, 1, size, False) for size in (40, 40, 1 << 20))
cuda, rule = stand_in.module, stand_in.module.Rule(8, 0.0, 1, 0, "recipients", True)
cuda.reweight(losses, 2, 10, rule, 1.0, 0, 0, True, outcome, workspace, 0, 0)
try:
    cuda.read_outcome(outcome, 10, True, 0, 0)
except RuntimeError as error:
    print(error, "|", stand_in.lost)
"""
    tests = Path(__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tests)
    lost = "CUDA failed with cudaErrorLaunchFailure: unspecified launch failure | the model of CUDA's execution failed"
    assert run.stdout.startswith(lost)
    assert "writes 8 bytes at 0x" in run.stderr


def test_daemon_threads_in_the_module_end_with_the_process(stand_in):
    program = f"""
import threading, time
from pathlib import Path
from cuda_model.cudart.stand_in import StandIn
stand_in = StandIn(Path({str(Path(stand_in.module.__file__).parent)!r}))
stand_in.reset()

def repeat():
    while True:
        stand_in.module.synchronize(0, 0)

for _ in range(8):
    threading.Thread(target=repeat, daemon=True).start()
time.sleep(0.2)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (run.returncode, run.stderr) == (0, "")


# Unavailable devices and modules.


ABSENT = {
    "no device": ({"devices": 0}, "cudaErrorNoDevice: no CUDA-capable device is detected"),
    "no driver": (
        {"driver": "cudaErrorInsufficientDriver"},
        "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version",
    ),
}


@pytest.mark.parametrize(
    ("gpu", "message"), [(state, message) for state, message in ABSENT.values()], indirect=["gpu"], ids=list(ABSENT)
)
def test_error_without_a_device(gpu, message):
    assert rrm_core.available_backends() == ("cpp", "numba", "numpy", "array_api")
    c, plan = gpu.asarray(C[SMALL]), rrm_core.plan(C, **RULE)
    out = gpu.asarray(W[SMALL])
    for call in (
        lambda: rrm_core.reweight(c, out=out, backend="cuda", **RULE),
        lambda: rrm_core.plan(c, backend="cuda", **RULE),
        lambda: rrm_core.apply(plan, c, out=out, backend="cuda"),
    ):
        with pytest.raises(RuntimeError, match=f"^backend 'cuda' finds no CUDA device: {message}$"):
            call()
    assert_same_bits(out.get(), W[SMALL])


@pytest.mark.parametrize("gpu", [{"devices": 0}], indirect=True)
def test_array_api_is_chosen_without_a_device(gpu):
    c, w = gpu.asarray(C[SMALL]), gpu.asarray(W[SMALL])
    answer, plan = expected(C[SMALL], W[SMALL])
    weights, actual = rrm_core.reweight(c, w, mu=0.3, **RULE)
    assert type(actual) is Plan
    assert actual == plan
    assert_same_bits(weights.get(), answer)


def test_array_api_can_be_chosen_explicitly(quick):
    c = quick.asarray(C[SMALL])
    assert rrm_core.plan(c, backend="array_api", **RULE) == rrm_core.plan(C[SMALL], **RULE)
    assert calls(quick, "launch") == []


def test_error_without_the_module(quick, monkeypatch):
    monkeypatch.setattr("rrm_core.backends.extension.find_spec", lambda _: None)
    monkeypatch.setattr(rrm_core, "__path__", [])
    assert "cuda" not in rrm_core.available_backends()
    c = quick.asarray(C[SMALL])
    with pytest.raises(ImportError, match=r"rrm_core._cuda, which was not compiled .*; build it where nvcc"):
        rrm_core.plan(c, backend="cuda", **RULE)
    assert rrm_core.plan(c, **RULE) == rrm_core.plan(C[SMALL], **RULE)


def test_module_with_another_interface_is_not_available(quick, monkeypatch):
    monkeypatch.setattr(quick.stand_in.module, "INTERFACE", 0)
    c = quick.asarray(C[SMALL])
    with pytest.raises(ImportError, match=r"its interface has version 0, not \d+; build it where nvcc"):
        rrm_core.plan(c, backend="cuda", **RULE)


def test_rejects_arrays_on_the_wrong_side(quick):
    with pytest.raises(ValueError, match="backend='cuda' needs losses in the memory of an NVIDIA GPU"):
        rrm_core.plan(C, backend="cuda", **RULE)
    for name in ("cpp", "numba", "numpy"):
        with pytest.raises(ValueError, match=r"needs losses in host memory .* served by 'cuda' or 'array_api'"):
            rrm_core.plan(quick.asarray(C), backend=name, **RULE)


# Pending plans.


USES = {
    "equal to a plan": lambda plan, other: plan == other,
    "a plan equal to it": lambda plan, other: other == plan,
    "hash": lambda plan, other: hash(plan) == hash(other),
    "repr": lambda plan, other: repr(plan) == repr(other),
    "str": lambda plan, other: f"{plan}" == f"{other}",
    "pickle": lambda plan, other: pickle.loads(pickle.dumps(plan)) == other,
    "copy": lambda plan, other: copy.copy(plan) == other,
    "deepcopy": lambda plan, other: copy.deepcopy(plan) == other,
    "replace": lambda plan, other: dataclasses.replace(plan, n=7) == dataclasses.replace(other, n=7),
    "asdict": lambda plan, other: dataclasses.asdict(plan) == dataclasses.asdict(other),
    "field": lambda plan, other: plan.threshold == other.threshold,
    "property": lambda plan, other: plan.effective_sample_size == other.effective_sample_size,
    "gamma": lambda plan, other: plan.gamma == other.gamma,
}


@pytest.mark.parametrize("use", USES)
def test_pending_plan_behaves_like_a_plan(quick, use):
    plan, other = rrm_core.plan(quick.asarray(C), **RULE), rrm_core.plan(C, **RULE)
    assert isinstance(plan, Plan)
    assert type(plan) is PendingPlan
    quick.stand_in.log()
    assert (plan.n, plan.dtype, plan.rule) == (other.n, other.dtype, other.rule)
    assert quick.stand_in.log() == []
    assert USES[use](plan, other)
    assert type(plan) is Plan
    assert [entry.what for entry in quick.stand_in.log()] == ["copy", "synchronize"]
    assert USES[use](plan, other)
    assert quick.stand_in.log() == []


def test_pending_plans_compare_equal(quick):
    c = quick.asarray(C)
    assert rrm_core.plan(c, **RULE) == rrm_core.plan(c, **RULE)
    assert rrm_core.plan(c, **RULE) != rrm_core.plan(c, contamination=0.4)
    assert rrm_core.plan(c, **RULE) != "a plan"


@pytest.mark.parametrize("use", USES)
def test_pending_plan_of_invalid_losses_raises_in_every_use(quick, use):
    c = C.copy()
    c[17] = np.nan
    plan, other = rrm_core.plan(quick.asarray(c), **RULE), rrm_core.plan(C, **RULE)
    for _ in range(2):
        with pytest.raises(ValueError, match="losses contain 1 NaN among 5_000, the first at index 17"):
            USES[use](plan, other)


def test_pending_plan_is_frozen(quick):
    plan = rrm_core.plan(quick.asarray(C), **RULE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.threshold = 0.0
    with pytest.raises(AttributeError, match="'PendingPlan' object has no attribute 'treshold'"):
        _ = plan.treshold
    assert type(plan) is PendingPlan


def test_pending_plan_releases_its_buffers_after_the_read(quick):
    c = quick.asarray(C)
    plan = rrm_core.plan(c, **RULE)
    del c
    assert plan == rrm_core.plan(C, **RULE)
    assert set(vars(plan)) == {field.name for field in dataclasses.fields(Plan)}


def test_rejects_old_compute_capability(quick):
    quick.stand_in.call_set_capability(70)
    assert "cuda" not in rrm_core.available_backends()
    with pytest.raises(RuntimeError, match=r"finds no CUDA device: device 0 has compute capability 7\.0, and 7\.5 is"):
        rrm_core.reweight(quick.asarray(C), backend="cuda", **RULE)
    assert rrm_core.reweight(quick.asarray(C), **RULE)[1] == expected(w=None, mu=1)[1]  # by array_api


def test_pending_plan_does_not_keep_the_losses_alive(quick):
    c = quick.asarray(C)
    reference = weakref.ref(c)
    plan = rrm_core.plan(c, **RULE)
    del c
    gc.collect()
    assert reference() is None
    assert plan == expected()[1]


def test_pending_plan_without_a_source_raises_attribute_error():
    with pytest.raises(AttributeError, match="'PendingPlan' object has no attribute 'threshold'"):
        _ = object.__new__(PendingPlan).threshold
