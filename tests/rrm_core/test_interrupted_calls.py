"""Interrupted calls with `out`: it holds the old numbers or all new weights."""

from __future__ import annotations

import numpy as np
import pytest

import rrm_core
from support.families import losses
from support.interrupts import interrupted

C = losses("exponential", 300, "float32")
OLD = np.linspace(0.5, 1.5, len(C), dtype=np.float32)
RULE = {"contamination": 0.3, "redistribute": 0.5}
PLAN = rrm_core.plan(C, **RULE)


def contiguous():
    return OLD.copy()


def strided():
    return np.repeat(OLD, 2)[::2]


def reweight(out, mu, backend):
    rrm_core.reweight(C, out, mu=mu, out=out, backend=backend, **RULE)


def apply(out, mu, backend):
    rrm_core.apply(PLAN, C, out, mu=mu, out=out, backend=backend)


@pytest.mark.parametrize("backend", ["cpp", "numba", "numpy"])
@pytest.mark.parametrize("mu", [1.0, 0.4])
@pytest.mark.parametrize("make", [contiguous, strided])
@pytest.mark.parametrize("call", [reweight, apply])
def test_interrupted_call_leaves_out_as_it_was_or_all_new(call, make, mu, backend):
    new = make()
    call(new, mu, backend)
    outcomes = set()
    for instruction, out in interrupted(make, lambda out: call(out, mu, backend), samples=30):
        is_new = np.array_equal(out, new)
        assert is_new or np.array_equal(out, OLD), instruction
        outcomes.add(is_new)
    assert False in outcomes
