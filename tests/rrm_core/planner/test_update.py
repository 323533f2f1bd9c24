"""`Planner.update`: arrays it accepts and rejects, and losses that `advance` rejects."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import product

import dask.array
import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

import rrm_core
from rrm_core import Planner
from rrm_core.backends import cpp
from support.families import DTYPES, losses
from support.frameworks import FRAMEWORKS, holds, make
from support.planners import plan_of, planner_in_round_two, through_a_file


@pytest.mark.parametrize("backend", ["cpp", "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("values", "policy"),
    [
        ([1.0, np.nan, 2.0, np.nan], "raise"),
        ([1.0, 2.0, -np.inf, -np.inf], "raise"),
        ([1.0, 2.0, -np.inf, np.nan], "prune"),
        ([np.nan, np.nan], "prune"),
        ([np.inf, np.inf, np.inf], "raise"),
        ([np.inf, np.nan], "prune"),
    ],
    ids=["NaN", "-inf", "-inf and NaN", "NaN only", "inf only", "inf and NaN"],
)
def test_advance_rejects_losses_that_cannot_be_reweighted(values, policy, dtype, backend):
    c = np.array(values, DTYPES[dtype])
    with pytest.raises(ValueError, match=r"^losses contain") as expected:
        rrm_core.plan(c, contamination=0.2, nan=policy, backend=backend)
    planners = [Planner(contamination=0.2, nan=policy, backend=backend) for _ in range(2)]
    for i in reversed(range(len(c))):
        planners[i % 2].update(c[i : i + 1], offset=i)
    planner, other = planners
    planner.merge(Planner.from_partial(through_a_file(other.partial())))
    for _ in range(2):  # the first error has changed nothing
        with pytest.raises(ValueError, match=r"^losses contain") as raised:
            planner.advance()
        assert str(raised.value) == str(expected.value)
    assert (planner.round, planner.n, planner.done) == (1, len(c), False)


@pytest.mark.parametrize("backend", ["cpp", "numpy"])
def test_first_nan_is_located_by_offsets(backend):
    good, bad = np.ones(100, np.float32), np.array([1.0, np.nan], np.float32)

    def first(*parts):
        planner = Planner(contamination=0.2, backend=backend)
        for part, offset in parts:
            planner.update(part, offset=offset)
        with pytest.raises(ValueError, match="NaN") as raised:
            planner.advance()
        return int(str(raised.value).partition("the first at index ")[2].partition(";")[0])

    assert first((good, None), (bad, None)) == 101  # by default after what has been counted
    assert first((bad, 700), (good, None), (bad, 10**13), (bad, np.int64(300))) == 301
    assert first((bad, 0)) == 1


def test_advance_rejects_an_empty_round():
    planner = Planner(contamination=0.2)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^no losses were counted; at least one sample is needed$"):
            planner.advance()
        planner.update(np.empty(0, np.float32))
    planner.update(np.ones(3, np.float32))
    planner.advance()
    assert planner.round == 2


@pytest.mark.parametrize(("framework", "dtype"), [asked for asked in product(FRAMEWORKS, DTYPES) if holds(*asked)])
def test_update_accepts_arrays_of_any_framework(framework, dtype):
    c = losses("exponential", 999, dtype)
    parts = [make(framework, part) for part in (c[:500], c[:0], c[500:])]
    assert plan_of(parts, contamination=0.2)[0] == rrm_core.plan(c, contamination=0.2)


def test_update_accepts_tensors_that_require_grad():
    c = torch.rand(99, requires_grad=True)
    expected = rrm_core.plan(c.detach(), contamination=0.2)
    assert plan_of([c], contamination=0.2)[0] == expected
    assert plan_of([torch.nn.Parameter(c.detach())], contamination=0.2)[0] == expected


def test_update_computes_a_dask_array():
    c = losses("exponential", 999, "float32")
    blocks = dask.array.from_array(c, chunks=100)
    assert plan_of([blocks[:300], blocks[:0], blocks[300:]], contamination=0.2)[0] == rrm_core.plan(
        c, contamination=0.2
    )


SHARDED = """
import os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
import jax, numpy, rrm_core
from jax.sharding import Mesh, NamedSharding, PartitionSpec
c = numpy.arange(8, dtype="float32")
over_two = NamedSharding(Mesh(numpy.array(jax.devices()), ("x",)), PartitionSpec("x"))
planner = rrm_core.Planner(contamination=0.2)
while not planner.done:
    planner.update(jax.device_put(c, over_two))
    planner.advance()
assert planner.plan == rrm_core.plan(c, contamination=0.2)
"""


@pytest.mark.skipif("jax" not in FRAMEWORKS, reason="JAX has no release for this Python")
def test_update_accepts_an_array_sharded_over_devices():
    subprocess.run(
        [sys.executable, "-W", "error", "-c", SHARDED], check=True, env=os.environ | {"JAX_PLATFORMS": "cpu"}
    )


@pytest.mark.parametrize("backend", ["cpp", "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_update_accepts_any_memory_layout(dtype, backend):
    c = losses("exponential", 3001, dtype)
    expected = rrm_core.plan(c, contamination=0.2, backend="numpy")
    read_only = c.copy()
    read_only.flags.writeable = False
    unaligned = np.frombuffer(b"x" + c.tobytes(), np.uint8)[1:].view(c.dtype)
    twice = np.repeat(c, 2)
    layouts = {"reversed": c[::-1], "strided": twice[::2], "read-only": read_only, "unaligned": unaligned}
    if dtype != "bfloat16":
        layouts["byte-swapped"] = c.astype(c.dtype.newbyteorder())
    for name, array in layouts.items():
        assert plan_of([array[:7], array[7:]], contamination=0.2, backend=backend)[0] == expected, name
    if dtype == "float64":
        assert (
            plan_of([c[:1000].tolist(), (), tuple(c[1000:].tolist()), []], contamination=0.2, backend=backend)[0]
            == expected
        )


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (np.ones(3, np.int32), TypeError, "losses must be float16, bfloat16, float32 or float64, got int32"),
        (np.empty(0, np.int32), TypeError, "losses must be float16, bfloat16, float32 or float64, got int32"),
        (np.ones((2, 2)), ValueError, r"losses must be one-dimensional, got shape \(2, 2\)"),
        (np.ones((0, 2)), ValueError, r"losses must be one-dimensional, got shape \(0, 2\)"),
        (np.float64(1.0), ValueError, r"losses must be one-dimensional, got shape \(\)"),
        ("text", TypeError, "losses must be a one-dimensional array"),
        (["a"], TypeError, "losses must be an array or a flat list of numbers"),
        (None, TypeError, "losses must be a one-dimensional array"),
        (np.ma.masked_array([1.0, 2.0]), TypeError, "losses is a masked array"),
        (np.ones(3), TypeError, "losses must be float32, as those before, got float64"),
        (np.empty(0), TypeError, "losses must be float32, as those before, got float64"),
    ],
    ids=[
        "integers",
        "no integers",
        "matrix",
        "empty matrix",
        "scalar",
        "text",
        "texts",
        "None",
        "masked",
        "type",
        "empty type",
    ],
)
@pytest.mark.parametrize("round", [1, 2])
def test_update_rejects_invalid_losses_and_counts_nothing(round, given, error, message):
    c = losses("exponential", 100, "float32")
    planner = Planner(contamination=0.2) if round == 1 else planner_in_round_two(c, contamination=0.2)
    planner.update(c[:60])
    before = planner.partial()
    with pytest.raises(error, match=f"^{message}"):
        planner.update(given)
    for name, array in planner.partial().items():
        assert_array_equal(array, before[name])
    planner.update(c[60:])
    planner.advance()


@pytest.mark.parametrize("offset", [-1, 1.0, "2", True, 2**62, 2**70], ids=str)
def test_update_rejects_invalid_offset(offset):
    planner = Planner(contamination=0.2)
    wanted = r"below 2\*\*62" if type(offset) is int and offset > 0 else "a whole number, at least 0, or None"
    with pytest.raises(ValueError, match=f"^offset must be {wanted}, got {offset!r}"):
        planner.update(np.ones(3, np.float32), offset=offset)
    assert planner.n == 0
    planner.update(np.ones(3))  # of another type: no type is fixed yet


def test_failing_kernel_counts_nothing(monkeypatch):
    def fail(*_):
        raise MemoryError

    planner = Planner(contamination=0.2, backend="cpp")
    with monkeypatch.context() as patched:
        patched.setattr(cpp, "count_first_pass", fail)
        with pytest.raises(MemoryError):
            planner.update(np.ones(3, np.float32))
    c = losses("exponential", 100, "float64")  # of another type
    planner.update(c)
    planner.advance()
    with monkeypatch.context() as patched:
        patched.setattr(cpp, "count_pass", fail)
        with pytest.raises(MemoryError):
            planner.update(c)
    assert planner.n == 0
    planner.update(c)
    planner.advance()
    assert planner.plan == rrm_core.plan(c, contamination=0.2)


def test_unknown_instruction_set_counts_nothing():
    call = """if True:
        import numpy as np, os, rrm_core
        planner = rrm_core.Planner(contamination=0.2, threads=3)
        os.environ["RRM_CPU"] = "v5"
        try:
            planner.update(np.ones(2_000_000, np.float32))
        except ValueError:
            raise SystemExit(planner.n)
        raise SystemExit("no error")"""
    subprocess.run([sys.executable, "-c", call], check=True)
