"""Invalid input raises an error with the argument's name and value, before anything is written."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal
from torch._subclasses import FakeTensorMode

import rrm_core
from support.families import BACKENDS, DTYPES, assert_same_bits
from support.frameworks import FRAMEWORKS, make, to_numpy

C = np.array([0.5, 3.0, 0.25, 2.0, 1.0], np.float32)
W = np.array([1.0, 0.5, 2.0, 1.5, 0.0], np.float32)
OK = {"contamination": 0.2}


def refused(error, message, call=rrm_core.reweight, *args, **kwargs):
    with pytest.raises(error) as caught:
        call(*args, **kwargs)
    # Not a subclass.
    assert caught.type is error
    assert message in str(caught.value), str(caught.value)


# Invalid rules: keywords, the error, and text that its message contains.

RULES = [
    ({}, ValueError, "give exactly one of contamination and gamma, got neither"),
    (
        {"contamination": 0.25, "gamma": 1.5},
        ValueError,
        "give exactly one of contamination and gamma, got contamination=0.25 and gamma=1.5",
    ),
    ({"contamination": 1.0}, ValueError, "contamination must lie in [0, 1), got 1.0"),
    ({"contamination": 1}, ValueError, "contamination must lie in [0, 1), got 1"),
    ({"contamination": -0.125}, ValueError, "contamination must lie in [0, 1), got -0.125"),
    ({"contamination": math.nan}, ValueError, "contamination must lie in [0, 1), got nan"),
    ({"contamination": math.inf}, ValueError, "contamination must lie in [0, 1), got inf"),
    ({"contamination": 20}, ValueError, "contamination must lie in [0, 1), got 20"),
    ({"contamination": "auto"}, TypeError, "got 'auto': losses alone don't tell how many labels are wrong"),
    ({"contamination": "0.2"}, TypeError, "contamination must be a number, got '0.2' of type str"),
    ({"contamination": True}, TypeError, "contamination must be a number, got True of type bool"),
    ({"contamination": np.True_}, TypeError, "contamination must be a number, got np.True_ of type bool"),
    ({"contamination": 0.2j}, TypeError, "contamination must be a number, got 0.2j of type complex"),
    ({"contamination": [0.2]}, ValueError, "contamination has 1 values, one per group, but groups is None"),
    ({"contamination": np.array(0.2)}, TypeError, "contamination must be a number, got array(0.2) of type ndarray"),
    ({"contamination": torch.tensor(0.25)}, TypeError, "contamination must be a number, got tensor(0.2500)"),
    ({"gamma": -0.5}, ValueError, "gamma must be at least 0, got -0.5"),
    ({"gamma": -math.inf}, ValueError, "gamma must be at least 0, got -inf"),
    ({"gamma": math.nan}, ValueError, "gamma must be at least 0, got nan"),
    ({"gamma": "1"}, TypeError, "gamma must be a number, got '1' of type str"),
    ({"gamma": False}, TypeError, "gamma must be a number, got False of type bool"),
    (OK | {"ties": "drop"}, ValueError, "ties must be 'keep' or 'share', got 'drop'"),
    (OK | {"ties": None}, ValueError, "ties must be 'keep' or 'share', got None"),
    ({"gamma": 1.5, "ties": "share"}, ValueError, "ties='share' needs contamination"),
    ({"gamma": 1.5, "ties": "share"}, ValueError, "got gamma=1.5"),
    (OK | {"nan": "ignore"}, ValueError, "nan must be 'raise' or 'prune', got 'ignore'"),
    (
        OK | {"redistribute": "all"},
        ValueError,
        "redistribute must be 'argmin', 'kept', 'drop' or a fraction in (0, 1], got 'all'",
    ),
    (OK | {"redistribute": 0.0}, ValueError, "redistribute, as a fraction, must lie in (0, 1], got 0.0"),
    (OK | {"redistribute": 1.5}, ValueError, "redistribute, as a fraction, must lie in (0, 1], got 1.5"),
    (OK | {"redistribute": -1}, ValueError, "redistribute, as a fraction, must lie in (0, 1], got -1"),
    (OK | {"redistribute": math.nan}, ValueError, "redistribute, as a fraction, must lie in (0, 1], got nan"),
    (OK | {"redistribute": None}, TypeError, "redistribute must be a number, got None of type NoneType"),
    (OK | {"redistribute": True}, TypeError, "redistribute must be a number, got True of type bool"),
]


@pytest.mark.parametrize(("rule", "error", "message"), RULES, ids=[str(rule) for rule, *_ in RULES])
def test_rejects_invalid_rule(rule, error, message):
    out = W.copy()
    refused(error, message, rrm_core.reweight, C, W, out=out, **rule)
    assert_same_bits(out, W)
    refused(error, message, rrm_core.plan, C, **rule)


MUS = [
    (0.0, ValueError, "mu must lie in (0, 1], got 0.0"),
    (0, ValueError, "mu must lie in (0, 1], got 0"),
    (-0.5, ValueError, "mu must lie in (0, 1], got -0.5"),
    (1.5, ValueError, "mu must lie in (0, 1], got 1.5"),
    (math.nan, ValueError, "mu must lie in (0, 1], got nan"),
    ("0.5", TypeError, "mu must be a number, got '0.5' of type str"),
    (True, TypeError, "mu must be a number, got True of type bool"),
    (None, TypeError, "mu must be a number, got None of type NoneType"),
]


@pytest.mark.parametrize(("mu", "error", "message"), MUS, ids=[str(mu) for mu, *_ in MUS])
def test_rejects_invalid_mu(mu, error, message):
    out = W.copy()
    refused(error, message, rrm_core.reweight, C, W, mu=mu, out=out, **OK)
    refused(error, message, rrm_core.apply, rrm_core.plan(C, **OK), C, W, mu=mu, out=out)
    assert_same_bits(out, W)


# Invalid losses: the argument, the error, and text that its message contains.

LOSSES = [
    ([], ValueError, "losses is empty"),
    (np.empty(0, np.float32), ValueError, "losses is empty"),
    (np.float32(1), ValueError, "losses must be one-dimensional, got shape ()"),
    (C.reshape(1, -1), ValueError, "losses must be one-dimensional, got shape (1, 5)"),
    ([[1.0, 2.0], [3.0, 4.0]], ValueError, "losses must be one-dimensional, got shape (2, 2)"),
    ([[1.0, 2.0], [3.0]], TypeError, "losses must be an array or a flat list of numbers"),
    (["0.5", "0.25"], TypeError, "losses must be an array or a flat list of numbers"),
    ([0.5, None], TypeError, "losses must be an array or a flat list of numbers"),
    ([0.5, 1j], TypeError, "losses must be an array or a flat list of numbers"),
    (
        None,
        TypeError,
        "losses must be a one-dimensional array of numbers, of NumPy, pandas, torch, JAX or another library, got None",
    ),
    (
        0.5,
        TypeError,
        "losses must be a one-dimensional array of numbers, of NumPy, pandas, torch, JAX or another library, got float",
    ),
    (
        "0.5",
        TypeError,
        "losses must be a one-dimensional array of numbers, of NumPy, pandas, torch, JAX or another library, got str",
    ),
    ((x for x in C), TypeError, "got generator"),
    (pd.DataFrame({"loss": C}), TypeError, "losses is a table, got DataFrame; pass one column, such as losses['loss']"),
    (np.ma.masked_array(C, C > 1), TypeError, "losses is a masked array, whose mask would be ignored"),
    (C.astype(np.int64), TypeError, "losses must be float16, bfloat16, float32 or float64, got int64"),
    (C.astype(np.uint16), TypeError, "losses must be float16, bfloat16, float32 or float64, got uint16"),
    (C > 1, TypeError, "losses must be float16, bfloat16, float32 or float64, got bool"),
    (C.astype(np.complex64), TypeError, "losses must be float16, bfloat16, float32 or float64, got complex64"),
    (C.astype(str), TypeError, "losses must be float16, bfloat16, float32 or float64, got <U"),
    (C.astype(object), TypeError, "losses must be float16, bfloat16, float32 or float64, got object"),
    (torch.arange(5), TypeError, "losses must be float16, bfloat16, float32 or float64, got torch.int64"),
    (torch.ones(5, dtype=torch.complex64), TypeError, "got torch.complex64"),
]


@pytest.mark.parametrize(
    ("c", "error", "message"), LOSSES, ids=[f"{type(c).__name__}-{message}" for c, _, message in LOSSES]
)
def test_rejects_invalid_losses(c, error, message):
    out = W.copy()
    refused(error, message, rrm_core.reweight, c, W, out=out, **OK)
    refused(error, message, rrm_core.plan, c, **OK)
    refused(error, message, rrm_core.apply, rrm_core.plan(C, **OK), c)
    refused(error, message, rrm_core.objective, c, 1.0)
    assert_same_bits(out, W)


@pytest.mark.parametrize("gamma", [-1.0, math.nan])
def test_objective_rejects_invalid_gamma(gamma):
    refused(ValueError, f"gamma must be at least 0, got {gamma}", rrm_core.objective, C, gamma)


def read_only(array):
    array.flags.writeable = False
    return array


OTHERS = [
    ([1.0, 1.0, 1.0], "weights", ValueError, "weights must have one entry per loss, got 3 for 5 losses"),
    (np.ones(4, np.float32), "both", ValueError, "must have one entry per loss, got 4 for 5 losses"),
    (np.ones(1_234_567, np.float32), "both", ValueError, "must have one entry per loss, got 1_234_567 for 5 losses"),
    (np.ones(5), "out", TypeError, "must be float32 for float32 losses, got float64"),
    (np.ones(5, np.float16), "both", TypeError, "must be float32 for float32 losses, got float16"),
    (np.ones(5, np.int32), "both", TypeError, "must be float16, bfloat16, float32 or float64, got int32"),
    (np.ones((5, 1), np.float32), "both", ValueError, "must be one-dimensional, got shape (5, 1)"),
    (torch.ones(5), "both", TypeError, "is a torch array on cpu, but losses are a numpy array on cpu"),
    (pd.Series(W), "out", TypeError, "out can't be a pandas Series, which is not written in place; leave it out"),
    (np.ma.masked_array(W, W > 1), "both", TypeError, "is a masked array, whose mask would be ignored"),
    (["1"] * 5, "weights", TypeError, "weights must be an array or a flat list of numbers"),
    (
        True,
        "both",
        TypeError,
        "must be a one-dimensional array of numbers, of NumPy, pandas, torch, JAX or another library, got bool",
    ),
    (
        [1.0] * 5,
        "out",
        TypeError,
        "out must be a one-dimensional array of numbers, of NumPy, pandas, torch, JAX or another library, got list",
    ),
    (np.ones(5, ">f4"), "out", ValueError, "out must be of native byte order, got >f4"),
    (read_only(np.ones(5, np.float32)), "out", ValueError, "out is read-only"),
    (np.broadcast_to(np.float32(1), 5), "out", ValueError, "out is read-only"),
    (
        np.lib.stride_tricks.as_strided(np.ones(5, np.float32), (5,), (0,)),
        "out",
        ValueError,
        "out overlaps itself in memory",
    ),
]


@pytest.mark.parametrize(
    ("other", "which", "error", "message"), OTHERS, ids=[f"{which}-{message}" for _, which, _, message in OTHERS]
)
def test_rejects_invalid_weights_and_out(other, which, error, message):
    plan = rrm_core.plan(C, **OK)
    for name in ("weights", "out") if which == "both" else (which,):
        # Weights are checked even if they are not read.
        for mu in (0.3, 1.0):
            for backend in (None, "array_api"):
                more = {name: other, "mu": mu, "backend": backend}
                refused(error, message, rrm_core.reweight, C, **more, **OK)
                refused(error, f"{name} ", rrm_core.reweight, C, **more, **OK)
                refused(error, message, rrm_core.apply, plan, C, **more)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_must_not_have_half_precision(dtype):
    c = C.astype(DTYPES[dtype])
    refused(TypeError, f"must be float32 for {dtype} losses", rrm_core.reweight, c, c, **OK)


# Losses that cannot be reweighted, detected by each backend.

BAD_VALUES = [
    ([1.0, math.nan, 2.0, math.nan], "losses contain 2 NaN among 4, the first at index 1"),
    ([1.0, 2.0, 3.0, -math.nan], "losses contain 1 NaN among 4, the first at index 3"),
    ([math.nan], "losses contain 1 NaN among 1, the first at index 0"),
    ([1.0, 2.0, -math.inf, -math.inf], "losses contain 2 values of -inf among 4, the first at index 2"),
    ([-math.inf, math.inf], "losses contain 1 values of -inf among 2, the first at index 0"),
    ([math.inf, math.inf, math.inf], "losses contain no finite value: 3 of 3 are +inf and 0 NaN"),
    ([math.inf], "losses contain no finite value: 1 of 1 are +inf and 0 NaN"),
]
PRUNED_NAN = [
    ([math.nan, math.inf], "losses contain no finite value: 1 of 2 are +inf and 1 NaN"),
    ([math.nan, math.nan, math.nan], "losses contain no finite value: 0 of 3 are +inf and 3 NaN"),
    ([math.nan, -math.inf, 1.0], "losses contain 1 values of -inf among 3, the first at index 1"),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", [OK, {"gamma": 1.0}, {"gamma": math.inf}], ids=str)
@pytest.mark.parametrize(
    ("values", "message", "nan"),
    [(*case, "raise") for case in BAD_VALUES] + [(*case, "prune") for case in PRUNED_NAN],
)
def test_invalid_values_raise_and_nothing_is_written(backend, dtype, rule, values, message, nan):
    c = np.array(values).astype(DTYPES[dtype])
    w = np.arange(1, c.size + 1).astype(np.float64 if dtype == "float64" else np.float32)
    out, old, before = w * 7, w.copy(), c.copy()
    for more in ({"out": out}, {"out": w}, {}):
        refused(ValueError, message, rrm_core.reweight, c, w, mu=0.3, nan=nan, backend=backend, **more, **rule)
    refused(ValueError, message, rrm_core.plan, c, nan=nan, backend=backend, **rule)
    assert_same_bits(w, old)
    assert_same_bits(out, old * 7)
    assert_same_bits(c, before)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("n", [10, 5000, 100_003])
@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_error_names_the_index_of_an_invalid_value(backend, n, bad):
    w, old = np.ones(n, np.float32), np.ones(n, np.float32)
    for index in (0, 1, n // 2, n - 2, n - 1):
        c = np.arange(n, dtype=np.float32)
        c[index] = bad
        refused(
            ValueError,
            f"the first at index {index}",
            rrm_core.reweight,
            c,
            w,
            out=w,
            mu=0.3,
            backend=backend,
            gamma=5.0,
        )
        c[-1] = bad
        refused(ValueError, f"the first at index {index}", rrm_core.plan, c, backend=backend, gamma=5.0)
    assert_same_bits(w, old)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_rejects_invalid_values_in_every_framework(framework):
    c, w = make(framework, np.array([1, math.nan, 2, 3], np.float32)), make(framework, W[:4])
    more = {} if framework == "jax" else {"out": w}
    refused(ValueError, "losses contain 1 NaN among 4, the first at index 1", rrm_core.reweight, c, w, **more, **OK)
    assert_same_bits(to_numpy(w), W[:4])


def test_nan_error_names_the_remedy():
    refused(
        ValueError, "pass nan='prune' to treat them as the highest losses", rrm_core.reweight, [math.nan, 1.0], **OK
    )


# Memory.


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("framework", ["numpy", "torch"])
def test_rejects_overlapping_out(backend, framework):
    memory = make(framework, np.arange(12, dtype=np.float32))
    before = to_numpy(memory).copy()
    plan = rrm_core.plan(memory[:5], backend=backend, **OK)
    cases = [
        ("out overlaps losses in memory", memory[:5], None, memory[:5]),
        ("out overlaps losses in memory", memory[:5], None, memory[4:9]),
        ("out overlaps losses in memory", memory[0:10:2], None, memory[2:7]),
        ("out overlaps weights in part", make(framework, C), memory[:5], memory[1:6]),
        ("out overlaps weights in part", make(framework, C), memory[:5], memory[0:10:2]),
        ("out overlaps weights in part", make(framework, C), memory[4:9], memory[:5]),
    ]
    for message, c, w, out in cases:
        for mu in (0.3, 1.0):
            refused(ValueError, message, rrm_core.reweight, c, w, mu=mu, out=out, backend=backend, **OK)
            refused(ValueError, message, rrm_core.apply, plan, c, w, mu=mu, out=out, backend=backend)
    assert_same_bits(to_numpy(memory), before)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rejects_out_that_reverses_the_weights(backend):
    w = W.copy()
    refused(
        ValueError, "out overlaps weights in part", rrm_core.reweight, C, w, mu=0.3, out=w[::-1], backend=backend, **OK
    )
    assert_same_bits(w, W)


@pytest.mark.parametrize("backend", BACKENDS)
def test_losses_may_share_memory_with_weights(backend):
    c = np.abs(C)
    both, _ = rrm_core.reweight(c, c, mu=0.3, backend=backend, **OK)
    apart, _ = rrm_core.reweight(c, c.copy(), mu=0.3, backend=backend, **OK)
    assert_same_bits(both, apart)


def test_rejects_expanded_tensor_as_out():
    c, out = torch.from_numpy(C.copy()), torch.ones(1).expand(5)
    refused(ValueError, "out overlaps itself in memory", rrm_core.reweight, c, out=out, **OK)


def test_rejects_out_that_requires_grad():
    c, out = torch.from_numpy(C.copy()), torch.ones(5, requires_grad=True)
    refused(ValueError, "out requires a gradient", rrm_core.reweight, c, out=out, **OK)
    assert_array_equal(out.detach(), np.ones(5))


def test_rejects_out_that_overlaps_losses_in_foreign_byte_order():
    foreign = C.astype(">f4")
    refused(ValueError, "out overlaps losses", rrm_core.reweight, foreign, out=foreign.view("<f4"), **OK)
    assert_array_equal(foreign, C)


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (
            torch.ones(3).to_sparse(),
            "losses must be a dense tensor, got one of layout torch.sparse_coo; pass losses.to_dense()",
        ),
        (torch.ones(3, device="meta"), "losses is on the device meta, and so has no values"),
        ([torch.ones((), requires_grad=True)], "losses must be an array or a flat list of numbers"),
    ],
    ids=["sparse", "meta", "list of tensors"],
)
def test_rejects_tensors_without_dense_memory(losses, message):
    refused(TypeError, message, rrm_core.reweight, losses, **OK)


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_rejects_fake_tensors(device):
    with FakeTensorMode():
        losses = torch.empty(5, device=device)
        for backend in (None, "cuda", "array_api"):
            message = "losses is a FakeTensor, which has no values; call this on real tensors, outside fake mode"
            refused(TypeError, message, rrm_core.reweight, losses, backend=backend, **OK)


def test_rejects_bare_cuda_array_interface():
    class Foreign:
        __cuda_array_interface__: ClassVar = {"shape": (5,), "typestr": "<f4", "data": (4096, False), "version": 3}

    remedy = "got Foreign; pass cupy.asarray({0}) or torch.as_tensor({0}, device='cuda')"
    refused(TypeError, remedy.format("losses"), rrm_core.reweight, Foreign(), **OK)
    refused(TypeError, remedy.format("weights"), rrm_core.reweight, C, Foreign(), **OK)


@pytest.mark.skipif("jax" not in FRAMEWORKS, reason="no JAX for this Python")
def test_rejects_traced_arrays():
    import jax
    import jax.numpy as jnp

    traced = jax.jit(lambda losses: rrm_core.reweight(losses, **OK)[0])
    refused(TypeError, "losses is being traced by JAX", traced, jnp.ones(3))


def test_rejects_number_too_large_for_a_double():
    refused(ValueError, "gamma must be a number that a double can hold", rrm_core.reweight, C, gamma=10**400)


def test_rejects_rule_passed_as_weights():
    refused(TypeError, "weights must be a one-dimensional array", rrm_core.reweight, C, 0.2)


def test_objective_error_names_gamma():
    refused(TypeError, "gamma must be a number, got None", rrm_core.objective, C, None)


# Losses for which the plan was not made.


@pytest.mark.parametrize("backend", BACKENDS)
def test_apply_rejects_losses_not_covered_by_the_plan(backend):
    plan = rrm_core.plan(C, backend=backend, **OK)
    out = W.copy()
    cases = [
        (TypeError, "losses must be float32, as the planned ones were, got float64", C.astype(float)),
        (ValueError, "losses have 6 samples, but the plan was made for 5", np.ones(6, np.float32)),
        (ValueError, "losses contain 2 values that the planned ones can't have contained", C - np.float32(0.5)),
        (ValueError, "below their minimum 0.25, or NaN", np.array([0.25, 0.2], np.float32)),
        (ValueError, "losses contain 1 values", np.array([0.25, math.nan], np.float32)),
        (ValueError, "losses contain 2 values", np.array([-math.inf, 0.25, -math.nan], np.float32)),
    ]
    for error, message, c in cases:
        more = {"out": out} if c.size == 5 and c.dtype == np.float32 else {}
        refused(error, message, rrm_core.apply, plan, c, mu=0.3, backend=backend, **more)
    assert_same_bits(out, W)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_apply_accepts_nan_only_if_the_plan_pruned_nan(backend, dtype):
    c = np.array([1.0, math.nan, 2.0, math.inf, -math.nan]).astype(DTYPES[dtype])
    plan = rrm_core.plan(c, contamination=0.4, nan="prune", backend=backend)
    assert rrm_core.apply(plan, c[1:], backend=backend).tolist() == [0, 1, 1, 0]
    c[0] = 0.5
    message = "losses contain 1 values that the planned ones can't have contained: below their minimum 1; make a plan"
    refused(ValueError, message, rrm_core.apply, plan, c, backend=backend)


@pytest.mark.parametrize("plan", [None, 0.5, {"threshold": 1.0}, (1, 2)])
def test_apply_rejects_other_types_as_plan(plan):
    message = f"plan must be a Plan, as rrm_core.plan returns it, got {type(plan).__name__}"
    refused(TypeError, message, rrm_core.apply, plan, C)


# Backends.


@pytest.mark.parametrize("name", ["CUDA", "CPP", "", 1, ["cpp"], {}])
def test_rejects_unknown_backend(name):
    out = W.copy()
    for call, args in ((rrm_core.reweight, {"out": out} | OK), (rrm_core.plan, OK)):
        refused(
            ValueError,
            f"backend must be one of 'cpp', 'numba', 'numpy', 'cuda', 'array_api' or None, got {name!r}",
            call,
            C,
            backend=name,
            **args,
        )
    assert_same_bits(out, W)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_cuda_backend_rejects_host_arrays(framework):
    c = make(framework, C)
    message = "backend='cuda' needs losses in the memory of an NVIDIA GPU as torch, CuPy or JAX hold them there"
    refused(ValueError, message, rrm_core.reweight, c, backend="cuda", **OK)
    served = "'array_api'" if framework == "strict" else "'cpp' or 'numba' or 'numpy'"
    refused(ValueError, f"these are served by {served}", rrm_core.plan, c, backend="cuda", **OK)


@pytest.mark.parametrize("name", ["cpp", "numba", "numpy"])
def test_host_backends_reject_device_arrays(name):
    c = make("strict", C)
    refused(ValueError, f"backend={name!r} needs losses in host memory", rrm_core.reweight, c, backend=name, **OK)
    refused(ValueError, "these are served by 'array_api'", rrm_core.plan, c, backend=name, **OK)
